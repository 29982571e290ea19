/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WATCH_KEY_H
#define WATCH_KEY_H

/* watch_key.h - watch of one key: its versions as they come. */

#include "kvctl.h"

struct watch_key {
	struct kv_bytes key;
	bool has_from;
	uint64_t seen;	/* begin with what is not this version, if has_from */
	uint64_t count; /* lines to print; 0: no end */
};

/* Prints them. Returns what kvctl exits with. */
int watch_key_run(const struct settings *settings, struct watch_key *watch);

#endif
