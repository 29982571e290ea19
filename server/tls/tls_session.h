/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_SESSION_H
#define TLS_SESSION_H

/*
 * tls_session.h - the server's end of TLS 1.3 on one connection (RFC 9289, 5): bytes from the peer
 * to plaintext, plaintext to bytes for the peer. It has no socket, and nothing stays in it that
 * could be read: all that came is either plaintext, or a part of a record whose rest is to come.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acl/certificate.h"

struct credentials;
struct tls_session;

enum {
	TLS_ERROR_MAX = 512,	    /* an error text, with its NUL */
	TLS_LIBRARY_MAX = 32,	    /* the library's name, likewise */
	TLS_RECORD_MAX = 16 * 1024, /* bytes of plaintext in a record: RFC 8446, 5.1 */
	TLS_IN_MAX = 47 * 1024,	    /* bytes from the peer at once ... */
	TLS_PLAIN_MAX = 64 * 1024,  /* ... and what may come of them and of a record begun before */
	TLS_AHEAD_MAX = 64 * 1024,  /* bytes that are encrypted at once ... */
	TLS_OUT_SIZE = 96 * 1024,   /* ... and what may come of them, and of a handshake */
	TLS_HANDSHAKE_MAX = 32 * 1024, /* bytes of a message of a handshake */
	TLS_CHAIN_MAX = 8,	       /* certificates that a client shows */
};

/* Bytes for the peer. */
struct tls_out {
	size_t size;
	unsigned char bytes[TLS_OUT_SIZE];
};

/* What the session asks its owner. */
struct tls_hooks {
	/* Whether a certificate is trusted without its issuer. NULL: none is. */
	bool (*is_pinned)(void *context, const uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]);
	void *context;
};

enum tls_result {
	TLS_GOES_ON,
	TLS_ENDED,  /* the peer sends no more */
	TLS_FAILED, /* see tls_session_error(); what `out` has should be sent, it is the alert */
};

/* The library and its version: "GnuTLS 3.7.9". */
void tls_session_library(char text[TLS_LIBRARY_MAX]);

/* Waits for the client's first message. NULL: no memory. */
struct tls_session *tls_session_new(struct credentials *credentials, const struct tls_hooks *hooks);
void tls_session_free(struct tls_session *session);

/* Whether the handshake is over. */
bool tls_session_is_open(const struct tls_session *session);

/*
 * Takes `size` bytes, at most TLS_IN_MAX, from the peer. Writes *plain_size bytes of plaintext to
 * `plain`, which has TLS_PLAIN_MAX, and adds bytes for the peer to `out`.
 */
enum tls_result tls_session_receive(struct tls_session *session, const void *bytes, size_t size,
				    void *plain, size_t *plain_size, struct tls_out *out);

/* Bytes of a record whose rest is to come. */
size_t tls_session_partial(const struct tls_session *session);

/*
 * Encrypts into `out` until that has TLS_AHEAD_MAX. Returns how many bytes of `plain` it took; less
 * than all, with out->size below TLS_AHEAD_MAX: it failed.
 */
size_t tls_session_send(struct tls_session *session, const void *plain, size_t size,
			struct tls_out *out);

/* Says to the peer that nothing follows. */
void tls_session_end(struct tls_session *session, struct tls_out *out);

/* Hands out what the client showed, once the session is open. NULL: nothing. */
struct certificate *tls_session_take_certificate(struct tls_session *session);

/*
 * Whether what the client showed would be accepted now, by these credentials. False: see
 * tls_session_error(). A client that showed nothing is accepted unless certificates are needed.
 */
bool tls_session_recheck(struct tls_session *session, const struct credentials *credentials);

/* Why it failed: certificate "CN=bob": its issuer is not in --tls-ca. */
const char *tls_session_error(const struct tls_session *session);

#endif
