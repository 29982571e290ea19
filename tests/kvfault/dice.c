/* SPDX-License-Identifier: BSD-3-Clause */
#include "dice.h"

/* The generator called splitmix64: a counter and a mixing of its bits. */
static uint64_t throw_once(struct dice *dice) {
	uint64_t bits;

	dice->state += 0x9e3779b97f4a7c15;
	bits = dice->state;
	bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
	bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
	return bits ^ (bits >> 31);
}

struct dice dice_for(uint64_t seed, uint64_t route, uint64_t link, uint64_t direction,
		     uint64_t index) {
	const uint64_t which[] = {route, link, direction, index};
	struct dice dice = {seed};

	for (unsigned i = 0; i < sizeof which / sizeof which[0]; i++)
		dice.state = throw_once(&dice) ^ which[i];
	return dice;
}

unsigned dice_upto(struct dice *dice, unsigned most) {
	return (unsigned)(throw_once(dice) % ((uint64_t)most + 1));
}

bool dice_percent(struct dice *dice, unsigned percent) {
	return dice_upto(dice, 99) < percent;
}
