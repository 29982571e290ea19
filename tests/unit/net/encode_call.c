/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/encode_call.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "test.h"

enum { CALL_MAX = 2 << 20 };

char *encode_call(uint32_t procedure, xdrproc_t encode, void *arguments, size_t *size) {
	struct rpc_msg message = {.rm_xid = 1, .rm_direction = CALL};
	char *record = malloc(MARK + CALL_MAX);
	uint32_t mark;
	XDR xdrs;

	ck_assert_ptr_nonnull(record);
	message.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	message.rm_call.cb_prog = KV_PROGRAM;
	message.rm_call.cb_vers = KV_V1;
	message.rm_call.cb_proc = procedure;
	xdrmem_create(&xdrs, record + MARK, CALL_MAX, XDR_ENCODE);
	ck_assert(xdr_callmsg(&xdrs, &message) && encode(&xdrs, arguments));
	*size = MARK + xdr_getpos(&xdrs);
	mark = htonl(0x80000000u | (uint32_t)(*size - MARK));
	memcpy(record, &mark, MARK);
	return record;
}

char *encode_put(uint32_t value_size, size_t *size) {
	char *value = calloc(1, value_size + 1);
	struct kv1_put_args args = {
	    .expected = 0, .key = {1, (char *)(uintptr_t) "k"}, .value = {value_size, value}};
	char *call;

	ck_assert_ptr_nonnull(value);
	call = encode_call(KVPROC_PUT, (xdrproc_t)xdr_kv1_put_args, &args, size);
	free(value);
	return call;
}
