/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls/tls_client.h"

#include <errno.h>
#include <gnutls/abstract.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"

static const char tls13[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3";

static ssize_t pull(gnutls_transport_ptr_t context, void *to, size_t size) {
	struct tls_client *client = context;
	size_t left = client->in_size - client->in_read;

	if (left == 0) {
		gnutls_transport_set_errno(client->session, EAGAIN);
		return -1;
	}
	if (size > left)
		size = left;
	memcpy(to, client->in + client->in_read, size);
	client->in_read += size;
	return (ssize_t)size;
}

static int is_there(gnutls_transport_ptr_t context, unsigned wait_ms) {
	const struct tls_client *client = context;

	(void)wait_ms;
	return client->in_size > client->in_read;
}

static ssize_t push(gnutls_transport_ptr_t context, const void *bytes, size_t size) {
	struct tls_client *client = context;

	ck_assert_uint_le(client->out_size + size, TLS_CLIENT_BUFFER);
	memcpy(client->out + client->out_size, bytes, size);
	client->out_size += size;
	return (ssize_t)size;
}

static void shake(struct tls_client *client) {
	int code;

	if (client->is_open || client->error != 0)
		return;
	code = gnutls_handshake(client->session);
	if (code == 0)
		client->is_open = true;
	else if (gnutls_error_is_fatal(code))
		client->error = code;
}

/* As they are: the library's simpler function sorts them, and leaves some out. */
static void show(struct tls_client *client, const struct tls_client_options *options) {
	gnutls_pcert_st list[16];
	gnutls_privkey_t key;

	for (unsigned i = 0; i < options->chain_count; i++)
		ck_assert_int_ge(
		    gnutls_pcert_import_x509(&list[i], options->chain[i].certificate, 0), 0);
	ck_assert_int_ge(gnutls_privkey_init(&key), 0);
	ck_assert_int_ge(
	    gnutls_privkey_import_x509(key, options->chain[0].key, GNUTLS_PRIVKEY_IMPORT_COPY), 0);
	ck_assert_int_ge(gnutls_certificate_set_key(client->credentials, NULL, 0, list,
						    (int)options->chain_count, key),
			 0);
}

void tls_client_init(struct tls_client *client, const struct tls_client_options *options) {
	*client =
	    (struct tls_client){.out = malloc(TLS_CLIENT_BUFFER), .in = malloc(TLS_CLIENT_BUFFER)};
	ck_assert_int_ge(gnutls_init(&client->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK |
							   GNUTLS_NO_SIGNAL |
							   GNUTLS_FORCE_CLIENT_CERT),
			 0);
	ck_assert_int_ge(gnutls_certificate_allocate_credentials(&client->credentials), 0);
	if (options->chain_count > 0)
		show(client, options);
	ck_assert_int_ge(
	    gnutls_priority_set_direct(client->session,
				       options->priority == NULL ? tls13 : options->priority, NULL),
	    0);
	(void)gnutls_credentials_set(client->session, GNUTLS_CRD_CERTIFICATE, client->credentials);
	if (options->protocol != NULL) {
		const gnutls_datum_t name = {(unsigned char *)(uintptr_t)options->protocol,
					     (unsigned)strlen(options->protocol)};

		(void)gnutls_alpn_set_protocols(client->session, &name, 1, 0);
	}
	gnutls_transport_set_ptr(client->session, client);
	gnutls_transport_set_pull_function(client->session, pull);
	gnutls_transport_set_pull_timeout_function(client->session, is_there);
	gnutls_transport_set_push_function(client->session, push);
	shake(client);
}

void tls_client_free(struct tls_client *client) {
	gnutls_deinit(client->session);
	gnutls_certificate_free_credentials(client->credentials);
	free(client->out);
	free(client->in);
}

void tls_client_receive(struct tls_client *client, const void *bytes, size_t size) {
	memmove(client->in, client->in + client->in_read, client->in_size - client->in_read);
	client->in_size -= client->in_read;
	client->in_read = 0;
	ck_assert_uint_le(client->in_size + size, TLS_CLIENT_BUFFER);
	if (size > 0)
		memcpy(client->in + client->in_size, bytes, size);
	client->in_size += size;
	shake(client);
}

size_t tls_client_read(struct tls_client *client, void *plain, size_t room) {
	ssize_t got = gnutls_record_recv(client->session, plain, room);

	if (got < 0 && got != GNUTLS_E_AGAIN)
		client->error = (int)got;
	return got > 0 ? (size_t)got : 0;
}

void tls_client_write(struct tls_client *client, const void *plain, size_t size) {
	for (size_t done = 0; done < size;) {
		ssize_t part =
		    gnutls_record_send(client->session, (const char *)plain + done, size - done);

		ck_assert_int_gt(part, 0);
		done += (size_t)part;
	}
}
