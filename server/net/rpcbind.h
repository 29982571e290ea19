/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPCBIND_H
#define RPCBIND_H

/*
 * rpcbind.h - registration with rpcbind, kept up in a thread of its own, because a frozen rpcbind
 * blocks its caller for 60 s. All functions are for the thread that starts and stops the server.
 */

#include <stdint.h>

#include "net/listener.h"

struct rpcbind;

enum rpcbind_result {
	RPCBIND_REGISTERED, /* at every address that rpcbind can have an entry for */
	RPCBIND_TAKEN,	    /* not at all of them: another server's entry is there, or rpcbind
			       refuses; logged with what to do */
	RPCBIND_ABSENT,	    /* rpcbind does not answer */
	RPCBIND_NO_MEMORY,
};

/*
 * Registers `program`, version 1, at the first listener of each kind (rpcbind knows tcp, tcp6, udp,
 * udp6 and local). The entry of a server that is gone is replaced if rpcbind allows it; one that
 * replies, or that another user owns, stays. Waits at most `wait_ms` for the first result. Unless
 * it is RPCBIND_NO_MEMORY, `*rpcbind` is to be given to rpcbind_unregister(), and until then what
 * is missing is tried again every 5 s; once nothing is, that is logged. The listeners' addresses
 * are copied.
 */
enum rpcbind_result rpcbind_register(const struct listeners *listeners, uint32_t program,
				     uint64_t wait_ms, struct rpcbind **rpcbind);

/* Withdraws the entries, waiting at most `wait_ms` for rpcbind. NULL is allowed. */
void rpcbind_unregister(struct rpcbind *rpcbind, uint64_t wait_ms);

#endif
