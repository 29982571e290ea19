/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTGOING_H
#define OUTGOING_H

/* outgoing.h - bytes on their way into one socket: small ones copied, large ones lent. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum { OUTGOING_LEND_LEAST = 16 * 1024 };

/* All zero has nothing to send. */
struct outgoing {
	uint8_t *data; /* owned */
	size_t size, capacity;
	struct outgoing_piece *pieces; /* owned; what is to be sent, in order */
	size_t first, count, piece_capacity;
};

/* Frees all but the struct, which is empty again. */
void outgoing_free(struct outgoing *out);

/* Adds a copy. False: no memory. */
bool outgoing_add(struct outgoing *out, const void *data, size_t size);

/* Adds bytes that stay where they are until all is sent; small ones are copied. */
bool outgoing_lend(struct outgoing *out, struct kv_bytes bytes);

bool outgoing_is_empty(const struct outgoing *out);

/* Sends what the socket takes now. False: it failed, and errno says why. */
bool outgoing_send(struct outgoing *out, int fd);

#endif
