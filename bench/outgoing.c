/* SPDX-License-Identifier: BSD-3-Clause */
#include "outgoing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { PIECES_AT_ONCE = 64, LEAST_CAPACITY = 4096 };

/* `lent`, or if that is NULL, bytes of `data` from `start` (which may move). */
struct outgoing_piece {
	const uint8_t *lent;
	size_t start;
	size_t size;
};

void outgoing_free(struct outgoing *out) {
	free(out->data);
	free(out->pieces);
	*out = (struct outgoing){0};
}

static bool add_piece(struct outgoing *out, struct outgoing_piece piece) {
	if (out->count == out->piece_capacity) {
		size_t capacity = out->piece_capacity == 0 ? 8 : out->piece_capacity * 2;
		struct outgoing_piece *pieces =
		    realloc(out->pieces, capacity * sizeof(*out->pieces));
		if (pieces == NULL)
			return false;
		out->pieces = pieces;
		out->piece_capacity = capacity;
	}
	out->pieces[out->count++] = piece;
	return true;
}

bool outgoing_add(struct outgoing *out, const void *data, size_t size) {
	struct outgoing_piece *last = out->count > out->first ? &out->pieces[out->count - 1] : NULL;

	if (out->capacity - out->size < size) {
		size_t capacity = out->capacity * 2 + size + LEAST_CAPACITY;
		uint8_t *bytes = realloc(out->data, capacity);
		if (bytes == NULL)
			return false;
		out->data = bytes;
		out->capacity = capacity;
	}
	if (last != NULL && last->lent == NULL)
		last->size += size;
	else if (!add_piece(out, (struct outgoing_piece){.start = out->size, .size = size}))
		return false;
	memcpy(out->data + out->size, data, size);
	out->size += size;
	return true;
}

bool outgoing_lend(struct outgoing *out, struct kv_bytes bytes) {
	if (bytes.size < OUTGOING_LEND_LEAST)
		return outgoing_add(out, bytes.data, bytes.size);
	return add_piece(out, (struct outgoing_piece){.lent = bytes.data, .size = bytes.size});
}

bool outgoing_is_empty(const struct outgoing *out) {
	return out->first == out->count;
}

static void take_away(struct outgoing *out, size_t sent) {
	while (out->first < out->count && sent >= out->pieces[out->first].size)
		sent -= out->pieces[out->first++].size;
	if (out->first == out->count) {
		out->first = out->count = out->size = 0;
		return;
	}
	struct outgoing_piece *piece = &out->pieces[out->first];
	piece->size -= sent;
	if (piece->lent != NULL)
		piece->lent += sent;
	else
		piece->start += sent;
}

bool outgoing_send(struct outgoing *out, int fd) {
	while (out->first < out->count) {
		struct iovec parts[PIECES_AT_ONCE];
		struct msghdr message = {.msg_iov = parts};

		while (message.msg_iovlen < PIECES_AT_ONCE &&
		       out->first + message.msg_iovlen < out->count) {
			struct outgoing_piece *piece =
			    &out->pieces[out->first + message.msg_iovlen];
			const uint8_t *bytes =
			    piece->lent != NULL ? piece->lent : out->data + piece->start;
			parts[message.msg_iovlen++] =
			    (struct iovec){(void *)(uintptr_t)bytes, piece->size};
		}
		ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN || errno == EINTR;
		take_away(out, (size_t)sent);
	}
	return true;
}
