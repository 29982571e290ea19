/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl/who.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "number.h"

enum {
	CERT_NAME_MAX = 250,	 /* bytes; with "cert:" a principal */
	FINGERPRINT_DIGITS = 64, /* of SHA-256 */
	MAPPED_BITS = 96,	 /* of an IPv4 address in IPv6, before its own: RFC 4291, 2.5.5.2 */
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

static bool check_cert(const char *name, char error[WHO_ERROR_MAX]) {
	const char *star = strchr(name, '*');

	if (name[0] == '\0')
		return wrong(error, "the name is missing, as in cert:web1.example.org");
	if (strlen(name) > CERT_NAME_MAX || !is_printable(name))
		return wrong(error, "the name of a certificate is 1 to %d printable characters",
			     CERT_NAME_MAX);
	if (star != NULL &&
	    (star != name || name[1] != '.' || name[2] == '\0' || strchr(name + 1, '*') != NULL))
		return wrong(error,
			     "cert:%s: * stands for the whole first label only, as in "
			     "cert:*.example.org",
			     name);
	return true;
}

/* 64 hexadecimal digits, perhaps with colons between the bytes. */
static bool check_fingerprint(const char *text, char error[WHO_ERROR_MAX]) {
	unsigned digits = 0;

	for (; *text != '\0'; text++) {
		if (*text == ':' && digits % 2 == 0 && digits > 0)
			continue;
		if (strchr("0123456789abcdefABCDEF", *text) == NULL)
			break;
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
		return check_cert(value, error);
	case WHO_FINGERPRINT:
		return check_fingerprint(value, error);
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

bool who_matches(const struct who *who, const struct caller *caller) {
	/* A local socket is as good as TLS, which no transport has. */
	if (who->needs_tls && !caller->is_known)
		return false;
	switch ((enum who_kind)who->kind) {
	case WHO_ANY:
		return true;
	case WHO_KNOWN:
	case WHO_LOCAL:
		return caller->is_known;
	case WHO_UID:
		return caller->is_known && caller->uid == who->id;
	case WHO_GID:
		return caller->is_known && is_member(caller, who->id);
	case WHO_HOST:
		return is_in_network(caller, who);
	case WHO_CERT:
	case WHO_FINGERPRINT:
	case WHO_KRB:
	case WHO_GROUP:
		break;
	}
	return false;
}
