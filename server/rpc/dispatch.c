/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/dispatch.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "rpc/call.h"
#include "random.h"
#include "rpc/xdr_inplace.h"

_Static_assert((int)KV1_KEY_MAX == KEY_MAX && (int)KV1_VALUE_MAX == VALUE_MAX,
	       "the limits of kv.x");
_Static_assert((int)KV1_STORE_SIZE == STORE_ID_SIZE && (int)KV1_NONCE_SIZE == NONCE_SIZE,
	       "the sizes of kv.x");

enum {
	SPARE_CALLS_MAX = 1024,
	/* The header of a call: RFC 5531, 9. */
	WORD_XID = 0,
	WORD_DIRECTION = 1,
	WORD_RPC_VERSION = 2,
	WORD_PROGRAM = 3,
	WORD_VERSION = 4,
	WORD_PROCEDURE = 5,
	WORD_CREDENTIAL = 6, /* its flavor, and ... */
	WORD_CREDENTIAL_SIZE = 7,
	HEADER_WORDS = 8, /* ... before its bytes and the verifier */
	PLAIN_WORDS = 10, /* all, if there are no bytes of credentials and verifier */
};

/* What a call asks for. */
struct target {
	uint32_t program;
	uint32_t version;
	uint32_t procedure;
};

/* Whether the header's two opaque parts are within what RPC allows: RFC 5531, 8.2. */
enum header { HEADER_RIGHT, HEADER_BAD_CREDENTIAL, HEADER_BAD_VERIFIER };

union arguments {
	kv1_open_args open;
	kv1_close_args close;
	kv1_get_args get;
	kv1_put_args put;
	kv1_append_args append;
	kv1_snapshot_args snapshot;
};

union result {
	kv1_hello_res hello;
	kv1_open_res open;
	kv1_close_res close;
	kv1_get_res get;
	kv1_put_res put;
	kv1_append_res append;
	kv1_status_res status;
	kv1_snapshot_res snapshot;
};

/* Runs the decoded call: fills in call->reply. */
typedef void run_call(struct dispatch *, struct call *, const union arguments *);
/* Makes the wire's result of call->reply. */
typedef void fill_result(struct dispatch *, const struct call *, union result *);

struct procedure {
	const char *name;
	xdrproc_t decode;
	run_call *run;
	fill_result *fill;
	xdrproc_t encode;
};

struct dispatch {
	struct service *service;
	uint32_t program;
	struct dispatch_others others;
	uint64_t now_ms;
	uint64_t durable;     /* position, see dispatch_release_durable() */
	bool has_answered;    /* a call of this turn, at once */
	struct call *waiting; /* for the journal, in the order in which they came */
	struct call **waiting_end;
	struct call *spare;
	unsigned spare_count;
	struct counters counters;
	kv1_counter wire_counters[COUNTERS_MAX];
	/* Where libtirpc puts what it makes of the credentials: nobody keeps it. */
	_Alignas(8) char credentials[WIRE_CREDENTIAL_MAX];
	_Alignas(8) char raw_credentials[WIRE_CREDENTIAL_MAX];
	_Alignas(8) char raw_verifier[WIRE_CREDENTIAL_MAX];
};

struct dispatch *dispatch_new(struct service *service, uint32_t program,
			      const struct dispatch_others *others) {
	struct dispatch *dispatch = calloc(1, sizeof(*dispatch));

	if (dispatch == NULL)
		return NULL;
	dispatch->service = service;
	dispatch->program = program;
	dispatch->others = *others;
	dispatch->waiting_end = &dispatch->waiting;
	return dispatch;
}

void dispatch_free(struct dispatch *dispatch) {
	struct call *call;

	if (dispatch == NULL)
		return;
	while ((call = dispatch->waiting) != NULL) {
		dispatch->waiting = call->next;
		dispatch_call_free(dispatch, call);
	}
	while ((call = dispatch->spare) != NULL) {
		dispatch->spare = call->next;
		free(call);
	}
	free(dispatch);
}

