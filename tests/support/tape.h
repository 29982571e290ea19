/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TAPE_H
#define TAPE_H

/*
 * tape.h - the history of a test: what clients asked, when, and what they were told. Used by many
 * threads at once.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kv/kv.h>

struct taped {
	unsigned client;
	enum { TAPED_GET, TAPED_PUT, TAPED_APPEND } op;
	struct kv_bytes key;
	struct kv_bytes value;
	uint64_t expected;
	enum kv_status status;
	uint64_t version;
	bool has_old;
	struct kv_bytes got; /* by a Get; the old value of an Append, with has_old */
	uint64_t call_ns;
	uint64_t return_ns;
};

struct tape {
	pthread_mutex_t mutex;
	struct taped *calls;
	size_t count, capacity;
};

void tape_begin(struct tape *tape);

/* Notes the time before the call. */
void tape_call(struct taped *call);
/* Notes the time after it, and keeps a copy. */
void tape_return(struct tape *tape, struct taped *call);

/* Fails the test unless one order of all calls explains all answers. Frees the tape. */
void tape_judge(struct tape *tape);

#endif
