/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls/tls_peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <gnutls/x509.h>

enum { NAME_SHOWN = 96 }; /* bytes of a certificate's name in a message, with the NUL */

/* id-kp-rpcTLSServer of RFC 9289, 8.1. */
static const char rpc_tls_server[] = "1.3.6.1.5.5.7.3.34";

bool tls_peer_is_ip(const char *name, unsigned char bytes[16], unsigned *size) {
	*size = 4;
	if (inet_pton(AF_INET, name, bytes) == 1)
		return true;
	*size = 16;
	return inet_pton(AF_INET6, name, bytes) == 1;
}

/* --- The parts of a certificate -------------------------------------------------------------- */

/* Its subject, as what may be shown on a terminal. */
static void show_name(gnutls_x509_crt_t certificate, char text[NAME_SHOWN]) {
	size_t size = NAME_SHOWN;
	gnutls_datum_t name = {NULL, 0};

	text[0] = '\0';
	if (gnutls_x509_crt_get_dn2(certificate, &name) >= 0 && name.data != NULL) {
		(void)snprintf(text, size, "%.*s", (int)name.size, (const char *)name.data);
		gnutls_free(name.data);
	}
	for (char *c = text; *c != '\0'; c++)
		if (*c < ' ' || *c > '~' || *c == '"')
			*c = '?';
	if (text[0] == '\0')
		(void)snprintf(text, size, "without a subject");
}

/* GnuTLS looks at the common name if there is no dNSName. */
static bool has_dns_name(gnutls_x509_crt_t certificate) {
	char name[256];

	for (unsigned i = 0;; i++) {
		size_t size = sizeof(name);
		int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, name, &size, NULL);

		if (type == GNUTLS_SAN_DNSNAME)
			return true;
		/* One that is too long for the buffer is of a type that is not told. */
		if (type < 0 && type != GNUTLS_E_SHORT_MEMORY_BUFFER)
			return false;
	}
}

static bool is_for(gnutls_x509_crt_t certificate, const char *name) {
	unsigned char bytes[16];
	unsigned size;

	if (tls_peer_is_ip(name, bytes, &size))
		return gnutls_x509_crt_check_ip(certificate, bytes, size, 0) != 0;
	return has_dns_name(certificate) &&
	       gnutls_x509_crt_check_hostname2(certificate, name,
					       GNUTLS_VERIFY_DO_NOT_ALLOW_IP_MATCHES) != 0;
}

