/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl/who.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "number.h"

enum {
	FINGERPRINT_DIGITS = 2 * CERTIFICATE_FINGERPRINT_SIZE,
	MAPPED_BITS = 96, /* of an IPv4 address in IPv6, before its own: RFC 4291, 2.5.5.2 */
	IPV4_BITS = 32,
	IPV6_BITS = 128,
};

static bool wrong(char error[WHO_ERROR_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool wrong(char error[WHO_ERROR_MAX], const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(error, WHO_ERROR_MAX, format, arguments);
	va_end(arguments);
	return false;
}

/* --- Reading ------------------------------------------------------------------------------- */

static bool is_digits(const char *text) {
	return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* A number, or a name that `look_up` knows. The last number is the kernel's "none". */
static bool read_id(const char *text, const char *what,
		    bool (*look_up)(const char *name, uint32_t *id), uint32_t *id,
		    char error[WHO_ERROR_MAX]) {
	char wrong_number[NUMBER_ERROR_MAX];
	uint64_t number;

	if (is_digits(text)) {
		if (!number_parse(text, NUMBER_COUNT, 0, UINT32_MAX - 1, &number, wrong_number))
			return wrong(error, "%s %s", what, wrong_number);
		*id = (uint32_t)number;
		return true;
	}
	if (look_up(text, id))
		return true;
	return wrong(error,
		     "there is no %s \"%s\": create it before kvd reads this file, or write its "
		     "number",
		     what, text);
}

static bool has_bits_behind(const uint8_t *address, unsigned bits) {
	for (unsigned i = bits; i < IPV6_BITS; i++)
		if ((address[i / 8] >> (7 - i % 8) & 1) != 0)
			return true;
	return false;
}

static bool read_host(char *text, struct who *who, char error[WHO_ERROR_MAX]) {
	char *slash = strchr(text, '/');
	unsigned first = 0, most = IPV6_BITS;
	char wrong_number[NUMBER_ERROR_MAX];
	uint64_t bits;

	if (slash != NULL)
		*slash = '\0';
	if (inet_pton(AF_INET, text, who->address + MAPPED_BITS / 8) == 1) {
		who->address[10] = who->address[11] = 0xff;
		first = MAPPED_BITS;
		most = IPV4_BITS;
	} else if (inet_pton(AF_INET6, text, who->address) != 1) {
		return wrong(error,
			     "\"%s\" is not an address: write one, as 10.1.0.0/16 or 2001:db8::/32 "
			     "(names of hosts are not looked up, because DNS proves nothing)",
			     text);
	}
	bits = most;
	if (slash != NULL && !number_parse(slash + 1, NUMBER_COUNT, 0, most, &bits, wrong_number))
		return wrong(error, "the bits behind the / of host:%s: %s", text, wrong_number);
	who->bits = (uint8_t)(first + bits);
	if (has_bits_behind(who->address, who->bits))
		return wrong(error,
			     "host:%s/%u: the address has bits behind the first %u: write the "
			     "network's own address, or fewer or more bits",
			     text, (unsigned)bits, (unsigned)bits);
	return true;
}

static bool is_printable(const char *text) {
	for (; *text != '\0'; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

static bool read_cert(const char *name, struct who *who, char error[WHO_ERROR_MAX]) {
	const char *star = strchr(name, '*');

	if (name[0] == '\0')
		return wrong(error, "the name is missing, as in cert:web1.example.org");
	if (strlen(name) > CERTIFICATE_NAME_MAX || !is_printable(name))
		return wrong(error, "the name of a certificate is 1 to %d printable characters",
			     CERTIFICATE_NAME_MAX);
	if (star != NULL &&
	    (star != name || name[1] != '.' || name[2] == '\0' || strchr(name + 1, '*') != NULL))
		return wrong(error,
			     "cert:%s: * stands for the whole first label only, as in "
			     "cert:*.example.org",
			     name);
	who->name = strdup(name);
	return who->name != NULL || wrong(error, "no memory for cert:%s", name);
}

/* 64 hexadecimal digits, perhaps with colons between the bytes. */
static bool read_fingerprint(const char *text, struct who *who, char error[WHO_ERROR_MAX]) {
	static const char hex[] = "0123456789abcdefABCDEF";
	unsigned digits = 0;

	for (; *text != '\0'; text++) {
		const char *digit = strchr(hex, *text);
		ptrdiff_t number = digit == NULL ? 0 : digit - hex;

		if (*text == ':' && digits % 2 == 0 && digits > 0)
			continue;
		if (digit == NULL || digits == FINGERPRINT_DIGITS)
			break;
		who->fingerprint[digits / 2] = (uint8_t)(who->fingerprint[digits / 2] << 4 |
							 (number < 16 ? number : number - 6));
		digits++;
	}
	return (*text == '\0' && digits == FINGERPRINT_DIGITS) ||
	       wrong(error, "a SHA-256 fingerprint is %d hexadecimal digits", FINGERPRINT_DIGITS);
}

static bool check_krb(const char *text, char error[WHO_ERROR_MAX]) {
	const char *at = strrchr(text, '@');

	if (at == NULL || at == text || at[1] == '\0' || !is_printable(text))
		return wrong(error,
			     "krb:%s: a Kerberos principal has a name and a realm, as in "
			     "krb:alice@EXAMPLE.ORG",
			     text);
	if (strchr(text, '*') != NULL && (text[0] != '*' || text[1] != '@'))
		return wrong(error,
			     "krb:%s: * stands for the whole name only, as in "
			     "krb:*@EXAMPLE.ORG",
			     text);
	return true;
}

bool who_parse(char *text, const struct who_names *names, struct who *who,
	       char error[WHO_ERROR_MAX]) {
	static const struct {
		const char *name;
		enum who_kind kind;
	} words[] = {{"any", WHO_ANY}, {"known", WHO_KNOWN}, {"local", WHO_LOCAL}},
	  kinds[] = {{"uid:", WHO_UID},
		     {"gid:", WHO_GID},
		     {"host:", WHO_HOST},
		     {"cert:", WHO_CERT},
		     {"cert-sha256:", WHO_FINGERPRINT},
		     {"krb:", WHO_KRB}};
	const char *colon = strchr(text, ':');
	char *value = text + (colon == NULL ? 0 : colon - text + 1);

	*who = (struct who){.kind = WHO_GROUP};
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(text, words[i].name) == 0)
			who->kind = (uint8_t)words[i].kind;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(text, kinds[i].name, strlen(kinds[i].name)) == 0)
			who->kind = (uint8_t)kinds[i].kind;
	switch ((enum who_kind)who->kind) {
	case WHO_ANY:
	case WHO_KNOWN:
	case WHO_LOCAL:
		return true;
	case WHO_UID:
		return read_id(value, "user", names->user, &who->id, error);
	case WHO_GID:
		return read_id(value, "group", names->group, &who->id, error);
	case WHO_HOST:
		return read_host(value, who, error);
	case WHO_CERT:
		return read_cert(value, who, error);
	case WHO_FINGERPRINT:
		return read_fingerprint(value, who, error);
	case WHO_KRB:
		return check_krb(value, error);
	case WHO_GROUP:
		break;
	}
	return wrong(
	    error,
	    "\"%s\": write any, known, local, uid:, gid:, host:, cert:, cert-sha256:, krb: "
	    "or @GROUP",
	    text);
}

void who_free(struct who *who) {
	if (who->kind == WHO_CERT)
		free(who->name);
}

/* --- Matching ------------------------------------------------------------------------------ */

static bool is_member(const struct caller *caller, uint32_t gid) {
	for (unsigned i = 0; i < caller->group_count; i++)
		if (caller->groups[i] == gid)
			return true;
	return false;
}

static bool is_in_network(const struct caller *caller, const struct who *who) {
	unsigned bytes = who->bits / 8, rest = who->bits % 8;

	return caller->has_address && memcmp(caller->address, who->address, bytes) == 0 &&
	       (rest == 0 || (caller->address[bytes] ^ who->address[bytes]) >> (8 - rest) == 0);
}

/* Case counts in an address of mail or a URI, but not in the name of a host. */
static bool is_same(const char *one, const char *other) {
	static const char host[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";

	return one[strspn(one, host)] == '\0' ? strcasecmp(one, other) == 0
					      : strcmp(one, other) == 0;
}

/* *.example.org stands for one label, and that. */
static bool is_named(const char *pattern, const char *name) {
	const char *dot = strchr(name, '.');

	if (pattern[0] != '*')
		return is_same(pattern, name);
	return dot != NULL && dot != name && is_same(pattern + 1, dot);
}

static bool has_name(const struct caller *caller, const char *pattern) {
	const struct certificate *certificate = caller->certificate;

	for (unsigned i = 0; certificate != NULL && i < certificate->name_count; i++)
		if (is_named(pattern, certificate->names[i]))
			return true;
	return false;
}

static bool has_fingerprint(const struct caller *caller, const struct who *who) {
	return caller->certificate != NULL &&
	       memcmp(caller->certificate->fingerprint, who->fingerprint,
		      CERTIFICATE_FINGERPRINT_SIZE) == 0;
}

bool who_is_secure(const struct caller *caller) {
	return principal_is_user(caller) || caller->tls != NULL;
}

bool who_matches(const struct who *who, const struct caller *caller) {
	if (who->needs_tls && !who_is_secure(caller))
		return false;
	switch ((enum who_kind)who->kind) {
	case WHO_ANY:
		return true;
	case WHO_KNOWN:
		return caller->is_known;
	case WHO_LOCAL:
		return principal_is_user(caller);
	case WHO_UID:
		return principal_is_user(caller) && caller->uid == who->id;
	case WHO_GID:
		return principal_is_user(caller) && is_member(caller, who->id);
	case WHO_HOST:
		return is_in_network(caller, who);
	case WHO_CERT:
		return has_name(caller, who->name);
	case WHO_FINGERPRINT:
		return has_fingerprint(caller, who);
	case WHO_KRB:
	case WHO_GROUP:
		break;
	}
	return false;
}
