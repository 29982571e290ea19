/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TIMING_H
#define TIMING_H

/* timing.h - The monotonic clock in fractions of a millisecond, and pauses on it. Any thread. */

/* Milliseconds since some fixed moment; never goes back. */
double timing_now_ms(void);

/* Pause until that moment, or for that long, whatever signal handlers run meanwhile. */
void timing_sleep_until_ms(double ms);
void timing_sleep_ms(double ms);

#endif
