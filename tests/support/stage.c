/* SPDX-License-Identifier: BSD-3-Clause */
#include "stage.h"

#include <stdarg.h>
#include <string.h>

#include "suite.h"

enum {
	ATTEMPT_MS = 100, /* what is lost or held is soon sent again */
	BACKOFF_MS = 1,
	BACKOFF_MAX_MS = 20,
	PATIENCE_MS = 60000,
};

static struct kv_bytes bytes(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

static struct kv_client *open_at(const char *address, unsigned attempt_ms, unsigned timeout_ms,
				 enum sessions sessions) {
	struct kv_options options = {.server = address,
				     .attempt_ms = attempt_ms,
				     .timeout_ms = timeout_ms,
				     .backoff_ms = BACKOFF_MS,
				     .backoff_max_ms = BACKOFF_MAX_MS,
				     .stateless = sessions == STATELESS};
	struct kv_client *client = NULL;

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

void stage_open(struct stage *stage, enum via via, enum sessions sessions, ...) {
	char address[128];
	va_list extra;

	*stage = (struct stage){.via = via};
	va_start(extra, sessions);
	server_start_with(&stage->server, extra);
	va_end(extra);
	fault_start(&stage->fault, &stage->server, &via, 1);
	server_address(&stage->server, VIA_LOCAL, address);
	stage->near = open_at(address, 0, 0, false);
	stage->far = open_at(stage->fault.addresses[0], ATTEMPT_MS, 0, sessions);
	peer_open(&stage->peer, &stage->server, VIA_LOCAL);
}

void stage_reopen_far(struct stage *stage, unsigned attempt_ms, unsigned timeout_ms,
		      enum sessions sessions) {
	kv_close(stage->far);
	stage->far = open_at(stage->fault.addresses[0], attempt_ms, timeout_ms, sessions);
}

void stage_restart(struct stage *stage) {
	peer_close(&stage->peer);
	server_restart(&stage->server);
	peer_open(&stage->peer, &stage->server, VIA_LOCAL);
}

void stage_close(struct stage *stage) {
	kv_close(stage->far);
	kv_close(stage->near);
	peer_close(&stage->peer);
	fault_stop(&stage->fault);
	server_stop(&stage->server);
}

void stage_await(struct stage *stage, const char *name, uint64_t least) {
	uint64_t deadline = suite_now_ms() + PATIENCE_MS;

	while (counter(&stage->peer, name) < least) {
		ck_assert_msg(suite_now_ms() < deadline, "%s does not come to %llu", name,
			      (unsigned long long)least);
		suite_pause_ms(2);
	}
}

void stage_check(struct stage *stage, const char *key, const char *value, uint64_t version) {
	if (version == 0)
		check_no_key(&stage->peer, key);
	else
		check_key(&stage->peer, key, value, version);
}

static void *run(void *context) {
	struct errand *errand = context;
	struct kv_bytes key = bytes(errand->key), value = bytes(errand->value);

	if (errand->is_append)
		errand->status = kv_append(errand->client, key, value, errand->expected,
					   &errand->old, &errand->version);
	else
		errand->status =
		    kv_put(errand->client, key, value, errand->expected, &errand->version);
	return NULL;
}

void errand_begin(struct errand *errand) {
	ck_assert_int_eq(pthread_create(&errand->thread, NULL, run, errand), 0);
}

void errand_end(struct errand *errand, enum kv_status status) {
	ck_assert_int_eq(pthread_join(errand->thread, NULL), 0);
	ck_assert_str_eq(kv_status_name(errand->status), kv_status_name(status));
	kv_value_free(&errand->old);
}
