/* SPDX-License-Identifier: BSD-3-Clause */
#include "test_pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "test.h"

enum { DAY_S = 24 * 60 * 60, PATH_SIZE = 128, PATH_COUNT = 64 };

static char directory[64];

const char *pki_path(const char *file) {
	static char paths[PATH_COUNT][PATH_SIZE];
	static unsigned next;
	char *path = paths[next++ % PATH_COUNT];

	(void)snprintf(path, PATH_SIZE, "%s/%s", directory, file);
	return path;
}

void pki_write(const char *file, const void *data, size_t size, unsigned mode) {
	FILE *to = fopen(pki_path(file), "we");

	ck_assert_ptr_nonnull(to);
	ck_assert_uint_eq(fwrite(data, 1, size, to), size);
	ck_assert_int_eq(fclose(to), 0);
	ck_assert_int_eq(chmod(pki_path(file), mode), 0);
}

/* The path of NAME.EXTENSION. */
static const char *part(const char *name, const char *extension) {
	char file[64];

	(void)snprintf(file, sizeof(file), "%s.%s", name, extension);
	return pki_path(file);
}

static gnutls_x509_privkey_t make_key(const char *name, bool is_weak) {
	gnutls_x509_privkey_t key;
	gnutls_datum_t text;
	char file[64];

	ck_assert_int_eq(gnutls_x509_privkey_init(&key), 0);
	ck_assert_int_eq(gnutls_x509_privkey_generate(
			     key, is_weak ? GNUTLS_PK_RSA : GNUTLS_PK_ECDSA,
			     is_weak ? 1024 : GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
			 0);
	ck_assert_int_eq(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &text), 0);
	(void)snprintf(file, sizeof(file), "%s.key", name);
	pki_write(file, text.data, text.size, 0600);
	gnutls_free(text.data);
	return key;
}

static gnutls_x509_crt_t begin(gnutls_x509_privkey_t key, int from_days, int to_days) {
	static unsigned char serial;
	gnutls_x509_crt_t made;
	const time_t now = time(NULL);

	ck_assert_int_eq(gnutls_x509_crt_init(&made), 0);
	serial++;
	ck_assert_int_eq(gnutls_x509_crt_set_version(made, 3), 0);
	ck_assert_int_eq(gnutls_x509_crt_set_serial(made, &serial, 1), 0);
	ck_assert_int_eq(gnutls_x509_crt_set_key(made, key), 0);
	ck_assert_int_eq(gnutls_x509_crt_set_activation_time(made, now + from_days * DAY_S), 0);
	ck_assert_int_eq(gnutls_x509_crt_set_expiration_time(made, now + to_days * DAY_S), 0);
	return made;
}

static void finish(const char *name, gnutls_x509_crt_t made, gnutls_x509_privkey_t key,
		   gnutls_x509_crt_t issuer, gnutls_x509_privkey_t issuer_key) {
	gnutls_datum_t text;
	char file[64];

	ck_assert_int_eq(gnutls_x509_crt_sign2(made, issuer, issuer_key, GNUTLS_DIG_SHA256, 0), 0);
	ck_assert_int_eq(gnutls_x509_crt_export2(made, GNUTLS_X509_FMT_PEM, &text), 0);
	(void)snprintf(file, sizeof(file), "%s.pem", name);
	pki_write(file, text.data, text.size, 0644);
	gnutls_free(text.data);
	gnutls_x509_crt_deinit(made);
	gnutls_x509_privkey_deinit(key);
}

void pki_add_ca(const char *name) {
	gnutls_x509_privkey_t key = make_key(name, false);
	gnutls_x509_crt_t made = begin(key, -30, 30);

	ck_assert_int_eq(gnutls_x509_crt_set_dn_by_oid(made, GNUTLS_OID_X520_COMMON_NAME, 0, name,
						       (unsigned)strlen(name)),
			 0);
	ck_assert_int_eq(gnutls_x509_crt_set_ca_status(made, 1), 0);
	ck_assert_int_eq(gnutls_x509_crt_set_key_usage(made, GNUTLS_KEY_KEY_CERT_SIGN), 0);
	finish(name, made, key, made, key);
}

