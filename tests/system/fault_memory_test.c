/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients on a bad network cost the server: no more than on a good one (memory_test), though
   their calls and answers come more than once or never. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kv/kv.h>

#include "kvfault_process.h"
#include "suite.h"
#include "test.h"

enum {
	KIB = 1024,
	MIB = 1024 * KIB,
	LARGE = 8 * MIB,
	CLIENTS = 1000, /* 100,000 with $KV_LONG */
	CLIENTS_LONG = 100000,
	AT_A_TIME = 50,
	APPENDS = 1000,
	THREADS = 16,
	ROUTES = 2,
	/* An attempt that carries megabytes, and one that carries little. */
	ATTEMPT_LARGE_MS = 500,
	ATTEMPT_MS = 60,
	IN_FLIGHT_MS = 10000,
};

static struct server server;
static struct fault fault;
static uint64_t before;

static void set_up(void) {
	static const enum via ways[ROUTES] = {VIA_TCP, VIA_LOCAL};

	server_start(&server, NULL);
	fault_start(&fault, &server, ways, ROUTES);
	fault_tell(&fault, "bad");
	before = server_memory(&server);
}

static void tear_down(void) {
	suite_figure("through %llu faults", (unsigned long long)fault_total(&fault));
	fault_stop(&fault);
	server_stop(&server);
}

static uint64_t growth(void) {
	uint64_t now = server_memory(&server);

	return now > before ? now - before : 0;
}

/* What is kept: the reply of a copy that came late may still be on its way. */
static void check_growth(const char *what, uint64_t limit) {
	uint64_t until_ms = suite_now_ms() + IN_FLIGHT_MS;
	uint64_t more = growth();

	while (more > limit && suite_now_ms() < until_ms) {
		suite_pause_ms(20);
		more = growth();
	}

	suite_figure("%s: %.2f MiB", what, (double)more / MIB);
	if (!suite_is_instrumented())
		ck_assert_uint_le(more, limit);
}

