/* SPDX-License-Identifier: BSD-3-Clause */
#include "fault_fixture.h"

#include <stdarg.h>
#include <string.h>

#include "suite.h"
#include "text_bytes.h"

enum {
	ATTEMPT_MS = 100, /* what is lost or held is soon sent again */
	BACKOFF_MS = 1,
	BACKOFF_MAX_MS = 20,
	WAIT_MAX_MS = 60000,
};

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

void fault_fixture_open(struct fault_fixture *fixture, enum via via, enum sessions sessions, ...) {
	char address[128];
	va_list extra;

	*fixture = (struct fault_fixture){.via = via};
	va_start(extra, sessions);
	server_start_with(&fixture->server, extra);
	va_end(extra);
	fault_start(&fixture->fault, &fixture->server, &via, 1);
	server_address(&fixture->server, VIA_LOCAL, address);
	fixture->near = open_at(address, 0, 0, false);
	fixture->far = open_at(fixture->fault.addresses[0], ATTEMPT_MS, 0, sessions);
	peer_open(&fixture->peer, &fixture->server, VIA_LOCAL);
}

void fault_fixture_reopen_far(struct fault_fixture *fixture, unsigned attempt_ms,
			      unsigned timeout_ms, enum sessions sessions) {
	kv_close(fixture->far);
	fixture->far = open_at(fixture->fault.addresses[0], attempt_ms, timeout_ms, sessions);
}

void fault_fixture_restart(struct fault_fixture *fixture) {
	peer_close(&fixture->peer);
	server_restart(&fixture->server);
	peer_open(&fixture->peer, &fixture->server, VIA_LOCAL);
}

void fault_fixture_release(struct fault_fixture *fixture, unsigned count) {
	uint64_t replies = fault_count(&fixture->fault, 1, "replies");

	ck_assert_uint_ge(fault_count(&fixture->fault, 1, "held"), count);
	fault_tell(&fixture->fault, "release");
	fault_await(&fixture->fault, 1, "replies", replies + count);
}

void fault_fixture_close(struct fault_fixture *fixture) {
	kv_close(fixture->far);
	kv_close(fixture->near);
	peer_close(&fixture->peer);
	fault_stop(&fixture->fault);
	server_stop(&fixture->server);
}

void fault_fixture_check(struct fault_fixture *fixture, const char *key, const char *value,
			 uint64_t version) {
	if (version == 0)
		check_no_key(&fixture->peer, key);
	else
		check_key(&fixture->peer, key, value, version);
}

static void *run(void *context) {
	struct async_call *async_call = context;
	struct kv_bytes key = bytes(async_call->key), value = bytes(async_call->value);

	if (async_call->is_append)
		async_call->status = kv_append(async_call->client, key, value, async_call->expected,
					       &async_call->old, &async_call->version);
	else
		async_call->status = kv_put(async_call->client, key, value, async_call->expected,
					    &async_call->version);
	return NULL;
}

void async_call_start(struct async_call *async_call) {
	ck_assert_int_eq(pthread_create(&async_call->thread, NULL, run, async_call), 0);
}

void async_call_finish(struct async_call *async_call, enum kv_status status) {
	ck_assert_int_eq(pthread_join(async_call->thread, NULL), 0);
	ck_assert_str_eq(kv_status_name(async_call->status), kv_status_name(status));
	kv_value_free(&async_call->old);
}
