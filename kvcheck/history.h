/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORY_H
#define HISTORY_H

/*
 * history.h - the calls that clients made to a store and the answers they got, to be handed to
 * checker.h. struct history_call and the format of a file are in history_call.h.
 *
 * Not for several threads at once: collect one for each thread, or hold a lock.
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

/* How many there are, and the one at `index`; its bytes belong to the history. */
size_t history_count(const struct history *history);
const struct history_call *history_at(const struct history *history, size_t index);

/* The keys are numbered from 0 in the order in which they came: how many, and that of a call. */
size_t history_key_count(const struct history *history);
size_t history_key_of(const struct history *history, size_t index);

/*
 * Gives the open call at `index` the answer and return of `call`, whose bytes are copied. False:
 * no memory; it stays open.
 */
bool history_complete(struct history *history, size_t index, const struct history_call *call);

enum {
	HISTORY_CALLS_MAX = 100 * 1000 * 1000,
	HISTORY_KEY_MAX = 1024, /* bytes; those of kv/kv.h */
	HISTORY_VALUE_MAX = 16 * 1024 * 1024,
	HISTORY_LINE_MAX = 256 * 1024 * 1024, /* two values, each byte as \u00xx, and some more */
	HISTORY_ERROR_MAX = 256,
};
#define HISTORY_BYTES_MAX ((size_t)16 << 30)

/* Called now and then with the number of bytes that were read. */
typedef void history_progress(void *context, uint64_t bytes);

struct history_input {
	FILE *file;
	const char *name;	    /* for error lines */
	history_progress *progress; /* or NULL */
	void *context;
};

enum history_answer {
	HISTORY_READ,
	HISTORY_CUT,   /* read; what stands at the end is half a line: the call had not been sent */
	HISTORY_WRONG, /* `error` says in which line, what is wrong and how to mend it */
};

/* Adds the lines of a file. With HISTORY_WRONG the lines before the wrong one are added. */
enum history_answer history_read(struct history *history, const struct history_input *input,
				 char error[HISTORY_ERROR_MAX]);

/* Writes all calls, as history_read() reads them. False: the file could not be written. */
bool history_write(const struct history *history, FILE *file);

#endif
