/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schedules that broke other designs, by hand, over udp and tcp: a real client behind kvfault,
 * which holds, loses and repeats what the test says. Which test holds which clause of the design:
 *
 * The slot table (raw copies of each row: duplicate_test, session_test)
 *   less than last never runs		a_late_copy_of_a_put_never_undoes_a_later_one
 *   = last, remembered reply		an_append_whose_answer_was_lost_gives_its_first_answer
 *   numbers may be skipped, and a	a_write_given_up_never_runs_after_the_next_one
 *     unknown slot is used next
 *   the slot before the limits		a_copy_of_an_answered_write_is_answered_by_a_full_store
 *   a refusal takes the slot		a_late_copy_of_a_refused_write_never_runs
 *   other hash, stale while under way	duplicate_test; client_clerk_write_test (in this process)
 * Sessions
 *   OPEN again, the same session	an_open_whose_answer_was_lost_gives_the_same_session
 *   CLOSE settles all slots		a_late_copy_never_runs_after_its_session_was_closed
 *   BADSESSION to the only attempt
 *     on a stream: sent again
 *			a_write_whose_session_ended_on_the_way_is_sent_again_on_a_stream
 *     over udp: unknown		but_is_unknown_over_udp
 *   BADSESSION to a later attempt	and_is_unknown_if_an_earlier_attempt_may_have_run
 * Epochs
 *   nothing from before a restart	a_datagram_from_before_a_restart_never_runs
 *
 * Another store, another start, the stateless rules, the unsettled lock: fault_unknown_test.
 */
#include <stdio.h>
#include <string.h>

#include "fault_fixture.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

static const enum via ways[] = {VIA_TCP, VIA_UDP};

enum {
	WAYS = 2,
	LONG_MS = 20000, /* an attempt that lasts as long as the test wants */
};

static struct fault_fixture fixture;

static void tear_down(void) {
	fault_fixture_close(&fixture);
}

static void put_ok(struct kv_client *client, const char *key, const char *value, uint64_t expected,
		   uint64_t version) {
	uint64_t found;

	ck_assert_str_eq(kv_status_name(kv_put(client, bytes(key), bytes(value), expected, &found)),
			 "KV_OK");
	ck_assert_uint_eq(found, version);
}

CASE(slots, .teardown = tear_down);

LOOP_TEST(a_late_copy_of_a_put_never_undoes_a_later_one, 0, WAYS) {
	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	fault_tell(&fixture.fault, "hold requests 1 put");
	put_ok(fixture.far, "k", "first", KV_ANY, 1);
	put_ok(fixture.far, "k", "second", KV_ANY, 2);
	fault_fixture_release(&fixture, 1);
	fault_fixture_check(&fixture, "k", "second", 2);
}

