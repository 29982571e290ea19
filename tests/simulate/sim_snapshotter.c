/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_snapshotter.c - in place of the server's, which forks: the contract of storage/snapshotter.h,
 * phases and calls of snapshot.h. The "child" writes the file in the blink of an eye at the fork,
 * which is what it sees of the memory; that it has ended is heard a while later. So a crash finds a
 * whole snapshot without a name, one half written (the disk crashes in the middle of it), or one
 * published a moment ago; what it never finds is a child that goes on writing while the journal
 * does. The journal_bytes for one are few, so that there are many.
 */

#include "storage/snapshotter.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "sim.h"
#include "storage/snapshot.h"

enum {
	BYTES_LEAST = 1500, /* of the journal, between two */
	BYTES_MOST = 12000,
	WRITING_MS = 400, /* at most */
	RETRY_MS = 500,
};

enum phase { IDLE, WRITING, WAITING, PUBLISHING };

struct snapshotter {
	struct vfs *disk;
	const struct service *service;
	enum phase phase;
	uint64_t position;
	uint64_t ready_ms; /* when the child has ended, or the thread has published */
	uint64_t next_bytes;
	uint64_t journal_bytes;
	uint64_t retry_ms;
	int error;
	struct snapshotter_counters counters;
};

static uint64_t some_bytes(void) {
	return prng_between(&sim()->prng, BYTES_LEAST, BYTES_MOST);
}

struct snapshotter *snapshotter_new(struct vfs *disk, const struct service *service,
				    uint64_t last_bytes) {
	struct snapshotter *snapshotter = calloc(1, sizeof(*snapshotter));

	(void)last_bytes;
	if (snapshotter == NULL)
		return NULL;
	*snapshotter =
	    (struct snapshotter){.disk = disk, .service = service, .next_bytes = some_bytes()};
	return snapshotter;
}

/* The process may be dead already, so the disk is left as it is: recovery sees to what is left. */
void snapshotter_free(struct snapshotter *snapshotter) {
	free(snapshotter);
}

int snapshotter_fd(const struct snapshotter *snapshotter) {
	(void)snapshotter;
	return -1;
}

bool snapshotter_is_due(const struct snapshotter *snapshotter, uint64_t journal_bytes,
			uint64_t now_ms) {
	return snapshotter->phase == IDLE && now_ms >= snapshotter->retry_ms &&
	       journal_bytes >= snapshotter->next_bytes;
}

bool snapshotter_start(struct snapshotter *snapshotter, uint64_t position, uint64_t journal_bytes,
		       uint64_t now_ms) {
	if (snapshotter->phase != IDLE)
		return false;
	snapshotter->phase = WRITING;
	snapshotter->position = position;
	snapshotter->journal_bytes = journal_bytes;
	snapshotter->ready_ms = now_ms + prng_between(&sim()->prng, 0, WRITING_MS);
	snapshotter->error =
	    snapshot_write(snapshotter->disk, snapshotter->service, position, NULL, NULL);
	sim_log("snapshot: written up to operation %llu (%d)", (unsigned long long)position,
		snapshotter->error);
	return true;
}

static enum snapshotter_state give_up(struct snapshotter *snapshotter, uint64_t now_ms) {
	(void)snapshot_discard(snapshotter->disk);
	snapshotter->phase = IDLE;
	snapshotter->retry_ms = now_ms + RETRY_MS;
	snapshotter->counters.failed++;
	return SNAPSHOTTER_FAILED;
}

static enum snapshotter_state publish(struct snapshotter *snapshotter, uint64_t now_ms,
				      uint64_t *position) {
	int error = 0;

	switch (snapshot_publish(snapshotter->disk, snapshotter->position, &error)) {
	case PUBLISH_DONE:
		break;
	case PUBLISH_REFUSED:
		return give_up(snapshotter, now_ms);
	case PUBLISH_UNKNOWN:
		log_error("cannot sync the names in the directory: %s", strerror(-error));
		return SNAPSHOTTER_BROKEN;
	}
	(void)snapshot_remove_others(snapshotter->disk, snapshotter->position);
	sim()->figures.snapshots++;
	snapshotter->phase = IDLE;
	snapshotter->next_bytes = snapshotter->journal_bytes + some_bytes();
	snapshotter->counters.published++;
	*position = snapshotter->position;
	return SNAPSHOTTER_PUBLISHED;
}

enum snapshotter_state snapshotter_poll(struct snapshotter *snapshotter, uint64_t durable,
					uint64_t now_ms, uint64_t *position) {
	switch (snapshotter->phase) {
	case IDLE:
		return SNAPSHOTTER_IDLE;
	case WRITING:
		if (now_ms < snapshotter->ready_ms)
			return SNAPSHOTTER_WRITING;
		if (snapshotter->error < 0)
			return give_up(snapshotter, now_ms);
		snapshotter->phase = WAITING;
		break;
	case WAITING:
		break;
	case PUBLISHING:
		return publish(snapshotter, now_ms, position);
	}
	if (durable < snapshotter->position)
		return SNAPSHOTTER_WAITING;
	/* What the thread does is seen by the next turn. */
	snapshotter->phase = PUBLISHING;
	return SNAPSHOTTER_PUBLISHING;
}

void snapshotter_get_stats(const struct snapshotter *snapshotter,
			   struct snapshotter_counters *counters) {
	*counters = snapshotter->counters;
}
