/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KNOWN_STORE_H
#define KNOWN_STORE_H

/*
 * known_store.h - the last generation (channel.h) in which a handle has observed its store, to
 * report KV_BADSESSION once per handle after the store was replaced. Safe to use from many threads.
 *
 * Until the handle has reported it, nothing that its calls learn of the new store covers it up.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Only grows. */
struct known_store {
	atomic_uint_fast64_t
	    generation_and_known; /* 2 * generation, + 1 if the store is known in it */
};

/* A handle that was opened in this generation and has observed nothing. */
void known_store_init(struct known_store *known_store, uint64_t generation);

/* A view has observed what its handle has. */
void known_store_copy(struct known_store *known_store, struct known_store *from);

/*
 * Returns the generation in which a call on the handle begins; 0: the handle has observed no store,
 * so any will do. A call that names a version has it from a store: it begins in the handle's
 * generation.
 */
uint64_t known_store_generation(struct known_store *known_store, bool names_version);

/* A reply of the store came in that generation, or a write of the handle may have changed it. */
void known_store_observed(struct known_store *known_store, uint64_t generation);

/* The loss was reported: the handle has observed nothing in this generation. */
void known_store_reset(struct known_store *known_store, uint64_t generation);

#endif
