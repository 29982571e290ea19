/* SPDX-License-Identifier: BSD-3-Clause */
#include "kv_call.h"

#include <arpa/inet.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "log.h"
#include "protocol.h"
#include "record_marking.h"

enum { REPLY_MAX = 1024 };

static const uint32_t last_fragment = UINT32_C(1) << 31;

size_t kv_call_encode(uint8_t *bytes, size_t size_max, uint32_t program, rpcproc_t procedure,
		      xdrproc_t encode_arguments, void *arguments) {
	struct rpc_msg call = {.rm_direction = CALL};
	XDR xdrs;
	size_t size = 0;

	call.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	call.rm_call.cb_prog = program;
	call.rm_call.cb_vers = KV_V1;
	call.rm_call.cb_proc = procedure;
	call.rm_call.cb_cred = _null_auth;
	call.rm_call.cb_verf = _null_auth;
	xdrmem_create(&xdrs, (char *)bytes + RECORD_MARK_SIZE, (u_int)(size_max - RECORD_MARK_SIZE),
		      XDR_ENCODE);
	if (xdr_callmsg(&xdrs, &call) && encode_arguments(&xdrs, arguments))
		size = XDR_GETPOS(&xdrs);
	if (size != 0)
		record_mark(bytes, size);
	return size == 0 ? 0 : size + RECORD_MARK_SIZE;
}

bool kv_call_once(int fd, uint32_t program, rpcproc_t procedure, xdrproc_t encode, void *arguments,
		  xdrproc_t decode, void *results) {
	uint8_t bytes[REPLY_MAX];
	size_t size = kv_call_encode(bytes, sizeof(bytes), program, procedure, encode, arguments);
	struct rpc_msg header = {.rm_direction = REPLY};
	struct rpc_err error = {.re_status = RPC_CANTDECODERES};
	uint32_t mark = 0;
	XDR xdrs;

	if (size == 0 || !protocol_send(fd, bytes, size) ||
	    !protocol_receive(fd, bytes, RECORD_MARK_SIZE))
		return false;
	memcpy(&mark, bytes, sizeof(mark));
	mark = ntohl(mark);
	size = mark & ~last_fragment;
	if (size > sizeof(bytes) || (mark & last_fragment) == 0) {
		log_error("that is no kv server: it replies with %zu bytes", size);
		return false;
	}
	if (!protocol_receive(fd, bytes, size))
		return false;
	header.acpted_rply.ar_results.where = results;
	header.acpted_rply.ar_results.proc = decode;
	xdrmem_create(&xdrs, (char *)bytes, (u_int)size, XDR_DECODE);
	if (xdr_replymsg(&xdrs, &header))
		_seterr_reply(&header, &error);
	if (error.re_status != RPC_SUCCESS)
		log_error("no kv server of this version and program: %s",
			  clnt_sperrno(error.re_status));
	return error.re_status == RPC_SUCCESS;
}
