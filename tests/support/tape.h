/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TAPE_H
#define TAPE_H

/*
 * tape.h - the history of a test: what clients asked, when, and what they were told; handed to
 * kvcheck's checker at the end. Used by many threads at once.
 */

#include <pthread.h>
#include <stdint.h>

struct history;
struct history_call; /* base/history_call.h */

struct tape {
	pthread_mutex_t mutex;
	struct history *history;
};

void tape_begin(struct tape *tape);

/* The clock of call_ns and return_ns. */
uint64_t tape_now_ns(void);

/* Keeps a copy of a call. */
void tape_keep(struct tape *tape, const struct history_call *call);

/*
 * Frees the tape. Fails the test unless one order of all calls explains all answers; then the
 * history and a page with a timeline stay behind, and their directory is printed.
 */
void tape_judge(struct tape *tape);

#endif
