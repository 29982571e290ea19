/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls/tls_session.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tls/tls_private.h"

/* Of a record, its size in the last two bytes: RFC 8446, 5.1. */
enum { HEADER_SIZE = 5 };

/* RFC 9289, 8.1: the name that ALPN has for RPC. */
static const char protocol[] = "sunrpc";

struct tls_session {
	gnutls_session_t library;
	struct credentials *credentials;
	struct tls_hooks hooks;
	struct certificate *certificate;
	bool is_open;
	struct verdict verdict;

	/* Where in a record the last byte that came is. */
	unsigned char header[HEADER_SIZE];
	size_t header_size; /* bytes of it that came */
	size_t body_size;   /* bytes behind it that came ... */
	size_t body_left;   /* ... and are to come */

	/* Only while a function of this module runs. */
	const unsigned char *in;
	size_t in_size;
	struct tls_out *out;
};

void tls_session_library(char text[TLS_LIBRARY_MAX]) {
	(void)snprintf(text, TLS_LIBRARY_MAX, "GnuTLS %s", gnutls_check_version(NULL));
}

/* --- The library's socket ------------------------------------------------------------------ */

static ssize_t pull(gnutls_transport_ptr_t context, void *to, size_t size) {
	struct tls_session *session = context;

	if (session->in_size == 0) {
		gnutls_transport_set_errno(session->library, EAGAIN);
		return -1;
	}
	if (size > session->in_size)
		size = session->in_size;
	memcpy(to, session->in, size);
	session->in += size;
	session->in_size -= size;
	return (ssize_t)size;
}

static int is_there(gnutls_transport_ptr_t context, unsigned wait_ms) {
	const struct tls_session *session = context;

	(void)wait_ms;
	return session->in_size > 0;
}

static ssize_t push(gnutls_transport_ptr_t context, const void *bytes, size_t size) {
	struct tls_session *session = context;
	struct tls_out *out = session->out;

	/* Because of the limits of what is sent at once, only a fault of this program ends here. */
	if (out == NULL || size > sizeof(out->bytes) - out->size) {
		gnutls_transport_set_errno(session->library, EPIPE);
		return -1;
	}
	memcpy(out->bytes + out->size, bytes, size);
	out->size += size;
	return (ssize_t)size;
}

/* --- The client's certificate -------------------------------------------------------------- */

/* Accepts what `session->verdict` has nothing against. */
static bool check_client(struct tls_session *session, const struct credentials *credentials,
			 struct certificate **certificate) {
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session->library, &count);

	*certificate = NULL;
	if (chain != NULL && count > 0 && credentials->trust != NULL) {
		*certificate =
		    client_check(credentials, &session->hooks, chain, count, &session->verdict);
		return *certificate != NULL;
	}
	if (!credentials->are_needed)
		return true;
	session->verdict.alert = GNUTLS_A_CERTIFICATE_REQUIRED;
	(void)snprintf(session->verdict.error, sizeof(session->verdict.error),
		       "it shows no certificate, which is needed without --acl");
	return false;
}

bool tls_session_recheck(struct tls_session *session, const struct credentials *credentials) {
	struct certificate *certificate;
	bool is_accepted = check_client(session, credentials, &certificate);

	certificate_free(certificate);
	return is_accepted;
}

struct certificate *tls_session_take_certificate(struct tls_session *session) {
	struct certificate *certificate = session->certificate;

	session->certificate = NULL;
	return certificate;
}

/* --- A session ----------------------------------------------------------------------------- */

static bool set_up(struct tls_session *session) {
	const gnutls_datum_t name = {(unsigned char *)(uintptr_t)protocol, sizeof(protocol) - 1};
	const struct credentials *credentials = session->credentials;
	gnutls_session_t library;

	if (gnutls_init(&session->library, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
					       GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET) < 0)
		return false;
	library = session->library;
	/* A client that names no protocol is accepted, because that of Linux does not. */
	if (gnutls_priority_set(library, credentials->priority) < 0 ||
	    gnutls_credentials_set(library, GNUTLS_CRD_CERTIFICATE, credentials->shown) < 0 ||
	    gnutls_alpn_set_protocols(library, &name, 1, GNUTLS_ALPN_MANDATORY) < 0)
		return false;
	gnutls_handshake_set_max_packet_length(library, TLS_HANDSHAKE_MAX);
	gnutls_certificate_server_set_request(
	    library, credentials->trust == NULL ? GNUTLS_CERT_IGNORE : GNUTLS_CERT_REQUEST);
	gnutls_transport_set_ptr(library, session);
	gnutls_transport_set_pull_function(library, pull);
	gnutls_transport_set_pull_timeout_function(library, is_there);
	gnutls_transport_set_push_function(library, push);
	return true;
}

struct tls_session *tls_session_new(struct credentials *credentials,
				    const struct tls_hooks *hooks) {
	struct tls_session *session = calloc(1, sizeof(*session));

	if (session == NULL)
		return NULL;
	session->credentials = credentials_ref(credentials);
	session->hooks = *hooks;
	if (set_up(session))
		return session;
	tls_session_free(session);
	return NULL;
}

