/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_FILES_H
#define TLS_FILES_H

/* tls_files.h - the certificates and the key of a client, from files. Keeps nothing. */

#include <gnutls/gnutls.h>

#include "tls/tls_plugin.h"

enum { TLS_FILE_MAX = 4 * 1024 * 1024 }; /* bytes: a bundle of all public CAs has 0.2 MiB */

/*
 * Makes *credentials, to be freed with gnutls_certificate_free_credentials(). TLS_UNUSABLE: a file
 * is missing, has no PEM, or others may read the key; TLS_NOMEM. Then it is NULL, and `error` says
 * which file and why.
 */
enum tls_result tls_files_load(const struct tls_config *config,
			       gnutls_certificate_credentials_t *credentials,
			       char error[TLS_ERROR_MAX]);

#endif
