/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/crc32c.h"

#include <isa-l/crc.h>
#include <limits.h>

uint32_t crc32c(uint32_t before, const void *data, size_t size) {
	uint8_t *next = (uint8_t *)(uintptr_t)data;
	uint32_t state = ~before;

	while (size > 0) {
		int piece = size < INT_MAX ? (int)size : INT_MAX;

		state = crc32_iscsi(next, piece, state);
		next += piece;
		size -= (size_t)piece;
	}
	return ~state;
}
