/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/rpc_call.h"

#include <errno.h>
#include <stdlib.h>

#include "rpc/last_error.h"

enum {
	/* xid, direction, RPC version, program, version, procedure, and two empty credentials */
	CALL_HEADER_SIZE = 10 * BYTES_PER_XDR_UNIT,

	/* A call or an answer up to this size needs no memory but the stack. */
	SMALL_SIZE = 2048,
};

union small {
	char bytes[SMALL_SIZE];
	uint64_t aligned;
};

static enum clnt_stat finish(struct rpc_call *call, enum attempt outcome, enum kv_status status,
			     enum clnt_stat rpc_status) {
	call->outcome = outcome;
	call->status = status;
	call->error.re_status = rpc_status;
	return rpc_status;
}

/* --- The call ------------------------------------------------------------------------------ */

/* The size of the call; 0: it is larger than that, or cannot be encoded. */
static size_t encode_into(const struct rpc_call *call, rpcproc_t procedure, xdrproc_t encode,
			  void *arguments, char *data, size_t size) {
	XDR xdrs;
	struct rpc_msg header = {.rm_xid = call->xid, .rm_direction = CALL};

	header.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	header.rm_call.cb_prog = call->program;
	header.rm_call.cb_vers = call->version;
	header.rm_call.cb_proc = procedure;
	header.rm_call.cb_cred = _null_auth;
	header.rm_call.cb_verf = _null_auth;
	xdrmem_create(&xdrs, data, (u_int)size, XDR_ENCODE);
	if (!xdr_callmsg(&xdrs, &header) || !(*encode)(&xdrs, arguments))
		return 0;
	return xdr_getpos(&xdrs);
}

/* Returns false if it is not sent; then the outcome is set. */
static bool encode_large(struct rpc_call *call, rpcproc_t procedure, xdrproc_t encode,
			 void *arguments, struct kv_bytes *encoded) {
	/* 0 for "no arguments" as well as for "cannot be encoded"; the encoding below finds out. */
	size_t size = CALL_HEADER_SIZE + xdr_sizeof(encode, arguments);
	bool fits = conn_is_stream(call->conn) || size <= CONN_DATAGRAM_MAX;
	char *data = fits ? malloc(size) : NULL;

	if (fits && data == NULL) {
		last_error_set("%s: no memory to send", conn_name(call->conn));
		(void)finish(call, ATTEMPT_NOMEM, KV_OK, RPC_SYSTEMERROR);
		return false;
	}
	if (!fits || encode_into(call, procedure, encode, arguments, data, size) == 0) {
		free(data);
		last_error_set("%s: the call is too big to be sent", conn_name(call->conn));
		(void)finish(call, ATTEMPT_REJECTED, KV_TOOBIG, RPC_CANTENCODEARGS);
		return false;
	}
	*encoded = (struct kv_bytes){.data = data, .size = size};
	return true;
}

/*
 * The whole call is encoded before any of it is sent, so that one which cannot be encoded leaves
 * nothing behind. Most are little, and counting their bytes beforehand would cost as much as
 * encoding them. Returns false if it is not sent; then the outcome is set.
 */
static bool encode_call(struct rpc_call *call, rpcproc_t procedure, xdrproc_t encode,
			void *arguments, union small *small, struct kv_bytes *encoded) {
	size_t size = encode_into(call, procedure, encode, arguments, small->bytes, sizeof(*small));

	*encoded = (struct kv_bytes){.data = small->bytes, .size = size};
	return size > 0 || encode_large(call, procedure, encode, arguments, encoded);
}

/* --- The reply ----------------------------------------------------------------------------- */

static enum clnt_stat bad_reply(struct rpc_call *call, const char *what) {
	last_error_set("%s: %s", conn_name(call->conn), what);
	return finish(call, ATTEMPT_BAD_REPLY, KV_PROTOCOL, RPC_CANTDECODERES);
}

