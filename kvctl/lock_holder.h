/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_HOLDER_H
#define LOCK_HOLDER_H

/* lock_holder.h - One contender for a lock: waits for it, runs COMMAND while it holds it, releases
 * it. */

#include <stdbool.h>

#include <kv/kv.h>

#include "kvctl.h"

enum { RELEASE_DEFAULT_MS = 10 * 60 * 1000, LEASE_DEFAULT_MS = 15 * 1000 };

struct lock_request {
	const struct command *verb; /* the command of kvctl that wants it */
	const char *name;
	struct kv_bytes key;
	char **command;	       /* ends in NULL */
	struct kv_bytes note;  /* data NULL: kv_lock_describe() */
	const char *fence_env; /* variable for NAME:TOKEN; NULL: none */
	unsigned ttl_ms;       /* 0: no lease */
	unsigned kill_after_ms;
	bool has_ttl;	 /* it was asked for: not without it */
	bool needs_note; /* not without it */
	bool is_shared;	 /* others that share it may hold it, too */
	bool has_wait;
	unsigned wait_ms;
	unsigned release_ms; /* how long the release is tried; 0: forever */
};

/*
 * Returns what kvctl exits with. While a write of ours may still take the lock, or the lock is
 * held, no signal ends this but a second INT or QUIT during the release, and the release is tried
 * again for release_ms. A lease that comes to its end ends COMMAND first (child.h).
 */
int lock_holder_run(const struct settings *settings, struct lock_request *request);

#endif
