/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_PLATFORM_H
#define LOCK_PLATFORM_H

/* lock_platform.h - clock, sleep, random bits and process of the lock. A test links functions of
 * its own. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Milliseconds since some fixed moment; never goes back. */
uint64_t lock_platform_now_ms(void);

/* The same, but it goes on while the machine sleeps (CLOCK_BOOTTIME): for leases. */
uint64_t lock_platform_boot_ms(void);

/* Milliseconds since 1970 by the machine's calendar, which may be set: for people. */
uint64_t lock_platform_calendar_ms(void);

/* Returns when that time has passed, whatever signals arrive. */
void lock_platform_sleep_ms(uint64_t pause_ms);

/* Fills up to 256 bytes with random bits fit for secrets. False: the kernel has none. */
bool lock_platform_random(void *data, size_t size);

/*
 * Describes this process to people, with the program (NULL: its own), in one line of at most `size`
 * bytes. Returns its size.
 */
size_t lock_platform_describe(const char *program, char *text, size_t size);

#endif
