/* SPDX-License-Identifier: BSD-3-Clause */
/* The times of calls: those of a turn, of later turns, and when the clock is read. */
#include <rpcsvc/kv.h>

#include "rpc/call_times.h"
#include "test.h"

static struct call_times times;

static uint64_t shown(const char *name) {
	struct stats stats = {.count = 0};

	call_times_add_stats(&times, &stats);
	return stats_value(&stats, name);
}

static void begin(uint64_t now_ns) {
	times.now_ns = now_ns;
}

static void set_up(void) {
	times = (struct call_times){.ended_ns = 0};
	begin(UINT64_C(1000000000));
}

CASE(call_times, .setup = set_up);

TEST(calls_of_a_turn_take_all_of_it) {
	call_times_replied(&times, KVPROC_GET, times.now_ns);
	call_times_replied(&times, KVPROC_GET, times.now_ns);
	call_times_replied(&times, KVPROC_NULL, times.now_ns);
	ck_assert_uint_eq(shown("calls_of_get"), 2);
	ck_assert(call_times_are_due(&times));
	call_times_end_turn(&times, times.now_ns + 10000);
	ck_assert_uint_eq(shown("calls_of_get"), 2);
	ck_assert_uint_eq(shown("calls_of_null"), 1);
	ck_assert_uint_eq(shown("latency_get_le_16"), 2);
	ck_assert_uint_eq(shown("latency_get_sum"), 20);
	ck_assert_uint_eq(shown("calls_of_put"), 0);
}

TEST(a_reply_of_a_later_turn_is_counted_from_the_turn_of_its_call) {
	uint64_t began_ns = times.now_ns;

	begin(began_ns + 500000);
	call_times_replied(&times, KVPROC_PUT, began_ns);
	ck_assert(!call_times_are_due(&times));
	ck_assert_uint_eq(shown("latency_put_le_1024"), 1);
	ck_assert_uint_eq(shown("latency_put_sum"), 500);
}

TEST(the_clock_is_read_at_one_of_many_turns_that_follow_closely) {
	unsigned read = 0;

	for (unsigned i = 0; i < 4 * CALL_TIMES_TURNS; i++) {
		begin(times.now_ns + 1000);
		call_times_replied(&times, KVPROC_GET, times.now_ns);
		if (call_times_are_due(&times)) {
			read++;
			call_times_end_turn(&times, times.now_ns + 4000);
		}
	}
	/* And once at the first. */
	ck_assert_uint_eq(read, 4);
	ck_assert_uint_eq(shown("calls_of_get"), 4 * CALL_TIMES_TURNS);
	begin(times.now_ns + CALL_TIMES_APART_NS);
	ck_assert(call_times_are_due(&times));
	call_times_end_turn(&times, times.now_ns + 4000);
	ck_assert_uint_eq(shown("latency_get_le_4"), 4 * CALL_TIMES_TURNS);
	begin(times.now_ns + CALL_TIMES_APART_NS);
	ck_assert(!call_times_are_due(&times));
}
