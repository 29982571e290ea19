/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_PEER_H
#define TLS_PEER_H

/*
 * tls_peer.h - decides whether a server's certificate is accepted: its chain, its dates, that it is
 * for the name that the user wrote, and that it is a server's. Keeps nothing.
 */

#include <gnutls/gnutls.h>

#include "tls/tls_plugin.h"

/*
 * Looks at the certificates that the server of `session` sent. `name` is a DNS name, which a
 * dNSName must match, or an IP address in numbers, which an iPAddress must equal; the common name
 * does not count (RFC 9525, 2), nor does reverse DNS. False: `error` says why, with the
 * certificate's name.
 */
bool tls_peer_accept(gnutls_session_t session, const char *name, char error[TLS_ERROR_MAX]);

/* Writes what an alert of the server means for this client. */
void tls_peer_describe_alert(gnutls_alert_description_t alert, char error[TLS_ERROR_MAX]);

/* Whether `name` is an IP address in numbers: its 4 or 16 bytes, and *size. */
bool tls_peer_is_ip(const char *name, unsigned char bytes[16], unsigned *size);

#endif
