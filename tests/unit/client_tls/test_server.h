/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_SERVER_H
#define TEST_SERVER_H

/*
 * test_server.h - the server's side of one TLS session, in memory: what it sends and receives goes
 * through buffers that the test fills and empties. What should work and does not fails the test.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gnutls/gnutls.h>

#include "tls/tls_plugin.h"

/* Bytes on their way in one direction. data[taken .. size) are to be taken. */
struct pipe_bytes {
	uint8_t *data;
	size_t size;
	size_t taken;
};

void pipe_add(struct pipe_bytes *pipe, const void *data, size_t size);
size_t pipe_take(struct pipe_bytes *pipe, void *data, size_t size);

struct server_wish {
	const char *name;     /* NAME.pem and NAME.key of the test's PKI; NULL: "server" */
	const char *ca;	      /* of clients; NULL: they are not asked for certificates */
	const char *alpn;     /* NULL: "sunrpc"; "": none */
	const char *priority; /* NULL: the usual */
};

struct test_server {
	gnutls_session_t gnutls;
	gnutls_certificate_credentials_t credentials;
	struct pipe_bytes to_client;
	struct pipe_bytes to_server;
	int fd; /* once attached: a blocking socket instead of the pipes */
	bool is_attached;
	bool is_done; /* the handshake is */
	int failure;  /* of the handshake, by which it ended */
};

void server_open(struct test_server *server, const struct server_wish *wish);
void server_close(struct test_server *server);

/* From now on its bytes go through a socket, which stays the caller's. */
void server_attach(struct test_server *server, int fd);

/* Goes on with the handshake, as far as the bytes in to_server go. Sends the alert of a failure. */
void server_shake(struct test_server *server);

#endif