void dispatch_set_time(struct dispatch *dispatch, uint64_t now_ms) {
	dispatch->now_ms = now_ms;
	dispatch->has_answered = false;
}

bool dispatch_replied_immediately(const struct dispatch *dispatch) {
	return dispatch->has_answered;
}

/* --- Calls --------------------------------------------------------------------------------- */

struct call *dispatch_call(struct dispatch *dispatch) {
	struct call *call = dispatch->spare;

	if (call != NULL) {
		dispatch->spare = call->next;
		dispatch->spare_count--;
	} else {
		call = calloc(1, sizeof(*call));
		if (call == NULL)
			return NULL;
		call->xprt.xp_p1 = call;
		call->xprt.xp_p3 = &call->extension;
		call->xprt.xp_verf = _null_auth;
	}
	memset((char *)call + offsetof(struct call, CALL_ANEW), 0,
	       sizeof(*call) - offsetof(struct call, CALL_ANEW));
	return call;
}

void dispatch_call_free(struct dispatch *dispatch, struct call *call) {
	reply_drop(service_memory(dispatch->service), &call->reply);
	if (dispatch->spare_count == SPARE_CALLS_MAX) {
		free(call);
		return;
	}
	call->next = dispatch->spare;
	dispatch->spare = call;
	dispatch->spare_count++;
}

/* --- Wire structs to operations, replies to wire structs ----------------------------------- */

static kv1_status status_out(enum kv_status status) {
	switch (status) {
	case KV_OK:
		return KV1_OK;
	case KV_NOKEY:
		return KV1_NOKEY;
	case KV_VERSION:
		return KV1_VERSION;
	case KV_MAYBE:
		return KV1_MAYBE;
	case KV_BADSESSION:
		return KV1_BADSESSION;
	case KV_STALE:
		return KV1_STALE;
	case KV_FALSE_RETRY:
		return KV1_FALSE_RETRY;
	case KV_TOOBIG:
		return KV1_TOOBIG;
	case KV_FULL:
	case KV_NOMEM:
		return KV1_FULL;
	case KV_DENIED:
		return KV1_DENIED;
	case KV_INVALID:
		return KV1_INVALID;
	case KV_EPOCH:
		return KV1_EPOCH;
	case KV_UNAVAILABLE:
	case KV_TIMEOUT:
	case KV_PROTOCOL:
	case KV_BUSY:
	case KV_NOTHELD:
		break;
	}
	return KV1_UNAVAILABLE;
}

static struct kv_bytes key_in(const kv1_key *key) {
	return (struct kv_bytes){key->kv1_key_val, key->kv1_key_len};
}

static struct kv_bytes value_in(const kv1_value *value) {
	return (struct kv_bytes){value->kv1_value_val, value->kv1_value_len};
}

static kv1_value value_out(struct view view) {
	struct kv_bytes bytes = view_bytes(view);

	return (kv1_value){.kv1_value_len = (u_int)bytes.size,
			   .kv1_value_val = (char *)(uintptr_t)bytes.data};
}

static struct operation write_in(enum operation_kind kind, const kv1_writer *writer,
				 uint64_t expected, const kv1_key *key, const kv1_value *value) {
	return (struct operation){.kind = kind,
				  .client_id = writer->client_id,
				  .slot = writer->slot,
				  .seq = writer->seq,
				  .expected = expected,
				  .key = key_in(key),
				  .value = value_in(value)};
}

static void run(struct dispatch *dispatch, struct call *call, uint64_t epoch,
		const struct operation *operation) {
	service_run(dispatch->service, epoch, operation, call->reply_max, dispatch->now_ms,
		    &call->reply);
}

static void run_nothing(struct dispatch *dispatch, struct call *call,
			const union arguments *arguments) {
	(void)dispatch;
	(void)arguments;
	call->reply.status = KV_OK;
}

