/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef XDR_INPLACE_H
#define XDR_INPLACE_H

/*
 * xdr_inplace.h - XDR (RFC 4506) that is read and written where it lies.
 *
 * The XDR code that rpcgen makes is compiled for the server with libtirpc's routines for words and
 * bytes exchanged for those of this file (WIRE_GENERATED, see the Makefile). Two reasons:
 *
 * - Decoding, libtirpc's xdr_bytes allocates what a length claims before it looks whether the
 * record holds that much (CVE-2017-8779), then copies. xdr_inplace_bytes allocates nothing: it
 * returns a pointer into the record, after the record was seen to hold it.
 * - libtirpc calls through two or three functions for each word. Here a word is read or written
 *   where it lies, and most of a call is words.
 *
 * So the server's generated routines work on XDRs of the server only: those of xdr_mem_init() and
 * of send_queue.c. Invariant of these: the next bytes are at x_private, x_handy of them, x_private
 * is aligned to 4 bytes between items, and x_inline returns what there is beyond x_handy. All of
 * libtirpc's own routines work on them as well.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <rpc/rpc.h>

enum {
	WIRE_CREDENTIAL_MAX = MAX_AUTH_BYTES, /* 400: RFC 5531, 8.2 */

	/* A reply without its opaque value: header, statuses, versions, length, padding. */
	WIRE_REPLY_OVERHEAD = 96,

	/* The largest call: the wire's bounds for key and value, header, credentials. */
	WIRE_RECORD_MAX = 33554432 + 65536 + 4096,

	WIRE_DATAGRAM_MAX = 65507, /* 65535 less the headers of IP and UDP */

	/* The words before the results of a reply that succeeded, see xdr_inplace_replymsg(). */
	WIRE_ACCEPTED_WORDS = 6,
};

/* An XDR over `size` bytes (less than 4 GiB), aligned to 4, that outlive it. */
void xdr_mem_init(XDR *xdrs, enum xdr_op op, void *bytes, size_t size);

/* What xdr_replymsg(3) does, and the same bytes. */
bool_t xdr_inplace_replymsg(XDR *xdrs, struct rpc_msg *reply);

/* The same signature as xdr_bytes(3). What it decodes is borrowed from the record. */
bool_t xdr_inplace_bytes(XDR *xdrs, char **bytes, u_int *size, u_int size_max);

/* The operations of the XDRs of the server that do not depend on where the bytes are. */
bool_t wire_get_long(XDR *xdrs, long *number);
bool_t wire_put_long(XDR *xdrs, const long *number);

/* --- Words, without a call for each -------------------------------------------------------- */

/* Where the next `size` bytes are read or written; NULL: there are none, or no memory for them. */
static inline void *xdr_inplace_advance(XDR *xdrs, u_int size) {
	char *place = xdrs->x_private;

	if (xdrs->x_handy < size)
		return XDR_INLINE(xdrs, size);
	xdrs->x_private = place + size;
	xdrs->x_handy -= size;
	return place;
}

static inline bool_t wire_u32(XDR *xdrs, uint32_t *number) {
	void *place;
	uint32_t word;

	if (xdrs->x_op == XDR_FREE)
		return TRUE;
	place = xdr_inplace_advance(xdrs, sizeof(word));
	if (place == NULL)
		return FALSE;
	if (xdrs->x_op == XDR_DECODE) {
		memcpy(&word, place, sizeof(word));
		*number = ntohl(word);
	} else {
		word = htonl(*number);
		memcpy(place, &word, sizeof(word));
	}
	return TRUE;
}

static inline bool_t wire_u64(XDR *xdrs, uint64_t *number) {
	void *place;
	uint32_t words[2];

	if (xdrs->x_op == XDR_FREE)
		return TRUE;
	place = xdr_inplace_advance(xdrs, sizeof(words));
	if (place == NULL)
		return FALSE;
	if (xdrs->x_op == XDR_DECODE) {
		memcpy(words, place, sizeof(words));
		*number = (uint64_t)ntohl(words[0]) << 32 | ntohl(words[1]);
	} else {
		words[0] = htonl((uint32_t)(*number >> 32));
		words[1] = htonl((uint32_t)*number);
		memcpy(place, words, sizeof(words));
	}
	return TRUE;
}

static inline bool_t wire_int(XDR *xdrs, int *number) {
	return wire_u32(xdrs, (uint32_t *)number);
}

static inline bool_t wire_bool(XDR *xdrs, bool_t *truth) {
	uint32_t word = *truth ? 1 : 0;

	if (!wire_u32(xdrs, &word))
		return FALSE;
	*truth = word != 0;
	return TRUE;
}

#ifdef WIRE_GENERATED
#define xdr_int wire_int
#define xdr_enum wire_int
#define xdr_u_int wire_u32
#define xdr_bool wire_bool
#define xdr_bytes xdr_inplace_bytes
/* An unsigned hyper, as one rpcgen or another calls it. */
#define xdr_u_hyper wire_u64
#define xdr_u_quad_t wire_u64
#define xdr_uint64_t wire_u64
#define xdr_u_int64_t wire_u64
#define xdr_u_longlong_t wire_u64
#endif

#endif
