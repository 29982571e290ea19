/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/dispatch.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "rpc/call.h"
#include "rpc/procedures.h"
#include "rpc/xdr_inplace.h"

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
	/* authsys_parms, RFC 5531, appendix A: stamp, name, uid, gid, gids. */
	SYS_NAME_SIZE = 1,
	SYS_NAME = 2,
	SYS_NAME_MAX = 255, /* bytes */
	SYS_GROUPS_MAX = 16,
	/* RFC 9289, 4.1: the flavor of the credential of a probe. */
	FLAVOR_TLS = 7,
};

struct dispatch {
	struct procedure_context context;
	uint32_t program;
	uint64_t durable;     /* position, see dispatch_release_durable() */
	bool has_replied;     /* a call of this turn, at once */
	struct call *waiting; /* for the journal, in the order in which they came */
	struct call **waiting_end;
	struct call *spare;
	unsigned spare_count;
};

/* Bytes that calls may take which wait for the journal. */
static size_t waiting_memory(const struct service *service) {
	size_t share = service_limits(service)->memory_max / WAITING_SHARE;

	if (share < WAITING_MEMORY_MIN)
		return WAITING_MEMORY_MIN;
	return share > WAITING_MEMORY_MAX ? WAITING_MEMORY_MAX : share;
}

static void answer(struct dispatch *dispatch, struct call *call) {
	/* A reply leaves when everything that it shows is durable, whatever its status. */
	if (call->reply.position <= dispatch->durable) {
		dispatch->has_replied = true;
		procedure_reply(&dispatch->context, call);
		return;
	}
	call->next = NULL;
	call->waiting_cost = sizeof(*call);
	if (call->reply.value.buffer != NULL)
		call->waiting_cost += (uint32_t)buffer_exclusive_bytes(call->reply.value.buffer);
	dispatch->context.waiting_count++;
	dispatch->context.waiting_bytes += call->waiting_cost;
	*dispatch->waiting_end = call;
	dispatch->waiting_end = &call->next;
}

/* --- Calls that wait for changes of keys ------------------------------------------------------ */

static void answer_parked(void *context, struct call *call) {
	struct dispatch *dispatch = context;

	/* How long it waited for the key says nothing of the server. */
	call->began_ns = dispatch->context.times.now_ns;
	answer(dispatch, call);
}

static void drop_parked(void *context, struct call *call) {
	dispatch_call_free(context, call);
}

static bool is_behind(void *context) {
	const struct dispatch *dispatch = context;
	const struct dispatch_hooks *hooks = &dispatch->context.hooks;

	return dispatch_is_backlogged(dispatch) ||
	       (hooks->is_behind != NULL && hooks->is_behind(hooks->context));
}

bool dispatch_run_waiting(struct dispatch *dispatch) {
	return parking_run(dispatch->context.parking);
}

void dispatch_end_turn(struct dispatch *dispatch) {
	parking_end_turn(dispatch->context.parking);
}

uint64_t dispatch_waiting_due(const struct dispatch *dispatch) {
	return parking_due(dispatch->context.parking);
}

void dispatch_disconnect(struct dispatch *dispatch, struct call *call) {
	parking_disconnect(dispatch->context.parking, call);
}

struct dispatch *dispatch_new(struct service *service, uint32_t program,
			      const struct dispatch_hooks *others) {
	struct dispatch *dispatch = calloc(1, sizeof(*dispatch));

	if (dispatch == NULL)
		return NULL;
	dispatch->context.service = service;
	dispatch->program = program;
	dispatch->context.hooks = *others;
	dispatch->context.access.sessions_each = others->sessions_each;
	dispatch->waiting_end = &dispatch->waiting;
	dispatch->durable = UINT64_MAX;
	dispatch->context.waiting_bytes_max = waiting_memory(service);
	dispatch->context.changes = change_ring_new(service, others->changes_max);
	dispatch->context.parking =
	    parking_new(service, dispatch->context.changes, dispatch->context.waiting_bytes_max,
			&(struct parking_hooks){.answer = answer_parked,
						.drop = drop_parked,
						.is_behind = is_behind,
						.access = &dispatch->context.access,
						.context = dispatch});
	if (dispatch->context.changes == NULL || dispatch->context.parking == NULL) {
		dispatch_free(dispatch);
		return NULL;
	}
	if (others->waiting_max > 0)
		parking_set_max(dispatch->context.parking, others->waiting_max);
	return dispatch;
}

