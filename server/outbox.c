/* SPDX-License-Identifier: BSD-3-Clause */
#include "outbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
	CHUNK_SMALL = 960, /* most turns owe a peer little, and little stands between values;
			      malloc is quick up to 1 KiB */
	CHUNK_LARGE = 16 * 1024,
	HOLD_LEAST = 8 * 1024, /* below, copying is cheaper than another piece to send */
	PIECES_MAX = 64,       /* handed to the kernel at once */
};

/* Either bytes of its own, or (value.buffer not NULL) a part of a value. */
struct chunk {
	struct chunk *next;
	struct view value;
	size_t value_offset;
	size_t size;
	size_t sent;
	size_t capacity;
	unsigned char bytes[];
};

static struct chunk *chunk_add(struct outbox *outbox, size_t capacity) {
	struct chunk *chunk = malloc(sizeof(*chunk) + capacity);

	if (chunk == NULL)
		return NULL;
	memset(chunk, 0, sizeof(*chunk));
	chunk->capacity = capacity;
	if (outbox->last != NULL)
		outbox->last->next = chunk;
	else
		outbox->first = chunk;
	outbox->last = chunk;
	return chunk;
}

/* Where the next `size` bytes go, all in one chunk; NULL: no memory. `size` is small. */
static unsigned char *room(struct outbox *outbox, size_t size) {
	struct chunk *chunk = outbox->last;
	unsigned char *place;

	if (chunk == NULL || chunk->value.buffer != NULL)
		chunk = chunk_add(outbox, CHUNK_SMALL);
	else if (chunk->capacity - chunk->size < size)
		chunk = chunk_add(outbox, CHUNK_LARGE);
	if (chunk == NULL)
		return NULL;
	place = chunk->bytes + chunk->size;
	chunk->size += size;
	outbox->size += size;
	return place;
}

/* --- An XDR stream that writes to an outbox ------------------------------------------------ */

struct writer {
	struct outbox *outbox;
	struct view value; /* borrowed */
};

static bool_t put_long(XDR *xdrs, const long *number) {
	struct writer *writer = xdrs->x_private;
	unsigned char *place = room(writer->outbox, 4);
	uint32_t word = htonl((uint32_t)*number);

	if (place == NULL)
		return FALSE;
	memcpy(place, &word, sizeof(word));
	return TRUE;
}

static bool_t put_value(struct writer *writer, size_t offset, size_t size) {
	struct chunk *chunk = chunk_add(writer->outbox, 0);

	if (chunk == NULL)
		return FALSE;
	chunk->value = view_hold(writer->value);
	chunk->value_offset = offset;
	chunk->size = size;
	writer->outbox->size += size;
	writer->outbox->viewed += size;
	return TRUE;
}

static bool_t put_bytes(XDR *xdrs, const char *bytes, u_int size) {
	struct writer *writer = xdrs->x_private;
	struct kv_bytes value = view_bytes(writer->value);

	if (size >= HOLD_LEAST && bytes == value.data && size == value.size)
		return put_value(writer, 0, size);
	while (size > 0) {
		u_int part = size < CHUNK_SMALL ? size : CHUNK_SMALL;
		unsigned char *place = room(writer->outbox, part);

		if (place == NULL)
			return FALSE;
		memcpy(place, bytes, part);
		bytes += part;
		size -= part;
	}
	return TRUE;
}

static u_int position(XDR *xdrs) {
	const struct writer *writer = xdrs->x_private;

	return (u_int)writer->outbox->size;
}

static bool_t set_position(XDR *xdrs, u_int where) {
	(void)xdrs;
	(void)where;
	return FALSE;
}

static bool_t get_long(XDR *xdrs, long *number) {
	(void)xdrs;
	(void)number;
	return FALSE;
}

static bool_t get_bytes(XDR *xdrs, char *bytes, u_int size) {
	(void)xdrs;
	(void)bytes;
	(void)size;
	return FALSE;
}

