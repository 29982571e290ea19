/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef EXPLORER_H
#define EXPLORER_H

/*
 * explorer.h - what a search of all schedules of lock handles is made of: running one handle up to
 * its next call, states that were seen, and the steps that led to the one under way.
 *
 * A handle runs until it needs something from outside: the answer to a call, or leave to go on
 * with its work. There it is stopped by longjmp(). To go on, its program is run again from the
 * start with all the answers that it got before and one more, which gives the same calls again:
 * the lock has no other input than answers and the clock, and both are the test's. So a state of
 * the world is a plain struct that can be copied, and the search is a recursion.
 *
 * The answers, the world and its rules are the test's.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
	EXPLORER_IDS = 3,	   /* handles, at most */
	EXPLORER_ANSWERS_MAX = 64, /* of one handle */
};

/* Begins a search, of which no state was seen. */
void explorer_begin(void);

/* Ends it, prints how large it was, and fails if it came to no end. */
void explorer_end(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- Running one handle --- */

/* The id of a handle that is opened while fake_chance(index) is what there is of chance. */
const char *explorer_id(int index);

/* Runs the program until it returns or stops. */
void explorer_run(void (*program)(void));

/* Ends the run, as a handle that waits for its next answer. */
_Noreturn void explorer_stop(void);

/* --- The search --- */

/* Fails; not ck_assert(), which writes to a file at every call, and there are millions. */
void explorer_must(bool holds, const char *otherwise);

uint64_t explorer_mix(uint64_t hash, uint64_t with);

/* Whether a state with that hash was seen before; it has been from now on. */
bool explorer_was_seen(uint64_t hash);

/* A schedule has come to its end. */
void explorer_ends(void);

/* The step that leads from `depth` to the next. */
void explorer_tell(unsigned depth, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Fails, and prints the steps up to `depth`. */
void explorer_violated(unsigned depth, const char *what);

#endif
