/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DICE_H
#define DICE_H

/*
 * dice.h - chance that follows from a seed. Every message has dice of its own, thrown from the seed
 * and from which message it is: what becomes of it does not depend on what happens to others.
 */

#include <stdbool.h>
#include <stdint.h>

struct dice {
	uint64_t state;
};

/* Dice for the message `index` of a conversation; every argument counts. */
struct dice dice_for(uint64_t seed, uint64_t route, uint64_t link, uint64_t direction,
		     uint64_t index);

/* A number from 0 to `most`, both included. */
unsigned dice_upto(struct dice *dice, unsigned most);

/* True in `percent` of 100 cases. */
bool dice_percent(struct dice *dice, unsigned percent);

#endif
