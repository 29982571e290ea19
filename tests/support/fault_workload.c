/* SPDX-License-Identifier: BSD-3-Clause */
#include "fault_workload.h"
#include "text_bytes.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* A lost message is soon asked for again: the workload's time is for calls, not for
	 * waiting.
	 */
	ATTEMPT_MS = 60,
	BACKOFF_MS = 1,
	BACKOFF_MAX_MS = 20,
};

static const enum via ways[] = {VIA_TCP, VIA_UDP, VIA_LOCAL};

enum { WAYS = sizeof ways / sizeof ways[0] };

enum via fault_workload_way(unsigned user) {
	return ways[user % WAYS];
}

unsigned fault_workload_ms(unsigned long_ms, unsigned short_ms) {
	return getenv("KV_LONG") != NULL ? long_ms : short_ms;
}

bool fault_workload_goes_on(const struct fault_workload *workload) {
	return suite_now_ms() < workload->end_ms;
}

void fault_workload_begin(struct fault_workload *workload, enum network network, ...) {
	va_list extra;

	*workload = (struct fault_workload){.is_bad = network == NETWORK_BAD};
	va_start(extra, network);
	server_start_with(&workload->server, extra);
	va_end(extra);
	fault_start(&workload->fault, &workload->server, ways, WAYS);
	if (workload->is_bad)
		fault_tell(&workload->fault, "bad");
	history_capture_begin(&workload->capture);
}

void fault_workload_end(struct fault_workload *workload, const char *what) {
	uint64_t requests = fault_count(&workload->fault, 0, "requests");
	uint64_t faults = fault_total(&workload->fault);

	suite_figure("%s: %llu requests, %llu faults, seed %llu", what,
		     (unsigned long long)requests, (unsigned long long)faults,
		     (unsigned long long)workload->fault.seed);
	ck_assert(workload->is_bad || faults == 0);
	ck_assert(!workload->is_bad || requests < 100 || faults > 0);
	fault_stop(&workload->fault);
	server_stop(&workload->server);
	history_capture_judge(&workload->capture);
}

void user_open(struct client_thread *user, struct fault_workload *workload, unsigned number) {
	struct kv_options options = {.server = workload->fault.addresses[number % WAYS],
				     .attempt_ms = ATTEMPT_MS,
				     .backoff_ms = BACKOFF_MS,
				     .backoff_max_ms = BACKOFF_MAX_MS,
				     .stateless = workload->is_stateless,
				     .history = workload->capture.path};

	*user = (struct client_thread){.workload = workload, .number = number};
	check_status(kv_open(&options, &user->client), KV_OK);
}

void user_close(struct client_thread *user) {
	ck_assert_int_eq(kv_history_error(user->client), 0);
	kv_close(user->client);
	user->client = NULL;
}

static void *work(void *context) {
	struct client_thread *user = context;

	user->work(user);
	return NULL;
}

void fault_workload_start(struct fault_workload *workload, struct client_thread users[],
			  unsigned count, void (*do_work)(struct client_thread *)) {
	for (unsigned i = 0; i < count; i++) {
		user_open(&users[i], workload, i);
		users[i].work = do_work;
	}
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(pthread_create(&users[i].thread, NULL, work, &users[i]), 0);
}

void fault_workload_join(struct client_thread users[], unsigned count) {
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(pthread_join(users[i].thread, NULL), 0);
	for (unsigned i = 0; i < count; i++)
		user_close(&users[i]);
}

void fault_workload_run(struct fault_workload *workload, struct client_thread users[],
			unsigned count, void (*do_work)(struct client_thread *)) {
	fault_workload_start(workload, users, count, do_work);
	fault_workload_join(users, count);
}

enum kv_status user_get(struct client_thread *user, const char *key, struct kv_value *value) {
	return kv_get(user->client, bytes(key), value);
}

enum kv_status user_put(struct client_thread *user, const char *key, const char *value,
			uint64_t expected, uint64_t *version) {
	return kv_put(user->client, bytes(key), bytes(value), expected, version);
}

enum kv_status user_append(struct client_thread *user, const char *key, const char *value,
			   uint64_t expected, struct kv_value *old, uint64_t *version) {
	return kv_append(user->client, bytes(key), bytes(value), expected, old, version);
}

void user_check(struct client_thread *user, const char *key, const char *value) {
	struct kv_value found;

	check_status(user_get(user, key, &found), KV_OK);
	ck_assert_uint_eq(found.size, strlen(value));
	if (found.size > 0)
		ck_assert_mem_eq(found.data, value, found.size);
	kv_value_free(&found);
}
