/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_H
#define WIRE_H

/*
 * wire.h - how the server's generated XDR routines touch bytes.
 *
 * The XDR code that rpcgen makes is compiled for the server with xdr_bytes renamed to wire_bytes
 * (see the Makefile). Decoding, libtirpc's xdr_bytes allocates what a length claims before it looks
 * whether the record holds that much (CVE-2017-8779), then copies. wire_bytes allocates nothing: it
 * answers a pointer into the record, after the record was seen to hold it.
 */

#include <rpc/rpc.h>

/* The same signature as xdr_bytes(3). What it decodes is borrowed from the record. */
bool_t wire_bytes(XDR *xdrs, char **bytes, u_int *size, u_int size_max);

enum {
	WIRE_CREDENTIAL_MAX = MAX_AUTH_BYTES, /* 400: RFC 5531, 8.2 */

	/* A reply without its opaque value: header, statuses, versions, length, padding. */
	WIRE_REPLY_OVERHEAD = 96,

	/* The largest call: the wire's bounds for key and value, header, credentials. */
	WIRE_RECORD_MAX = 33554432 + 65536 + 4096,

	WIRE_DATAGRAM_MAX = 65507, /* 65535 less the headers of IP and UDP */
};

#endif
