/* SPDX-License-Identifier: BSD-3-Clause */
#include "known_store.h"

static bool is_known(uint_fast64_t life_and_known) {
	return (life_and_known & 1) != 0;
}

void known_store_init(struct memo *memo, uint64_t life) {
	atomic_init(&memo->life_and_known, 2 * life);
}

void known_store_copy(struct memo *memo, struct memo *from) {
	atomic_init(&memo->life_and_known, atomic_load(&from->life_and_known));
}

uint64_t known_store_generation(struct memo *memo, bool names_version) {
	uint_fast64_t now = atomic_load(&memo->life_and_known);

	return is_known(now) || names_version ? now / 2 : 0;
}

void known_store_observed(struct memo *memo, uint64_t life) {
	uint_fast64_t now = atomic_load(&memo->life_and_known);
	const uint_fast64_t then = 2 * life + 1;

	/* A call that knew nothing moves on to the next life; what another one knew is untold. */
	while (now < then && !is_known(now) &&
	       !atomic_compare_exchange_weak(&memo->life_and_known, &now, then))
		continue;
}

void known_store_reset(struct memo *memo, uint64_t life) {
	uint_fast64_t now = atomic_load(&memo->life_and_known);
	const uint_fast64_t then = 2 * life;

	/* Another call may already know this life. */
	while (now < then && !atomic_compare_exchange_weak(&memo->life_and_known, &now, then))
		continue;
}
