/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls/credentials.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "log.h"
#include "tls/tls_private.h"

/*
 * TLS 1.3 alone, without resumption: so there is no early data, no renegotiation and no compression
 * to be refused.
 */
static const char priority[] = "SECURE128:-VERS-ALL:+VERS-TLS1.3:%NO_TICKETS:"
			       "-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305";

/* Returns false, for the caller to return. */
static bool wrong(char error[CREDENTIALS_ERROR_MAX], const struct credentials_file *file,
		  const char *format, ...) __attribute__((format(printf, 3, 4)));
static bool wrong(char error[CREDENTIALS_ERROR_MAX], const struct credentials_file *file,
		  const char *format, ...) {
	va_list arguments;
	int size = snprintf(error, CREDENTIALS_ERROR_MAX, "%s %.200s: ", file->option, file->path);

	va_start(arguments, format);
	(void)vsnprintf(error + size, CREDENTIALS_ERROR_MAX - (size_t)size, format, arguments);
	va_end(arguments);
	return false;
}

static gnutls_datum_t datum_of(const struct credentials_file *file) {
	return (gnutls_datum_t){(unsigned char *)(uintptr_t)file->text.data,
				(unsigned)file->text.size};
}

/* --- What the server shows ----------------------------------------------------------------- */

struct chain {
	gnutls_x509_crt_t *list;
	unsigned count;
};

static void chain_free(struct chain *chain) {
	for (unsigned i = 0; i < chain->count; i++)
		gnutls_x509_crt_deinit(chain->list[i]);
	gnutls_free(chain->list);
}

