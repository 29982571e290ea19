/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RECV_BATCH_H
#define RECV_BATCH_H

/*
 * recv_batch.h - input received from up to eight connections, to be run as one batch: so that the
 * memory for the calls of all of them can be prefetched together.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/service.h"
#include "record_marking.h"

enum {
	RECV_BATCH_MAX = 8,
	RECV_BUFFER_SIZE = 64 * 1024,
	/* Received at once to a large record's own memory: what one connection costs the others in
	   a turn. */
	RECV_DIRECT_MAX = 256 * 1024,
};

struct recv_buf {
	void *owner;
	size_t received; /* bytes ... */
	size_t size;	 /* ... of which these are in `bytes`: 0 if they went to a large record */
	bool begins;	 /* with a record, not in the middle of one, which may be large */
	bool is_filled;	 /* there may be more to receive now */
	/* Aligned as records must be: see dispatch_record(). */
	_Alignas(8) uint8_t bytes[RECV_BUFFER_SIZE];
};

/* All zero: empty. The caller sets the owner of a buffer, counts it, and runs the batch when it is
 * full. */
struct recv_batch {
	unsigned count;
	struct recv_buf list[RECV_BATCH_MAX];
};

/*
 * Receives once into the next buffer: a large fragment's bytes to the memory of `record`, others to
 * the buffer. Returns what recv() with MSG_DONTWAIT returns; ENOMEM: no memory for the record.
 */
ssize_t recv_batch_read(struct recv_batch *recv_batch, int fd, struct record *record);

/*
 * Prefetches the keys of the buffers that hold one call each. Buffers with several are prefetched
 * when they are run.
 */
void recv_batch_prefetch(const struct recv_batch *recv_batch, const struct service *service);

#endif
