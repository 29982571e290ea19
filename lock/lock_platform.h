/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTSIDE_H
#define OUTSIDE_H

/* outside.h - time and chance as the lock sees them. A test links functions of its own instead. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Milliseconds since some fixed moment; never goes back. */
uint64_t lock_platform_now_ms(void);

/* Returns when that time has passed, whatever signals arrive. */
void lock_platform_sleep_ms(uint64_t pause_ms);

/* Fills up to 256 bytes with random bits fit for secrets. False: the kernel has none. */
bool lock_platform_random(void *data, size_t size);

#endif
