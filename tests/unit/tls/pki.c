/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls/pki.h"

#include <string.h>
#include <time.h>

#include "test.h"

enum { DAY = 24 * 3600 };

static gnutls_x509_privkey_t new_key(unsigned rsa_bits) {
	gnutls_x509_privkey_t key;

	ck_assert_int_ge(gnutls_x509_privkey_init(&key), 0);
	ck_assert_int_ge(
	    rsa_bits > 0
		? gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, rsa_bits, 0)
		: gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
					       GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
	    0);
	return key;
}

static gnutls_x509_privkey_t key_for(unsigned rsa_bits) {
	static gnutls_x509_privkey_t shared;
	gnutls_x509_privkey_t copy;

	if (rsa_bits > 0)
		return new_key(rsa_bits);
	if (shared == NULL)
		shared = new_key(0);
	ck_assert_int_ge(gnutls_x509_privkey_init(&copy), 0);
	ck_assert_int_ge(gnutls_x509_privkey_cpy(copy, shared), 0);
	return copy;
}

/* Writes tag and size of an element of DER. */
static size_t put_head(unsigned char *to, unsigned char tag, size_t size) {
	to[0] = tag;
	to[1] = 0x82; /* two bytes of size follow */
	to[2] = (unsigned char)(size >> 8);
	to[3] = (unsigned char)size;
	if (size >= 0x100)
		return 4;
	to[1] = size >= 0x80 ? 0x81 : (unsigned char)size;
	to[2] = (unsigned char)size;
	return size >= 0x80 ? 3 : 2;
}

static unsigned char tag_of(unsigned type) {
	switch (type) {
	case GNUTLS_SAN_RFC822NAME:
		return 0x81;
	case GNUTLS_SAN_DNSNAME:
		return 0x82;
	case GNUTLS_SAN_URI:
		return 0x86;
	default:
		return 0x87; /* an address */
	}
}

/* By hand, because the library makes no names that are wrong. */
static void set_names(gnutls_x509_crt_t certificate, const struct pki_name *name) {
	static unsigned char names[60000], all[sizeof(names) + 4];
	size_t used = 0, head;

	if (name == NULL)
		return;
	for (; name->type != 0; name++) {
		size_t size = name->size > 0 ? name->size : strlen(name->bytes);

		ck_assert_uint_lt(used + size + 4, sizeof(names));
		used += put_head(names + used, tag_of(name->type), size);
		memcpy(names + used, name->bytes, size);
		used += size;
	}
	head = put_head(all, 0x30, used);
	memcpy(all + head, names, used);
	ck_assert_int_ge(
	    gnutls_x509_crt_set_extension_by_oid(certificate, "2.5.29.17", all, head + used, 0), 0);
}

static void set_dates(gnutls_x509_crt_t certificate, const struct pki_request *request) {
	bool is_usual = request->from_days == 0 && request->to_days == 0;
	time_t now = time(NULL);

	(void)gnutls_x509_crt_set_activation_time(certificate,
						  now + (is_usual ? -1 : request->from_days) * DAY);
	(void)gnutls_x509_crt_set_expiration_time(certificate,
						  now + (is_usual ? 30 : request->to_days) * DAY);
}

