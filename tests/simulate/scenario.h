/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCENARIO_H
#define SCENARIO_H

/* scenario.h - one simulation from its beginning to its end. */

#include "sim.h"

/* What came of it. */
struct outcome {
	struct figures figures;
	uint64_t hash;
	uint64_t virtual_ms;
	char failure[sizeof(((struct sim *)0)->failure)]; /* "": all promises were kept */
};

/*
 * All that follows from the seed. `is_told`: with every step on standard output. After a failure
 * memory is left as it was, for the process is about to end. False: there is no memory.
 */
bool scenario_run(uint64_t seed, bool is_told, struct outcome *outcome);

#endif
