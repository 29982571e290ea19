/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PRINCIPAL_H
#define PRINCIPAL_H

/*
 * principal.h - the identity of a caller, as its transport knows it. This is the one place that
 * identity comes from: what a peer writes into a credential (AUTH_SYS) is never part of it.
 *
 * A principal is a text: "uid:1000" of a user of this machine, at a local socket; "cert:NAME" of
 * the certificate that a client showed over TLS; "any" of everything else (tcp without one, udp,
 * and a user that the kernel cannot name here, which it shows as its overflow uid). Two callers are
 * of the same principal if the texts are equal.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acl/certificate.h"
#include "bytes.h"

enum {
	PRINCIPAL_MAX = 255,			/* bytes */
	PRINCIPAL_TEXT_MAX = PRINCIPAL_MAX + 1, /* with its NUL */
	CALLER_TEXT_MAX = 512,			/* a caller as text, with its NUL */
	CALLER_ADDRESS_SIZE = 16,
	CALLER_NAME_MAX = 15, /* bytes of "uid:" and a number */
};

/*
 * All zero: "any", of no known address. `groups` and `certificate` are borrowed from the transport.
 */
struct caller {
	bool is_known; /* it has an identity: a certificate, or it is the user `uid` at a local
			  socket ... */
	bool is_administrator; /* ... who is root, or the user that runs this server */
	bool has_address;      /* it came over tcp from `address`: IPv6, or IPv4 mapped into it */
	uint32_t uid;
	char name[CALLER_NAME_MAX + 1]; /* the principal of a user: principal_set_user() */
	const char *tls;		/* the library that encrypts its calls; NULL: none does */
	const struct certificate *certificate; /* NULL: it has shown none */
	const uint32_t *groups;
	unsigned group_count;
	uint8_t address[CALLER_ADDRESS_SIZE];
	/* Writes "uid:1000 (pid 4711)" or "any at 192.0.2.7:40112". NULL: its principal is all. */
	const char *(*describe)(const struct caller *caller, char text[CALLER_TEXT_MAX]);
};

/* Makes the caller known as this user. */
void principal_set_user(struct caller *caller, uint32_t uid);

/* Makes the caller known by its certificate, which must outlive it. */
void principal_set_certificate(struct caller *caller, const struct certificate *certificate);

/* Whether it is a user of this machine at a local socket; principal_is_root(): the superuser, and
 * NULL is not. */
bool principal_is_user(const struct caller *caller);
bool principal_is_root(const struct caller *caller);

/* The principal, which lies in the caller; empty: any. NULL is any. */
struct kv_bytes principal_bytes(const struct caller *caller);

/* The principal of the caller. Returns `text`. */
const char *principal_of(const struct caller *caller, char text[PRINCIPAL_TEXT_MAX]);

/* For the log. Returns `text`. */
const char *principal_describe(const struct caller *caller, char text[CALLER_TEXT_MAX]);

/*
 * The peer that the caller is, whose connections and sessions are counted together: its principal,
 * or for "any" its IPv4 address, or the first 64 bits of its IPv6 address (a host has as many of
 * the others as it likes). All of udp is one peer, because a sender may be forged, and so are the
 * users that the kernel cannot name. NULL is "any" of no known address. Two are the same peer if
 * their bytes are equal.
 */
struct peer_id {
	uint8_t size;
	unsigned char bytes[PRINCIPAL_MAX];
};
struct peer_id principal_peer(const struct caller *caller);

/* A hash of these bytes and, for what is counted for each peer and kind, of the kind. */
uint64_t peer_hash(const unsigned char *bytes, size_t size, uint64_t kind);

#endif
