/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_PRIVATE_H
#define TLS_PRIVATE_H

/* tls_private.h - what the files of this folder share: the only ones that see GnuTLS. */

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "acl/certificate.h"
#include "tls/credentials.h"
#include "tls/tls_session.h"

/* Invariant: `trust` is NULL exactly if clients are not asked for certificates. */
struct credentials {
	unsigned count;
	gnutls_certificate_credentials_t shown;
	gnutls_priority_t priority;
	gnutls_x509_trust_list_t trust;
	bool are_needed;
};

/* What is wrong with a client's certificate: for the log, and for the client. */
struct verdict {
	gnutls_alert_description_t alert;
	char error[TLS_ERROR_MAX];
};

/*
 * Checks a client's chain, its own certificate first, at this moment: dates, issuers, revocation,
 * purpose and names. Returns the certificate, freed with certificate_free(); NULL: *verdict says
 * why not.
 */
struct certificate *client_check(const struct credentials *credentials,
				 const struct tls_hooks *hooks, const gnutls_datum_t *chain,
				 unsigned count, struct verdict *verdict);

#endif
