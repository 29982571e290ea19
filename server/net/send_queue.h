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
bool outbox_reply(struct outbox *outbox, struct rpc_msg *reply, struct view value);

enum outbox_sent {
	OUTBOX_EMPTY, /* all is with the kernel */
	OUTBOX_FULL,  /* the kernel takes no more now */
	OUTBOX_BROKEN,
};

/* Sends what the kernel takes, in one system call if it can. `memory` is the views'. */
enum outbox_sent outbox_send(struct outbox *outbox, int fd, struct memory *memory);

/* Forgets everything. */
void outbox_clear(struct outbox *outbox, struct memory *memory);

#endif
