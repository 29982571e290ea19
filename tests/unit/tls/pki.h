/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PKI_H
#define PKI_H

/*
 * pki.h - throw-away certificates for tests, made in memory. All but RSA ones share one key,
 * because making keys takes longest.
 */

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "tls/credentials.h"

/* One alternative name. `type` 0 ends a list of them. */
struct pki_name {
	unsigned type; /* GNUTLS_SAN_... */
	const char *bytes;
	size_t size; /* 0: it is a text */
};

struct pki_request {
	const char *common_name; /* NULL: none */
	const struct pki_name *names;
	const char *purpose;	/* an OID; NULL: none is said */
	int from_days, to_days; /* from now; both 0: -1 to 30 */
	unsigned rsa_bits;	/* 0: the shared key, on a curve */
	bool is_ca;
};

struct pki_identity {
	gnutls_x509_crt_t certificate;
	gnutls_x509_privkey_t key;
};

/* Issued by `issuer`; NULL: by itself. Freed with pki_free(). */
struct pki_identity pki_issue(const struct pki_identity *issuer, const struct pki_request *request);
void pki_free(struct pki_identity *identity);

/* A list of the issuer that revokes the other; NULL: none. */
gnutls_x509_crl_t pki_revoke(const struct pki_identity *issuer, const struct pki_identity *other);

/* PEM, to be freed with gnutls_free(). */
gnutls_datum_t pki_certificate_text(const struct pki_identity *identity);
gnutls_datum_t pki_key_text(const struct pki_identity *identity);
gnutls_datum_t pki_crl_text(gnutls_x509_crl_t crl);

/* A server's credentials: its own identity, what it trusts, and what is revoked, or NULL. */
struct credentials *pki_credentials(const struct pki_identity *server,
				    const struct pki_identity *ca, gnutls_x509_crl_t crl,
				    bool are_needed);

#endif
