/* SPDX-License-Identifier: BSD-3-Clause */
/* A durable kvd is killed and started again while clients write, lock and count: nothing that was
   answered is lost, nothing happens twice, and no client sees an error. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/kv.h>
#include <kv/lock.h>

#include "scene.h"
#include "suite.h"

enum {
	WRITERS = 6,
	COUNTERS = 2,
	LOGS = 2, /* keys that the writers share */
	KILLS = 12,
	ALIVE_MS_MAX = 150,
};

static atomic_bool is_over;
static struct server server;

static struct kv_bytes bytes(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

/* KILLS=n in the environment makes it longer: `make torture`. */
static unsigned kills(void) {
	const char *wanted = getenv("KILLS");

	return wanted == NULL ? KILLS : (unsigned)strtoul(wanted, NULL, 10);
}

static unsigned seed(void) {
	const char *wanted = getenv("SEED");

	return wanted == NULL ? (unsigned)suite_now_us() : (unsigned)strtoul(wanted, NULL, 10);
}

static struct kv_client *open_client(void) {
	char address[128];
	struct kv_options options = {
	    .server = address, .attempt_ms = 200, .backoff_ms = 1, .backoff_max_ms = 20};
	struct kv_client *client = NULL;

	server_address(&server, VIA_LOCAL, address);
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

/* --- Writers: unique tokens, appended to keys that they share -----------------------------------
 */

struct writer {
	pthread_t thread;
	int number;
	unsigned acknowledged;
};

static void *append_tokens(void *context) {
	struct writer *writer = context;
	struct kv_client *client = open_client();

	while (!atomic_load(&is_over)) {
		char key[16];
		char token[32];
		uint64_t version = 0;

		(void)snprintf(key, sizeof key, "log%u", writer->acknowledged % LOGS);
		(void)snprintf(token, sizeof token, "<%d.%u>", writer->number,
			       writer->acknowledged);
		ck_assert_str_eq(kv_status_name(kv_append(client, bytes(key), bytes(token), KV_ANY,
							  NULL, &version)),
				 "KV_OK");
		ck_assert_uint_gt(version, 0);
		writer->acknowledged++;
	}
	kv_close(client);
	return NULL;
}

/* Each client's tokens are there once and in order, and there are no others. */
static void check_log(struct kv_client *client, int log, const struct writer writers[WRITERS]) {
	unsigned next[WRITERS];
	struct kv_value value;
	char key[16];
	char *at;

	for (int i = 0; i < WRITERS; i++)
		next[i] = (unsigned)log;
	(void)snprintf(key, sizeof key, "log%d", log);
	ck_assert_int_eq(kv_get(client, bytes(key), &value), KV_OK);
	at = malloc(value.size + 1);
	ck_assert_ptr_nonnull(at);
	memcpy(at, value.data, value.size);
	at[value.size] = '\0';
	for (char *token = strtok(at, "<>"); token != NULL; token = strtok(NULL, "<>")) {
		unsigned number, count;

		ck_assert_int_eq(sscanf(token, "%u.%u", &number, &count), 2);
		ck_assert_uint_lt(number, WRITERS);
		ck_assert_uint_eq(count, next[number]);
		next[number] += LOGS;
	}
	/* All writers were answered, so every token up to the last acknowledged one is there. */
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_uint_ge(next[i], writers[i].acknowledged);
		ck_assert_uint_lt(next[i], writers[i].acknowledged + LOGS);
	}
	free(at);
	kv_value_free(&value);
}

/* --- Counters: read, add one, write, under the lock ---------------------------------------------
 */

struct counter {
	pthread_t thread;
	unsigned counted;
};

static uint64_t read_count(struct kv_client *client, uint64_t *version) {
	struct kv_value value;
	enum kv_status status = kv_get(client, bytes("count"), &value);
	char text[24] = "";
	uint64_t count;

	*version = 0;
	if (status == KV_NOKEY)
		return 0;
	ck_assert_str_eq(kv_status_name(status), "KV_OK");
	ck_assert_uint_lt(value.size, sizeof text);
	memcpy(text, value.data, value.size);
	*version = value.version;
	count = strtoull(text, NULL, 10);
	kv_value_free(&value);
	return count;
}

static void *count_up(void *context) {
	struct counter *counter = context;
	struct kv_client *client = open_client();
	struct kv_lock *lock = NULL;
	uint64_t last_token = 0;

	ck_assert_int_eq(kv_lock_open(client, bytes("lock"), &lock), KV_OK);
	while (!atomic_load(&is_over)) {
		char text[24];
		uint64_t version;

		ck_assert_str_eq(kv_status_name(kv_lock_acquire(lock, 0)), "KV_OK");
		ck_assert_uint_gt(kv_lock_token(lock), last_token);
		last_token = kv_lock_token(lock);
		(void)snprintf(text, sizeof text, "%llu",
			       (unsigned long long)read_count(client, &version) + 1);
		ck_assert_str_eq(
		    kv_status_name(kv_put(client, bytes("count"), bytes(text), version, &version)),
		    "KV_OK");
		ck_assert_str_eq(kv_status_name(kv_lock_release(lock)), "KV_OK");
		counter->counted++;
	}
	kv_lock_close(lock);
	kv_close(client);
	return NULL;
}

/* --- All together -------------------------------------------------------------------------------
 */

START_TEST(nothing_answered_is_lost_or_done_twice_though_the_server_is_killed) {
	struct writer writers[WRITERS] = {{.number = 0}};
	struct counter counters[COUNTERS] = {{.counted = 0}};
	struct kv_client *client;
	unsigned chance = seed();
	unsigned appended = 0;
	unsigned counted = 0;
	uint64_t version;
	char data[64];

	(void)printf("SEED=%u KILLS=%u\n", chance, kills());
	suite_directory(data);
	server_start(&server, "-d", data, NULL);
	for (int i = 0; i < WRITERS; i++) {
		writers[i].number = i;
		ck_assert_int_eq(
		    pthread_create(&writers[i].thread, NULL, append_tokens, &writers[i]), 0);
	}
	for (int i = 0; i < COUNTERS; i++)
		ck_assert_int_eq(pthread_create(&counters[i].thread, NULL, count_up, &counters[i]),
				 0);
	for (unsigned i = 0; i < kills(); i++) {
		suite_pause_ms(1 + (unsigned)rand_r(&chance) % ALIVE_MS_MAX);
		server_restart(&server);
	}
	atomic_store(&is_over, true);
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
		appended += writers[i].acknowledged;
	}
	for (int i = 0; i < COUNTERS; i++) {
		ck_assert_int_eq(pthread_join(counters[i].thread, NULL), 0);
		counted += counters[i].counted;
	}
	/* What the next start finds counts, not what this one has in memory. */
	server_restart(&server);
	client = open_client();
	for (int log = 0; log < LOGS; log++)
		check_log(client, log, writers);
	ck_assert_uint_eq(read_count(client, &version), counted);
	ck_assert_uint_eq(version, counted);
	kv_close(client);
	server_stop(&server);
	suite_figure("%u kills, %u tokens, each there once; counted to %u", kills(), appended,
		     counted);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("crash");
	TCase *all = suite_case(suite, "kill and restart");

	tcase_set_timeout(all, 3600);
	tcase_add_test(all, nothing_answered_is_lost_or_done_twice_though_the_server_is_killed);
	return suite_run(suite);
}
