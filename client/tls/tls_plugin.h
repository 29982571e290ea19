/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_PLUGIN_H
#define TLS_PLUGIN_H

/*
 * tls_plugin.h - the table of functions between libkv and libkv-tls.so.0, which has GnuTLS: one TLS
 * 1.3 session of a client, without a socket. What came from the server is taken from the caller and
 * what goes to it is handed to the caller (struct tls_wire), so that deadlines and sockets are the
 * caller's. Of one session one thread may encrypt while another one decrypts; no two do the same.
 */

#include <stdbool.h>
#include <stddef.h>

enum {
	TLS_PLUGIN_VERSION = 1, /* of this table: libkv uses no other */
	TLS_ERROR_MAX = 256,	/* bytes of an error message with its NUL: one line */
	TLS_RECORD_MAX = 16384, /* bytes in one record (RFC 8446, 5.1) */
	TLS_OVERHEAD_MAX = 256, /* bytes of a record beside those (RFC 8446, 5.2) */
};

/* The name of the exported table, a `const struct tls_plugin`. */
#define TLS_PLUGIN_SYMBOL "kv_tls_plugin"

enum tls_result {
	TLS_OK,
	TLS_AGAIN,    /* bytes of the server are missing */
	TLS_CLOSED,   /* the server has ended the session */
	TLS_REFUSED,  /* one side does not accept the other: the same again would not help */
	TLS_FAILED,   /* what came is no TLS, or was changed on its way */
	TLS_UNUSABLE, /* the files of the configuration cannot be used */
	TLS_NOMEM,
};

/* Borrowed for the time of open(). Files are PEM; a NULL is: not given. */
struct tls_config {
	const char *ca;	  /* those that issue servers certificates; NULL: the CAs of the system */
	const char *cert; /* this client's chain, its own certificate first */
	const char *key;
	const char
	    *name; /* what the server's certificate must be for: a DNS name, or an IP address */
};

struct tls_wire {
	void *context;
	/* Moves up to `size` bytes of the server to `data`, and returns how many: 0, none are
	 * there. */
	size_t (*take)(void *context, void *data, size_t size);
	/* Copies bytes for the server. False: there is no room, and the session fails. */
	bool (*give)(void *context, const void *data, size_t size);
};

struct tls_session;

struct tls_plugin {
	unsigned version;

	/*
	 * Makes a session in *session, to be freed with close(). It reads the files, so that
	 * renewed ones are used from the next connection on. TLS_UNUSABLE, TLS_NOMEM: *session is
	 * NULL, and `error` says why.
	 */
	enum tls_result (*open)(const struct tls_config *config, const struct tls_wire *wire,
				struct tls_session **session, char error[TLS_ERROR_MAX]);
	/* Sends nothing and takes no lock: a child of fork() may call it. NULL does nothing. */
	void (*close)(struct tls_session *session);

	/*
	 * Goes on with the handshake. TLS_OK: it is complete, the server's certificate is accepted.
	 * With TLS_REFUSED and TLS_FAILED an alert for the server may have been given to the wire.
	 */
	enum tls_result (*handshake)(struct tls_session *session, char error[TLS_ERROR_MAX]);

	/* Gives one record with `size` bytes (1 to TLS_RECORD_MAX). False: no memory, or no room.
	 */
	bool (*encrypt)(struct tls_session *session, const void *data, size_t size);

	/*
	 * Writes up to `room` bytes that the server sent to `data`. TLS_OK: *size of them, at least
	 * 1. TLS_REFUSED: the server sent an alert.
	 */
	enum tls_result (*decrypt)(struct tls_session *session, void *data, size_t room,
				   size_t *size, char error[TLS_ERROR_MAX]);

	/* Whether decrypt() has bytes left that need none of the server's. */
	bool (*has_plain)(struct tls_session *session);
};

#endif
