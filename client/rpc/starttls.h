/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STARTTLS_H
#define STARTTLS_H

/*
 * starttls.h - asks a server whether it speaks TLS on this connection: the AUTH_TLS probe of RFC
 * 9289, 4.1. Keeps nothing.
 */

#include <stdbool.h>
#include <stdint.h>

/*
 * Sends the probe, a NULL call of `program`, over a new connection that does not block, and reads
 * the reply to it and not a byte more. True: the server waits for a ClientHello. False: it did not
 * say so by `deadline_ms`, and last_error_set() has said why, after `name` and a colon. Nothing but
 * the probe was sent.
 */
bool starttls(int fd, uint32_t program, const char *name, uint64_t deadline_ms);

#endif
