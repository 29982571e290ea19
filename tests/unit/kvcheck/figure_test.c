/* SPDX-License-Identifier: BSD-3-Clause */
/* How many steps it takes, and how much memory: 100,000 calls of 50 clients. Its time is a figure.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "checker.h"
#include "prng.h"
#include "test.h"
enum {
	CALLS = 100 * 1000,
	CLIENTS = 50,
	KEYS_MOST = 100,
	VALUE_SIZE = 16,
	STEPS_MOST = 4,	       /* for each call */
	MEGABYTES_MOST = 1000, /* far above what is promised (50 MB), for valgrind */
};

struct key {
	uint64_t version;
	char value[VALUE_SIZE];
};

static struct prng prng;

static uint64_t below(uint64_t limit) {
	return prng_below(&prng, limit);
}

static double cpu_seconds(void) {
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/*
 * Each call takes effect 100 ns after the one before, and lasts up to 50 times that on both sides,
 * so that about 50 are under way at any time. Half are Gets, the rest Puts, a third of them
 * conditional, of which again a third are refused. Some writes get no answer, and half of those
 * do not happen.
 */
static struct history *make(size_t keys, uint64_t one_open_in) {
	static struct key all[KEYS_MOST];
	struct history *history = history_new();

	memset(all, 0, sizeof(all));
	ck_assert_ptr_nonnull(history);
	for (size_t i = 0; i < CALLS; i++) {
		uint64_t now_ns = 1000000 + i * 100;
		size_t number = below(keys);
		struct key *key = &all[number];
		char name[VALUE_SIZE];
		char value[VALUE_SIZE];
		struct history_call call = {.client = i % CLIENTS,
					    .expected = HISTORY_ANY,
					    .call_ns = now_ns - below(2500),
					    .return_ns = now_ns + below(2500)};

		(void)snprintf(name, sizeof(name), "key %zu", number);
		(void)snprintf(value, sizeof(value), "value %zu", i);
		call.key = (struct kv_bytes){name, strlen(name)};
		call.op = below(2) == 0 ? HISTORY_GET : HISTORY_PUT;
		if (call.op == HISTORY_GET) {
			call.status = key->version == 0 ? KV_NOKEY : KV_OK;
			call.has_got = key->version != 0;
			call.got = (struct kv_bytes){key->value, strlen(key->value)};
		} else {
			call.value = (struct kv_bytes){value, strlen(value)};
			if (below(3) == 0 && key->version != 0)
				call.expected = key->version + (below(3) == 0);
			bool is_open = one_open_in != 0 && below(one_open_in) == 0;
			if (is_open)
				call.return_ns = HISTORY_OPEN;
			call.status = call.expected == HISTORY_ANY || call.expected == key->version
					  ? KV_OK
					  : KV_VERSION;
			if (call.status == KV_OK && (!is_open || below(2) == 0)) {
				key->version++;
				memcpy(key->value, value, sizeof(value));
			}
		}
		call.version = key->version;
		ck_assert(history_add(history, &call));
	}
	return history;
}

static void judge(size_t keys, uint64_t one_open_in, const char *what) {
	struct history *history = make(keys, one_open_in);
	struct checker_report report;
	struct rusage usage;
	double start = cpu_seconds();
	double seconds;

	checker_run(history, NULL, &report);
	seconds = cpu_seconds() - start;
	ck_assert_msg(report.verdict == CHECKER_LINEARIZABLE, "%s", report.reason);
	ck_assert_uint_eq(report.keys, keys);
	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	printf("figure: checker: %d calls of %d clients on %zu key(s)%s in %llu steps, %.3f s, %ld "
	       "MB at most\n",
	       CALLS, CLIENTS, keys, what, (unsigned long long)report.steps, seconds,
	       usage.ru_maxrss / 1024);
	ck_assert_uint_le(report.steps, (uint64_t)STEPS_MOST * CALLS);
	ck_assert_int_lt(usage.ru_maxrss / 1024, MEGABYTES_MOST);
	checker_report_free(&report);
	history_free(history);
}

TEST(many_calls_on_one_key_are_judged_quickly) {
	judge(1, 0, "");
}

TEST(many_calls_on_many_keys_are_judged_quickly) {
	judge(KEYS_MOST, 0, "");
}

TEST(many_calls_without_an_answer_are_judged_quickly) {
	judge(1, 30, ", of 30 writes one without an answer,");
}
