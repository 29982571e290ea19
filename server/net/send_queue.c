/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/send_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "record_marking.h"
#include "rpc/xdr_inplace.h"

enum {
	CHUNK_SMALL = 960, /* most turns owe a peer little, and little stands between values;
			      malloc is quick up to 1 KiB */
	CHUNK_LARGE = 16 * 1024,
	HOLD_LEAST = 8 * 1024, /* below, copying is cheaper than another piece to send */
	PIECES_MAX = 64,       /* handed to the kernel at once */
};

/* Either bytes of its own, or (value.buffer not NULL) a value. The last one is of the first kind.
 */
struct chunk {
	struct chunk *next;
	struct view value;
	size_t size;
	size_t sent; /* or never to be sent */
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

/* --- An XDR stream that writes to an outbox ------------------------------------------------ */

/*
 * It writes to the end of the last chunk (see wire.h); what it wrote since x_base is not in the
 * chunk's size yet, nor in the outbox's. x_public is its struct writer.
 */
struct writer {
	struct outbox *outbox;
	struct view value; /* borrowed */
};

static struct writer *writer_of(const XDR *xdrs) {
	return (struct writer *)(void *)xdrs->x_public;
}

static void write_to(XDR *xdrs, struct chunk *chunk) {
	xdrs->x_base = (char *)chunk->bytes + chunk->size;
	xdrs->x_private = xdrs->x_base;
	xdrs->x_handy = (u_int)(chunk->capacity - chunk->size);
}

/* Counts what was written. */
static void count_written(XDR *xdrs) {
	struct outbox *outbox = writer_of(xdrs)->outbox;
	size_t written = (size_t)((char *)xdrs->x_private - xdrs->x_base);

	xdrs->x_base = xdrs->x_private;
	outbox->last->size += written;
	outbox->size += written;
}

/* The chunk at hand has no room for them. */
static int32_t *in_place(XDR *xdrs, u_int size) {
	struct chunk *chunk;

	count_written(xdrs);
	chunk = size <= CHUNK_LARGE ? chunk_add(writer_of(xdrs)->outbox, CHUNK_LARGE) : NULL;
	if (chunk == NULL)
		return NULL;
	write_to(xdrs, chunk);
	return xdr_inplace_advance(xdrs, size);
}

/* Holds the value, and begins another chunk for what comes behind it. */
static bool_t put_value(XDR *xdrs) {
	struct writer *writer = writer_of(xdrs);
	struct outbox *outbox = writer->outbox;
	struct chunk *chunk;

	count_written(xdrs);
	chunk = chunk_add(outbox, 0);
	if (chunk == NULL)
		return FALSE;
	chunk->value = view_ref(writer->value);
	chunk->size = chunk->value.size;
	outbox->size += chunk->size;
	outbox->viewed += chunk->size;
	chunk = chunk_add(outbox, CHUNK_SMALL);
	if (chunk == NULL)
		return FALSE;
	/* The padding begins where it would if the value were here, so that words are aligned. */
	chunk->size = chunk->sent = writer->value.size % BYTES_PER_XDR_UNIT;
	write_to(xdrs, chunk);
	return TRUE;
}

static bool_t put_bytes(XDR *xdrs, const char *bytes, u_int size) {
	struct kv_bytes value = view_bytes(writer_of(xdrs)->value);

	if (size >= HOLD_LEAST && bytes == value.data && size == value.size)
		return put_value(xdrs);
	while (size > xdrs->x_handy) {
		u_int part = xdrs->x_handy;

		memcpy(xdr_inplace_advance(xdrs, part), bytes, part);
		bytes += part;
		size -= part;
		if (in_place(xdrs, 0) == NULL)
			return FALSE;
	}
	memcpy(xdr_inplace_advance(xdrs, size), bytes, size);
	return TRUE;
}

static u_int position(XDR *xdrs) {
	count_written(xdrs);
	return (u_int)writer_of(xdrs)->outbox->size;
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

static void destroy(XDR *xdrs) {
	(void)xdrs;
}

static const struct xdr_ops writer_ops = {
    .x_getlong = get_long,
    .x_putlong = wire_put_long,
    .x_getbytes = get_bytes,
    .x_putbytes = put_bytes,
    .x_getpostn = position,
    .x_setpostn = set_position,
    .x_inline = in_place,
    .x_destroy = destroy,
};

bool send_queue_reply(struct outbox *outbox, struct rpc_msg *reply, struct view value) {
	struct writer writer = {.outbox = outbox, .value = value};
	XDR xdrs = {.x_op = XDR_ENCODE, .x_ops = &writer_ops, .x_public = (char *)&writer};
	size_t before = outbox->size;
	uint8_t *mark;

	if (outbox->last == NULL && chunk_add(outbox, CHUNK_SMALL) == NULL)
		return false;
	write_to(&xdrs, outbox->last);
	mark = xdr_inplace_advance(&xdrs, RECORD_MARK_SIZE);
	if (mark == NULL || !xdr_inplace_replymsg(&xdrs, reply))
		return false;
	count_written(&xdrs);
	record_mark(mark, outbox->size - before - RECORD_MARK_SIZE);
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
			bytes = view_bytes(chunk->value).data;
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
	view_unref(memory, &chunk->value);
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

/* One system call. *all: whether everything was offered. */
static ssize_t offer(const struct outbox *outbox, int fd, bool *all) {
	enum { HOW = MSG_NOSIGNAL | MSG_DONTWAIT };
	struct iovec pieces[PIECES_MAX];
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)gather(outbox, pieces)};

	*all = message.msg_iovlen < PIECES_MAX;
	/* The kernel does less for this one, and it is what most turns need. */
	if (message.msg_iovlen == 1)
		return send(fd, pieces[0].iov_base, pieces[0].iov_len, HOW);
	return sendmsg(fd, &message, HOW);
}

enum outbox_sent send_queue_flush(struct outbox *outbox, int fd, struct memory *memory) {
	while (outbox->size > 0) {
		size_t before = outbox->size;
		bool all;
		ssize_t sent = offer(outbox, fd, &all);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM
				   ? SEND_QUEUE_BLOCKED
				   : SEND_QUEUE_ERROR;
		took(outbox, (size_t)sent, memory);
		/* Less than was offered: the socket is full, and epoll says when it is not. */
		if (all && (size_t)sent < before)
			return SEND_QUEUE_BLOCKED;
	}
	return SEND_QUEUE_EMPTY;
}

void send_queue_clear(struct outbox *outbox, struct memory *memory) {
	while (outbox->first != NULL)
		chunk_remove(outbox, memory);
	outbox->size = outbox->viewed = 0;
}
