/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ARRIVALS_H
#define ARRIVALS_H

/*
 * arrivals.h - what was read from several connections and not yet run: so that the memory for the
 * calls of all of them can be fetched at the same time, while the next one is read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "record_marking.h"
#include "core/service.h"

enum {
	RECV_BATCH_MAX = 8,
	RECV_BUFFER_SIZE = 64 * 1024, /* bytes read at once */
};

struct arrival {
	void *owner;
	size_t got;  /* bytes read ... */
	size_t size; /* ... and those that lie here: 0 if they went to a record of their own */
	bool begins; /* with a record, not in the middle of one, which may be large */
	/* Aligned as records need it: see dispatch_record(). */
	_Alignas(8) uint8_t bytes[RECV_BUFFER_SIZE];
};

/* Zeros: empty. Whoever reads one puts its owner there, counts it, and runs them when it is full.
 */
struct arrivals {
	unsigned count;
	struct arrival list[RECV_BATCH_MAX];
};

/*
 * Reads once into the next arrival: large fragments to where they belong in `record`, the rest to
 * its bytes. Like recv() that does not wait; ENOMEM: there is none for the record.
 */
ssize_t recv_batch_read(struct arrivals *arrivals, int fd, struct record *record);

/* Fetches the memory for those that are one call. Of several in one, whoever runs them sees to it.
 */
void recv_batch_prefetch(const struct arrivals *arrivals, const struct service *service);

#endif