static enum clnt_stat wrong_server(struct rpc_call *call, const char *what,
				   enum clnt_stat rpc_status) {
	last_error_set("%s: %s (program %lu)", conn_name(call->conn), what,
		       (unsigned long)call->program);
	return finish(call, ATTEMPT_WRONG_SERVER, KV_OK, rpc_status);
}

static enum clnt_stat rejected(struct rpc_call *call, const char *what, enum kv_status status,
			       enum clnt_stat rpc_status) {
	last_error_set("%s: %s", conn_name(call->conn), what);
	return finish(call, ATTEMPT_REJECTED, status, rpc_status);
}

/*
 * The XDR routines of libtirpc allocate what a length claims, up to the bound in kv.x, before they
 * look whether the record holds as much: at most 32 MiB, untouched, for the blink of an eye.
 */
static enum clnt_stat decode_results(struct rpc_call *call, XDR *xdrs, xdrproc_t decode,
				     void *results) {
	errno = 0;
	if ((*decode)(xdrs, results))
		return finish(call, ATTEMPT_ANSWERED, KV_OK, RPC_SUCCESS);
	if (errno == ENOMEM) {
		xdr_free(decode, results);
		last_error_set("%s: no memory for the reply", conn_name(call->conn));
		return finish(call, ATTEMPT_NOMEM, KV_NOMEM, RPC_SYSTEMERROR);
	}
	xdr_free(decode, results);
	return bad_reply(call, "the server sent a reply that cannot be decoded");
}

static enum clnt_stat decode_accepted(struct rpc_call *call, XDR *xdrs, enum accept_stat status,
				      xdrproc_t decode, void *results) {
	switch (status) {
	case SUCCESS:
		return decode_results(call, xdrs, decode, results);
	case PROG_UNAVAIL:
		return wrong_server(call, "the server does not serve kv", RPC_PROGUNAVAIL);
	case PROG_MISMATCH:
		return wrong_server(call, "the server serves another version of kv",
				    RPC_PROGVERSMISMATCH);
	case PROC_UNAVAIL:
		return rejected(call, "the server does not serve this call", KV_UNAVAILABLE,
				RPC_PROCUNAVAIL);
	case GARBAGE_ARGS:
		return rejected(call, "the server does not understand the call", KV_PROTOCOL,
				RPC_CANTDECODEARGS);
	case SYSTEM_ERR:
		return rejected(call, "the server has an error of its own", KV_UNAVAILABLE,
				RPC_SYSTEMERROR);
	}
	return bad_reply(call, "the server sent a reply with an unknown RPC status");
}

static enum clnt_stat decode_denied(struct rpc_call *call, enum reject_stat status) {
	switch (status) {
	case RPC_MISMATCH:
		return rejected(call, "the server speaks another version of RPC", KV_PROTOCOL,
				RPC_VERSMISMATCH);
	case AUTH_ERROR:
		return rejected(call, "the server does not accept calls without credentials",
				KV_DENIED, RPC_AUTHERROR);
	}
	return bad_reply(call, "the server sent a reply with an unknown RPC status");
}

static enum clnt_stat decode_reply(struct rpc_call *call, const struct rpc_reply *came,
				   xdrproc_t decode, void *results) {
	char verifier[MAX_AUTH_BYTES];
	struct rpc_msg reply = {0};
	XDR xdrs;

	/* Room for a verifier, which would be allocated otherwise; kv has no use for one. */
	reply.acpted_rply.ar_verf.oa_base = verifier;
	/* The results come after the header, so that each can fail for itself. */
	reply.acpted_rply.ar_results.proc = rpc_call_no_data;
	xdrmem_create(&xdrs, (char *)came->data, (u_int)came->size, XDR_DECODE);
	if (!xdr_replymsg(&xdrs, &reply) || reply.rm_direction != REPLY)
		return bad_reply(call, "the server sent what is no RPC reply");
	switch (reply.rm_reply.rp_stat) {
	case MSG_ACCEPTED:
		return decode_accepted(call, &xdrs, reply.acpted_rply.ar_stat, decode, results);
	case MSG_DENIED:
		return decode_denied(call, reply.rjcted_rply.rj_stat);
	}
	return bad_reply(call, "the server sent a reply with an unknown RPC status");
}