/* All certificates of the file; to be freed also if false. */
static bool read_chain(const struct credentials_file *file, struct chain *chain,
		       char error[CREDENTIALS_ERROR_MAX]) {
	const gnutls_datum_t text = datum_of(file);
	int code = gnutls_x509_crt_list_import2(&chain->list, &chain->count, &text,
						GNUTLS_X509_FMT_PEM, 0);

	if (code < 0)
		chain->count = 0;
	if (code == GNUTLS_E_NO_CERTIFICATE_FOUND || (code >= 0 && chain->count == 0))
		return wrong(error, file,
			     "it has no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
	return code >= 0 ||
	       wrong(error, file, "its certificates cannot be read: %s", gnutls_strerror(code));
}

/* A handshake with all of it fits into a tls_out. */
static bool check_chain(const struct credentials_file *file, const struct chain *chain,
			char error[CREDENTIALS_ERROR_MAX]) {
	size_t bytes = 0;

	for (unsigned i = 0; i < chain->count; i++) {
		size_t size = 0;

		(void)gnutls_x509_crt_export(chain->list[i], GNUTLS_X509_FMT_DER, NULL, &size);
		bytes += size;
	}
	if (chain->count > CREDENTIALS_CHAIN_MAX || bytes > CREDENTIALS_CHAIN_BYTES)
		return wrong(error, file,
			     "%u certificates of %zu bytes, and %d of %d may be: leave out those "
			     "that are not issuers of the first",
			     chain->count, bytes, CREDENTIALS_CHAIN_MAX, CREDENTIALS_CHAIN_BYTES);
	if (gnutls_x509_crt_get_expiration_time(chain->list[0]) < time(NULL))
		log_warn("%s %s: it has expired, and clients will refuse it (renew it, and send "
			 "SIGHUP)",
			 file->option, file->path);
	return true;
}

static bool read_key(const struct credentials_file *file, gnutls_x509_privkey_t key,
		     char error[CREDENTIALS_ERROR_MAX]) {
	const gnutls_datum_t text = datum_of(file);
	int code = gnutls_x509_privkey_import2(key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);

	if (code == GNUTLS_E_DECRYPTION_FAILED)
		return wrong(error, file,
			     "it is protected by a password, which kvd cannot ask for (remove it: "
			     "openssl pkey -in FILE -out NEW)");
	return code >= 0 ||
	       wrong(error, file,
		     "it has no private key in PEM form (-----BEGIN PRIVATE KEY-----): %s",
		     gnutls_strerror(code));
}

static bool set_shown(struct credentials *credentials, const struct credentials_files *files,
		      const struct chain *chain, gnutls_x509_privkey_t key,
		      char error[CREDENTIALS_ERROR_MAX]) {
	int code = gnutls_certificate_set_x509_key(credentials->shown, chain->list,
						   (int)chain->count, key);

	if (code == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
		return wrong(error, &files->key, "it is not the key of --tls-cert %.200s",
			     files->certificate.path);
	return code >= 0 || wrong(error, &files->certificate, "%s", gnutls_strerror(code));
}

static bool read_shown(struct credentials *credentials, const struct credentials_files *files,
		       char error[CREDENTIALS_ERROR_MAX]) {
	struct chain chain = {.count = 0};
	gnutls_x509_privkey_t key = NULL;
	bool is_read = false;

	if (gnutls_certificate_allocate_credentials(&credentials->shown) < 0 ||
	    gnutls_priority_init(&credentials->priority, priority, NULL) < 0 ||
	    gnutls_x509_privkey_init(&key) < 0)
		(void)wrong(error, &files->certificate, "no memory for it");
	else
		is_read = read_chain(&files->certificate, &chain, error) &&
			  check_chain(&files->certificate, &chain, error) &&
			  read_key(&files->key, key, error) &&
			  set_shown(credentials, files, &chain, key, error);
	chain_free(&chain);
	gnutls_x509_privkey_deinit(key);
	return is_read;
}

/* --- What it trusts ------------------------------------------------------------------------ */

static bool read_ca(struct credentials *credentials, const struct credentials_file *file,
		    char error[CREDENTIALS_ERROR_MAX]) {
	const gnutls_datum_t text = datum_of(file);
	int count;

	if (gnutls_x509_trust_list_init(&credentials->trust, 0) < 0)
		return wrong(error, file, "no memory for it");
	count = gnutls_x509_trust_list_add_trust_mem(credentials->trust, &text, NULL,
						     GNUTLS_X509_FMT_PEM, 0, 0);
	if (count == 0 || count == GNUTLS_E_NO_CERTIFICATE_FOUND)
		return wrong(error, file,
			     "it has no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
	if (count < 0)
		return wrong(error, file, "its certificates cannot be read: %s",
			     gnutls_strerror(count));
	/* Their names, for clients with several certificates. */
	(void)gnutls_certificate_set_x509_trust_mem(credentials->shown, &text, GNUTLS_X509_FMT_PEM);
	return true;
}

/* Adds a list of revoked certificates, if a CA of --tls-ca signed it; then the trust owns it. */
static bool add_crl(struct credentials *credentials, const struct credentials_file *file,
		    gnutls_x509_crl_t crl, char error[CREDENTIALS_ERROR_MAX]) {
	int count =
	    gnutls_x509_trust_list_add_crls(credentials->trust, &crl, 1, GNUTLS_TL_VERIFY_CRL, 0);

	if (count == 1)
		return true;
	gnutls_x509_crl_deinit(crl);
	return wrong(error, file, "a list in it is signed by no CA of --tls-ca");
}

static bool read_crl(struct credentials *credentials, const struct credentials_file *file,
		     char error[CREDENTIALS_ERROR_MAX]) {
	const gnutls_datum_t text = datum_of(file);
	gnutls_x509_crl_t *list = NULL;
	unsigned count = 0;
	bool is_read = true;
	int code = gnutls_x509_crl_list_import2(&list, &count, &text, GNUTLS_X509_FMT_PEM, 0);

	if (code < 0 || count == 0)
		return wrong(error, file, "it has no list in PEM form (-----BEGIN X509 CRL-----)");
	for (unsigned i = 0; i < count; i++) {
		time_t next = gnutls_x509_crl_get_next_update(list[i]);

		if (next != (time_t)-1 && next < time(NULL))
			log_warn("%s %s: a list in it is out of date, and certificates of its "
				 "issuer are refused (renew it, and send SIGHUP)",
				 file->option, file->path);
		if (is_read)
			is_read = add_crl(credentials, file, list[i], error);
		else
			gnutls_x509_crl_deinit(list[i]);
	}
	gnutls_free(list);
	return is_read;
}

/* --- All of it ----------------------------------------------------------------------------- */

struct credentials *credentials_new(const struct credentials_files *files,
				    char error[CREDENTIALS_ERROR_MAX]) {
	struct credentials *credentials = calloc(1, sizeof(*credentials));

	if (credentials == NULL) {
		(void)wrong(error, &files->certificate, "no memory for it");
		return NULL;
	}
	credentials->count = 1;
	credentials->are_needed = files->are_needed;
	if (read_shown(credentials, files, error) &&
	    (files->ca.text.data == NULL || read_ca(credentials, &files->ca, error)) &&
	    (files->crl.text.data == NULL || read_crl(credentials, &files->crl, error)))
		return credentials;
	credentials_unref(credentials);
	return NULL;
}

struct credentials *credentials_ref(struct credentials *credentials) {
	credentials->count++;
	return credentials;
}

void credentials_unref(struct credentials *credentials) {
	if (credentials == NULL || --credentials->count > 0)
		return;
	if (credentials->shown != NULL)
		gnutls_certificate_free_credentials(credentials->shown);
	if (credentials->priority != NULL)
		gnutls_priority_deinit(credentials->priority);
	if (credentials->trust != NULL)
		gnutls_x509_trust_list_deinit(credentials->trust, 1);
	free(credentials);
}
