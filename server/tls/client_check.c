/* SPDX-License-Identifier: BSD-3-Clause */
/* client_check.c - whether a client's certificate is trusted, and who it says that the client is.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "tls/tls_private.h"

/* RFC 9289, 5.2.1 and 8.2 (IANA: SMI Security for PKIX Extended Key Purpose, 33). */
#define RPC_TLS_CLIENT "1.3.6.1.5.5.7.3.33"

enum {
	DN_SHOWN_MAX = 200, /* bytes of a subject in an error */
	OID_MAX = 128,
	PURPOSES_MAX = 32, /* that are looked at */
	ALT_NAMES_MAX = 64,
	/* One more than may be, so that a name which is too long is seen to be. */
	NAME_ROOM = CERTIFICATE_NAME_MAX + 2,
};

/* A client's chain while it is looked at. */
struct shown {
	gnutls_x509_crt_t list[TLS_CHAIN_MAX];
	unsigned count;
	struct verdict *verdict;
};

/* Returns false, for the caller to return. */
static bool refuse(const struct shown *shown, gnutls_alert_description_t alert, const char *format,
		   ...) __attribute__((format(printf, 3, 4)));
static bool refuse(const struct shown *shown, gnutls_alert_description_t alert, const char *format,
		   ...) {
	struct verdict *verdict = shown->verdict;
	gnutls_datum_t subject = {NULL, 0};
	va_list arguments;
	int size;

	if (shown->count > 0)
		(void)gnutls_x509_crt_get_dn3(shown->list[0], &subject, 0);
	size = snprintf(verdict->error, sizeof(verdict->error), "certificate \"%.*s\": ",
			subject.size < DN_SHOWN_MAX ? (int)subject.size : DN_SHOWN_MAX,
			subject.data == NULL ? "" : (const char *)subject.data);
	gnutls_free(subject.data);
	va_start(arguments, format);
	(void)vsnprintf(verdict->error + size, sizeof(verdict->error) - (size_t)size, format,
			arguments);
	va_end(arguments);
	verdict->alert = alert;
	return false;
}

static bool import(struct shown *shown, const gnutls_datum_t *chain, unsigned count) {
	if (count > TLS_CHAIN_MAX)
		return refuse(shown, GNUTLS_A_BAD_CERTIFICATE,
			      "%u certificates are shown with it, and %d may be", count,
			      TLS_CHAIN_MAX);
	for (unsigned i = 0; i < count; i++) {
		if (gnutls_x509_crt_init(&shown->list[i]) < 0)
			return refuse(shown, GNUTLS_A_INTERNAL_ERROR, "no memory for it");
		shown->count++;
		if (gnutls_x509_crt_import(shown->list[i], &chain[i], GNUTLS_X509_FMT_DER) < 0)
			return refuse(shown, GNUTLS_A_BAD_CERTIFICATE, "it cannot be parsed");
	}
	return true;
}

/* --- Trust --------------------------------------------------------------------------------- */

static bool check_dates(const struct shown *shown) {
	time_t now = time(NULL);

	if (gnutls_x509_crt_get_expiration_time(shown->list[0]) < now)
		return refuse(shown, GNUTLS_A_CERTIFICATE_EXPIRED, "it has expired");
	if (gnutls_x509_crt_get_activation_time(shown->list[0]) > now)
		return refuse(shown, GNUTLS_A_CERTIFICATE_EXPIRED, "it is not valid yet");
	return true;
}