void dispatch_free(struct dispatch *dispatch) {
	struct call *call;

	if (dispatch == NULL)
		return;
	parking_free(dispatch->context.parking);
	while ((call = dispatch->waiting) != NULL) {
		dispatch->waiting = call->next;
		dispatch_call_free(dispatch, call);
	}
	while ((call = dispatch->spare) != NULL) {
		dispatch->spare = call->next;
		free(call);
	}
	change_ring_free(dispatch->context.changes);
	free(dispatch);
}

void dispatch_set_acl(struct dispatch *dispatch, const struct acl *acl) {
	dispatch->context.access.acl = acl;
	parking_recheck(dispatch->context.parking);
}

const struct acl *dispatch_acl(const struct dispatch *dispatch) {
	return dispatch->context.access.acl;
}

void dispatch_set_time(struct dispatch *dispatch, uint64_t now_ms) {
	dispatch->context.now_ms = now_ms;
	dispatch->context.access.now_ms = now_ms;
	change_ring_set_time(dispatch->context.changes, now_ms);
	parking_begin_turn(dispatch->context.parking, now_ms);
	dispatch->has_replied = false;
}

struct call_times *dispatch_times(struct dispatch *dispatch) {
	return &dispatch->context.times;
}

void dispatch_add_stats(struct dispatch *dispatch, struct stats *stats) {
	procedure_add_stats(&dispatch->context, stats);
}

bool dispatch_replied_immediately(const struct dispatch *dispatch) {
	return dispatch->has_replied;
}

bool dispatch_is_backlogged(const struct dispatch *dispatch) {
	return dispatch->context.waiting_bytes >= dispatch->context.waiting_bytes_max;
}

/* --- Calls --------------------------------------------------------------------------------- */

struct call *dispatch_call(struct dispatch *dispatch) {
	struct call *call = dispatch->spare;

	if (call != NULL) {
		dispatch->spare = call->next;
		dispatch->spare_count--;
	} else {
		call = malloc(sizeof(*call));
		if (call == NULL)
			return NULL;
	}
	*call = (struct call){0};
	return call;
}

void dispatch_call_free(struct dispatch *dispatch, struct call *call) {
	reply_drop(service_memory(dispatch->context.service), &call->reply);
	if (dispatch->spare_count == SPARE_CALLS_MAX) {
		free(call);
		return;
	}
	call->next = dispatch->spare;
	dispatch->spare = call;
	dispatch->spare_count++;
}

/* --- The RPC header ------------------------------------------------------------------------ */

static uint32_t word(struct kv_bytes record, unsigned index) {
	uint32_t number;

	memcpy(&number, (const char *)record.data + index * sizeof(number), sizeof(number));
	return ntohl(number);
}

/* RFC 5531, 9: the one refusal that libtirpc has no function for. */
static void refuse_rpc_version(SVCXPRT *xprt) {
	struct rpc_msg reply = {.rm_direction = REPLY};

	reply.rm_reply.rp_stat = MSG_DENIED;
	reply.rjcted_rply.rj_stat = RPC_MISMATCH;
	reply.rjcted_rply.rj_vers.low = RPC_MSG_VERSION;
	reply.rjcted_rply.rj_vers.high = RPC_MSG_VERSION;
	(void)SVC_REPLY(xprt, &reply);
}

