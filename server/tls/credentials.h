/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

/*
 * credentials.h - what a server shows over TLS, its certificate with its key, and what it trusts of
 * clients: CAs and lists of revoked certificates. It never changes once it is made. Sessions share
 * it by a count, so that those which are under way outlive its replacement.
 */

#include <stdbool.h>

#include "bytes.h"

struct credentials;

enum {
	CREDENTIALS_ERROR_MAX = 512,	    /* an error text, with its NUL */
	CREDENTIALS_FILE_MAX = 4 << 20,	    /* bytes of one of the files */
	CREDENTIALS_CHAIN_MAX = 8,	    /* certificates that the server shows ... */
	CREDENTIALS_CHAIN_BYTES = 12 << 10, /* ... and their bytes */
};

/* A file and its text, PEM. `text.data` NULL: it was not given. */
struct credentials_file {
	const char *option; /* "--tls-cert" */
	const char *path;
	struct kv_bytes text;
};

struct credentials_files {
	struct credentials_file certificate; /* the server's, with those of its issuers behind it */
	struct credentials_file key;
	struct credentials_file ca;  /* not given: clients are not asked for certificates */
	struct credentials_file crl; /* needs `ca` */
	bool are_needed;	     /* a client without a certificate is refused */
};

/*
 * Returns credentials with a count of 1, or NULL with one line in `error`: "--tls-key FILE: what is
 * wrong, and what to do".
 */
struct credentials *credentials_new(const struct credentials_files *files,
				    char error[CREDENTIALS_ERROR_MAX]);
struct credentials *credentials_ref(struct credentials *credentials);
void credentials_unref(struct credentials *credentials);

#endif