/* The first of these that the check found is the reason. */
static bool refuse_status(const struct shown *shown, unsigned status) {
	static const struct {
		unsigned flag;
		gnutls_alert_description_t alert;
		const char *reason;
	} reasons[] = {
	    {GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "it is revoked (--tls-crl)"},
	    {GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA, "its issuer is not in --tls-ca"},
	    {GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "its issuer is no CA"},
	    {GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED,
	     "it or one of its issuers has expired"},
	    {GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_CERTIFICATE_EXPIRED,
	     "it or one of its issuers is not valid yet"},
	    {GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_INSUFFICIENT_SECURITY,
	     "a key or signature in its chain is too weak (RSA needs 2048 bits)"},
	    {GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED, GNUTLS_A_CERTIFICATE_UNKNOWN,
	     "the list of revoked certificates (--tls-crl) is out of date"},
	    {GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE, GNUTLS_A_CERTIFICATE_UNKNOWN,
	     "the list of revoked certificates (--tls-crl) is not valid yet"},
	    {GNUTLS_CERT_SIGNATURE_FAILURE, GNUTLS_A_DECRYPT_ERROR,
	     "a signature in its chain is wrong"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if ((status & reasons[i].flag) != 0)
			return refuse(shown, reasons[i].alert, "%s", reasons[i].reason);
	return refuse(shown, GNUTLS_A_BAD_CERTIFICATE, "it cannot be verified (status 0x%x)",
		      status);
}

static bool check_issuers(const struct credentials *credentials, struct shown *shown) {
	/* As strong as RSA of 2048 bits, or the chain is refused. */
	const unsigned flags = GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM);
	unsigned status = 0;
	int code = gnutls_x509_trust_list_verify_crt2(credentials->trust, shown->list, shown->count,
						      NULL, 0, flags, &status, NULL);

	if (code < 0)
		return refuse(shown, GNUTLS_A_BAD_CERTIFICATE, "it cannot be verified: %s",
			      gnutls_strerror(code));
	return status == 0 || refuse_status(shown, status);
}

/* A certificate without purposes is for all. */
static bool check_purpose(const struct shown *shown) {
	char oid[OID_MAX];
	unsigned i;

	for (i = 0; i < PURPOSES_MAX; i++) {
		size_t size = sizeof(oid);
		int code = gnutls_x509_crt_get_key_purpose_oid(shown->list[0], i, oid, &size, NULL);

		if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (code >= 0 &&
		    (strcmp(oid, GNUTLS_KP_TLS_WWW_CLIENT) == 0 ||
		     strcmp(oid, RPC_TLS_CLIENT) == 0 || strcmp(oid, GNUTLS_KP_ANY) == 0))
			return true;
	}
	return i == 0 || refuse(shown, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
				"it is not for clients (extended key usage: clientAuth or "
				"id-kp-rpcTLSClient)");
}

/* --- Names --------------------------------------------------------------------------------- */

struct names {
	char text[CERTIFICATE_NAMES_MAX][NAME_ROOM];
	unsigned count;
};

static bool take_name(const struct shown *shown, struct names *names, size_t size) {
	char *name = names->text[names->count];

	if (size == 0 || size > CERTIFICATE_NAME_MAX)
		return refuse(shown, GNUTLS_A_BAD_CERTIFICATE, "a name in it has not 1 to %d bytes",
			      CERTIFICATE_NAME_MAX);
	for (size_t i = 0; i < size; i++)
		if (name[i] < ' ' || name[i] > '~')
			return refuse(shown, GNUTLS_A_BAD_CERTIFICATE,
				      "a name in it is not printable ASCII");
	name[size] = '\0';
	names->count++;
	return true;
}

/* The names of one type. *has_any: there is a name of any type at all. */
static bool take_alternatives(const struct shown *shown, struct names *names, unsigned type,
			      bool *has_any) {
	for (unsigned i = 0; i < ALT_NAMES_MAX && names->count < CERTIFICATE_NAMES_MAX; i++) {
		size_t size = NAME_ROOM;
		unsigned its_type = 0;
		int code = gnutls_x509_crt_get_subject_alt_name2(
		    shown->list[0], i, names->text[names->count], &size, &its_type, NULL);

		if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		*has_any = true;
		/* Of one that does not fit, the type may not be known. */
		if (code < 0 && code != GNUTLS_E_SHORT_MEMORY_BUFFER)
			return refuse(shown, GNUTLS_A_BAD_CERTIFICATE,
				      "a name in it cannot be read: %s", gnutls_strerror(code));
		if (code == GNUTLS_E_SHORT_MEMORY_BUFFER)
			return take_name(shown, names, NAME_ROOM);
		if (its_type == type && !take_name(shown, names, size))
			return false;
	}
	return true;
}

static bool take_common_name(const struct shown *shown, struct names *names) {
	size_t size = NAME_ROOM;
	int code = gnutls_x509_crt_get_dn_by_oid(shown->list[0], GNUTLS_OID_X520_COMMON_NAME, 0, 0,
						 names->text[0], &size);

	if (code == GNUTLS_E_SHORT_MEMORY_BUFFER)
		return take_name(shown, names, NAME_ROOM);
	return code < 0 || take_name(shown, names, size);
}

/* The common name counts only where there are no alternatives: RFC 6125, 6.4.4. */
static bool take_names(const struct shown *shown, struct names *names) {
	static const unsigned types[] = {GNUTLS_SAN_RFC822NAME, GNUTLS_SAN_URI, GNUTLS_SAN_DNSNAME};
	bool has_any = false;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!take_alternatives(shown, names, types[i], &has_any))
			return false;
	if (!has_any && !take_common_name(shown, names))
		return false;
	return names->count > 0 ||
	       refuse(shown, GNUTLS_A_BAD_CERTIFICATE,
		      "it has no name (a subjectAltName of type email, URI or DNS, or without "
		      "any a common name)");
}

/* --- All of it ----------------------------------------------------------------------------- */

static struct certificate *check(const struct credentials *credentials,
				 const struct tls_hooks *hooks, const gnutls_datum_t *chain,
				 struct shown *shown) {
	uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE];
	size_t size = sizeof(fingerprint);
	const char *list[CERTIFICATE_NAMES_MAX];
	struct names names = {.count = 0};
	struct certificate *certificate;
	bool is_pinned;

	if (gnutls_fingerprint(GNUTLS_DIG_SHA256, &chain[0], fingerprint, &size) < 0) {
		(void)refuse(shown, GNUTLS_A_INTERNAL_ERROR, "it has no fingerprint");
		return NULL;
	}
	is_pinned = hooks->is_pinned != NULL && hooks->is_pinned(hooks->context, fingerprint);
	if (!check_dates(shown) || (!is_pinned && !check_issuers(credentials, shown)) ||
	    !check_purpose(shown) || !take_names(shown, &names))
		return NULL;
	for (unsigned i = 0; i < names.count; i++)
		list[i] = names.text[i];
	certificate = certificate_new(list, names.count, fingerprint);
	if (certificate == NULL)
		(void)refuse(shown, GNUTLS_A_INTERNAL_ERROR, "no memory for it");
	return certificate;
}

struct certificate *client_check(const struct credentials *credentials,
				 const struct tls_hooks *hooks, const gnutls_datum_t *chain,
				 unsigned count, struct verdict *verdict) {
	struct shown shown = {.verdict = verdict};
	struct certificate *certificate = NULL;

	if (import(&shown, chain, count))
		certificate = check(credentials, hooks, chain, &shown);
	for (unsigned i = 0; i < shown.count; i++)
		gnutls_x509_crt_deinit(shown.list[i]);
	return certificate;
}
