/* SPDX-License-Identifier: BSD-3-Clause */
#include "message_queue.h"

#include <stdlib.h>

#include "sim.h"

void message_queue_open(struct message_queue *queue) {
	queue->first = NULL;
	queue->end = &queue->first;
}

void message_queue_put(struct message_queue *queue, struct wire *wire, uint8_t *bytes,
		       size_t size) {
	struct message *message = or_die(calloc(1, sizeof(*message)));

	*message = (struct message){.wire = wire, .bytes = bytes, .size = size};
	*queue->end = message;
	queue->end = &message->next;
}

struct message *message_queue_take(struct message_queue *queue) {
	struct message *message = queue->first;

	if (message == NULL)
		return NULL;
	queue->first = message->next;
	if (queue->first == NULL)
		queue->end = &queue->first;
	return message;
}

void message_queue_drop(struct message_queue *queue) {
	struct message *message;

	while ((message = message_queue_take(queue)) != NULL)
		message_free(message);
}

void message_free(struct message *message) {
	free(message->bytes);
	free(message);
}
