/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ADDRESS_H
#define ADDRESS_H

/*
 * address.h - a server address in its text form:
 *
 *	local:/path/to/socket    tcp:HOST    HOST    tcp:HOST:PORT    udp:HOST[:PORT]
 *	tls:HOST[:PORT]
 *
 * IPv6 in brackets (tcp:[::1]:7000). For a client, no port or port 0 means "ask rpcbind"; for the
 * server, "any free one".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum address_kind { ADDRESS_LOCAL, ADDRESS_TCP, ADDRESS_UDP };

enum {
	ADDRESS_HOST_MAX = 255, /* RFC 1035, 2.3.4 */
	ADDRESS_PATH_MAX = 107, /* sun_path of unix(7), less the final NUL */
	ADDRESS_LIST_MAX = 16,	/* addresses in one list */
	ADDRESS_TEXT_MAX = 300, /* any address as text, with its NUL */
};

struct address {
	enum address_kind kind;
	bool is_tls;			 /* tls: - tcp, and TLS or nothing */
	uint16_t port;			 /* host order; 0: none given */
	char host[ADDRESS_HOST_MAX + 1]; /* without brackets; empty for local */
	char path[ADDRESS_PATH_MAX + 1]; /* empty unless local */
};

/*
 * Reads one address. NULL if it is one, else what is wrong with it and how to write it: a constant
 * string, one line, no full stop ("a port is a number from 0 to 65535").
 */
const char *address_parse(const char *text, struct address *address);

/*
 * Reads up to ADDRESS_LIST_MAX addresses separated by commas into `list` and sets `*count`.
 * Answers as address_parse; an empty list or an empty part is an error.
 */
const char *address_parse_list(const char *text, struct address list[ADDRESS_LIST_MAX],
			       size_t *count);

/* Writes the address as address_parse reads it; IPv6 in brackets; port 0 is left out. */
void address_format(const struct address *address, char text[ADDRESS_TEXT_MAX]);

#endif
