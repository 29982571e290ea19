/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LE_H
#define LE_H

/* le.h - little-endian numbers in files, at any alignment. */

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void le_put16(uint8_t *to, uint16_t number) {
	number = htole16(number);
	memcpy(to, &number, sizeof(number));
}

static inline void le_put32(uint8_t *to, uint32_t number) {
	number = htole32(number);
	memcpy(to, &number, sizeof(number));
}

static inline void le_put64(uint8_t *to, uint64_t number) {
	number = htole64(number);
	memcpy(to, &number, sizeof(number));
}

static inline uint16_t le_get16(const uint8_t *from) {
	uint16_t number;

	memcpy(&number, from, sizeof(number));
	return le16toh(number);
}

static inline uint32_t le_get32(const uint8_t *from) {
	uint32_t number;

	memcpy(&number, from, sizeof(number));
	return le32toh(number);
}

static inline uint64_t le_get64(const uint8_t *from) {
	uint64_t number;

	memcpy(&number, from, sizeof(number));
	return le64toh(number);
}

#endif
