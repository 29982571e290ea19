/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STAGE_H
#define STAGE_H

/*
 * stage.h - a server, a client that comes to it through a network which does as it is told, a
 * second client that comes to it directly, and a raw peer to look at what became of it all.
 */

#include <pthread.h>

#include <kv/kv.h>

#include "calls.h"
#include "fault.h"

enum sessions { WITH_SESSION, STATELESS };

struct stage {
	struct server server;
	struct fault fault;
	enum via via;
	struct kv_client *far; /* through kvfault, over `via`; perhaps without a session */
	struct kv_client *near;
	struct peer peer;
};

/* `...` are more arguments for the server, the last one NULL. */
void stage_open(struct stage *stage, enum via via, enum sessions sessions, ...);
void stage_close(struct stage *stage);

/* Kills the server and starts it again; the peer is connected anew. */
void stage_restart(struct stage *stage);

/* Opens the far client anew: each attempt takes attempt_ms, each call timeout_ms (0: for ever). */
void stage_reopen_far(struct stage *stage, unsigned attempt_ms, unsigned timeout_ms,
		      enum sessions sessions);

/* Waits until a counter of the server is at least this. */
void stage_await(struct stage *stage, const char *name, uint64_t least);

/* Fails unless the key holds this string at this version; "" at 0: there is none. */
void stage_check(struct stage *stage, const char *key, const char *value, uint64_t version);

/* A call of the far client in a thread of its own, for what is to happen meanwhile. */
struct errand {
	struct kv_client *client;
	const char *key, *value;
	bool is_append;
	uint64_t expected;
	enum kv_status status; /* these three once it has ended */
	uint64_t version;
	struct kv_value old;
	pthread_t thread;
};

void errand_begin(struct errand *errand);
/* Waits for it and fails unless this is its status. Frees the old value. */
void errand_end(struct errand *errand, enum kv_status status);

#endif