void tls_session_free(struct tls_session *session) {
	if (session == NULL)
		return;
	if (session->library != NULL)
		gnutls_deinit(session->library);
	certificate_free(session->certificate);
	credentials_unref(session->credentials);
	free(session);
}

bool tls_session_is_open(const struct tls_session *session) {
	return session->is_open;
}

const char *tls_session_error(const struct tls_session *session) {
	return session->verdict.error;
}

size_t tls_session_partial(const struct tls_session *session) {
	return session->header_size + session->body_size;
}

/* --- Receiving ----------------------------------------------------------------------------- */

/* Follows the records in the bytes. The library takes them all, and does not say how far it came.
 */
static void follow(struct tls_session *session, const unsigned char *bytes, size_t size) {
	while (size > 0) {
		size_t part = size < session->body_left ? size : session->body_left;

		if (session->header_size < HEADER_SIZE) {
			part = 1;
			session->header[session->header_size++] = *bytes;
			if (session->header_size == HEADER_SIZE)
				session->body_left =
				    (size_t)session->header[3] << 8 | session->header[4];
		} else {
			session->body_size += part;
			session->body_left -= part;
		}
		bytes += part;
		size -= part;
		if (session->header_size == HEADER_SIZE && session->body_left == 0)
			session->header_size = session->body_size = 0;
	}
}

/* The library failed with this code: sends the alert that goes with it. */
static enum tls_result fail(struct tls_session *session, int code) {
	bool is_alert = code == GNUTLS_E_FATAL_ALERT_RECEIVED;
	const char *alert =
	    is_alert ? gnutls_alert_get_name(gnutls_alert_get(session->library)) : NULL;

	(void)snprintf(session->verdict.error, sizeof(session->verdict.error), "%s%s",
		       is_alert ? "the client ended it: " : gnutls_strerror(code),
		       alert == NULL ? "" : alert);
	if (!is_alert)
		(void)gnutls_alert_send_appropriate(session->library, code);
	return TLS_FAILED;
}

static enum tls_result shake(struct tls_session *session) {
	size_t left;
	int code;

	/* An alert that is a warning ends the call, not the handshake. */
	do {
		left = session->in_size;
		code = gnutls_handshake(session->library);
	} while (code < 0 && !gnutls_error_is_fatal(code) && session->in_size > 0 &&
		 session->in_size < left);
	if (code < 0 && !gnutls_error_is_fatal(code))
		return TLS_GOES_ON;
	if (code < 0)
		return fail(session, code);
	if (!check_client(session, session->credentials, &session->certificate)) {
		(void)gnutls_alert_send(session->library, GNUTLS_AL_FATAL, session->verdict.alert);
		return TLS_FAILED;
	}
	session->is_open = true;
	return TLS_GOES_ON;
}

static enum tls_result decrypt(struct tls_session *session, unsigned char *plain, size_t *size) {
	ssize_t got;
	size_t left;

	/* It comes back without plaintext behind each message that has none, such as new keys. */
	do {
		left = session->in_size;
		got = gnutls_record_recv(session->library, plain + *size, TLS_PLAIN_MAX - *size);
		if (got > 0)
			*size += (size_t)got;
	} while (got > 0 || (got < 0 && !gnutls_error_is_fatal((int)got) && session->in_size > 0 &&
			     session->in_size < left));
	if (got == 0)
		return TLS_ENDED;
	if (gnutls_error_is_fatal((int)got) || session->in_size > 0)
		return fail(session, (int)got);
	/* There was room for all, so that nothing waits in the library. */
	assert(gnutls_record_check_pending(session->library) == 0);
	return TLS_GOES_ON;
}

enum tls_result tls_session_receive(struct tls_session *session, const void *bytes, size_t size,
				    void *plain, size_t *plain_size, struct tls_out *out) {
	enum tls_result result = TLS_GOES_ON;

	assert(size <= TLS_IN_MAX);
	*plain_size = 0;
	follow(session, bytes, size);
	session->in = bytes;
	session->in_size = size;
	session->out = out;
	if (!session->is_open)
		result = shake(session);
	if (session->is_open && result == TLS_GOES_ON)
		result = decrypt(session, plain, plain_size);
	session->in = NULL;
	session->out = NULL;
	return result;
}

/* --- Sending ------------------------------------------------------------------------------- */

size_t tls_session_send(struct tls_session *session, const void *plain, size_t size,
			struct tls_out *out) {
	size_t done = 0;

	session->out = out;
	while (done < size && out->size < TLS_AHEAD_MAX) {
		ssize_t part =
		    gnutls_record_send(session->library, (const char *)plain + done, size - done);

		if (part <= 0)
			break;
		done += (size_t)part;
	}
	session->out = NULL;
	return done;
}

void tls_session_end(struct tls_session *session, struct tls_out *out) {
	session->out = out;
	(void)gnutls_bye(session->library, GNUTLS_SHUT_WR);
	session->out = NULL;
}
