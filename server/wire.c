/* SPDX-License-Identifier: BSD-3-Clause */
#include "wire.h"

#include <rpcsvc/kv.h>

_Static_assert(WIRE_RECORD_MAX > KV1_VALUE_BOUND + KV1_KEY_BOUND, "a legal call fits a record");

bool_t wire_bytes(XDR *xdrs, char **bytes, u_int *size, u_int size_max) {
	switch (xdrs->x_op) {
	case XDR_DECODE:
		if (!xdr_u_int(xdrs, size) || *size > size_max)
			return FALSE;
		/* The record is aligned (see dispatch), so this fails only if it is too short. */
		*bytes = (char *)XDR_INLINE(xdrs, RNDUP(*size));
		return *bytes != NULL;
	case XDR_ENCODE:
		return xdr_u_int(xdrs, size) && xdr_opaque(xdrs, *bytes, *size);
	case XDR_FREE:
		return TRUE;
	}
	return FALSE;
}