/* True if these words are an authsys_parms. Nothing in it is used: a peer may claim anything. */
static bool is_authsys_parms(struct kv_bytes words) {
	size_t count = words.size / sizeof(uint32_t);
	size_t groups;

	if (count <= SYS_NAME_SIZE || word(words, SYS_NAME_SIZE) > SYS_NAME_MAX)
		return false;
	/* Behind the name: uid, gid, count of gids. */
	groups = SYS_NAME + RNDUP(word(words, SYS_NAME_SIZE)) / sizeof(uint32_t) + 2;
	return count > groups && word(words, (unsigned)groups) <= SYS_GROUPS_MAX &&
	       count == groups + 1 + word(words, (unsigned)groups);
}

/*
 * A probe for TLS: a call of NULL whose credential has flavor TLS and no bytes, and whose verifier
 * is empty. Where TLS is not offered, it is a call with a flavor that is not known.
 */
static enum auth_stat check_probe(struct call *call, struct kv_bytes record) {
	static const uint32_t none[PLAIN_WORDS - WORD_CREDENTIAL - 1];

	if (call->tls == CALL_TLS_ABSENT)
		return word(record, WORD_PROCEDURE) == KVPROC_NULL ? AUTH_OK : AUTH_REJECTEDCRED;
	if (call->tls != CALL_TLS_OFFERED || word(record, WORD_PROCEDURE) != KVPROC_NULL ||
	    memcmp((const char *)record.data + (WORD_CREDENTIAL + 1) * sizeof(uint32_t), none,
		   sizeof(none)) != 0)
		return AUTH_BADCRED;
	return AUTH_OK;
}

static void grant_tls(struct dispatch *dispatch, struct call *call, struct kv_bytes record) {
	if (call->tls != CALL_TLS_OFFERED || word(record, WORD_PROGRAM) != dispatch->program ||
	    word(record, WORD_VERSION) != KV_V1)
		return;
	call->tls = CALL_TLS_STARTS;
}

/*
 * Decides here, not in libtirpc's _authenticate(), because that prints a line for a credential that
 * is cut short, and waits until it is read.
 */
static enum auth_stat check_credential(struct kv_bytes record) {
	struct kv_bytes parms = {(const char *)record.data + HEADER_WORDS * sizeof(uint32_t),
				 word(record, WORD_CREDENTIAL_SIZE)};

	switch (word(record, WORD_CREDENTIAL)) {
	case AUTH_NONE:
		return AUTH_OK;
	case AUTH_SYS:
		return is_authsys_parms(parms) ? AUTH_OK : AUTH_BADCRED;
	default:
		return AUTH_REJECTEDCRED;
	}
}

static void run_call(struct dispatch *dispatch, struct call *call) {
	call->began_ns = dispatch->context.times.now_ns;
	if (procedure_run(&dispatch->context, call))
		answer(dispatch, call);
	/* Those that its change let run, before any other call. */
	(void)parking_run(dispatch->context.parking);
}

void dispatch_log_call(const struct call *call, const char *transport, const char *peer) {
	if (call->procedure == NULL)
		log_debug("%s call from %s: refused by RPC (program, version, procedure or "
			  "credentials)",
			  transport, peer);
	else
		log_debug("%s call from %s: %s, %s", transport, peer,
			  procedure_name(call->procedure), kv_status_name(call->reply.status));
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
		dispatch->context.waiting_count--;
		dispatch->context.waiting_bytes -= call->waiting_cost;
		procedure_reply(&dispatch->context, call);
	}
	dispatch->waiting_end = link;
}

/*
 * Runs the call, whose arguments begin at byte `header_size`. An unknown program, version or
 * procedure is refused: RFC 5531, 9.
 */
