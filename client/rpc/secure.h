/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SECURE_H
#define SECURE_H

/*
 * secure.h - the TLS session of a connection on its socket: what is sent is encrypted and staged
 * until the socket has taken it, what comes is decrypted. It does not own the socket. One thread
 * sends while another one receives. The rules of TLS are the plug-in's (tls_plugin.h).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "tls/tls_plugin.h"

enum {
	SECURE_SENT_MAX = 4 * TLS_RECORD_MAX, /* bytes encrypted for one system call */
	SECURE_IN_SIZE = 65536,		      /* bytes received at once */
};

struct secure;

/*
 * Makes a session in *secure, to be freed with secure_free(), before there is a connection.
 * TLS_UNUSABLE, TLS_NOMEM: `error` says why.
 */
enum tls_result secure_new(const struct tls_plugin *plugin, const struct tls_config *config,
			   struct secure **secure, char error[TLS_ERROR_MAX]);

/* Sends nothing and takes no lock: a child of fork() may call it. NULL does nothing. */
void secure_free(struct secure *secure);

/*
 * Shakes hands over `fd`, a socket that does not block, until `deadline_ms`. TLS_OK: it is done.
 * Else `error` says why; TLS_AGAIN: the time was up.
 */
enum tls_result secure_handshake(struct secure *secure, int fd, uint64_t deadline_ms,
				 char error[TLS_ERROR_MAX]);

/*
 * As sendmsg() without blocking: encrypts the first of the bytes in `parts`, at most
 * SECURE_SENT_MAX, and sends them. Returns how many of `parts` were sent: 0 if only a part of what
 * is encrypted was, -1 with errno EAGAIN if nothing was. Then the rest is staged; the next call has
 * to begin with the same bytes, and sends no others before them. A record that is sent in part is
 * never decrypted.
 */
ssize_t secure_send(struct secure *secure, int fd, const struct iovec *parts, size_t count);

/* Whether bytes are encrypted that were not sent: the sender's thread asks. */
bool secure_is_staged(const struct secure *secure);

/*
 * As recv() with these flags, once at most, into `place`. -1 with errno EINPROGRESS: bytes came,
 * but no whole record; EPROTO: TLS has failed, secure_error() says why; EAGAIN and others as
 * recv().
 */
ssize_t secure_receive(struct secure *secure, int fd, void *place, size_t room, int flags);

/* Whether secure_receive() may have something without a system call: the reader's thread asks. */
bool secure_has_input(const struct secure *secure);

/* After EPROTO: why, and whether the server refuses this client. */
const char *secure_error(const struct secure *secure);
bool secure_is_refused(const struct secure *secure);

#endif
