/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/send_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "record_marking.h"
#include "rpc/xdr_inplace.h"
#include "tls/tls_session.h"

enum {
	CHUNK_SMALL = 960, /* enough for most turns, and between values; malloc() is fast up to
			      1 KiB */
	CHUNK_LARGE = 16 * 1024,
	REFERENCE_MIN = 8 * 1024, /* a smaller value is cheaper to copy than to send apart */
	PIECES_MAX = 64,	  /* in one system call */
};

/* Either bytes of its own, or (value.buffer not NULL) a value. The last one has bytes of its own.
 */
struct send_chunk {
	struct send_chunk *next;
	struct view value;
	size_t size;
	size_t sent; /* or skipped */
	size_t capacity;
	unsigned char bytes[];
};

static struct send_chunk *chunk_add(struct send_queue *send_queue, size_t capacity) {
	struct send_chunk *chunk = malloc(sizeof(*chunk) + capacity);

	if (chunk == NULL)
		return NULL;
	memset(chunk, 0, sizeof(*chunk));
	chunk->capacity = capacity;
	if (send_queue->last != NULL)
		send_queue->last->next = chunk;
	else
		send_queue->first = chunk;
	send_queue->last = chunk;
	return chunk;
}

/* --- An XDR stream that writes to a send queue ---------------------------------------------- */

/*
 * It writes to the end of the last chunk (see xdr_inplace.h); what it wrote since x_base is not in
 * the chunk's size yet, nor in the send_queue's. x_public is its struct writer.
 */
struct writer {
	struct send_queue *send_queue;
	struct view value; /* borrowed */
};

static struct writer *writer_of(const XDR *xdrs) {
	return (struct writer *)(void *)xdrs->x_public;
}

static void write_to(XDR *xdrs, struct send_chunk *chunk) {
	xdrs->x_base = (char *)chunk->bytes + chunk->size;
	xdrs->x_private = xdrs->x_base;
	xdrs->x_handy = (u_int)(chunk->capacity - chunk->size);
}

/* Counts what was written. */
static void count_written(XDR *xdrs) {
	struct send_queue *send_queue = writer_of(xdrs)->send_queue;
	size_t written = (size_t)((char *)xdrs->x_private - xdrs->x_base);

	xdrs->x_base = xdrs->x_private;
	send_queue->last->size += written;
	send_queue->size += written;
}

/* For when the last chunk has no space for `size` bytes. */
static int32_t *in_place(XDR *xdrs, u_int size) {
	struct send_chunk *chunk;

	count_written(xdrs);
	chunk = size <= CHUNK_LARGE ? chunk_add(writer_of(xdrs)->send_queue, CHUNK_LARGE) : NULL;
	if (chunk == NULL)
		return NULL;
	write_to(xdrs, chunk);
	return xdr_inplace_advance(xdrs, size);
}

/* References the value, and adds a chunk for what follows it. */
static bool_t put_value(XDR *xdrs) {
	struct writer *writer = writer_of(xdrs);
	struct send_queue *send_queue = writer->send_queue;
	struct send_chunk *chunk;

	count_written(xdrs);
	chunk = chunk_add(send_queue, 0);
	if (chunk == NULL)
		return FALSE;
	chunk->value = view_ref(writer->value);
	chunk->size = chunk->value.size;
	send_queue->size += chunk->size;
	send_queue->viewed += chunk->size;
	chunk = chunk_add(send_queue, CHUNK_SMALL);
	if (chunk == NULL)
		return FALSE;
	/* Words stay aligned: the padding is at the offset that it has in the record. */
	chunk->size = chunk->sent = writer->value.size % BYTES_PER_XDR_UNIT;
	write_to(xdrs, chunk);
	return TRUE;
}

