/* SPDX-License-Identifier: BSD-3-Clause */
#include "trial.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	/* A lost message is soon asked for again: the trial's time is for calls, not for waiting.
	 */
	ATTEMPT_MS = 60,
	BACKOFF_MS = 1,
	BACKOFF_MAX_MS = 20,
};

static const enum via ways[] = {VIA_TCP, VIA_UDP, VIA_LOCAL};

enum { WAYS = sizeof ways / sizeof ways[0] };

static struct kv_bytes bytes(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

unsigned trial_ms(unsigned long_ms, unsigned short_ms) {
	return getenv("KV_LONG") != NULL ? long_ms : short_ms;
}

bool trial_goes_on(const struct trial *trial) {
	return suite_now_ms() < trial->end_ms;
}

void trial_begin(struct trial *trial, enum network network, ...) {
	va_list extra;

	*trial = (struct trial){.is_bad = network == NETWORK_BAD};
	va_start(extra, network);
	server_start_with(&trial->server, extra);
	va_end(extra);
	fault_start(&trial->fault, &trial->server, ways, WAYS);
	if (trial->is_bad)
		fault_tell(&trial->fault, "bad");
	tape_begin(&trial->tape);
}

void trial_end(struct trial *trial, const char *what) {
	uint64_t requests = fault_count(&trial->fault, 0, "requests");
	uint64_t faults = fault_total(&trial->fault);

	suite_figure("%s: %llu requests, %llu faults, seed %llu", what,
		     (unsigned long long)requests, (unsigned long long)faults,
		     (unsigned long long)trial->fault.seed);
	ck_assert(trial->is_bad || faults == 0);
	ck_assert(!trial->is_bad || requests < 100 || faults > 0);
	fault_stop(&trial->fault);
	server_stop(&trial->server);
	tape_judge(&trial->tape);
}

void user_open(struct user *user, struct trial *trial, unsigned number) {
	struct kv_options options = {.server = trial->fault.addresses[number % WAYS],
				     .attempt_ms = ATTEMPT_MS,
				     .backoff_ms = BACKOFF_MS,
				     .backoff_max_ms = BACKOFF_MAX_MS,
				     .stateless = trial->is_stateless,
				     .history = trial->tape.path};

	*user = (struct user){.trial = trial, .number = number};
	check_status(kv_open(&options, &user->client), KV_OK);
}

void user_close(struct user *user) {
	ck_assert_int_eq(kv_history_error(user->client), 0);
	kv_close(user->client);
	user->client = NULL;
}

static void *work(void *context) {
	struct user *user = context;

	user->work(user);
	return NULL;
}

void trial_start(struct trial *trial, struct user users[], unsigned count,
		 void (*do_work)(struct user *)) {
	for (unsigned i = 0; i < count; i++) {
		user_open(&users[i], trial, i);
		users[i].work = do_work;
	}
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(pthread_create(&users[i].thread, NULL, work, &users[i]), 0);
}

void trial_join(struct user users[], unsigned count) {
	for (unsigned i = 0; i < count; i++)
		ck_assert_int_eq(pthread_join(users[i].thread, NULL), 0);
	for (unsigned i = 0; i < count; i++)
		user_close(&users[i]);
}

void trial_run(struct trial *trial, struct user users[], unsigned count,
	       void (*do_work)(struct user *)) {
	trial_start(trial, users, count, do_work);
	trial_join(users, count);
}

enum kv_status user_get(struct user *user, const char *key, struct kv_value *value) {
	return kv_get(user->client, bytes(key), value);
}

enum kv_status user_put(struct user *user, const char *key, const char *value, uint64_t expected,
			uint64_t *version) {
	return kv_put(user->client, bytes(key), bytes(value), expected, version);
}

enum kv_status user_append(struct user *user, const char *key, const char *value, uint64_t expected,
			   struct kv_value *old, uint64_t *version) {
	return kv_append(user->client, bytes(key), bytes(value), expected, old, version);
}

void user_check(struct user *user, const char *key, const char *value) {
	struct kv_value found;

	check_status(user_get(user, key, &found), KV_OK);
	ck_assert_uint_eq(found.size, strlen(value));
	if (found.size > 0)
		ck_assert_mem_eq(found.data, value, found.size);
	kv_value_free(&found);
}
