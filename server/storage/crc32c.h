/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CRC32C_H
#define CRC32C_H

/* crc32c.h - the checksum of segments, batches, snapshots and the manifest. */

#include <stddef.h>
#include <stdint.h>

/*
 * CRC32C (RFC 3720, B.4) of these bytes behind those that have the checksum `before`; 0: behind
 * none.
 */
uint32_t crc32c(uint32_t before, const void *data, size_t size);

#endif
