/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/rpc_call.h"

#include <errno.h>
#include <stdlib.h>

#include "rpc/last_error.h"

enum {
	/* xid, direction, RPC version, program, version, procedure, and two empty credentials */
	CALL_HEADER_SIZE = 10 * BYTES_PER_XDR_UNIT,

	/* A call or an answer up to this size needs no memory but the stack. */
	LITTLE_SIZE = 2048,
};

union little {
	char bytes[LITTLE_SIZE];
	uint64_t aligned;
};

static enum clnt_stat finish(struct caller *caller, enum attempt outcome, enum kv_status status,
			     enum clnt_stat rpc_status) {
	caller->outcome = outcome;
	caller->status = status;
	caller->error.re_status = rpc_status;
	return rpc_status;
}

/* --- The call ------------------------------------------------------------------------------ */

/* The size of the call; 0: it is larger than that, or cannot be encoded. */
static size_t encode_into(const struct caller *caller, rpcproc_t procedure, xdrproc_t encode,
			  void *arguments, char *data, size_t size) {
	XDR xdrs;
	struct rpc_msg call = {.rm_xid = caller->xid, .rm_direction = CALL};

	call.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	call.rm_call.cb_prog = caller->program;
	call.rm_call.cb_vers = caller->version;
	call.rm_call.cb_proc = procedure;
	call.rm_call.cb_cred = _null_auth;
	call.rm_call.cb_verf = _null_auth;
	xdrmem_create(&xdrs, data, (u_int)size, XDR_ENCODE);
	if (!xdr_callmsg(&xdrs, &call) || !(*encode)(&xdrs, arguments))
		return 0;
	return xdr_getpos(&xdrs);
}

/* False: not sent, and the outcome says why. */
static bool encode_large(struct caller *caller, rpcproc_t procedure, xdrproc_t encode,
			 void *arguments, struct kv_bytes *call) {
	/* 0 for "no arguments" as well as for "cannot be encoded"; the encoding below tells. */
	size_t size = CALL_HEADER_SIZE + xdr_sizeof(encode, arguments);
	bool fits = conn_is_stream(caller->link) || size <= LINK_DATAGRAM_MAX;
	char *data = fits ? malloc(size) : NULL;

	if (fits && data == NULL) {
		last_error_set("%s: no memory to send", conn_name(caller->link));
		(void)finish(caller, ATTEMPT_NOMEM, KV_OK, RPC_SYSTEMERROR);
		return false;
	}
	if (!fits || encode_into(caller, procedure, encode, arguments, data, size) == 0) {
		free(data);
		last_error_set("%s: the call is too big to be sent", conn_name(caller->link));
		(void)finish(caller, ATTEMPT_REJECTED, KV_TOOBIG, RPC_CANTENCODEARGS);
		return false;
	}
	*call = (struct kv_bytes){.data = data, .size = size};
	return true;
}

/*
 * The whole call is encoded before any of it is sent, so that one which cannot be encoded leaves
 * nothing behind. Most are little, and counting their bytes beforehand would cost as much as
 * encoding them. False: not sent, and the outcome says why.
 */
static bool encode_call(struct caller *caller, rpcproc_t procedure, xdrproc_t encode,
			void *arguments, union little *little, struct kv_bytes *call) {
	size_t size =
	    encode_into(caller, procedure, encode, arguments, little->bytes, sizeof(*little));

	*call = (struct kv_bytes){.data = little->bytes, .size = size};
	return size > 0 || encode_large(caller, procedure, encode, arguments, call);
}

/* --- The reply ----------------------------------------------------------------------------- */

static enum clnt_stat garbled(struct caller *caller, const char *what) {
	last_error_set("%s: %s", conn_name(caller->link), what);
	return finish(caller, ATTEMPT_BAD_REPLY, KV_PROTOCOL, RPC_CANTDECODERES);
}

static enum clnt_stat elsewhere(struct caller *caller, const char *what,
				enum clnt_stat rpc_status) {
	last_error_set("%s: %s (program %lu)", conn_name(caller->link), what,
		   (unsigned long)caller->program);
	return finish(caller, ATTEMPT_WRONG_SERVER, KV_OK, rpc_status);
}

static enum clnt_stat rejected(struct caller *caller, const char *what, enum kv_status status,
			       enum clnt_stat rpc_status) {
	last_error_set("%s: %s", conn_name(caller->link), what);
	return finish(caller, ATTEMPT_REJECTED, status, rpc_status);
}

/*
 * The XDR routines of libtirpc allocate what a length claims, up to the bound in kv.x, before they
 * look whether the record holds as much: at most 32 MiB, untouched, for the blink of an eye.
 */
static enum clnt_stat decode_results(struct caller *caller, XDR *xdrs, xdrproc_t decode,
				     void *results) {
	errno = 0;
	if ((*decode)(xdrs, results))
		return finish(caller, ATTEMPT_ANSWERED, KV_OK, RPC_SUCCESS);
	if (errno == ENOMEM) {
		xdr_free(decode, results);
		last_error_set("%s: no memory for the answer", conn_name(caller->link));
		return finish(caller, ATTEMPT_NOMEM, KV_NOMEM, RPC_SYSTEMERROR);
	}
	xdr_free(decode, results);
	return garbled(caller, "an answer that cannot be decoded came");
}

