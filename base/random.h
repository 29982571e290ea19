/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RANDOM_H
#define RANDOM_H

/*
 * random.h - random bits from the kernel, fit for secrets. Rules get random numbers as arguments.
 */

#include <stddef.h>
#include <stdint.h>

/*
 * Fills `size` bytes. Ends the process, with a line on stderr, if the kernel has none, by
 * getrandom(2) or /dev/urandom (it blocks only at early boot).
 */
void random_bytes(void *data, size_t size);

/* 64 random bits, never 0: 0 means "none" for ids and epochs. */
uint64_t random_id(void);

#endif
