/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "test.h"
#include "test_pki.h"

void pipe_add(struct pipe_bytes *pipe, const void *data, size_t size) {
	pipe->data = realloc(pipe->data, pipe->size + size);
	ck_assert_ptr_nonnull(pipe->data);
	memcpy(pipe->data + pipe->size, data, size);
	pipe->size += size;
}

size_t pipe_take(struct pipe_bytes *pipe, void *data, size_t size) {
	if (size > pipe->size - pipe->taken)
		size = pipe->size - pipe->taken;
	if (size > 0)
		memcpy(data, pipe->data + pipe->taken, size);
	pipe->taken += size;
	return size;
}

static ssize_t pull(gnutls_transport_ptr_t context, void *data, size_t size) {
	struct test_server *server = context;
	size_t came;

	if (server->is_attached)
		return recv(server->fd, data, size, 0);
	came = pipe_take(&server->to_server, data, size);
	if (came > 0)
		return (ssize_t)came;
	gnutls_transport_set_errno(server->gnutls, EAGAIN);
	return -1;
}

static ssize_t push(gnutls_transport_ptr_t context, const void *data, size_t size) {
	struct test_server *server = context;

	if (server->is_attached)
		return send(server->fd, data, size, MSG_NOSIGNAL);
	pipe_add(&server->to_client, data, size);
	return (ssize_t)size;
}

static int pull_timeout(gnutls_transport_ptr_t context, unsigned ms) {
	(void)context;
	(void)ms;
	return 1;
}

void server_open(struct test_server *server, const struct server_wish *wish) {
	const char *alpn = wish->alpn != NULL ? wish->alpn : "sunrpc";
	const char *name = wish->name != NULL ? wish->name : "server";
	const gnutls_datum_t protocol = {(unsigned char *)alpn, (unsigned)strlen(alpn)};
	char file[2][64];

	*server = (struct test_server){.failure = 0};
	(void)snprintf(file[0], sizeof(file[0]), "%s.pem", name);
	(void)snprintf(file[1], sizeof(file[1]), "%s.key", name);
	ck_assert_int_eq(gnutls_certificate_allocate_credentials(&server->credentials), 0);
	ck_assert_int_eq(gnutls_certificate_set_x509_key_file(server->credentials,
							      pki_path(file[0]), pki_path(file[1]),
							      GNUTLS_X509_FMT_PEM),
			 0);
	ck_assert_int_eq(
	    gnutls_init(&server->gnutls, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS), 0);
	ck_assert_int_eq(
	    gnutls_priority_set_direct(
		server->gnutls,
		wish->priority != NULL ? wish->priority : "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL),
	    0);
	ck_assert_int_eq(
	    gnutls_credentials_set(server->gnutls, GNUTLS_CRD_CERTIFICATE, server->credentials), 0);
	if (alpn[0] != '\0')
		ck_assert_int_eq(gnutls_alpn_set_protocols(server->gnutls, &protocol, 1, 0), 0);
	if (wish->ca != NULL) {
		ck_assert_int_eq(gnutls_certificate_set_x509_trust_file(
				     server->credentials, pki_path(wish->ca), GNUTLS_X509_FMT_PEM),
				 1);
		gnutls_certificate_server_set_request(server->gnutls, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert(server->gnutls, NULL, 0);
	}
	gnutls_transport_set_ptr(server->gnutls, server);
	gnutls_transport_set_pull_function(server->gnutls, pull);
	gnutls_transport_set_push_function(server->gnutls, push);
	gnutls_transport_set_pull_timeout_function(server->gnutls, pull_timeout);
	gnutls_handshake_set_timeout(server->gnutls, 0);
}

void server_attach(struct test_server *server, int fd) {
	server->fd = fd;
	server->is_attached = true;
}

void server_close(struct test_server *server) {
	gnutls_deinit(server->gnutls);
	gnutls_certificate_free_credentials(server->credentials);
	free(server->to_client.data);
	free(server->to_server.data);
}

void server_shake(struct test_server *server) {
	int result;

	if (server->is_done || server->failure != 0)
		return;
	do
		result = gnutls_handshake(server->gnutls);
	while (result < 0 && result != GNUTLS_E_AGAIN && gnutls_error_is_fatal(result) == 0);
	server->is_done = result == 0;
	if (result == 0 || result == GNUTLS_E_AGAIN)
		return;
	server->failure = result;
	(void)gnutls_alert_send_appropriate(server->gnutls, result);
}
