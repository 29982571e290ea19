/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_SIM_H
#define FAKE_SIM_H

/* fake_sim.h - a simulator without a world, for the oracles of tests/simulate: its time, and what
 * they found. */

#include <stdbool.h>
#include <stdint.h>

void fake_sim_reset(void);
void fake_sim_pass(uint64_t time_ms);

/* Whether a promise was found broken since the last time, with these words in what was said of it.
 */
bool fake_sim_failed_with(const char *words);
bool fake_sim_failed(void);

#endif
