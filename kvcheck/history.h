/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORY_H
#define HISTORY_H

/*
 * history.h - the calls that clients made to a store and their replies, the input of checker.h.
 * struct history_call and the format of a file are in history_record.h.
 *
 * Not thread-safe: use one for each thread, or a lock.
 */

#include <stddef.h>
#include <stdio.h>

#include "history_record.h"

struct history;

/* NULL: no memory. To be freed with history_free(), for which NULL is fine. */
struct history *history_new(void);
void history_free(struct history *history);

/*
 * Adds a call; its bytes are copied. In any order. False: no memory, or HISTORY_CALLS_MAX calls or
 * HISTORY_BYTES_MAX bytes are there; the history is as before.
 */
bool history_add(struct history *history, const struct history_call *call);

enum history_merge {
	HISTORY_MERGED,
	HISTORY_CONFLICT, /* the same client and call, and something else */
	HISTORY_NO_ROOM,  /* as history_add() */
};

/*
 * Adds a call as a line of a file tells of it: if one with its client, call and part was merged
 * before, they are one, and the one with a return completes the other.
 */
enum history_merge history_merge(struct history *history, const struct history_call *call);

/* The clocks of the calls (`boot`), numbered from 0 as they came; 0 beyond the last one. */
uint64_t history_boot(const struct history *history, size_t index);

/* The calls of one clock, and those of no known one, in a history of their own; NULL: no memory. */
struct history *history_of_boot(const struct history *history, uint64_t boot);

/* How many there are, and the one at `index`; its bytes belong to the history. */
size_t history_count(const struct history *history);
const struct history_call *history_at(const struct history *history, size_t index);

/* Whether a call may end a key: a delete, or one with a ttl. */
bool history_has_ends(const struct history *history);

/* The keys are numbered from 0 in the order in which they came: how many, and that of a call. */
size_t history_key_count(const struct history *history);
size_t history_key_of(const struct history *history, size_t index);

enum {
	HISTORY_CALLS_MAX = 100 * 1000 * 1000,
	HISTORY_KEY_MAX = 1024, /* bytes; those of kv/kv.h */
	HISTORY_VALUE_MAX = 16 * 1024 * 1024,
	HISTORY_LINE_MAX = 256 * 1024 * 1024, /* two values, each byte as \u00xx, and some more */
	HISTORY_ERROR_MAX = 256,
	HISTORY_BOOTS_MAX = 64,
};
#define HISTORY_BYTES_MAX ((size_t)16 << 30)

/* Called now and then with the number of bytes that were read. */
typedef void history_progress(void *context, uint64_t bytes);

/* Called for each line that is left out; `text` names it and says why. */
typedef void history_left_out(void *context, const char *text);

struct history_input {
	FILE *file;
	const char *name;	    /* for error lines */
	history_progress *progress; /* or NULL */
	history_left_out *left_out; /* or NULL */
	void *context;
	bool is_lenient;  /* leave out a line that is not a call, instead of giving up */
	uint64_t skipped; /* how many were left out for that, after history_read() */
};

enum history_answer {
	HISTORY_READ,
	HISTORY_CUT,   /* read, without half lines: of calls not sent, or replies not recorded */
	HISTORY_WRONG, /* `error` says in which line, what is wrong and how to mend it */
};

/*
 * Merges the lines of a file. Half a line is left out where a writer may leave one: at the end of
 * the file, or with a line of the next writer right behind it. With HISTORY_WRONG the lines before
 * the wrong one are merged.
 */
enum history_answer history_read(struct history *history, struct history_input *input,
				 char error[HISTORY_ERROR_MAX]);

/* Writes all calls, as history_read() reads them. False: the file could not be written. */
bool history_write(const struct history *history, FILE *file);

#endif
