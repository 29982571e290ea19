/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FIBER_H
#define FIBER_H

/*
 * fiber.h - code that blocks, run by hand: a stack of its own, one at a time, on one thread. The
 * sanitizers are told of each switch.
 */

#include <stdbool.h>

struct fiber;

typedef void fiber_body(void *context);

/* Runs nothing yet. Ends the program if there is no memory. */
struct fiber *fiber_new(fiber_body *body, void *context);

/* It has ended, or was never resumed. NULL is fine. */
void fiber_free(struct fiber *fiber);

/* Goes on with it until it yields or ends. Not from within a fiber. */
void fiber_resume(struct fiber *fiber);

/* From within: back to fiber_resume(). */
void fiber_yield(struct fiber *fiber);

bool fiber_has_ended(const struct fiber *fiber);

#endif