static void fill_hello(struct dispatch *dispatch, const struct call *call, union result *result) {
	const struct identity *identity = service_identity(dispatch->service);

	result->hello.status = status_out(call->reply.status);
	memcpy(result->hello.store, identity->store, STORE_ID_SIZE);
	result->hello.epoch = identity->epoch;
	result->hello.key_max = KEY_MAX;
	result->hello.value_max = service_limits(dispatch->service)->value_max;
	result->hello.datagram_max = WIRE_DATAGRAM_MAX;
}

static void run_open(struct dispatch *dispatch, struct call *call,
		     const union arguments *arguments) {
	struct operation operation = {
	    .kind = OPERATION_OPEN, .client_id = random_id(), .slots = arguments->open.slots};

	memcpy(operation.nonce, arguments->open.nonce, NONCE_SIZE);
	run(dispatch, call, arguments->open.epoch, &operation);
}

static void fill_open(struct dispatch *dispatch, const struct call *call, union result *result) {
	(void)dispatch;
	result->open.status = status_out(call->reply.status);
	result->open.client_id = call->reply.client_id;
	result->open.slots = call->reply.slots;
	result->open.lease_ms = call->reply.lease_ms;
}

static void run_close(struct dispatch *dispatch, struct call *call,
		      const union arguments *arguments) {
	struct operation operation = {.kind = OPERATION_CLOSE,
				      .client_id = arguments->close.client_id};

	run(dispatch, call, arguments->close.epoch, &operation);
}

static void fill_close(struct dispatch *dispatch, const struct call *call, union result *result) {
	(void)dispatch;
	result->close.status = status_out(call->reply.status);
}

static void run_get(struct dispatch *dispatch, struct call *call,
		    const union arguments *arguments) {
	service_get(dispatch->service, arguments->get.epoch, key_in(&arguments->get.key),
		    call->reply_max, &call->reply);
}

static void fill_get(struct dispatch *dispatch, const struct call *call, union result *result) {
	(void)dispatch;
	result->get.status = status_out(call->reply.status);
	result->get.current = call->reply.current;
	result->get.value = value_out(call->reply.value);
}

static void run_put(struct dispatch *dispatch, struct call *call,
		    const union arguments *arguments) {
	const kv1_put_args *put = &arguments->put;
	struct operation operation =
	    write_in(OPERATION_PUT, &put->writer, put->expected, &put->key, &put->value);

	operation.block = call->block;
	run(dispatch, call, put->writer.epoch, &operation);
}

static void fill_put(struct dispatch *dispatch, const struct call *call, union result *result) {
	(void)dispatch;
	result->put.status = status_out(call->reply.status);
	result->put.current = call->reply.current;
}

static void run_append(struct dispatch *dispatch, struct call *call,
		       const union arguments *arguments) {
	const kv1_append_args *append = &arguments->append;
	struct operation operation = write_in(OPERATION_APPEND, &append->writer, append->expected,
					      &append->key, &append->value);

	operation.want_old = append->want_old != 0;
	run(dispatch, call, append->writer.epoch, &operation);
}

static void fill_append(struct dispatch *dispatch, const struct call *call, union result *result) {
	(void)dispatch;
	result->append.status = status_out(call->reply.status);
	result->append.current = call->reply.current;
	result->append.old_version = call->reply.old_version;
	result->append.old = value_out(call->reply.value);
}

static void count(struct dispatch *dispatch) {
	struct counters *counters = &dispatch->counters;
	struct service_counters service;

	counters->count = 0;
	service_get_stats(dispatch->service, &service);
	stats_add(counters, "keys", service.keys);
	stats_add(counters, "sessions", service.sessions);
	stats_add(counters, "sessions_opened", service.sessions_opened);
	stats_add(counters, "sessions_expired", service.sessions_expired);
	stats_add(counters, "memory_used", service.memory_used);
	stats_add(counters, "memory_max", service_limits(dispatch->service)->memory_max);
	stats_add(counters, "calls_run", service.calls_run);
	stats_add(counters, "calls_replayed", service.calls_replayed);
	stats_add(counters, "calls_refused", service.calls_refused);
	dispatch->others.count(dispatch->others.context, counters);
}

