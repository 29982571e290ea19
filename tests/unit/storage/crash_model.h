/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

/*
 * crash_model.h - what some keys and sessions must hold after some operations, by a few lines that
 * cannot be wrong.
 */

#include "core/operation.h"

enum {
	RUN_KEYS = 6,
	RUN_SESSIONS = 4,
	RUN_SLOTS = 2,
	RUN_VALUE_MAX = 600,
};

extern const char *const model_keys[RUN_KEYS];

struct crash_entry {
	uint64_t version; /* 0: no such key */
	size_t size;
	uint8_t bytes[RUN_VALUE_MAX];
};

struct crash_session {
	uint64_t client_id;	   /* 0: there is none */
	uint64_t last[RUN_SLOTS];  /* position of the last operation; 0: none */
	uint64_t taken[RUN_SLOTS]; /* seq of the last call, a refused one too */
};

struct crash_model {
	struct crash_entry entries[RUN_KEYS];
	struct crash_session sessions[RUN_SESSIONS];
	uint64_t ended_id; /* a session that is no more; 0: none yet */
};

struct crash_reply {
	enum kv_status status;
	uint64_t current;
	uint64_t old_version;
	struct kv_bytes old;
};

/* NULL: there is none. Id 0 finds the place for a new one. */
struct crash_session *model_session(struct crash_model *model, uint64_t client_id);
/* Ends the test if it is none of model_keys. */
struct crash_entry *model_entry(struct crash_model *model, struct kv_bytes key);

/* `position` is the operation's own. reply->old is to be freed. */
void model_apply(struct crash_model *model, const struct operation *operation, uint64_t position,
		 struct crash_reply *reply);

#endif
