/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPCBIND_H
#define RPCBIND_H

/*
 * registrar.h - keeps rpcbind told where kvd is. A thread of its own speaks to rpcbind, because a
 * frozen rpcbind blocks a caller for 60 s.
 */

#include <stdint.h>

#include "net/listener.h"

struct registrar;

enum registrar_answer {
	RPCBIND_DONE,	   /* rpcbind knows where we are */
	RPCBIND_ABSENT,  /* rpcbind does not answer; the thread goes on asking */
	RPCBIND_TAKEN,   /* another living server has this program number (logged) */
	RPCBIND_REFUSED, /* rpcbind does not let us (logged) */
	RPCBIND_NO_MEMORY,
};

/*
 * Registers `program`, version 1, at the first listener of each kind (rpcbind knows tcp, tcp6, udp,
 * udp6 and local), and sees to it from then on that the entries stay. Waits at most `wait_ms` for
 * the first answer of rpcbind. With RPCBIND_DONE or RPCBIND_ABSENT *registrar is to be given to
 * rpcbind_unregister(). The listeners' addresses are copied.
 */
enum registrar_answer rpcbind_register(const struct listeners *listeners, uint32_t program,
				      uint64_t wait_ms, struct registrar **registrar);

/* Withdraws the entries, waiting at most `wait_ms` for rpcbind. NULL is fine. */
void rpcbind_unregister(struct registrar *registrar, uint64_t wait_ms);

#endif
