/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAULT_FIXTURE_H
#define FAULT_FIXTURE_H

/*
 * fault_fixture.h - the fixture of tests with network faults: a server, a client that reaches it
 * through kvfault, a second client that reaches it directly, and a raw connection to look at the
 * result.
 */

#include <pthread.h>

#include <kv/kv.h>

#include "kvfault_process.h"
#include "raw_client.h"

enum sessions { WITH_SESSION, STATELESS };

struct fault_fixture {
	struct server server;
	struct fault fault;
	enum via via;
	struct kv_client *far; /* through kvfault, over `via`; perhaps without a session */
	struct kv_client *near;
	struct peer peer;
};

/* `...` are more arguments for the server, the last one NULL. */
void fault_fixture_open(struct fault_fixture *fixture, enum via via, enum sessions sessions, ...);
void fault_fixture_close(struct fault_fixture *fixture);

/* Kills the server and starts it again; the peer is connected anew. */
void fault_fixture_restart(struct fault_fixture *fixture);

/* Opens the far client anew: each attempt takes attempt_ms, each call timeout_ms (0: for ever). */
void fault_fixture_reopen_far(struct fault_fixture *fixture, unsigned attempt_ms,
			      unsigned timeout_ms, enum sessions sessions);

/* Fails unless the key holds this string at this version; "" at 0: there is none. */
void fault_fixture_check(struct fault_fixture *fixture, const char *key, const char *value,
			 uint64_t version);

/* Lets go what kvfault holds, `count` messages at least, and waits for as many replies. */
void fault_fixture_release(struct fault_fixture *fixture, unsigned count);

/* A call of the far client in a thread of its own, for what is to happen meanwhile. */
struct async_call {
	struct kv_client *client;
	const char *key, *value;
	bool is_append;
	uint64_t expected;
	enum kv_status status; /* these three once it has ended */
	uint64_t version;
	struct kv_value old;
	pthread_t thread;
};

void async_call_start(struct async_call *async_call);
/* Waits for it and fails unless this is its status. Frees the old value. */
void async_call_finish(struct async_call *async_call, enum kv_status status);

#endif
