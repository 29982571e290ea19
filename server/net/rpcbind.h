/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REGISTRAR_H
#define REGISTRAR_H

/*
 * registrar.h - keeps rpcbind told where kvd is. A thread of its own speaks to rpcbind, because a
 * frozen rpcbind blocks a caller for 60 s.
 */

#include <stdint.h>

#include "net/listener.h"

struct registrar;

enum registrar_answer {
	REGISTRAR_DONE,	   /* rpcbind knows where we are */
	REGISTRAR_ABSENT,  /* rpcbind does not answer; the thread goes on asking */
	REGISTRAR_TAKEN,   /* another living server has this program number (logged) */
	REGISTRAR_REFUSED, /* rpcbind does not let us (logged) */
	REGISTRAR_NO_MEMORY,
};

/*
 * Registers `program`, version 1, at the first listener of each kind (rpcbind knows tcp, tcp6, udp,
 * udp6 and local), and sees to it from then on that the entries stay. Waits at most `wait_ms` for
 * the first answer of rpcbind. With REGISTRAR_DONE or REGISTRAR_ABSENT *registrar is to be given to
 * registrar_stop(). The listeners' addresses are copied.
 */
enum registrar_answer registrar_start(const struct listeners *listeners, uint32_t program,
				      uint64_t wait_ms, struct registrar **registrar);

/* Withdraws the entries, waiting at most `wait_ms` for rpcbind. NULL is fine. */
void registrar_stop(struct registrar *registrar, uint64_t wait_ms);

#endif
