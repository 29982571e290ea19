/* SPDX-License-Identifier: BSD-3-Clause */
#include "known_store.h"

static bool is_known(uint_fast64_t generation_and_known) {
	return (generation_and_known & 1) != 0;
}

void known_store_init(struct known_store *known_store, uint64_t generation) {
	atomic_init(&known_store->generation_and_known, 2 * generation);
}

void known_store_copy(struct known_store *known_store, struct known_store *from) {
	atomic_init(&known_store->generation_and_known, atomic_load(&from->generation_and_known));
}

uint64_t known_store_generation(struct known_store *known_store, bool names_version) {
	uint_fast64_t now = atomic_load(&known_store->generation_and_known);

	return is_known(now) || names_version ? now / 2 : 0;
}

void known_store_observed(struct known_store *known_store, uint64_t generation) {
	uint_fast64_t now = atomic_load(&known_store->generation_and_known);
	const uint_fast64_t then = 2 * generation + 1;

	/* A call that knew nothing moves on to the next generation; what another one knew is
	 * untold. */
	while (now < then && !is_known(now) &&
	       !atomic_compare_exchange_weak(&known_store->generation_and_known, &now, then))
		continue;
}

void known_store_reset(struct known_store *known_store, uint64_t generation) {
	uint_fast64_t now = atomic_load(&known_store->generation_and_known);
	const uint_fast64_t then = 2 * generation;

	/* Another call may already know this generation. */
	while (now < then &&
	       !atomic_compare_exchange_weak(&known_store->generation_and_known, &now, then))
		continue;
}