struct pki_identity pki_issue(const struct pki_identity *issuer,
			      const struct pki_request *request) {
	static unsigned char serial;
	struct pki_identity identity = {.key = request->is_ca ? new_key(0)
							      : key_for(request->rsa_bits)};
	gnutls_x509_crt_t certificate;

	serial++;
	ck_assert_int_ge(gnutls_x509_crt_init(&identity.certificate), 0);
	certificate = identity.certificate;
	(void)gnutls_x509_crt_set_version(certificate, 3);
	(void)gnutls_x509_crt_set_serial(certificate, &serial, sizeof(serial));
	(void)gnutls_x509_crt_set_key(certificate, identity.key);
	(void)gnutls_x509_crt_set_basic_constraints(certificate, request->is_ca, -1);
	if (request->is_ca)
		(void)gnutls_x509_crt_set_key_usage(certificate,
						    GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
	set_dates(certificate, request);
	if (request->common_name != NULL)
		ck_assert_int_ge(gnutls_x509_crt_set_dn_by_oid(
				     certificate, GNUTLS_OID_X520_COMMON_NAME, 0,
				     request->common_name, (unsigned)strlen(request->common_name)),
				 0);
	set_names(certificate, request->names);
	if (request->purpose != NULL)
		(void)gnutls_x509_crt_set_key_purpose_oid(certificate, request->purpose, 0);
	ck_assert_int_ge(gnutls_x509_crt_sign2(
			     certificate, issuer == NULL ? certificate : issuer->certificate,
			     issuer == NULL ? identity.key : issuer->key, GNUTLS_DIG_SHA256, 0),
			 0);
	return identity;
}

void pki_free(struct pki_identity *identity) {
	gnutls_x509_crt_deinit(identity->certificate);
	gnutls_x509_privkey_deinit(identity->key);
}

gnutls_x509_crl_t pki_revoke(const struct pki_identity *issuer, const struct pki_identity *other) {
	const unsigned char number = 1;
	gnutls_x509_crl_t crl;
	time_t now = time(NULL);

	ck_assert_int_ge(gnutls_x509_crl_init(&crl), 0);
	(void)gnutls_x509_crl_set_version(crl, 2);
	(void)gnutls_x509_crl_set_this_update(crl, now - DAY);
	(void)gnutls_x509_crl_set_next_update(crl, now + DAY);
	(void)gnutls_x509_crl_set_number(crl, &number, sizeof(number));
	if (other != NULL)
		(void)gnutls_x509_crl_set_crt(crl, other->certificate, now - 1);
	ck_assert_int_ge(
	    gnutls_x509_crl_sign2(crl, issuer->certificate, issuer->key, GNUTLS_DIG_SHA256, 0), 0);
	return crl;
}

gnutls_datum_t pki_certificate_text(const struct pki_identity *identity) {
	gnutls_datum_t text = {NULL, 0};

	ck_assert_int_ge(gnutls_x509_crt_export2(identity->certificate, GNUTLS_X509_FMT_PEM, &text),
			 0);
	return text;
}

gnutls_datum_t pki_key_text(const struct pki_identity *identity) {
	gnutls_datum_t text = {NULL, 0};

	ck_assert_int_ge(gnutls_x509_privkey_export2(identity->key, GNUTLS_X509_FMT_PEM, &text), 0);
	return text;
}

gnutls_datum_t pki_crl_text(gnutls_x509_crl_t crl) {
	gnutls_datum_t text = {NULL, 0};

	ck_assert_int_ge(gnutls_x509_crl_export2(crl, GNUTLS_X509_FMT_PEM, &text), 0);
	return text;
}

static struct credentials_file file_of(const char *option, gnutls_datum_t text) {
	return (struct credentials_file){
	    .option = option, .path = "file", .text = {text.data, text.size}};
}

struct credentials *pki_credentials(const struct pki_identity *server,
				    const struct pki_identity *ca, gnutls_x509_crl_t crl,
				    bool are_needed) {
	gnutls_datum_t texts[] = {
	    pki_certificate_text(server), pki_key_text(server), {NULL, 0}, {NULL, 0}};
	struct credentials_files files = {.are_needed = are_needed};
	char error[CREDENTIALS_ERROR_MAX];
	struct credentials *credentials;

	if (ca != NULL)
		texts[2] = pki_certificate_text(ca);
	if (crl != NULL)
		texts[3] = pki_crl_text(crl);
	files.certificate = file_of("--tls-cert", texts[0]);
	files.key = file_of("--tls-key", texts[1]);
	files.ca = file_of("--tls-ca", texts[2]);
	files.crl = file_of("--tls-crl", texts[3]);
	credentials = credentials_new(&files, error);
	ck_assert_msg(credentials != NULL, "%s", error);
	for (unsigned i = 0; i < 4; i++)
		gnutls_free(texts[i].data);
	return credentials;
}
