/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_CLIENT_H
#define TLS_CLIENT_H

/*
 * tls_client.h - the client's end of TLS for tests, on GnuTLS: its bytes go to a buffer and come
 * from one, so that a test hands them on as it likes.
 */

#include <gnutls/gnutls.h>

#include "tls/pki.h"

enum { TLS_CLIENT_BUFFER = 1 << 20 };

struct tls_client_options {
	const struct pki_identity *chain; /* what it shows, its own first ... */
	unsigned chain_count;		  /* ... 0: nothing */
	const char *protocol;		  /* of ALPN; NULL: none */
	const char *priority;		  /* NULL: TLS 1.3 */
};

struct tls_client {
	gnutls_session_t session;
	gnutls_certificate_credentials_t credentials;
	bool is_open;
	int error; /* of the handshake or a record; 0: none */

	unsigned char *out; /* for the server */
	size_t out_size;
	unsigned char *in; /* from it */
	size_t in_size, in_read;
};

/* Sends its first message. Freed with tls_client_free(). */
void tls_client_init(struct tls_client *client, const struct tls_client_options *options);
void tls_client_free(struct tls_client *client);

/* Takes bytes from the server, and goes on with the handshake. */
void tls_client_receive(struct tls_client *client, const void *bytes, size_t size);

/* The next plaintext; 0: none is there. */
size_t tls_client_read(struct tls_client *client, void *plain, size_t room);
void tls_client_write(struct tls_client *client, const void *plain, size_t size);

#endif
