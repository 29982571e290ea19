/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DICE_H
#define DICE_H

/* dice.h - chance that follows from a seed. */

#include <stdbool.h>
#include <stdint.h>

struct dice {
	uint64_t state;
};

uint64_t dice_bits(struct dice *dice);
/* 0 .. below-1; `below` is not 0. */
uint64_t dice_below(struct dice *dice, uint64_t below);
/* Both ends included. */
uint64_t dice_between(struct dice *dice, uint64_t least, uint64_t most);
/* True so many times in 10,000. */
bool dice_often(struct dice *dice, unsigned in_10000);

#endif
