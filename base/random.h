/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHANCE_H
#define CHANCE_H

/* chance.h - random bits from the kernel, fit for secrets. Drawn at the edges only. */

#include <stddef.h>
#include <stdint.h>

/* Fills `size` bytes. Ends the process if the kernel has none (it blocks only at early boot). */
void random_bytes(void *data, size_t size);

/* 64 random bits, never 0: 0 means "none" for ids and epochs. */
uint64_t random_id(void);

#endif