/* The routines put one word after another into what this answers. */
static int32_t *in_place(XDR *xdrs, u_int size) {
	struct writer *writer = xdrs->x_private;
	const struct chunk *chunk = writer->outbox->last;

	/* Behind the padding of a held value the place would not be aligned. */
	if (size > CHUNK_SMALL || (chunk != NULL && chunk->size % BYTES_PER_XDR_UNIT != 0))
		return NULL;
	return (int32_t *)(void *)room(writer->outbox, size);
}

static void destroy(XDR *xdrs) {
	(void)xdrs;
}

static const struct xdr_ops writer_ops = {
    .x_getlong = get_long,
    .x_putlong = put_long,
    .x_getbytes = get_bytes,
    .x_putbytes = put_bytes,
    .x_getpostn = position,
    .x_setpostn = set_position,
    .x_inline = in_place,
    .x_destroy = destroy,
};

bool outbox_reply(struct outbox *outbox, struct rpc_msg *reply, struct view value) {
	struct writer writer = {.outbox = outbox, .value = value};
	XDR xdrs = {.x_op = XDR_ENCODE, .x_ops = &writer_ops, .x_private = &writer};
	unsigned char *mark = room(outbox, 4);
	size_t before = outbox->size;
	uint32_t word;

	if (mark == NULL || !xdr_replymsg(&xdrs, reply))
		return false;
	/* One fragment, and the last: the top bit. Replies are far below 2 GiB. */
	word = htonl(UINT32_C(0x80000000) | (uint32_t)(outbox->size - before));
	memcpy(mark, &word, sizeof(word));
	return true;
}

/* --- Sending ------------------------------------------------------------------------------- */

static int gather(const struct outbox *outbox, struct iovec pieces[PIECES_MAX]) {
	int count = 0;

	for (struct chunk *chunk = outbox->first; chunk != NULL && count < PIECES_MAX;
	     chunk = chunk->next) {
		const unsigned char *bytes = chunk->bytes;

		/* Looked up only now: a buffer that grows may move. */
		if (chunk->value.buffer != NULL)
			bytes = (const unsigned char *)view_bytes(chunk->value).data +
				chunk->value_offset;
		pieces[count].iov_base = (void *)(uintptr_t)(bytes + chunk->sent);
		pieces[count].iov_len = chunk->size - chunk->sent;
		count++;
	}
	return count;
}

static void chunk_remove(struct outbox *outbox, struct memory *memory) {
	struct chunk *chunk = outbox->first;

	outbox->first = chunk->next;
	if (outbox->first == NULL)
		outbox->last = NULL;
	view_drop(memory, &chunk->value);
	free(chunk);
}

static void took(struct outbox *outbox, size_t sent, struct memory *memory) {
	outbox->size -= sent;
	while (outbox->first != NULL) {
		struct chunk *chunk = outbox->first;
		size_t left = chunk->size - chunk->sent;
		size_t part = sent < left ? sent : left;

		if (chunk->value.buffer != NULL)
			outbox->viewed -= part;
		chunk->sent += part;
		if (part < left)
			return;
		sent -= part;
		chunk_remove(outbox, memory);
	}
}

enum outbox_sent outbox_send(struct outbox *outbox, int fd, struct memory *memory) {
	struct iovec pieces[PIECES_MAX];

	while (outbox->size > 0) {
		size_t before = outbox->size;
		struct msghdr message = {.msg_iov = pieces,
					 .msg_iovlen = (size_t)gather(outbox, pieces)};
		bool all = outbox->first != NULL && message.msg_iovlen < PIECES_MAX;
		ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM
				   ? OUTBOX_FULL
				   : OUTBOX_BROKEN;
		took(outbox, (size_t)sent, memory);
		/* Less than was offered: the socket is full, and epoll says when it is not. */
		if (all && (size_t)sent < before)
			return OUTBOX_FULL;
	}
	return OUTBOX_EMPTY;
}

void outbox_clear(struct outbox *outbox, struct memory *memory) {
	while (outbox->first != NULL)
		chunk_remove(outbox, memory);
	outbox->size = outbox->viewed = 0;
}
