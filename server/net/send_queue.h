/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTBOX_H
#define OUTBOX_H

/*
 * outbox.h - the bytes that a stream owes its peer: a queue of chunks. Replies are encoded straight
 * into it; a large value is not copied but held as a view until the kernel took it.
 */

#include <rpc/rpc.h>

#include "core/buffer.h"

struct chunk;

/* All zero is an empty outbox. */
struct outbox {
	struct chunk *first;
	struct chunk *last;
	size_t size;   /* bytes not yet sent, those of held values included */
	size_t viewed; /* of these, bytes of held values: the store counts them */
};

/*
 * Adds one record (RFC 5531, 11): its mark and what xdr_replymsg makes of `reply`. Bytes that lie
 * in `value` are held, not copied, if there are many. False: it did not encode or there is no
 * memory; then the outbox ends in half a record and the stream must be closed.
 */
bool send_queue_reply(struct outbox *outbox, struct rpc_msg *reply, struct view value);

enum outbox_sent {
	SEND_QUEUE_EMPTY, /* all is with the kernel */
	SEND_QUEUE_BLOCKED,  /* the kernel takes no more now */
	SEND_QUEUE_ERROR,
};

/* Sends what the kernel takes, in one system call if it can. `memory` is the views'. */
enum outbox_sent send_queue_flush(struct outbox *outbox, int fd, struct memory *memory);

/* Forgets everything. */
void send_queue_clear(struct outbox *outbox, struct memory *memory);

#endif
