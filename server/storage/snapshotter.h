/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOTTER_H
#define SNAPSHOTTER_H

/*
 * snapshotter.h - the process that writes snapshots: a forked child writes what the memory held at
 * the fork, while the parent serves.
 *
 *	start -> the child writes and syncs "snapshot.tmp" -> it ends -> the journal is durable up
 *to that position -> a thread renames the file and removes older ones -> published
 *
 * After any failure the file is removed, and another try follows later. The child dies with its
 * parent, and holds neither sockets nor locks. It needs no exit status, close_range() or /proc.
 *
 * All functions are called by one thread for the life of the process, because the child dies with
 * the thread that forked it. Only snapshotter_free() waits for the disk. They log failures.
 */

#include "core/service.h"
#include "storage/vfs.h"

struct snapshotter;

/*
 * `disk` and `service` are borrowed. `last_bytes` is the size of the snapshot that the service was
 * loaded from, or 0. NULL: no memory or no descriptor (errno).
 */
struct snapshotter *snapshotter_new(struct vfs *vfs, const struct service *service,
				    uint64_t last_bytes);

/* Ends the one under way and removes what it left. NULL is allowed. */
void snapshotter_free(struct snapshotter *snapshotter);

/* Readable when snapshotter_poll() is to be called; it never changes. */
int snapshotter_fd(const struct snapshotter *snapshotter);

/*
 * True if one is due: none is under way, the pause after the last failure is over, and the journal
 * is large enough. `journal_bytes` are those written or replayed since the snapshot that the
 * service was loaded from; they only grow.
 */
bool snapshotter_is_due(const struct snapshotter *snapshotter, uint64_t journal_bytes,
			uint64_t now_ms);

/*
 * Takes one now: `position` is that of the last operation applied. Blocks until the
 * child is forked and has closed its descriptors: huge_pages.h says how long. False: one is under
 * way already, or it failed (and was logged).
 */
bool snapshotter_start(struct snapshotter *snapshotter, uint64_t position, uint64_t journal_bytes,
		       uint64_t now_ms);

enum snapshotter_state {
	SNAPSHOTTER_IDLE,
	SNAPSHOTTER_WRITING,	/* the child is at work */
	SNAPSHOTTER_WAITING,	/* for the journal to be durable that far */
	SNAPSHOTTER_PUBLISHING, /* or removing an invalid file */
	SNAPSHOTTER_PUBLISHED,	/* returned once: the journal may be truncated up to *position */
	SNAPSHOTTER_FAILED,	/* returned once: it failed */
	SNAPSHOTTER_BROKEN,	/* what the disk holds is unknown: the process must stop */
};

/*
 * Advances the one under way: at the end of a turn, with the position up to which the journal is
 * durable.
 * *position is set if it is published.
 */
enum snapshotter_state snapshotter_poll(struct snapshotter *snapshotter, uint64_t durable,
					uint64_t now_ms, uint64_t *position);

/* What `kvctl status` shows. */
struct snapshotter_counters {
	bool is_under_way;
	uint64_t bytes;	      /* written so far, of the one under way */
	uint64_t bytes_about; /* the expected total: max what the memory holds */
	uint64_t published;
	uint64_t failed;
	uint64_t last_position; /* of the last one published */
	uint64_t last_bytes;
	uint64_t last_ms;  /* how long it took, start to end */
	int last_error;	   /* an errno, if the last one to end was given up; else 0 */
	uint64_t pause_us; /* how long snapshotter_start() blocked last */
};
void snapshotter_get_stats(const struct snapshotter *snapshotter,
			   struct snapshotter_counters *counters);

#endif
