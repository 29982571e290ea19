/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/recv_batch.h"

#include <errno.h>
#include <sys/socket.h>

#include "rpc/prefetch.h"

ssize_t recv_batch_read(struct recv_batch *recv_batch, int fd, struct record *record) {
	struct recv_buf *buf = &recv_batch->list[recv_batch->count];
	uint8_t *place;
	size_t room;
	ssize_t got;
	bool is_direct;

	if (!record_direct_buffer(record, &place, &room) && !record_discard(record)) {
		errno = ENOMEM;
		return -1;
	}
	is_direct = room > 0;
	if (is_direct) {
		room = room < RECV_DIRECT_MAX ? room : RECV_DIRECT_MAX;
	} else {
		place = buf->bytes;
		room = sizeof(buf->bytes);
	}
	do
		got = recv(fd, place, room, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got;
	if (is_direct)
		record_direct_filled(record, (size_t)got);
	buf->received = (size_t)got;
	buf->size = is_direct ? 0 : (size_t)got;
	buf->is_filled = (size_t)got == room;
	buf->begins = !record_is_partial(record);
	return got;
}

void recv_batch_prefetch(const struct recv_batch *recv_batch, const struct service *service) {
	struct kv_bytes keys[RECV_BATCH_MAX];
	unsigned count = 0;

	/* A single call gains nothing. */
	for (unsigned i = 0; recv_batch->count > 1 && i < recv_batch->count; i++) {
		const struct recv_buf *buf = &recv_batch->list[i];

		if (buf->begins &&
		    prefetch_key((struct kv_bytes){buf->bytes, buf->size}, &keys[count]))
			count++;
	}
	if (count > 0)
		service_prefetch(service, keys, count);
}
