/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SEND_QUEUE_H
#define SEND_QUEUE_H

/*
 * send_queue.h - send queue of a connection: chunks that the kernel has not accepted yet. Replies
 * are encoded straight into it; a large value is not copied but referenced until it was sent.
 */

#include <rpc/rpc.h>

#include "core/buffer.h"

struct send_chunk;
struct tls_out;
struct tls_session;

enum {
	SEND_QUEUE_MERGE_MAX = 16 * 1024,   /* small chunks are encrypted together up to this */
	SEND_QUEUE_SEALED_MAX = 256 * 1024, /* encrypted bytes that the kernel has not accepted */
	SEND_QUEUE_TURN_MAX = 1024 * 1024,  /* bytes encrypted in one call */
};

/* All zero: empty. */
struct send_queue {
	struct send_chunk *sealed; /* encrypted, and ahead of all others; NULL: nothing */
	struct send_chunk *first;
	struct send_chunk *last;
	size_t size;   /* bytes not yet sent, those encrypted and of referenced values included */
	size_t viewed; /* of these, bytes of referenced values: the store counts them */
};

/*
 * Adds one record (RFC 5531, 11): its mark and what xdr_replymsg() encodes of `reply`. If it has
 * the bytes of `value`, and these are many, they are referenced and not copied. False if it did not
 * encode or there is no memory: then the queue ends in a part of a record, and the connection must
 * be closed.
 */
bool send_queue_reply(struct send_queue *send_queue, struct rpc_msg *reply, struct view value);

enum send_queue_state {
	SEND_QUEUE_EMPTY,   /* the kernel has all of it */
	SEND_QUEUE_BLOCKED, /* the kernel takes no more now */
	SEND_QUEUE_ERROR,   /* errno is set */
};

/* Sends what the kernel takes, with one system call if possible. `memory` is that of the views. */
enum send_queue_state send_queue_flush(struct send_queue *send_queue, int fd,
				       struct mem_account *memory);

/*
 * The same through `tls`, whose output goes by `out`, which is empty before and after. Stops after
 * SEND_QUEUE_TURN_MAX, as if the kernel took no more.
 */
enum send_queue_state send_queue_flush_tls(struct send_queue *send_queue, int fd,
					   struct tls_session *tls, struct tls_out *out,
					   struct mem_account *memory);

/*
 * Adds encrypted bytes, ahead of all that is not encrypted. False: no memory, or more than
 * SEND_QUEUE_SEALED_MAX.
 */
bool send_queue_add_sealed(struct send_queue *send_queue, const void *bytes, size_t size);

/* Discards everything. */
void send_queue_clear(struct send_queue *send_queue, struct mem_account *memory);

#endif
