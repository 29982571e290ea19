/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/recv_batch.h"

#include <errno.h>
#include <sys/socket.h>

#include "rpc/prefetch.h"

ssize_t recv_batch_read(struct arrivals *arrivals, int fd, struct record *record) {
	struct arrival *arrival = &arrivals->list[arrivals->count];
	uint8_t *place;
	size_t room;
	ssize_t got;
	bool is_direct;

	if (!record_direct_buffer(record, &place, &room)) {
		errno = ENOMEM;
		return -1;
	}
	is_direct = room > 0;
	if (!is_direct) {
		place = arrival->bytes;
		room = sizeof(arrival->bytes);
	}
	do
		got = recv(fd, place, room, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got;
	if (is_direct)
		record_direct_filled(record, (size_t)got);
	arrival->got = (size_t)got;
	arrival->size = is_direct ? 0 : (size_t)got;
	arrival->begins = !record_is_partial(record);
	return got;
}

void recv_batch_prefetch(const struct arrivals *arrivals, const struct service *service) {
	struct kv_bytes keys[RECV_BATCH_MAX];
	unsigned count = 0;

	/* One alone has nothing to be fetched beside it. */
	for (unsigned i = 0; arrivals->count > 1 && i < arrivals->count; i++) {
		const struct arrival *arrival = &arrivals->list[i];

		if (arrival->begins &&
		    prefetch_key((struct kv_bytes){arrival->bytes, arrival->size}, &keys[count]))
			count++;
	}
	if (count > 0)
		service_prefetch(service, keys, count);
}
