/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOT_WAIT_H
#define SNAPSHOT_WAIT_H

/* snapshot_wait.h - Waits until a snapshot that was asked for is published, and shows how far it
 * is. */

#include <stdint.h>

#include "kvctl.h"

enum { SNAPSHOT_FOREVER = UINT32_MAX };

/* What the server's counters say of snapshots. */
struct snapshot_progress {
	uint64_t published;
	uint64_t position; /* of the last one published */
	uint64_t bytes;
	uint64_t ms;
	uint64_t under_way; /* this one, or the one before it */
	uint64_t error;
	uint64_t writing;  /* bytes so far */
	uint64_t expected; /* about how many in all */
	uint64_t memory;   /* what the server holds: no snapshot is much larger */
};

/*
 * Asks for a snapshot, and waits up to wait_ms (0: not at all, and *progress is all zero).
 * CODE_DONE with what was published, or an error line and an exit code. *has_answered: the server
 * did.
 */
int snapshot_take(const struct settings *settings, const char *name, struct kv_client *client,
		  unsigned wait_ms, struct snapshot_progress *progress, bool *has_answered);

#endif