static bool_t put_bytes(XDR *xdrs, const char *bytes, u_int size) {
	struct kv_bytes value = view_bytes(writer_of(xdrs)->value);

	if (size >= REFERENCE_MIN && bytes == value.data && size == value.size)
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
	return (u_int)writer_of(xdrs)->send_queue->size;
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

bool send_queue_reply(struct send_queue *send_queue, struct rpc_msg *reply, struct view value) {
	struct writer writer = {.send_queue = send_queue, .value = value};
	XDR xdrs = {.x_op = XDR_ENCODE, .x_ops = &writer_ops, .x_public = (char *)&writer};
	size_t before = send_queue->size;
	uint8_t *mark;

	if (send_queue->last == NULL && chunk_add(send_queue, CHUNK_SMALL) == NULL)
		return false;
	write_to(&xdrs, send_queue->last);
	mark = xdr_inplace_advance(&xdrs, RECORD_MARK_SIZE);
	if (mark == NULL || !xdr_inplace_replymsg(&xdrs, reply))
		return false;
	count_written(&xdrs);
	record_mark(mark, send_queue->size - before - RECORD_MARK_SIZE);
	return true;
}

/* --- Sending ------------------------------------------------------------------------------- */

static int gather(const struct send_queue *send_queue, struct iovec pieces[PIECES_MAX]) {
	int count = 0;

	for (struct send_chunk *chunk = send_queue->first; chunk != NULL && count < PIECES_MAX;
	     chunk = chunk->next) {
		const unsigned char *bytes = chunk->bytes;

		/* Because a buffer that grows may move, its address is taken only now. */
		if (chunk->value.buffer != NULL)
			bytes = view_bytes(chunk->value).data;
		pieces[count].iov_base = (void *)(uintptr_t)(bytes + chunk->sent);
		pieces[count].iov_len = chunk->size - chunk->sent;
		count++;
	}
	return count;
}

static void chunk_remove(struct send_queue *send_queue, struct mem_account *memory) {
	struct send_chunk *chunk = send_queue->first;

	send_queue->first = chunk->next;
	if (send_queue->first == NULL)
		send_queue->last = NULL;
	view_unref(memory, &chunk->value);
	free(chunk);
}

static void remove_sent(struct send_queue *send_queue, size_t sent, struct mem_account *memory) {
	send_queue->size -= sent;
	while (send_queue->first != NULL) {
		struct send_chunk *chunk = send_queue->first;
		size_t left = chunk->size - chunk->sent;
		size_t part = sent < left ? sent : left;

		if (chunk->value.buffer != NULL)
			send_queue->viewed -= part;
		chunk->sent += part;
		if (part < left)
			return;
		sent -= part;
		chunk_remove(send_queue, memory);
	}
}

/* Makes one system call. Sets *all to whether everything was offered. */
static ssize_t offer(const struct send_queue *send_queue, int fd, bool *all) {
	enum { HOW = MSG_NOSIGNAL | MSG_DONTWAIT };
	struct iovec pieces[PIECES_MAX];
	struct msghdr message = {.msg_iov = pieces,
				 .msg_iovlen = (size_t)gather(send_queue, pieces)};

	*all = message.msg_iovlen < PIECES_MAX;
	/* send() costs the kernel less than sendmsg(), and suffices in most turns. */
	if (message.msg_iovlen == 1)
		return send(fd, pieces[0].iov_base, pieces[0].iov_len, HOW);
	return sendmsg(fd, &message, HOW);
}

static bool would_block(void) {
	return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM;
}

enum send_queue_state send_queue_flush(struct send_queue *send_queue, int fd,
				       struct mem_account *memory) {
	while (send_queue->size > 0) {
		size_t before = send_queue->size;
		bool all;
		ssize_t sent = offer(send_queue, fd, &all);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return would_block() ? SEND_QUEUE_BLOCKED : SEND_QUEUE_ERROR;
		remove_sent(send_queue, (size_t)sent, memory);
		/* Less than was offered: the socket is full, and epoll reports when it is not. */
		if (all && (size_t)sent < before)
			return SEND_QUEUE_BLOCKED;
	}
	return SEND_QUEUE_EMPTY;
}

/* --- Sending through TLS -------------------------------------------------------------------- */

/* Returns how many bytes the kernel took; -1: it failed. */
static ssize_t send_bytes(int fd, const unsigned char *bytes, size_t size) {
	ssize_t sent;

	do
		sent = send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 && would_block() ? 0 : sent;
}

bool send_queue_add_sealed(struct send_queue *send_queue, const void *bytes, size_t size) {
	struct send_chunk *chunk = send_queue->sealed;
	size_t before = chunk == NULL ? 0 : chunk->size - chunk->sent;

	if (size == 0)
		return true;
	if (before + size > SEND_QUEUE_SEALED_MAX)
		return false;
	chunk = malloc(sizeof(*chunk) + before + size);
	if (chunk == NULL)
		return false;
	memset(chunk, 0, sizeof(*chunk));
	chunk->size = chunk->capacity = before + size;
	if (before > 0)
		memcpy(chunk->bytes, send_queue->sealed->bytes + send_queue->sealed->sent, before);
	memcpy(chunk->bytes + before, bytes, size);
	free(send_queue->sealed);
	send_queue->sealed = chunk;
	send_queue->size += size;
	return true;
}

static enum send_queue_state flush_sealed(struct send_queue *send_queue, int fd) {
	struct send_chunk *chunk = send_queue->sealed;
	ssize_t sent;

	if (chunk == NULL)
		return SEND_QUEUE_EMPTY;
	sent = send_bytes(fd, chunk->bytes + chunk->sent, chunk->size - chunk->sent);
	if (sent < 0)
		return SEND_QUEUE_ERROR;
	chunk->sent += (size_t)sent;
	send_queue->size -= (size_t)sent;
	if (chunk->sent < chunk->size)
		return SEND_QUEUE_BLOCKED;
	free(chunk);
	send_queue->sealed = NULL;
	return SEND_QUEUE_EMPTY;
}

/*
 * Encrypts the next bytes: of a large chunk from where they lie, of small ones together. Returns
 * how many, or 0 if that failed.
 */
static size_t seal_next(const struct send_queue *send_queue, struct tls_session *tls,
			struct tls_out *out) {
	unsigned char merged[SEND_QUEUE_MERGE_MAX];
	struct iovec pieces[PIECES_MAX];
	int count = gather(send_queue, pieces);
	size_t size = 0;

	if (count == 1 || pieces[0].iov_len >= sizeof(merged))
		return tls_session_send(tls, pieces[0].iov_base, pieces[0].iov_len, out);
	for (int i = 0; i < count && size < sizeof(merged); i++) {
		size_t part = pieces[i].iov_len < sizeof(merged) - size ? pieces[i].iov_len
									: sizeof(merged) - size;

		if (part > 0)
			memcpy(merged + size, pieces[i].iov_base, part);
		size += part;
	}
	return tls_session_send(tls, merged, size, out);
}

/* Encrypts as much as `out` takes at once. *done counts the bytes. */
static bool seal(struct send_queue *send_queue, struct tls_session *tls, struct tls_out *out,
		 size_t *done, struct mem_account *memory) {
	while (send_queue->size > 0 && out->size < TLS_AHEAD_MAX && *done < SEND_QUEUE_TURN_MAX) {
		size_t part = seal_next(send_queue, tls, out);

		if (part == 0)
			return false;
		remove_sent(send_queue, part, memory);
		*done += part;
	}
	return true;
}

enum send_queue_state send_queue_flush_tls(struct send_queue *send_queue, int fd,
					   struct tls_session *tls, struct tls_out *out,
					   struct mem_account *memory) {
	enum send_queue_state state = flush_sealed(send_queue, fd);
	size_t done = 0;

	while (state == SEND_QUEUE_EMPTY && send_queue->size > 0) {
		ssize_t sent;

		if (done >= SEND_QUEUE_TURN_MAX)
			return SEND_QUEUE_BLOCKED;
		if (!seal(send_queue, tls, out, &done, memory)) {
			errno = EPROTO;
			state = SEND_QUEUE_ERROR;
			break;
		}
		sent = send_bytes(fd, out->bytes, out->size);
		if (sent < 0 ||
		    !send_queue_add_sealed(send_queue, out->bytes + sent, out->size - (size_t)sent))
			state = SEND_QUEUE_ERROR;
		else if ((size_t)sent < out->size)
			state = SEND_QUEUE_BLOCKED;
		out->size = 0;
	}
	out->size = 0;
	return state;
}

void send_queue_clear(struct send_queue *send_queue, struct mem_account *memory) {
	free(send_queue->sealed);
	send_queue->sealed = NULL;
	while (send_queue->first != NULL)
		chunk_remove(send_queue, memory);
	send_queue->size = send_queue->viewed = 0;
}
