/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLOCK_H
#define CLOCK_H

/* clock.h - the monotonic clock. Read only where input arrives; rules get the time as a number. */

#include <stdint.h>

/* Nanoseconds, and milliseconds, since some fixed moment (CLOCK_MONOTONIC). */
uint64_t clock_ns(void);
uint64_t clock_ms(void);

#endif
