/* SPDX-License-Identifier: BSD-3-Clause */
#include "address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* Not isalnum(): what a host name may hold does not depend on the locale. */
static bool is_host_char(char c) {
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_';
}

/* Ready lines and logs show addresses: one must not be able to forge a line or a list. */
static bool is_path_char(char c) {
	return (unsigned char)c > 0x20 && c != 0x7f && c != ',';
}

static const char *parse_path(const char *text, struct address *address) {
	size_t length = strlen(text);

	if (text[0] != '/')
		return "a local address is local: and an absolute path, as in local:/run/kvd.sock";
	if (length > ADDRESS_PATH_MAX)
		return "the path of a socket has at most 107 bytes";
	for (size_t i = 0; i < length; i++)
		if (!is_path_char(text[i]))
			return "the path of a socket has no comma, no blank and no control "
			       "character";
	memcpy(address->path, text, length + 1);
	return NULL;
}

static const char *parse_port(const char *text, struct address *address) {
	unsigned long port = 0;

	if (text[0] == '\0')
		return "a port is missing after the colon";
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return "a port is a number from 0 to 65535";
		port = port * 10 + (unsigned long)(*text - '0');
		if (port > UINT16_MAX)
			return "a port is a number from 0 to 65535";
	}
	address->port = (uint16_t)port;
	return NULL;
}

/* What stands between brackets: an IPv6 address, perhaps with a zone ("fe80::1%eth0"). */
static bool is_ipv6(const char *text, size_t length) {
	char bare[INET6_ADDRSTRLEN];
	struct in6_addr parsed;
	const char *percent = memchr(text, '%', length);
	size_t bare_size = percent != NULL ? (size_t)(percent - text) : length;

	if (bare_size >= sizeof(bare))
		return false;
	memcpy(bare, text, bare_size);
	bare[bare_size] = '\0';
	if (inet_pton(AF_INET6, bare, &parsed) != 1)
		return false;
	if (percent == NULL)
		return true;
	for (size_t i = bare_size + 1; i < length; i++)
		if (!is_host_char(text[i]))
			return false;
	return length > bare_size + 1;
}

/* Reads the host at the start of `text`; *rest becomes what follows it: "" or ":PORT". */
static const char *parse_host(const char *text, struct address *address, const char **rest) {
	const char *start = text;
	size_t length;

	if (text[0] == '[') {
		const char *end = strchr(text, ']');

		if (end == NULL)
			return "a bracket is not closed: write IPv6 as in tcp:[::1]:7000";
		start = text + 1;
		length = (size_t)(end - start);
		if (length > ADDRESS_HOST_MAX || !is_ipv6(start, length))
			return "what stands in brackets is no IPv6 address";
		*rest = end + 1;
	} else {
		for (length = 0; is_host_char(text[length]); length++)
			;
		if (length == 0)
			return "a host is missing: write tcp:HOST or tcp:HOST:PORT";
		if (length > ADDRESS_HOST_MAX)
			return "a host name has at most 255 bytes";
		*rest = text + length;
		if ((*rest)[0] == ':' && strchr(*rest + 1, ':') != NULL)
			return "an IPv6 address stands in brackets: tcp:[::1]:7000";
	}
	if ((*rest)[0] != '\0' && (*rest)[0] != ':')
		return "a host is a name, an IPv4 address or an IPv6 address in brackets";
	memcpy(address->host, start, length);
	address->host[length] = '\0';
	return NULL;
}

static const char *parse_host_and_port(const char *text, struct address *address) {
	const char *rest = "";
	const char *wrong = parse_host(text, address, &rest);

	if (wrong != NULL || rest[0] == '\0')
		return wrong;
	return parse_port(rest + 1, address);
}

/* A host without a kind is tcp. A port needs the kind: "local:7000" would have two meanings. */
static const char *parse_bare_host(const char *text, struct address *address) {
	const char *rest = "";
	const char *wrong;

	if (text[0] == '\0')
		return "an address is missing: write tcp:HOST, tcp:HOST:PORT or local:/PATH";
	if (text[0] == '/')
		return "a path needs its kind: write local:/PATH";
	if (text[0] == ':')
		return "an IPv6 address stands in brackets: tcp:[::1]:7000";
	wrong = parse_host(text, address, &rest);
	if (wrong == NULL && rest[0] == ':')
		wrong =
		    "a port needs its kind: write tcp:HOST:PORT, tls:HOST:PORT or udp:HOST:PORT";
	return wrong;
}

const char *address_parse(const char *text, struct address *address) {
	struct address parsed = {.kind = ADDRESS_TCP};
	const char *wrong;

	if (strncmp(text, "local:", 6) == 0) {
		parsed.kind = ADDRESS_LOCAL;
		wrong = parse_path(text + 6, &parsed);
	} else if (strncmp(text, "tcp:", 4) == 0) {
		wrong = parse_host_and_port(text + 4, &parsed);
	} else if (strncmp(text, "tls:", 4) == 0) {
		parsed.is_tls = true;
		wrong = parse_host_and_port(text + 4, &parsed);
	} else if (strncmp(text, "udp:", 4) == 0) {
		parsed.kind = ADDRESS_UDP;
		wrong = parse_host_and_port(text + 4, &parsed);
	} else {
		wrong = parse_bare_host(text, &parsed);
	}
	if (wrong == NULL)
		*address = parsed;
	return wrong;
}

const char *address_parse_list(const char *text, struct address list[ADDRESS_LIST_MAX],
			       size_t *count) {
	size_t parsed = 0;

	for (;;) {
		char part[ADDRESS_TEXT_MAX];
		size_t length = strcspn(text, ",");
		const char *wrong;

		if (parsed == ADDRESS_LIST_MAX)
			return "a list has at most 16 addresses";
		if (length >= sizeof(part))
			return "an address is too long: a host has at most 255 bytes, a path 107";
		memcpy(part, text, length);
		part[length] = '\0';
		wrong = address_parse(part, &list[parsed]);
		if (wrong != NULL)
			return wrong;
		parsed++;
		if (text[length] == '\0')
			break;
		text += length + 1;
	}
	*count = parsed;
	return NULL;
}

void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX]) {
	bool is_ipv6_host = strchr(address->host, ':') != NULL;
	const char *kind = address->kind == ADDRESS_UDP ? "udp" : address->is_tls ? "tls" : "tcp";
	const char *open = is_ipv6_host ? "[" : "";
	const char *close = is_ipv6_host ? "]" : "";

	if (address->kind == ADDRESS_LOCAL)
		(void)snprintf(text, ADDRESS_TEXT_MAX, "local:%s", address->path);
	else if (address->port == 0)
		(void)snprintf(text, ADDRESS_TEXT_MAX, "%s:%s%s%s", kind, open, address->host,
			       close);
	else
		(void)snprintf(text, ADDRESS_TEXT_MAX, "%s:%s%s%s:%u", kind, open, address->host,
			       close, (unsigned)address->port);
}
