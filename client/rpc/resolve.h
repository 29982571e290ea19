/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCATE_H
#define LOCATE_H

/*
 * locate.h - where an address leads: socket addresses, by the resolver for names and by rpcbind for
 * ports. Asking rpcbind keeps to the deadline; the resolver does not know one, so give addresses
 * as numbers, or keep names in /etc/hosts, where that matters.
 */

#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "rpc/dial.h"

enum { LOCATE_MAX = 16 };

/*
 * Fills `places`, to be tried in turn, and answers how many there are; those beyond LOCATE_MAX are
 * left out. `name` is the address for people. 0: none, and the reason is set.
 */
size_t locate(const struct address *address, const char *name, uint32_t program,
	      uint64_t deadline_ms, struct place places[LOCATE_MAX]);

/*
 * The deadline for the next of `left` things to be tried by `deadline_ms`: an equal share, so that
 * one that keeps silent leaves time for the others.
 */
uint64_t resolve_share(uint64_t deadline_ms, size_t left);

#endif
