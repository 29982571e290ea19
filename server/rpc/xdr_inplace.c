/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/xdr_inplace.h"

#include <assert.h>

#include <rpcsvc/kv.h>

_Static_assert(WIRE_RECORD_MAX > KV1_VALUE_BOUND + KV1_KEY_BOUND, "a legal call fits a record");

/* --- An XDR over memory -------------------------------------------------------------------- */

bool_t wire_get_long(XDR *xdrs, long *number) {
	const void *place = xdr_inplace_advance(xdrs, BYTES_PER_XDR_UNIT);
	uint32_t word;

	if (place == NULL)
		return FALSE;
	memcpy(&word, place, sizeof(word));
	*number = (int32_t)ntohl(word);
	return TRUE;
}

bool_t wire_put_long(XDR *xdrs, const long *number) {
	void *place = xdr_inplace_advance(xdrs, BYTES_PER_XDR_UNIT);
	uint32_t word = htonl((uint32_t)*number);

	if (place == NULL)
		return FALSE;
	memcpy(place, &word, sizeof(word));
	return TRUE;
}

static bool_t get_bytes(XDR *xdrs, char *bytes, u_int size) {
	const void *place = xdr_inplace_advance(xdrs, size);

	if (place == NULL)
		return FALSE;
	memcpy(bytes, place, size);
	return TRUE;
}

static bool_t put_bytes(XDR *xdrs, const char *bytes, u_int size) {
	void *place = xdr_inplace_advance(xdrs, size);

	if (place == NULL)
		return FALSE;
	memcpy(place, bytes, size);
	return TRUE;
}

static u_int position(XDR *xdrs) {
	return (u_int)((char *)xdrs->x_private - xdrs->x_base);
}

static bool_t set_position(XDR *xdrs, u_int where) {
	u_int end = position(xdrs) + xdrs->x_handy;

	if (where > end)
		return FALSE;
	xdrs->x_private = xdrs->x_base + where;
	xdrs->x_handy = end - where;
	return TRUE;
}

static int32_t *in_place(XDR *xdrs, u_int size) {
	return xdrs->x_handy < size ? NULL : xdr_inplace_advance(xdrs, size);
}

static void destroy(XDR *xdrs) {
	(void)xdrs;
}

static const struct xdr_ops memory_ops = {
    .x_getlong = wire_get_long,
    .x_putlong = wire_put_long,
    .x_getbytes = get_bytes,
    .x_putbytes = put_bytes,
    .x_getpostn = position,
    .x_setpostn = set_position,
    .x_inline = in_place,
    .x_destroy = destroy,
};

void xdr_mem_init(XDR *xdrs, enum xdr_op op, void *bytes, size_t size) {
	assert((uintptr_t)bytes % BYTES_PER_XDR_UNIT == 0 && size <= UINT32_MAX);
	*xdrs = (XDR){.x_op = op,
		      .x_ops = &memory_ops,
		      .x_private = bytes,
		      .x_base = bytes,
		      .x_handy = (u_int)size};
}

/* --- What the generated code is made of ---------------------------------------------------- */

static bool_t put_opaque(XDR *xdrs, const char *bytes, u_int size) {
	static const char zeros[BYTES_PER_XDR_UNIT];
	u_int padding = (u_int)RNDUP(size) - size;

	return (size == 0 || XDR_PUTBYTES(xdrs, bytes, size)) &&
	       (padding == 0 || XDR_PUTBYTES(xdrs, zeros, padding));
}

bool_t xdr_inplace_bytes(XDR *xdrs, char **bytes, u_int *size, u_int size_max) {
	switch (xdrs->x_op) {
	case XDR_DECODE:
		if (!wire_u32(xdrs, size) || *size > size_max)
			return FALSE;
		*bytes = xdr_inplace_advance(xdrs, (u_int)RNDUP(*size));
		return *bytes != NULL;
	case XDR_ENCODE:
		return wire_u32(xdrs, size) && put_opaque(xdrs, *bytes, *size);
	case XDR_FREE:
		return TRUE;
	}
	return FALSE;
}

/* RFC 5531, 9. The verifier of those that succeed is AUTH_NONE's: see authenticate(). */
bool_t xdr_inplace_replymsg(XDR *xdrs, struct rpc_msg *reply) {
	const struct accepted_reply *accepted = &reply->acpted_rply;
	uint32_t words[WIRE_ACCEPTED_WORDS] = {
	    htonl(reply->rm_xid), htonl(REPLY), htonl(MSG_ACCEPTED),
	    htonl(AUTH_NONE),	  htonl(0),	htonl(SUCCESS)};
	void *place;

	if (reply->rm_reply.rp_stat != MSG_ACCEPTED || accepted->ar_stat != SUCCESS ||
	    accepted->ar_verf.oa_flavor != AUTH_NONE || accepted->ar_verf.oa_length != 0)
		return xdr_replymsg(xdrs, reply);
	place = xdr_inplace_advance(xdrs, sizeof(words));
	if (place == NULL)
		return FALSE;
	memcpy(place, words, sizeof(words));
	return accepted->ar_results.proc(xdrs, accepted->ar_results.where);
}