static void route(struct dispatch *dispatch, struct call *call, struct kv_bytes record,
		  size_t header_size) {
	struct procedure_context *context = &dispatch->context;

	xdr_mem_init(&context->arguments, XDR_DECODE, (char *)(uintptr_t)record.data + header_size,
		     record.size - header_size);
	if (word(record, WORD_PROGRAM) != dispatch->program)
		svcerr_noprog(procedure_xprt(context, call));
	else if (word(record, WORD_VERSION) != KV_V1)
		svcerr_progvers(procedure_xprt(context, call), KV_V1, KV_V1);
	else if ((call->procedure = procedure_find(word(record, WORD_PROCEDURE))) == NULL)
		svcerr_noproc(procedure_xprt(context, call));
	else
		run_call(dispatch, call);
}

/*
 * Runs a call with any header that RPC allows: behind the credential, padded to whole words, come
 * the verifier's flavor, size and bytes. False: it ends within the header.
 */
static bool route_any(struct dispatch *dispatch, struct call *call, struct kv_bytes record) {
	uint32_t credential_size = word(record, WORD_CREDENTIAL_SIZE);
	enum auth_stat refusal = AUTH_OK;
	uint32_t verifier_size;
	size_t words;

	if (word(record, WORD_RPC_VERSION) != RPC_MSG_VERSION) {
		refuse_rpc_version(procedure_xprt(&dispatch->context, call));
		return true;
	}
	/* The largest credential and verifier: RFC 5531, 8.2. */
	if (credential_size > WIRE_CREDENTIAL_MAX) {
		svcerr_auth(procedure_xprt(&dispatch->context, call), AUTH_BADCRED);
		return true;
	}
	words = PLAIN_WORDS + RNDUP(credential_size) / sizeof(uint32_t);
	if (record.size < words * sizeof(uint32_t))
		return false;
	verifier_size = word(record, (unsigned)words - 1);
	if (verifier_size > WIRE_CREDENTIAL_MAX) {
		svcerr_auth(procedure_xprt(&dispatch->context, call), AUTH_BADVERF);
		return true;
	}
	words += RNDUP(verifier_size) / sizeof(uint32_t);
	if (record.size < words * sizeof(uint32_t))
		return false;
	/* The null procedure needs no rights: it is the health check. */
	if (word(record, WORD_CREDENTIAL) == FLAVOR_TLS)
		refusal = check_probe(call, record);
	else if (word(record, WORD_PROCEDURE) != KVPROC_NULL)
		refusal = check_credential(record);
	if (refusal == AUTH_OK && word(record, WORD_CREDENTIAL) == FLAVOR_TLS)
		grant_tls(dispatch, call, record);
	if (refusal != AUTH_OK)
		svcerr_auth(procedure_xprt(&dispatch->context, call), refusal);
	else
		route(dispatch, call, record, words * sizeof(uint32_t));
	return true;
}

/* True if credential and verifier are AUTH_NONE of no bytes, as in nearly all calls. */
static bool is_plain(struct kv_bytes record) {
	static const uint32_t none[PLAIN_WORDS - WORD_CREDENTIAL]; /* AUTH_NONE is 0 */

	return record.size >= PLAIN_WORDS * sizeof(uint32_t) &&
	       word(record, WORD_RPC_VERSION) == RPC_MSG_VERSION &&
	       memcmp((const char *)record.data + WORD_CREDENTIAL * sizeof(uint32_t), none,
		      sizeof(none)) == 0;
}

bool dispatch_record(struct dispatch *dispatch, struct call *call, struct kv_bytes record,
		     struct owned_block *block) {
	if (record.size < HEADER_WORDS * sizeof(uint32_t) || word(record, WORD_DIRECTION) != CALL)
		return false;
	call->xid = word(record, WORD_XID);
	dispatch->context.block = block;
	if (call->is_too_weak && word(record, WORD_PROCEDURE) != KVPROC_NULL &&
	    word(record, WORD_CREDENTIAL) != FLAVOR_TLS) {
		svcerr_auth(procedure_xprt(&dispatch->context, call), AUTH_TOOWEAK);
		return true;
	}
	if (!is_plain(record))
		return route_any(dispatch, call, record);
	route(dispatch, call, record, PLAIN_WORDS * sizeof(uint32_t));
	return true;
}
