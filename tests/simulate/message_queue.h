/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MESSAGE_QUEUE_H
#define MESSAGE_QUEUE_H

/*
 * message_queue.h - a queue of messages: records that came in, replies that leave at the end of a
 * turn.
 */

#include "sim_network.h"

struct message {
	struct message *next;
	struct wire *wire;
	uint8_t *bytes; /* owned */
	size_t size;
};

/* First come, first taken. */
struct message_queue {
	struct message *first;
	struct message **end;
};

/* It is empty. */
void message_queue_open(struct message_queue *queue);
/* The bytes are the queue's now. */
void message_queue_put(struct message_queue *queue, struct wire *wire, uint8_t *bytes, size_t size);
/* The next one, to be freed with message_free(); NULL: there is none. */
struct message *message_queue_take(struct message_queue *queue);
/* Frees all there is. */
void message_queue_drop(struct message_queue *queue);

void message_free(struct message *message);

#endif
