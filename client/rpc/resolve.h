/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RESOLVE_H
#define RESOLVE_H

/*
 * resolve.h - finds the endpoints of a server's address: the addresses of a name by the resolver,
 * a port that is not given by rpcbind. All of it ends at a deadline. One thread at a time uses a
 * target.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "rpc/dial.h"
#include "rpc/lookup.h"

/* One address of the server list. Zero but for what the caller sets; see target_release(). */
struct target {
	struct address address;
	char name[ADDRESS_TEXT_MAX]; /* the address as text, for messages */
	bool is_default;	     /* not named by the user: trust.h decides about the server */
	struct lookup *lookup;	     /* pending, or NULL */
	bool is_remembered;
	struct endpoint endpoint; /* where the last connect succeeded */
};

/*
 * Fills `endpoints` in the order in which to try them and returns how many there are; those beyond
 * ENDPOINT_MAX are left out. 0: none by `deadline_ms`, and last_error_set() has said why.
 */
size_t resolve(struct target *target, uint32_t program, uint64_t deadline_ms,
	       struct endpoint endpoints[ENDPOINT_MAX]);

/* Gives up a pending lookup. */
void target_release(struct target *target);

#endif