static enum clnt_stat decode_accepted(struct caller *caller, XDR *xdrs, enum accept_stat status,
				      xdrproc_t decode, void *results) {
	switch (status) {
	case SUCCESS:
		return decode_results(caller, xdrs, decode, results);
	case PROG_UNAVAIL:
		return elsewhere(caller, "the server does not serve kv", RPC_PROGUNAVAIL);
	case PROG_MISMATCH:
		return elsewhere(caller, "the server serves another version of kv",
				 RPC_PROGVERSMISMATCH);
	case PROC_UNAVAIL:
		return rejected(caller, "the server does not serve this call", KV_UNAVAILABLE,
				RPC_PROCUNAVAIL);
	case GARBAGE_ARGS:
		return rejected(caller, "the server does not understand the call", KV_PROTOCOL,
				RPC_CANTDECODEARGS);
	case SYSTEM_ERR:
		return rejected(caller, "the server has an error of its own", KV_UNAVAILABLE,
				RPC_SYSTEMERROR);
	}
	return garbled(caller, "an answer with an unknown RPC status came");
}

static enum clnt_stat decode_denied(struct caller *caller, enum reject_stat status) {
	switch (status) {
	case RPC_MISMATCH:
		return rejected(caller, "the server speaks another version of RPC", KV_PROTOCOL,
				RPC_VERSMISMATCH);
	case AUTH_ERROR:
		return rejected(caller, "the server does not accept calls without credentials",
				KV_DENIED, RPC_AUTHERROR);
	}
	return garbled(caller, "an answer with an unknown RPC status came");
}

static enum clnt_stat decode_reply(struct caller *caller, const struct message *came,
				   xdrproc_t decode, void *results) {
	char verifier[MAX_AUTH_BYTES];
	struct rpc_msg reply = {0};
	XDR xdrs;

	/* Room for a verifier, which would be allocated otherwise; kv has no use for one. */
	reply.acpted_rply.ar_verf.oa_base = verifier;
	/* The results come after the header, so that each can fail for itself. */
	reply.acpted_rply.ar_results.proc = caller_no_data;
	xdrmem_create(&xdrs, (char *)came->data, (u_int)came->size, XDR_DECODE);
	if (!xdr_replymsg(&xdrs, &reply) || reply.rm_direction != REPLY)
		return garbled(caller, "something that is no RPC reply came");
	switch (reply.rm_reply.rp_stat) {
	case MSG_ACCEPTED:
		return decode_accepted(caller, &xdrs, reply.acpted_rply.ar_stat, decode, results);
	case MSG_DENIED:
		return decode_denied(caller, reply.rjcted_rply.rj_stat);
	}
	return garbled(caller, "an answer with an unknown RPC status came");
}

/* --- The operations of a CLIENT ------------------------------------------------------------ */

static enum clnt_stat caller_call(CLIENT *client, rpcproc_t procedure, xdrproc_t encode,
				  void *arguments, xdrproc_t decode, void *results,
				  struct timeval timeout) {
	struct caller *caller = client->cl_private;
	union little sent, received;
	struct message came = {.place = (uint8_t *)received.bytes, .room = sizeof(received)};
	struct kv_bytes call;
	enum clnt_stat status = RPC_FAILED;

	(void)timeout;
	if (!encode_call(caller, procedure, encode, arguments, &sent, &call))
		return caller->error.re_status;
	switch (conn_call(caller->link, call, caller->deadline_ms, &came)) {
	case ATTEMPT_ANSWERED:
		status = decode_reply(caller, &came, decode, results);
		break;
	case ATTEMPT_UNANSWERED:
		status = finish(caller, ATTEMPT_UNANSWERED, KV_OK, RPC_TIMEDOUT);
		break;
	case ATTEMPT_NOMEM:
		status = finish(caller, ATTEMPT_NOMEM, KV_NOMEM, RPC_SYSTEMERROR);
		break;
	case ATTEMPT_UNSENT:
	case ATTEMPT_WRONG_SERVER:
	case ATTEMPT_REJECTED:
	case ATTEMPT_BAD_REPLY:
		status = finish(caller, ATTEMPT_UNSENT, KV_OK, RPC_CANTSEND);
		break;
	}
	if (came.data != came.place)
		free(came.data);
	if (call.data != sent.bytes)
		free((void *)call.data);
	return status;
}

static void caller_abort(CLIENT *client) {
	(void)client;
}

static void caller_geterr(CLIENT *client, struct rpc_err *error) {
	struct caller *caller = client->cl_private;

	*error = caller->error;
}

static bool_t caller_freeres(CLIENT *client, xdrproc_t decode, void *results) {
	(void)client;
	xdr_free(decode, results);
	return TRUE;
}

static void caller_destroy(CLIENT *client) {
	(void)client;
}

/* There is nothing to set: the link and the deadline are given. */
static bool_t caller_control(CLIENT *client, u_int request, void *value) {
	(void)client;
	(void)request;
	(void)value;
	return FALSE;
}

static const struct clnt_ops operations = {
    .cl_call = caller_call,
    .cl_abort = caller_abort,
    .cl_geterr = caller_geterr,
    .cl_freeres = caller_freeres,
    .cl_destroy = caller_destroy,
    .cl_control = caller_control,
};

void caller_init(struct caller *caller, struct link *link, uint32_t program, uint32_t version,
		 uint32_t xid, uint64_t deadline_ms) {
	*caller = (struct caller){
	    .client = {.cl_ops = (struct clnt_ops *)&operations, .cl_private = caller},
	    .link = link,
	    .program = program,
	    .version = version,
	    .xid = xid,
	    .deadline_ms = deadline_ms,
	    .outcome = ATTEMPT_UNSENT,
	    .status = KV_OK,
	};
}

bool_t caller_no_data(XDR *xdrs, ...) {
	(void)xdrs;
	return TRUE;
}

void caller_garbled(struct caller *caller, const char *what) {
	(void)garbled(caller, what);
}
