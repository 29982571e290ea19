/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_CLOCK_H
#define FAKE_CLOCK_H

/* fake_clock.h - time and random numbers of fake_kv.h, and the lock's platform (lock_platform.h).
 */

#include <stdbool.h>
#include <stdint.h>

/*
 * Time 0, no events, no pauses. `end_leases` ends those whose time is up, and returns whether there
 * are others; it is called whenever time has passed.
 */
void fake_clock_reset(bool (*end_leases)(void));

/* The clock of leases: goes on while the machine sleeps. */
uint64_t fake_boot_ms(void);

#endif