/* GnuTLS would end it at a NUL. */
static void add_raw_dns(gnutls_x509_crt_t made, const struct wish *wish) {
	uint8_t names[64] = {0x30, (uint8_t)(wish->dns_size + 2), 0x82, (uint8_t)wish->dns_size};

	memcpy(names + 4, wish->dns, wish->dns_size);
	ck_assert_int_eq(
	    gnutls_x509_crt_set_extension_by_oid(made, "2.5.29.17", names, 4 + wish->dns_size, 0),
	    0);
}

static void add_names(gnutls_x509_crt_t made, const struct wish *wish) {
	unsigned char bytes[16];
	int size = 4;

	if (wish->common_name != NULL)
		ck_assert_int_eq(gnutls_x509_crt_set_dn_by_oid(made, GNUTLS_OID_X520_COMMON_NAME, 0,
							       wish->common_name,
							       (unsigned)strlen(wish->common_name)),
				 0);
	if (wish->dns != NULL && wish->dns_size != 0)
		add_raw_dns(made, wish);
	else if (wish->dns != NULL)
		ck_assert_int_eq(gnutls_x509_crt_set_subject_alt_name(
				     made, GNUTLS_SAN_DNSNAME, wish->dns,
				     (unsigned)strlen(wish->dns), GNUTLS_FSAN_APPEND),
				 0);
	if (wish->ip == NULL)
		return;
	if (inet_pton(AF_INET, wish->ip, bytes) != 1) {
		ck_assert_int_eq(inet_pton(AF_INET6, wish->ip, bytes), 1);
		size = 16;
	}
	ck_assert_int_eq(gnutls_x509_crt_set_subject_alt_name(made, GNUTLS_SAN_IPADDRESS, bytes,
							      (unsigned)size, GNUTLS_FSAN_APPEND),
			 0);
}

void pki_add(const char *name, const struct wish *wish) {
	const char *issuer_name = wish->issuer != NULL ? wish->issuer : "ca";
	const bool is_today = wish->from_days == 0 && wish->to_days == 0;
	gnutls_x509_privkey_t key = make_key(name, wish->is_weak);
	gnutls_x509_crt_t made =
	    begin(key, is_today ? -1 : wish->from_days, is_today ? 1 : wish->to_days);
	gnutls_x509_privkey_t issuer_key;
	gnutls_x509_crt_t issuer;
	gnutls_datum_t text;

	add_names(made, wish);
	if (wish->purpose != NULL)
		ck_assert_int_eq(gnutls_x509_crt_set_key_purpose_oid(made, wish->purpose, 0), 0);
	ck_assert_int_eq(gnutls_load_file(part(issuer_name, "pem"), &text), 0);
	ck_assert_int_eq(gnutls_x509_crt_init(&issuer), 0);
	ck_assert_int_eq(gnutls_x509_crt_import(issuer, &text, GNUTLS_X509_FMT_PEM), 0);
	gnutls_free(text.data);
	ck_assert_int_eq(gnutls_load_file(part(issuer_name, "key"), &text), 0);
	ck_assert_int_eq(gnutls_x509_privkey_init(&issuer_key), 0);
	ck_assert_int_eq(gnutls_x509_privkey_import(issuer_key, &text, GNUTLS_X509_FMT_PEM), 0);
	gnutls_free(text.data);
	finish(name, made, key, issuer, issuer_key);
	gnutls_x509_crt_deinit(issuer);
	gnutls_x509_privkey_deinit(issuer_key);
}

void pki_make(void) {
	(void)snprintf(directory, sizeof(directory), "/tmp/kv-pki.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	pki_add_ca("ca");
}

void pki_remove(void) {
	char command[sizeof(directory) + 16];

	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	ck_assert_int_eq(system(command), 0);
}