static struct kv_client *open_by(unsigned route, unsigned attempt_ms) {
	struct kv_options options = {.server = fault.addresses[route % ROUTES],
				     .attempt_ms = attempt_ms,
				     .backoff_ms = 1,
				     .backoff_max_ms = 20};
	struct kv_client *client = NULL;

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

static const struct kv_bytes key = {"k", 1};

static void check(enum kv_status status) {
	ck_assert_str_eq(kv_status_name(status), "KV_OK");
}

/* --- Two clients and large values --------------------------------------------------------------
 */

static void end_two(struct kv_client *clients[2]) {
	/* One byte in its place: nothing of the large value is left. */
	check(kv_put(clients[0], key, (struct kv_bytes){"1", 1}, KV_ANY, NULL));
	kv_close(clients[0]);
	kv_close(clients[1]);
}

CASE(memory, .setup = set_up, .teardown = tear_down, .seconds = 1800);

TEST(a_large_value_that_two_clients_got_is_gone_once_it_was_replaced) {
	struct kv_client *clients[2] = {open_by(0, ATTEMPT_LARGE_MS), open_by(1, ATTEMPT_LARGE_MS)};
	char *data = calloc(1, LARGE);

	ck_assert_ptr_nonnull(data);
	check(kv_put(clients[0], key, (struct kv_bytes){data, LARGE}, KV_ANY, NULL));
	for (int i = 0; i < 6; i++) {
		struct kv_value value;

		check(kv_get(clients[i % 2], key, &value));
		ck_assert_uint_eq(value.size, LARGE);
		kv_value_free(&value);
	}
	end_two(clients);
	check_growth("after Put of 8 MiB, Gets by two, Put of 1 byte", LARGE);
	free(data);
}

TEST(large_values_that_two_clients_put_cost_what_one_of_them_does) {
	struct kv_client *clients[2] = {open_by(0, ATTEMPT_LARGE_MS), open_by(1, ATTEMPT_LARGE_MS)};
	char *data = calloc(1, LARGE);

	ck_assert_ptr_nonnull(data);
	for (int i = 0; i < 6; i++)
		check(kv_put(clients[i % 2], key, (struct kv_bytes){data, LARGE}, KV_ANY, NULL));
	check_growth("six Puts of 8 MiB by two", 2 * LARGE);
	end_two(clients);
	free(data);
}

TEST(large_appends_by_two_clients_cost_at_most_half_more_than_the_value) {
	struct kv_client *clients[2] = {open_by(0, ATTEMPT_LARGE_MS), open_by(1, ATTEMPT_LARGE_MS)};
	char *data = calloc(1, LARGE);

	ck_assert_ptr_nonnull(data);
	for (int i = 0; i < 2; i++) {
		struct kv_value old;

		check(
		    kv_append(clients[i], key, (struct kv_bytes){data, LARGE}, KV_ANY, &old, NULL));
		ck_assert_uint_eq(old.size, (size_t)i * LARGE);
		kv_value_free(&old);
	}
	check_growth("two Appends of 8 MiB by two", 3 * LARGE);
	end_two(clients);
	free(data);
}

/* --- Many clients ------------------------------------------------------------------------------
 */

/* A client that dies without a word: its session stays. 0: it was told KV_OK. */
static int die_after(unsigned number, bool is_put) {
	struct kv_client *client = open_by(number, ATTEMPT_MS);
	char data[1000];
	struct kv_value value = {0};

	memset(data, 'v', sizeof data);
	if (is_put)
		return kv_put(client, key, (struct kv_bytes){data, sizeof data}, KV_ANY, NULL);
	return kv_get(client, key, &value);
}

static void await_one(void) {
	int status;

	ck_assert_int_gt(waitpid(-1, &status, 0), 0);
	ck_assert_int_eq(status, 0);
}

static unsigned run_clients(bool is_put) {
	unsigned count = getenv("KV_LONG") != NULL ? CLIENTS_LONG : CLIENTS;

	for (unsigned i = 0; i < count; i++) {
		pid_t pid;

		if (i >= AT_A_TIME)
			await_one();
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (pid == 0)
			_exit(die_after(i, is_put));
	}
	for (unsigned i = 0; i < AT_A_TIME; i++)
		await_one();
	return count;
}

TEST(clients_that_put_once_cost_at_most_200_bytes_each) {
	unsigned count = run_clients(true);

	/* A few pages more than what they need, for so few. */
	check_growth("clients that put 1000 bytes once", (uint64_t)count * 200 + 64 * KIB);
}

TEST(clients_that_got_once_leave_nothing_behind) {
	struct kv_client *client = open_by(0, ATTEMPT_MS);
	unsigned count;

	check(kv_put(client, key, (struct kv_bytes){"value", 5}, KV_ANY, NULL));
	kv_close(client);
	count = run_clients(false);
	check_growth("clients that got once and left", (uint64_t)count * 10 + 64 * KIB);
}

/* --- One client --------------------------------------------------------------------------------
 */

static void *append_some(void *context) {
	struct kv_client *client = context;
	char data[1000];

	memset(data, 'v', sizeof data);
	for (int i = 0; i < APPENDS / THREADS + 1; i++) {
		struct kv_value old;

		check(kv_append(client, key, (struct kv_bytes){data, sizeof data}, KV_ANY, &old,
				NULL));
		kv_value_free(&old);
	}
	return NULL;
}

TEST(a_thousand_appends_by_one_client_cost_less_than_3_mb) {
	struct kv_client *client = open_by(0, ATTEMPT_LARGE_MS);
	pthread_t threads[THREADS];
	struct kv_value value;

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, append_some, client), 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	check(kv_get(client, key, &value));
	ck_assert_uint_eq(value.version, THREADS * (APPENDS / THREADS + 1));
	ck_assert_uint_eq(value.size, 1000 * value.version);
	kv_value_free(&value);
	check_growth("1000 Appends of 1000 bytes, one client", 3000000);
	kv_close(client);
}
