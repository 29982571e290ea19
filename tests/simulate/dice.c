/* SPDX-License-Identifier: BSD-3-Clause */
#include "dice.h"

/* splitmix64: any seed, 0 and its neighbours too, begins well. */
uint64_t dice_bits(struct dice *dice) {
	uint64_t z = dice->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

uint64_t dice_below(struct dice *dice, uint64_t below) {
	return dice_bits(dice) % below;
}

uint64_t dice_between(struct dice *dice, uint64_t least, uint64_t most) {
	return least + dice_below(dice, most - least + 1);
}

bool dice_often(struct dice *dice, unsigned in_10000) {
	return dice_below(dice, 10000) < in_10000;
}
