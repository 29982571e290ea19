/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEEDS_H
#define DEEDS_H

/*
 * deeds.h - what the clients did, call by call, with what they were answered: made through here,
 * judged at the end. Each call gets two moments, its own and its return's, none of which is the
 * same as another; a client that dies in a call never returns from it.
 *
 * The locks' own calls are deeds, too: their kv_get() and kv_put() are linked to these functions.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kv/kv.h>

#include "net.h"

enum deed_kind { DEED_GET, DEED_PUT, DEED_APPEND };

enum { DEED_KEY_MAX = 16 };

struct deed {
	unsigned worker;
	enum deed_kind kind;
	bool is_open; /* not returned */
	enum kv_status status;
	char key[DEED_KEY_MAX]; /* text */
	uint8_t *value;		/* written; owned */
	size_t value_size;
	uint64_t expected;
	uint64_t version;
	uint8_t *seen; /* what a Get showed, or the old value; owned */
	size_t seen_size;
	uint64_t seen_version;
	uint64_t called;
	uint64_t returned;
	uint64_t first_life; /* of the server, when it was called: its first since ... */
	uint64_t last_life;  /* ... and when it returned, or at the end */
	uint64_t heard_life; /* whose answer decided it; 0: none did */
};

struct deeds;

struct deeds *deeds_new(void);
void deeds_free(struct deeds *deeds);
/* Where the calls of the world go from now on; `life` tells how many servers there were. NULL:
 * nowhere. */
void deeds_set(struct deeds *deeds, uint64_t (*life)(void *context), void *context);

size_t deeds_count(const struct deeds *deeds);
const struct deed *deeds_at(const struct deeds *deeds, size_t index);
/* Calls that never returned end with the life that there is now. */
void deeds_end(struct deeds *deeds);
/* The last one of the running task. */
const struct deed *deeds_last(void);

/* Who makes the calls of a task: the task's context begins with it. */
struct maker {
	unsigned worker;
	const struct host *host;
};

/* A moment, later than all before it. */
uint64_t deeds_moment(void);

/* As kv_get(), kv_put() and kv_append(). `old` is not NULL. */
enum kv_status deed_get(struct kv_client *client, const char *key, struct kv_value *value);
enum kv_status deed_put(struct kv_client *client, const char *key, struct kv_bytes value,
			uint64_t expected, uint64_t *version);
enum kv_status deed_append(struct kv_client *client, const char *key, struct kv_bytes value,
			   uint64_t expected, struct kv_value *old, uint64_t *version);

#endif
