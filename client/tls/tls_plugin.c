/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls/tls_plugin.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gnutls/gnutls.h>

#include "tls/tls_files.h"
#include "tls/tls_peer.h"

struct tls_session {
	gnutls_session_t gnutls;
	gnutls_certificate_credentials_t credentials;
	struct tls_wire wire;
	char *name;
	bool is_refused; /* by this client; `refusal` says why */
	char refusal[TLS_ERROR_MAX];
};

/* What the library exports. */
extern const struct tls_plugin kv_tls_plugin;

/* RFC 9289, 5: TLS 1.3, and the protocol "sunrpc". */
static const char priorities[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:%PROFILE_MEDIUM";
static const char protocol[] = "sunrpc";

/* --- The wire --------------------------------------------------------------------------------- */

static ssize_t pull(gnutls_transport_ptr_t context, void *data, size_t size) {
	struct tls_session *session = context;
	size_t came = session->wire.take(session->wire.context, data, size);

	if (came > 0)
		return (ssize_t)came;
	gnutls_transport_set_errno(session->gnutls, EAGAIN);
	return -1;
}

static ssize_t push(gnutls_transport_ptr_t context, const void *data, size_t size) {
	struct tls_session *session = context;

	if (session->wire.give(session->wire.context, data, size))
		return (ssize_t)size;
	gnutls_transport_set_errno(session->gnutls, EMSGSIZE);
	return -1;
}

/* The caller has the time limits: what is not there now is asked for again. */
static int pull_timeout(gnutls_transport_ptr_t context, unsigned ms) {
	(void)context;
	(void)ms;
	return 1;
}

/* --- A session -------------------------------------------------------------------------------- */

/*
 * Called once the server has sent its certificates, before this client sends its own. Only what
 * differs from 0 matters.
 */
static int accept_server(gnutls_session_t gnutls) {
	struct tls_session *session = gnutls_session_get_ptr(gnutls);

	session->is_refused = !tls_peer_accept(gnutls, session->name, session->refusal);
	return session->is_refused ? -1 : 0;
}

static bool set_up(struct tls_session *session) {
	const gnutls_datum_t alpn = {(unsigned char *)protocol, sizeof(protocol) - 1};
	gnutls_session_t gnutls = session->gnutls;
	unsigned char bytes[16];
	unsigned size;

	if (gnutls_priority_set_direct(gnutls, priorities, NULL) < 0 ||
	    gnutls_credentials_set(gnutls, GNUTLS_CRD_CERTIFICATE, session->credentials) < 0 ||
	    gnutls_alpn_set_protocols(gnutls, &alpn, 1, 0) < 0)
		return false;
	/* RFC 6066, 3: no addresses. */
	if (!tls_peer_is_ip(session->name, bytes, &size) &&
	    gnutls_server_name_set(gnutls, GNUTLS_NAME_DNS, session->name, strlen(session->name)) <
		0)
		return false;
	gnutls_session_set_ptr(gnutls, session);
	gnutls_session_set_verify_function(gnutls, accept_server);
	gnutls_transport_set_ptr(gnutls, session);
	gnutls_transport_set_pull_function(gnutls, pull);
	gnutls_transport_set_push_function(gnutls, push);
	gnutls_transport_set_pull_timeout_function(gnutls, pull_timeout);
	gnutls_handshake_set_timeout(gnutls, 0);
	return true;
}

/* Sends nothing, so that a child of fork() leaves the parent's session alone. */
static void session_close(struct tls_session *session) {
	if (session == NULL)
		return;
	if (session->gnutls != NULL)
		gnutls_deinit(session->gnutls);
	if (session->credentials != NULL)
		gnutls_certificate_free_credentials(session->credentials);
	free(session->name);
	free(session);
}

static enum tls_result session_open(const struct tls_config *config, const struct tls_wire *wire,
				    struct tls_session **session, char error[TLS_ERROR_MAX]) {
	/*
	 * The certificate is sent whatever CAs the server names: else a client with one that the
	 * server does not accept would be a client without any, and not learn why.
	 */
	const unsigned flags = GNUTLS_FORCE_CLIENT_CERT | GNUTLS_CLIENT | GNUTLS_NONBLOCK |
			       GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL;
	struct tls_session *made = calloc(1, sizeof(*made));
	enum tls_result result = TLS_NOMEM;

	*session = NULL;
	(void)snprintf(error, TLS_ERROR_MAX, "no memory for TLS");
	if (made == NULL)
		return TLS_NOMEM;
	made->wire = *wire;
	made->name = strdup(config->name);
	if (made->name != NULL)
		result = tls_files_load(config, &made->credentials, error);
	if (result == TLS_OK && gnutls_init(&made->gnutls, flags) < 0) {
		made->gnutls = NULL;
		result = TLS_NOMEM;
	}
	if (result == TLS_OK && !set_up(made)) {
		(void)snprintf(error, TLS_ERROR_MAX, "GnuTLS cannot be set up for TLS 1.3");
		result = TLS_UNUSABLE;
	}
	if (result != TLS_OK) {
		session_close(made);
		return result;
	}
	error[0] = '\0';
	*session = made;
	return TLS_OK;
}

/* --- The handshake ---------------------------------------------------------------------------- */

static enum tls_result check_protocol(struct tls_session *session, char error[TLS_ERROR_MAX]) {
	gnutls_datum_t chosen = {NULL, 0};

	if (gnutls_alpn_get_selected_protocol(session->gnutls, &chosen) >= 0 &&
	    chosen.size == sizeof(protocol) - 1 && memcmp(chosen.data, protocol, chosen.size) == 0)
		return TLS_OK;
	(void)gnutls_alert_send(session->gnutls, GNUTLS_AL_FATAL, GNUTLS_A_NO_APPLICATION_PROTOCOL);
	(void)snprintf(error, TLS_ERROR_MAX,
		       "the server does not serve RPC over TLS (ALPN sunrpc)");
	return TLS_REFUSED;
}

/* What a fatal error of GnuTLS means. */
static enum tls_result fail(struct tls_session *session, int failure, char error[TLS_ERROR_MAX]) {
	switch (failure) {
	case GNUTLS_E_FATAL_ALERT_RECEIVED:
		tls_peer_describe_alert(gnutls_alert_get(session->gnutls), error);
		return TLS_REFUSED;
	case GNUTLS_E_MEMORY_ERROR:
		(void)snprintf(error, TLS_ERROR_MAX, "no memory for TLS");
		return TLS_NOMEM;
	case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
		(void)snprintf(error, TLS_ERROR_MAX, "the server does not speak TLS 1.3");
		return TLS_REFUSED;
	default:
		(void)snprintf(error, TLS_ERROR_MAX, "TLS failed: %s", gnutls_strerror(failure));
		return TLS_FAILED;
	}
}

static enum tls_result session_handshake(struct tls_session *session, char error[TLS_ERROR_MAX]) {
	int result;

	do
		result = gnutls_handshake(session->gnutls);
	while (result < 0 && result != GNUTLS_E_AGAIN && gnutls_error_is_fatal(result) == 0);
	if (result == GNUTLS_E_AGAIN)
		return TLS_AGAIN;
	if (result >= 0)
		return check_protocol(session, error);
	(void)gnutls_alert_send_appropriate(session->gnutls, result);
	if (session->is_refused) {
		(void)snprintf(error, TLS_ERROR_MAX, "%s", session->refusal);
		return TLS_REFUSED;
	}
	return fail(session, result, error);
}

/* --- Bytes ------------------------------------------------------------------------------------ */

static bool session_encrypt(struct tls_session *session, const void *data, size_t size) {
	const uint8_t *bytes = data;

	/* A server may take smaller records than these (RFC 8449). */
	while (size > 0) {
		ssize_t went = gnutls_record_send(session->gnutls, bytes, size);

		if (went <= 0)
			return false;
		bytes += went;
		size -= (size_t)went;
	}
	return true;
}

static enum tls_result session_decrypt(struct tls_session *session, void *data, size_t room,
				       size_t *size, char error[TLS_ERROR_MAX]) {
	ssize_t came;

	do
		came = gnutls_record_recv(session->gnutls, data, room);
	while (came < 0 && came != GNUTLS_E_AGAIN && came != GNUTLS_E_REHANDSHAKE &&
	       gnutls_error_is_fatal((int)came) == 0);
	if (came == GNUTLS_E_AGAIN)
		return TLS_AGAIN;
	if (came < 0)
		return fail(session, (int)came, error);
	*size = (size_t)came;
	if (came > 0)
		return TLS_OK;
	(void)snprintf(error, TLS_ERROR_MAX, "the server closed the connection");
	return TLS_CLOSED;
}

static bool session_has_plain(struct tls_session *session) {
	return gnutls_record_check_pending(session->gnutls) > 0;
}

const struct tls_plugin kv_tls_plugin = {
    .version = TLS_PLUGIN_VERSION,
    .open = session_open,
    .close = session_close,
    .handshake = session_handshake,
    .encrypt = session_encrypt,
    .decrypt = session_decrypt,
    .has_plain = session_has_plain,
};
