/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_FILES_H
#define TLS_FILES_H

/*
 * tls_files.h - the files of --tls-cert, --tls-key, --tls-ca and --tls-crl: who may read and write
 * them, and the credentials that they are together.
 */

#include <stdbool.h>

struct credentials;

/* Paths; NULL: not given. */
struct tls_files {
	const char *certificate;
	const char *key;
	const char *ca;
	const char *crl;
	bool are_needed; /* clients without a certificate are refused */
};

/*
 * Reads all of them; freed with credentials_unref(). NULL: one line was logged, which begins with
 * `what`.
 */
struct credentials *tls_files_read(const struct tls_files *files, const char *what);

#endif