static void fill_status(struct dispatch *dispatch, const struct call *call, union result *result) {
	const struct identity *identity = service_identity(dispatch->service);

	count(dispatch);
	for (unsigned i = 0; i < dispatch->counters.count; i++) {
		const struct counter *counter = &dispatch->counters.list[i];

		dispatch->wire_counters[i].name = (char *)(uintptr_t)counter->name;
		dispatch->wire_counters[i].value = counter->value;
	}
	result->status.status = status_out(call->reply.status);
	result->status.software = (char *)(uintptr_t)KV_SOFTWARE;
	memcpy(result->status.store, identity->store, STORE_ID_SIZE);
	result->status.epoch = identity->epoch;
	result->status.counters.counters_len = dispatch->counters.count;
	result->status.counters.counters_val = dispatch->wire_counters;
}

static void run_snapshot(struct dispatch *dispatch, struct call *call,
			 const union arguments *arguments) {
	const struct dispatch_others *others = &dispatch->others;
	struct reply *reply = &call->reply;

	reply->status = KV_EPOCH;
	if (!service_is_epoch(dispatch->service, arguments->snapshot.epoch))
		return;
	reply->status = KV_UNAVAILABLE;
	if (others->want_snapshot == NULL)
		return;
	switch (others->want_snapshot(others->context, &reply->current)) {
	case SNAPSHOT_BEGINS:
	case SNAPSHOT_NEXT:
		reply->status = KV_OK;
		break;
	case SNAPSHOT_NO_JOURNAL:
		break;
	}
}

static void fill_snapshot(struct dispatch *dispatch, const struct call *call,
			  union result *result) {
	(void)dispatch;
	result->snapshot.status = status_out(call->reply.status);
	result->snapshot.position = call->reply.current;
}

static void fill_nothing(struct dispatch *dispatch, const struct call *call, union result *result) {
	(void)dispatch;
	(void)call;
	(void)result;
}

/* XDR routines have two or three arguments; libtirpc calls them through one type. */
#define XDR(routine) ((xdrproc_t)(void (*)(void))(routine))

static const struct procedure procedures[] = {
    [KVPROC_NULL] = {"NULL", XDR(xdr_void), run_nothing, fill_nothing, XDR(xdr_void)},
    [KVPROC_HELLO] = {"HELLO", XDR(xdr_void), run_nothing, fill_hello, XDR(xdr_kv1_hello_res)},
    [KVPROC_OPEN] = {"OPEN", XDR(xdr_kv1_open_args), run_open, fill_open, XDR(xdr_kv1_open_res)},
    [KVPROC_CLOSE] = {"CLOSE", XDR(xdr_kv1_close_args), run_close, fill_close,
		      XDR(xdr_kv1_close_res)},
    [KVPROC_GET] = {"GET", XDR(xdr_kv1_get_args), run_get, fill_get, XDR(xdr_kv1_get_res)},
    [KVPROC_PUT] = {"PUT", XDR(xdr_kv1_put_args), run_put, fill_put, XDR(xdr_kv1_put_res)},
    [KVPROC_APPEND] = {"APPEND", XDR(xdr_kv1_append_args), run_append, fill_append,
		       XDR(xdr_kv1_append_res)},
    [KVPROC_STATUS] = {"STATUS", XDR(xdr_void), run_nothing, fill_status, XDR(xdr_kv1_status_res)},
    [KVPROC_SNAPSHOT] = {"SNAPSHOT", XDR(xdr_kv1_snapshot_args), run_snapshot, fill_snapshot,
			 XDR(xdr_kv1_snapshot_res)},
};

/* --- The RPC header ------------------------------------------------------------------------ */

