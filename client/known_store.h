/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MEMO_H
#define MEMO_H

/*
 * memo.h - what one handle remembers of the store: in which life (channel.h) it knows it, and
 * whether it has anything to remember. Safe to use from many threads.
 *
 * A handle whose life is over is told so once. What it knew in that life is untold until then, and
 * nothing that its calls learn meanwhile covers it up.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Only grows. */
struct memo {
	atomic_uint_fast64_t life_and_known; /* 2 * life, + 1 if the store is known in it */
};

/* Knows nothing; belongs to the life in which the handle was opened. */
void known_store_init(struct memo *memo, uint64_t life);

/* A handle made from another one knows what that one knows. */
void known_store_copy(struct memo *memo, struct memo *from);

/*
 * The life in which a call on the handle begins; 0: the handle knows nothing of the store, so any
 * will do. A call that names a version knows it from somewhere: then it is the handle's life.
 */
uint64_t known_store_generation(struct memo *memo, bool names_version);

/* The store was seen in that life, or may have been changed by the handle. */
void known_store_observed(struct memo *memo, uint64_t life);

/* The caller is told that what it knew is over. Nothing is known of the store in this life yet. */
void known_store_reset(struct memo *memo, uint64_t life);

#endif