/* --- The operations of a CLIENT ------------------------------------------------------------ */

static enum clnt_stat call_run(CLIENT *client, rpcproc_t procedure, xdrproc_t encode,
			       void *arguments, xdrproc_t decode, void *results,
			       struct timeval timeout) {
	struct rpc_call *call = client->cl_private;
	union small sent, received;
	struct rpc_reply came = {.place = (uint8_t *)received.bytes, .room = sizeof(received)};
	struct kv_bytes encoded;
	enum clnt_stat status = RPC_FAILED;

	(void)timeout;
	if (!encode_call(call, procedure, encode, arguments, &sent, &encoded))
		return call->error.re_status;
	switch (conn_call(call->conn, encoded, &call->time, &came)) {
	case ATTEMPT_ANSWERED:
		status = decode_reply(call, &came, decode, results);
		break;
	case ATTEMPT_UNANSWERED:
		status = finish(call, ATTEMPT_UNANSWERED, KV_OK, RPC_TIMEDOUT);
		break;
	case ATTEMPT_NOMEM:
		status = finish(call, ATTEMPT_NOMEM, KV_NOMEM, RPC_SYSTEMERROR);
		break;
	case ATTEMPT_REJECTED:
		status = finish(call, ATTEMPT_REJECTED, conn_refusal(call->conn), RPC_AUTHERROR);
		break;
	case ATTEMPT_UNSENT:
	case ATTEMPT_WRONG_SERVER:
	case ATTEMPT_BAD_REPLY:
		status = finish(call, ATTEMPT_UNSENT, KV_OK, RPC_CANTSEND);
		break;
	}
	if (came.data != came.place)
		free(came.data);
	if (encoded.data != sent.bytes)
		free((void *)encoded.data);
	return status;
}

static void call_abort(CLIENT *client) {
	(void)client;
}

static void call_geterr(CLIENT *client, struct rpc_err *error) {
	struct rpc_call *call = client->cl_private;

	*error = call->error;
}

static bool_t call_freeres(CLIENT *client, xdrproc_t decode, void *results) {
	(void)client;
	xdr_free(decode, results);
	return TRUE;
}

static void call_destroy(CLIENT *client) {
	(void)client;
}

/* There is nothing to set: the link and the deadline are given. */
static bool_t call_control(CLIENT *client, u_int request, void *value) {
	(void)client;
	(void)request;
	(void)value;
	return FALSE;
}

static const struct clnt_ops operations = {
    .cl_call = call_run,
    .cl_abort = call_abort,
    .cl_geterr = call_geterr,
    .cl_freeres = call_freeres,
    .cl_destroy = call_destroy,
    .cl_control = call_control,
};

void rpc_call_init(struct rpc_call *call, struct conn *conn, uint32_t program, uint32_t version,
		   uint32_t xid, uint64_t deadline_ms) {
	*call = (struct rpc_call){
	    .client = {.cl_ops = (struct clnt_ops *)&operations, .cl_private = call},
	    .conn = conn,
	    .program = program,
	    .version = version,
	    .xid = xid,
	    .time.deadline_ms = deadline_ms,
	    .outcome = ATTEMPT_UNSENT,
	    .status = KV_OK,
	};
}

bool_t rpc_call_no_data(XDR *xdrs, ...) {
	(void)xdrs;
	return TRUE;
}

void rpc_call_bad_reply(struct rpc_call *call, const char *what) {
	(void)bad_reply(call, what);
}

size_t rpc_call_encode(const struct rpc_call *call, rpcproc_t procedure, xdrproc_t encode,
		       void *arguments, char *data, size_t size) {
	return encode_into(call, procedure, encode, arguments, data, size);
}

void rpc_call_decode(struct rpc_call *call, const struct rpc_reply *came, xdrproc_t decode,
		     void *results) {
	(void)decode_reply(call, came, decode, results);
}