LOOP_TEST(an_append_whose_answer_was_lost_gives_its_first_answer, 0, WAYS) {
	struct async_call async_call;

	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	put_ok(fixture.near, "k", "a", KV_ANY, 1);
	fault_tell(&fixture.fault, "lose replies 1 append");
	fault_tell(&fixture.fault, "pass requests 1 append");
	fault_tell(&fixture.fault, "hold requests 1 append");
	async_call = (struct async_call){
	    .client = fixture.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	async_call_start(&async_call);
	fault_await(&fixture.fault, 1, "held", 1);
	fault_fixture_check(&fixture, "k", "ab", 2);
	/* The value grows, and is replaced, before the copy comes. */
	put_ok(fixture.near, "k", "other", KV_ANY, 3);
	fault_tell(&fixture.fault, "release");
	ck_assert_int_eq(pthread_join(async_call.thread, NULL), 0);
	ck_assert_str_eq(kv_status_name(async_call.status), "KV_OK");
	ck_assert_uint_eq(async_call.version, 2);
	ck_assert_uint_eq(async_call.old.version, 1);
	ck_assert_uint_eq(async_call.old.size, 1);
	ck_assert_mem_eq(async_call.old.data, "a", 1);
	kv_value_free(&async_call.old);
	fault_fixture_check(&fixture, "k", "other", 3);
	ck_assert_uint_ge(counter(&fixture.peer, "calls_replayed"), 1);
}

LOOP_TEST(a_write_given_up_never_runs_after_the_next_one, 0, WAYS) {
	struct kv_client *hasty;

	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	fault_fixture_reopen_far(&fixture, LONG_MS, 0, WITH_SESSION);
	put_ok(fixture.far, "k", "first", KV_ANY, 1);
	ck_assert_int_eq(kv_with_timeout(fixture.far, 100, &hasty), KV_OK);
	fault_tell(&fixture.fault, "hold requests 1 append");
	ck_assert_str_eq(
	    kv_status_name(kv_append(hasty, bytes("k"), bytes(" given up"), KV_ANY, NULL, NULL)),
	    "KV_MAYBE");
	kv_close(hasty);
	/* Another key: what keeps the copy from running is the slot, not the version. */
	put_ok(fixture.far, "other", "second", KV_ANY, 1);
	fault_fixture_release(&fixture, 1);
	fault_fixture_check(&fixture, "k", "first", 1);
}

/* Puts until nothing fits any more, in pieces that become smaller. */
static void fill(void) {
	enum { LARGEST = 256 * 1024 };
	static char data[LARGEST];
	unsigned count = 0;

	for (size_t size = LARGEST; size > 0; size /= 2) {
		enum kv_status status = KV_OK;

		while (status == KV_OK) {
			char key[16];

			(void)snprintf(key, sizeof key, "%u", count++);
			ck_assert_uint_lt(count, 10000);
			status = kv_put(fixture.near, bytes(key), (struct kv_bytes){data, size},
					KV_ANY, NULL);
		}
		ck_assert_str_eq(kv_status_name(status), "KV_FULL");
	}
}

LOOP_TEST(a_copy_of_an_answered_write_is_answered_by_a_full_store, 0, WAYS) {
	struct async_call async_call;
	char large[4001];

	/* Another one of this size does not fit. */
	memset(large, 'v', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, "--max-memory", "4M", NULL);
	fault_tell(&fixture.fault, "lose replies 1 append");
	fault_tell(&fixture.fault, "pass requests 1 append");
	fault_tell(&fixture.fault, "hold requests 1 append");
	async_call = (struct async_call){.client = fixture.far,
					 .key = "k",
					 .value = large,
					 .is_append = true,
					 .expected = KV_ANY};
	async_call_start(&async_call);
	fault_await(&fixture.fault, 1, "held", 1);
	fill();
	fault_tell(&fixture.fault, "release");
	async_call_finish(&async_call, KV_OK);
	ck_assert_uint_eq(async_call.version, 1);
	fault_fixture_check(&fixture, "k", large, 1);
}

LOOP_TEST(a_late_copy_of_a_refused_write_never_runs, 0, WAYS) {
	uint64_t version;

	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	put_ok(fixture.near, "k", "first", 0, 1);
	fault_tell(&fixture.fault, "hold requests 1 put");
	ck_assert_str_eq(
	    kv_status_name(kv_put(fixture.far, bytes("k"), bytes("late"), 2, &version)),
	    "KV_VERSION");
	ck_assert_uint_eq(version, 1);
	/* Now it would be accepted. */
	put_ok(fixture.near, "k", "second", 1, 2);
	fault_fixture_release(&fixture, 1);
	fault_fixture_check(&fixture, "k", "second", 2);
}

/* --- Sessions ----------------------------------------------------------------------------------
 */

CASE(sessions, .teardown = tear_down);

LOOP_TEST(an_open_whose_answer_was_lost_gives_the_same_session, 0, WAYS) {
	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	fault_tell(&fixture.fault, "lose replies 2 open");
	put_ok(fixture.far, "k", "v", KV_ANY, 1);
	ck_assert_uint_eq(counter(&fixture.peer, "sessions_opened"), 1);
}

LOOP_TEST(a_late_copy_never_runs_after_its_session_was_closed, 0, WAYS) {
	fault_fixture_open(&fixture, ways[_i], WITH_SESSION, NULL);
	fault_tell(&fixture.fault, "hold requests 1 put");
	put_ok(fixture.far, "k", "first", KV_ANY, 1);
	fault_fixture_reopen_far(&fixture, LONG_MS, 0, WITH_SESSION);
	ck_assert_uint_eq(counter(&fixture.peer, "sessions"), 0);
	put_ok(fixture.near, "k", "second", KV_ANY, 2);
	fault_fixture_release(&fixture, 1);
	fault_fixture_check(&fixture, "k", "second", 2);
}

/* A session of a second, and a write on its way for longer. */
static void outlive_session(const char *orders, struct async_call *async_call) {
	fault_tell(&fixture.fault, "%s", orders);
	async_call_start(async_call);
	fault_await(&fixture.fault, 1, "held", 1);
	counter_await(&fixture.peer, "sessions_expired", 1);
	fault_tell(&fixture.fault, "release");
}

TEST(a_write_whose_session_ended_on_the_way_is_sent_again_on_a_stream) {
	struct async_call async_call;

	fault_fixture_open(&fixture, VIA_TCP, WITH_SESSION, "--session-lease", "1", NULL);
	fault_fixture_reopen_far(&fixture, LONG_MS, 0, WITH_SESSION);
	put_ok(fixture.far, "k", "a", KV_ANY, 1);
	async_call = (struct async_call){
	    .client = fixture.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	outlive_session("hold requests 1 append", &async_call);
	async_call_finish(&async_call, KV_OK);
	ck_assert_uint_eq(async_call.version, 2);
	fault_fixture_check(&fixture, "k", "ab", 2);
	ck_assert_uint_eq(counter(&fixture.peer, "sessions_opened"), 2);
}

TEST(but_is_unknown_over_udp) {
	struct async_call async_call;

	fault_fixture_open(&fixture, VIA_UDP, WITH_SESSION, "--session-lease", "1", NULL);
	fault_fixture_reopen_far(&fixture, LONG_MS, 0, WITH_SESSION);
	put_ok(fixture.far, "k", "a", KV_ANY, 1);
	async_call = (struct async_call){
	    .client = fixture.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	outlive_session("hold requests 1 append", &async_call);
	async_call_finish(&async_call, KV_MAYBE);
	fault_fixture_check(&fixture, "k", "a", 1);
}

TEST(and_is_unknown_if_an_earlier_attempt_may_have_run) {
	struct async_call async_call;

	fault_fixture_open(&fixture, VIA_TCP, WITH_SESSION, "--session-lease", "1", NULL);
	put_ok(fixture.far, "k", "a", KV_ANY, 1);
	/* The first runs, and its answer is lost; the others come when the session is over. */
	fault_tell(&fixture.fault, "lose replies 1 append");
	fault_tell(&fixture.fault, "pass requests 1 append");
	async_call = (struct async_call){
	    .client = fixture.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	outlive_session("hold requests 100 append", &async_call);
	fault_tell(&fixture.fault, "forget");
	async_call_finish(&async_call, KV_MAYBE);
	fault_fixture_check(&fixture, "k", "ab", 2);
	put_ok(fixture.far, "k", "c", 2, 3);
}

/* --- Epochs ------------------------------------------------------------------------------------
 */

TEST(a_datagram_from_before_a_restart_never_runs) {
	uint64_t version;
	char data[64];

	suite_directory(data);
	fault_fixture_open(&fixture, VIA_UDP, WITH_SESSION, "-d", data, NULL);
	put_ok(fixture.near, "k", "first", 0, 1);
	fault_tell(&fixture.fault, "hold requests 1 put");
	ck_assert_str_eq(
	    kv_status_name(kv_put(fixture.far, bytes("k"), bytes("late"), 2, &version)),
	    "KV_VERSION");
	/* Refusals are not recorded: after the restart the slot knows nothing of this one. */
	fault_fixture_restart(&fixture);
	put_ok(fixture.near, "k", "second", 1, 2);
	fault_fixture_release(&fixture, 1);
	fault_fixture_check(&fixture, "k", "second", 2);
}