static uint32_t word(struct kv_bytes record, unsigned index) {
	uint32_t number;

	memcpy(&number, (const char *)record.data + index * sizeof(number), sizeof(number));
	return ntohl(number);
}

/* RFC 5531, 9: the one refusal that libtirpc has no function for. */
static void refuse_rpc_version(struct call *call) {
	struct rpc_msg reply = {.rm_direction = REPLY};

	reply.rm_reply.rp_stat = MSG_DENIED;
	reply.rjcted_rply.rj_stat = RPC_MISMATCH;
	reply.rjcted_rply.rj_vers.low = RPC_MSG_VERSION;
	reply.rjcted_rply.rj_vers.high = RPC_MSG_VERSION;
	(void)SVC_REPLY(&call->xprt, &reply);
}

static enum auth_stat authenticate(struct dispatch *dispatch, struct call *call,
				   struct rpc_msg *message) {
	struct svc_req request = {.rq_prog = message->rm_call.cb_prog,
				  .rq_vers = message->rm_call.cb_vers,
				  .rq_proc = message->rm_call.cb_proc,
				  .rq_cred = message->rm_call.cb_cred,
				  .rq_clntcred = dispatch->credentials,
				  .rq_xprt = &call->xprt};
	enum auth_stat answer;

	if (request.rq_cred.oa_flavor != AUTH_NONE && request.rq_cred.oa_flavor != AUTH_SYS)
		return AUTH_REJECTEDCRED;
	answer = _authenticate(&request, message);
	/* It echoes the verifier of AUTH_SYS; RFC 5531, 8.2 wants AUTH_NONE. */
	call->xprt.xp_verf = _null_auth;
	return answer;
}

static void answer(struct dispatch *dispatch, struct call *call) {
	const struct procedure *procedure = call->procedure;
	union result result;

	memset(&result, 0, sizeof(result));
	procedure->fill(dispatch, call, &result);
	/* An answer that cannot be sent is the peer's to ask for again. */
	(void)svc_sendreply(&call->xprt, procedure->encode, (char *)&result);
}

static void run_procedure(struct dispatch *dispatch, struct call *call,
			  const struct procedure *procedure) {
	union arguments arguments;

	call->procedure = procedure;
	memset(&arguments, 0, sizeof(arguments));
	if (!svc_getargs(&call->xprt, procedure->decode, (char *)&arguments)) {
		(void)svc_freeargs(&call->xprt, procedure->decode, (char *)&arguments);
		svcerr_decode(&call->xprt);
		return;
	}
	procedure->run(dispatch, call, &arguments);
	call->block = NULL;
	(void)svc_freeargs(&call->xprt, procedure->decode, (char *)&arguments);
	/* "An answer leaves only when everything it shows is durable, whatever its status." */
	if (call->reply.position <= dispatch->durable) {
		dispatch->has_answered = true;
		answer(dispatch, call);
		return;
	}
	call->next = NULL;
	*dispatch->waiting_end = call;
	dispatch->waiting_end = &call->next;
}

void dispatch_release_durable(struct dispatch *dispatch, uint64_t position) {
	struct call **link = &dispatch->waiting;

	dispatch->durable = position;
	/* A Get waits for its own key only, so positions are not in order. */
	while (*link != NULL) {
		struct call *call = *link;

		if (call->reply.position > position) {
			link = &call->next;
			continue;
		}
		*link = call->next;
		answer(dispatch, call);
	}
	dispatch->waiting_end = link;
}

/* Whoever calls an unknown program, version or procedure is told so: RFC 5531, 9. */
static void route(struct dispatch *dispatch, struct call *call, const struct target *target) {
	if (target->program != dispatch->program)
		svcerr_noprog(&call->xprt);
	else if (target->version != KV_V1)
		svcerr_progvers(&call->xprt, KV_V1, KV_V1);
	else if (target->procedure >= sizeof(procedures) / sizeof(procedures[0]) ||
		 procedures[target->procedure].run == NULL)
		svcerr_noproc(&call->xprt);
	else
		run_procedure(dispatch, call, &procedures[target->procedure]);
}

