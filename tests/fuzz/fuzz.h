/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FUZZ_H
#define FUZZ_H

/*
 * fuzz.h - what fuzz targets share. A target that serves calls defines FUZZ_IDS before: then the
 * ids that the server gives out are 1, 2, ..., so that an input can name them and always means the
 * same.
 */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool is_so) {
	if (!is_so)
		abort();
}

#ifdef FUZZ_IDS
#include "random.h"

static uint64_t last_id;

/* In place of base/random.c. */
void random_bytes(void *data, size_t size) {
	memset(data, 1, size);
}

uint64_t random_id(void) {
	return ++last_id;
}
#endif

#endif
