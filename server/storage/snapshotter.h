/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOTTER_H
#define SNAPSHOTTER_H

/*
 * snapshotter.h - takes snapshots while kvd serves: a forked child writes what the memory held when
 * it was forked, and the parent goes on.
 *
 *	start -> the child writes and syncs "snapshot.tmp" -> it ends well -> the journal is durable
 *	up to there -> a thread gives it its name and removes older ones -> published
 *
 * Whatever goes wrong, the file is removed, and another try comes later. The child dies with its
 * parent, and holds no sockets and no locks.
 *
 * All functions are the turn's, and of one thread for as long as the process lives: the child dies
 * with the thread that forked it. They wait for no disk, but for snapshotter_free(). SIGCHLD must
 * not be ignored. They log what a person should know.
 */

#include "storage/vfs.h"
#include "core/service.h"

struct snapshotter;

/*
 * `disk` and `service` are borrowed. `last_bytes` is the size of the snapshot that the service was
 * loaded from, or 0. NULL: no memory or no descriptor (errno).
 */
struct snapshotter *snapshotter_new(struct disk *disk, const struct service *service,
				    uint64_t last_bytes);

/* Gives up the one under way, and waits until nothing of it is left. NULL is fine. */
void snapshotter_free(struct snapshotter *snapshotter);

/* Readable when snapshotter_poll() has news; the same for as long as it lives. */
int snapshotter_fd(const struct snapshotter *snapshotter);

/*
 * Whether it is time for one: none is under way, the last failure is long enough ago, and there is
 * enough of the journal. `journal_bytes` are those written or replayed since the snapshot that the
 * service was loaded from; they only grow.
 */
bool snapshotter_is_due(const struct snapshotter *snapshotter, uint64_t journal_bytes,
			uint64_t now_ms);

/*
 * Takes one now: `position` is that of the last operation applied. The turn stands still until the
 * child is forked and has closed its descriptors: see heap.h for how long. False: one is under way
 * already, or it failed (and was logged).
 */
bool snapshotter_start(struct snapshotter *snapshotter, uint64_t position, uint64_t journal_bytes,
		       uint64_t now_ms);

enum snapshotter_news {
	SNAPSHOTTER_IDLE,
	SNAPSHOTTER_WRITING,	/* the child is at work */
	SNAPSHOTTER_WAITING,	/* for the journal to be durable that far */
	SNAPSHOTTER_PUBLISHING, /* or removing what is no good */
	SNAPSHOTTER_PUBLISHED,	/* said once: the journal may forget up to *position */
	SNAPSHOTTER_FAILED,	/* said once: it is given up */
	SNAPSHOTTER_BROKEN,	/* nobody knows what the disk holds: the process must stop */
};

/*
 * Takes the news in, and goes on: at the end of a turn, with how far the journal is durable.
 * *position is set if it is published.
 */
enum snapshotter_news snapshotter_poll(struct snapshotter *snapshotter, uint64_t durable,
				       uint64_t now_ms, uint64_t *position);

/* What `kvctl status` shows. */
struct snapshotter_counters {
	bool is_under_way;
	uint64_t bytes;	      /* written so far, of the one under way */
	uint64_t bytes_about; /* how many it may become: at most what the memory holds */
	uint64_t published;
	uint64_t failed;
	uint64_t last_position; /* of the last one published */
	uint64_t last_bytes;
	uint64_t last_ms;  /* how long it took, start to end */
	int last_error;	   /* an errno, if the last one to end was given up; else 0 */
	uint64_t pause_us; /* how long the turn stood still for the one started last */
};
void snapshotter_get_stats(const struct snapshotter *snapshotter,
		       struct snapshotter_counters *counters);

#endif