/* Behind the credentials, padded to whole words, come the verifier's flavor and size. */
static enum header look_at_header(struct kv_bytes record) {
	uint32_t size = word(record, WORD_CREDENTIAL_SIZE);
	unsigned verifier_size;

	if (size > WIRE_CREDENTIAL_MAX)
		return HEADER_BAD_CREDENTIAL;
	verifier_size = HEADER_WORDS + (unsigned)RNDUP(size) / sizeof(uint32_t) + 1;
	if (record.size >= (verifier_size + 1) * sizeof(uint32_t) &&
	    word(record, verifier_size) > WIRE_CREDENTIAL_MAX)
		return HEADER_BAD_VERIFIER;
	return HEADER_RIGHT;
}

/* Any header that RPC allows. False: it is not one. */
static bool take_any(struct dispatch *dispatch, struct call *call, struct kv_bytes record) {
	struct rpc_msg message;
	enum auth_stat refusal = AUTH_OK;

	/* xdr_callmsg says no more than "no" to these: they are looked at first. */
	if (word(record, WORD_RPC_VERSION) != RPC_MSG_VERSION) {
		refuse_rpc_version(call);
		return true;
	}
	switch (look_at_header(record)) {
	case HEADER_RIGHT:
		break;
	case HEADER_BAD_CREDENTIAL:
		svcerr_auth(&call->xprt, AUTH_BADCRED);
		return true;
	case HEADER_BAD_VERIFIER:
		svcerr_auth(&call->xprt, AUTH_BADVERF);
		return true;
	}
	memset(&message, 0, sizeof(message));
	message.rm_call.cb_cred.oa_base = dispatch->raw_credentials;
	message.rm_call.cb_verf.oa_base = dispatch->raw_verifier;
	xdr_mem_init(&call->arguments, XDR_DECODE, (void *)(uintptr_t)record.data, record.size);
	if (!xdr_callmsg(&call->arguments, &message))
		return false;
	const struct target target = {message.rm_call.cb_prog, message.rm_call.cb_vers,
				      message.rm_call.cb_proc};
	/* The null procedure asks for no rights: it is the health check. */
	if (target.procedure != KVPROC_NULL)
		refusal = authenticate(dispatch, call, &message);
	if (refusal != AUTH_OK)
		svcerr_auth(&call->xprt, refusal);
	else
		route(dispatch, call, &target);
	return true;
}

/* Whether nobody says who he is, as in nearly all calls: then nothing is left to look at. */
static bool is_plain(struct kv_bytes record) {
	static const uint32_t nobody[PLAIN_WORDS - WORD_CREDENTIAL]; /* AUTH_NONE is 0 */

	return record.size >= PLAIN_WORDS * sizeof(uint32_t) &&
	       word(record, WORD_RPC_VERSION) == RPC_MSG_VERSION &&
	       memcmp((const char *)record.data + WORD_CREDENTIAL * sizeof(uint32_t), nobody,
		      sizeof(nobody)) == 0;
}

bool dispatch_record(struct dispatch *dispatch, struct call *call, struct kv_bytes record) {
	enum { PLAIN_SIZE = PLAIN_WORDS * sizeof(uint32_t) };

	if (record.size < HEADER_WORDS * sizeof(uint32_t) || word(record, WORD_DIRECTION) != CALL)
		return false;
	call->xid = word(record, WORD_XID);
	if (!is_plain(record))
		return take_any(dispatch, call, record);
	const struct target target = {word(record, WORD_PROGRAM), word(record, WORD_VERSION),
				      word(record, WORD_PROCEDURE)};
	xdr_mem_init(&call->arguments, XDR_DECODE, (char *)(uintptr_t)record.data + PLAIN_SIZE,
		  record.size - PLAIN_SIZE);
	route(dispatch, call, &target);
	return true;
}