/* Whether it may be a server's: it names no purpose, or one of a server. */
static bool is_of_server(gnutls_x509_crt_t certificate) {
	char purpose[128];

	for (unsigned i = 0;; i++) {
		size_t size = sizeof(purpose);
		int result =
		    gnutls_x509_crt_get_key_purpose_oid(certificate, i, purpose, &size, NULL);

		if (result == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return i == 0;
		if (result == GNUTLS_E_SHORT_MEMORY_BUFFER)
			continue;
		if (result < 0)
			return false;
		if (strcmp(purpose, GNUTLS_KP_TLS_WWW_SERVER) == 0 ||
		    strcmp(purpose, rpc_tls_server) == 0)
			return true;
	}
}

/* --- The whole -------------------------------------------------------------------------------- */

/* What is wrong with the chain; the gravest first. */
static const char *describe_status(unsigned status) {
	static const struct {
		unsigned flag;
		const char *text;
	} flags[] = {
	    {GNUTLS_CERT_REVOKED, "it, or its issuer, is revoked"},
	    {GNUTLS_CERT_SIGNER_NOT_FOUND, "its issuer is none of the trusted CAs (tls_ca)"},
	    {GNUTLS_CERT_SIGNER_NOT_CA, "its issuer is no CA"},
	    {GNUTLS_CERT_SIGNATURE_FAILURE, "its signature is wrong"},
	    {GNUTLS_CERT_EXPIRED, "it has expired, or its issuer has"},
	    {GNUTLS_CERT_NOT_ACTIVATED, "it is not yet valid, or its issuer is not"},
	    {GNUTLS_CERT_INSECURE_ALGORITHM, "its key or its signature is too weak"},
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if ((status & flags[i].flag) != 0)
			return flags[i].text;
	return "its chain is not valid";
}

static bool refuse(gnutls_x509_crt_t certificate, const char *why, const char *name,
		   char error[TLS_ERROR_MAX]) {
	char shown[NAME_SHOWN];

	show_name(certificate, shown);
	(void)snprintf(error, TLS_ERROR_MAX, "the server's certificate \"%s\" is refused: %s%s",
		       shown, why, name);
	return false;
}

static bool accept_certificate(gnutls_session_t session, gnutls_x509_crt_t certificate,
			       const char *name, char error[TLS_ERROR_MAX]) {
	unsigned status = 0;

	if (gnutls_certificate_verify_peers2(session, &status) < 0)
		return refuse(certificate, "its chain cannot be read", "", error);
	if (status != 0)
		return refuse(certificate, describe_status(status), "", error);
	if (!is_for(certificate, name))
		return refuse(certificate, "it is not for ", name, error);
	if (!is_of_server(certificate))
		return refuse(certificate, "its extended key usage is not that of a server", "",
			      error);
	return true;
}

bool tls_peer_accept(gnutls_session_t session, const char *name, char error[TLS_ERROR_MAX]) {
	unsigned count = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
	gnutls_x509_crt_t certificate = NULL;
	bool is_accepted = false;

	(void)snprintf(error, TLS_ERROR_MAX, "the server's certificate cannot be read");
	if (chain == NULL || count == 0 || gnutls_x509_crt_init(&certificate) < 0)
		return false;
	if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) >= 0)
		is_accepted = accept_certificate(session, certificate, name, error);
	gnutls_x509_crt_deinit(certificate);
	return is_accepted;
}

void tls_peer_describe_alert(gnutls_alert_description_t alert, char error[TLS_ERROR_MAX]) {
	static const struct {
		gnutls_alert_description_t alert;
		const char *text;
	} alerts[] = {
	    {GNUTLS_A_CERTIFICATE_REQUIRED,
	     "the server wants a certificate of its clients (tls_cert, tls_key)"},
	    {GNUTLS_A_UNKNOWN_CA,
	     "the server refused this client's certificate: it does not know its issuer"},
	    {GNUTLS_A_CERTIFICATE_EXPIRED,
	     "the server refused this client's certificate: it has expired"},
	    {GNUTLS_A_CERTIFICATE_REVOKED,
	     "the server refused this client's certificate: it is revoked"},
	    {GNUTLS_A_BAD_CERTIFICATE, "the server refused this client's certificate"},
	    {GNUTLS_A_UNSUPPORTED_CERTIFICATE,
	     "the server refused this client's certificate: not of a kind that it accepts"},
	    {GNUTLS_A_CERTIFICATE_UNKNOWN, "the server refused this client's certificate"},
	    {GNUTLS_A_ACCESS_DENIED, "the server refused this client"},
	    {GNUTLS_A_HANDSHAKE_FAILURE, "the server accepts no TLS 1.3 as this client speaks it"},
	    {GNUTLS_A_PROTOCOL_VERSION, "the server does not speak TLS 1.3"},
	    {GNUTLS_A_NO_APPLICATION_PROTOCOL,
	     "the server does not serve RPC over TLS (ALPN sunrpc)"},
	};
	const char *name = gnutls_alert_get_name(alert);

	for (size_t i = 0; i < sizeof(alerts) / sizeof(alerts[0]); i++)
		if (alerts[i].alert == alert) {
			(void)snprintf(error, TLS_ERROR_MAX, "%s (TLS alert %d)", alerts[i].text,
				       (int)alert);
			return;
		}
	(void)snprintf(error, TLS_ERROR_MAX, "the server ended TLS: %s (TLS alert %d)",
		       name != NULL ? name : "unknown", (int)alert);
}
