/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COROUTINE_H
#define COROUTINE_H

/*
 * coroutine.h - coroutines: code that blocks, each with a stack of its own, one at a time, on one
 * thread. The sanitizers are told of each switch.
 */

#include <stdbool.h>

struct coroutine;

typedef void coroutine_body(void *context);

/* Runs nothing yet. Ends the program if there is no memory. */
struct coroutine *coroutine_new(coroutine_body *body, void *context);

/* It has ended, or was never resumed. NULL is fine. */
void coroutine_free(struct coroutine *coroutine);

/* Goes on with it until it yields or ends. Not from within a coroutine. */
void coroutine_resume(struct coroutine *coroutine);

/* From within: back to coroutine_resume(). */
void coroutine_yield(struct coroutine *coroutine);

bool coroutine_has_ended(const struct coroutine *coroutine);

#endif
