/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NULL_CALL_H
#define NULL_CALL_H

/*
 * null_call.h - RPC null procedure call with a deadline, to tell a living server from the entry of
 * a dead one. The peer may be silent or hostile: connecting, sending and reading all end by then.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/*
 * Calls procedure 0 of `program` and `version` at the address, over a datagram if `is_datagram`.
 * Returns true if the server replied that it did before `until_ns`, a time of clock_ns().
 */
bool null_call(const struct sockaddr *address, socklen_t size, bool is_datagram, uint32_t program,
	       uint32_t version, uint64_t until_ns);

#endif
