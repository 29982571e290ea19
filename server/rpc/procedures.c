/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/procedures.h"

#include <string.h>

#include "random.h"
#include "rpc/call.h"
#include "rpc/permission.h"
#include "rpc/whoami.h"
#include "rpc/xdr_inplace.h"

_Static_assert((int)KV1_KEY_MAX == KEY_MAX && (int)KV1_VALUE_MAX == VALUE_MAX,
	       "the limits of kv.x");
_Static_assert((int)KV1_OK == KV_OK && (int)KV1_NOKEY == KV_NOKEY &&
		   (int)KV1_VERSION == KV_VERSION && (int)KV1_MAYBE == KV_MAYBE &&
		   (int)KV1_BADSESSION == KV_BADSESSION && (int)KV1_STALE == KV_STALE &&
		   (int)KV1_FALSE_RETRY == KV_FALSE_RETRY && (int)KV1_TOOBIG == KV_TOOBIG &&
		   (int)KV1_FULL == KV_FULL && (int)KV1_DENIED == KV_DENIED &&
		   (int)KV1_INVALID == KV_INVALID && (int)KV1_UNAVAILABLE == KV_UNAVAILABLE &&
		   (int)KV1_EPOCH == KV_EPOCH && (int)KV1_UNMET == KV_UNMET &&
		   (int)KV1_COMPACTED == KV_COMPACTED,
	       "the statuses of kv.x");
_Static_assert((int)KV1_SLOTS_MAX == SLOTS_MAX && (int)KV1_DATAGRAM_MAX == WIRE_DATAGRAM_MAX,
	       "the limits of the wire are the server's");
_Static_assert((int)KV1_STORE_SIZE == STORE_ID_SIZE && (int)KV1_NONCE_SIZE == NONCE_SIZE,
	       "the sizes of kv.x");
_Static_assert((int)KV1_COUNTERS_BOUND == STATS_MAX, "STATUS carries all statistics");

union arguments {
	kv1_open_args open;
	kv1_close_args close;
	kv1_get_args get;
	kv1_put_args put;
	kv1_append_args append;
	kv1_delete_args del;
	kv1_wait_args wait;
	kv1_list_args list;
	kv1_txn_args txn;
	kv1_changes_args changes;
	kv1_snapshot_args snapshot;
	kv1_backup_args backup;
};

union result {
	kv1_hello_res hello;
	kv1_open_res open;
	kv1_close_res close;
	kv1_get_res get;
	kv1_put_res put;
	kv1_append_res append;
	kv1_delete_res del;
	kv1_wait_res wait;
	kv1_list_res list;
	kv1_txn_res txn;
	kv1_changes_res changes;
	kv1_status_res status;
	kv1_snapshot_res snapshot;
	kv1_backup_res backup;
	kv1_whoami_res whoami;
};

/* Runs the decoded call: fills in call->reply. */
typedef void run_call(struct procedure_context *, struct call *, const union arguments *);
/* Makes the wire's result of call->reply. */
typedef void fill_result(struct procedure_context *, const struct call *, union result *);

struct procedure {
	const char *name; /* for the log */
	xdrproc_t decode;
	run_call *run;
	fill_result *fill;
	xdrproc_t encode;
};

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

static void run(struct procedure_context *context, struct call *call, uint64_t epoch,
		const struct operation *operation) {
	service_run(context->service, epoch, operation, call->reply_max, context->now_ms,
		    &call->reply);
}

static inline void run_write(struct procedure_context *context, struct call *call, uint64_t epoch,
			     struct operation *operation, uint32_t wait_ms) {
	if (access_is_open(&context->access))
		(void)parking_write(context->parking, call, epoch, operation, wait_ms);
	else
		permission_write(context, call, epoch, operation, wait_ms);
}

/* Whether a call about this key may run, or is refused for its epoch; else it is refused. */
static inline bool may_read(struct procedure_context *context, struct call *call, uint64_t epoch,
			    struct kv_bytes key) {
	return access_is_open(&context->access) || permission_read(context, call, epoch, key);
}

static void run_nothing(struct procedure_context *context, struct call *call,
			const union arguments *arguments) {
	(void)context;
	(void)arguments;
	call->reply.status = KV_OK;
}

static void fill_hello(struct procedure_context *context, const struct call *call,
		       union result *result) {
	const struct server_identity *identity = service_identity(context->service);

	(void)call;
	memcpy(result->hello.store, identity->store, STORE_ID_SIZE);
	result->hello.epoch = identity->epoch;
	result->hello.key_max = KEY_MAX;
	result->hello.value_max = service_limits(context->service)->value_max;
	result->hello.datagram_max = WIRE_DATAGRAM_MAX;
}

static void run_open(struct procedure_context *context, struct call *call,
		     const union arguments *arguments) {
	struct operation operation = {
	    .kind = OPERATION_OPEN, .client_id = random_id(), .slots = arguments->open.slots};

	if (!access_is_open(&context->access) &&
	    service_is_epoch(context->service, arguments->open.epoch) &&
	    !permission_other(context, call, access_may_open(&context->access, call),
			      "it has no right to write anywhere"))
		return;
	const struct peer_id peer = principal_peer(call->caller);
	memcpy(operation.nonce, arguments->open.nonce, NONCE_SIZE);
	operation.sessions_max = access_sessions_max(&context->access, call);
	if (operation.sessions_max > 0)
		operation.peer = (struct kv_bytes){peer.bytes, peer.size};
	operation.principal = principal_bytes(call->caller);
	operation.checks_owner = !access_is_open(&context->access);
	run(context, call, arguments->open.epoch, &operation);
}

static void fill_open(struct procedure_context *context, const struct call *call,
		      union result *result) {
	(void)context;
	result->open.client_id = call->reply.client_id;
	result->open.slots = call->reply.slots;
	result->open.lease_ms = call->reply.lease_ms;
}

static void run_close(struct procedure_context *context, struct call *call,
		      const union arguments *arguments) {
	struct operation operation = {.kind = OPERATION_CLOSE,
				      .client_id = arguments->close.client_id};

	if (!access_is_open(&context->access))
		permission_check_owner(call, &operation);
	run(context, call, arguments->close.epoch, &operation);
}

static void run_get(struct procedure_context *context, struct call *call,
		    const union arguments *arguments) {
	const struct kv_bytes key = key_in(&arguments->get.key);

	if (may_read(context, call, arguments->get.epoch, key))
		service_get(context->service, arguments->get.epoch, key, call->reply_max,
			    &call->reply);
}

static void fill_get(struct procedure_context *context, const struct call *call,
		     union result *result) {
	(void)context;
	result->get.current = call->reply.current;
	result->get.value = value_out(call->reply.value);
}

static void run_put(struct procedure_context *context, struct call *call,
		    const union arguments *arguments) {
	const kv1_put_args *put = &arguments->put;
	struct operation operation =
	    write_in(OPERATION_PUT, &put->writer, put->expected, &put->key, &put->value);

	operation.block = context->block;
	run_write(context, call, put->writer.epoch, &operation, 0);
}

static void fill_put(struct procedure_context *context, const struct call *call,
		     union result *result) {
	(void)context;
	result->put.current = call->reply.current;
}

static void run_append(struct procedure_context *context, struct call *call,
		       const union arguments *arguments) {
	const kv1_append_args *append = &arguments->append;
	struct operation operation = write_in(OPERATION_APPEND, &append->writer, append->expected,
					      &append->key, &append->value);

	operation.want_old = append->want_old != 0;
	run_write(context, call, append->writer.epoch, &operation, 0);
}

static void fill_append(struct procedure_context *context, const struct call *call,
			union result *result) {
	(void)context;
	result->append.current = call->reply.current;
	result->append.old_version = call->reply.old_version;
	result->append.old = value_out(call->reply.value);
}

static void run_delete(struct procedure_context *context, struct call *call,
		       const union arguments *arguments) {
	const kv1_delete_args *del = &arguments->del;
	const kv1_value none = {0};
	struct operation operation =
	    write_in(OPERATION_DELETE, &del->writer, del->expected, &del->key, &none);

	run_write(context, call, del->writer.epoch, &operation, 0);
}

static void fill_delete(struct procedure_context *context, const struct call *call,
			union result *result) {
	(void)context;
	result->del.current = call->reply.current;
}

static void run_wait(struct procedure_context *context, struct call *call,
		     const union arguments *arguments) {
	const kv1_wait_args *wait = &arguments->wait;

	const struct kv_bytes key = key_in(&wait->key);

	if (may_read(context, call, wait->epoch, key))
		(void)parking_wait(context->parking, call, wait->epoch, key, wait->seen,
				   wait->wait_ms);
}

static void fill_wait(struct procedure_context *context, const struct call *call,
		      union result *result) {
	(void)context;
	result->wait.current = call->reply.current;
	result->wait.value = value_out(call->reply.value);
}

static void run_list(struct procedure_context *context, struct call *call,
		     const union arguments *arguments) {
	struct access_filter filter;
	struct list_request request = {
	    .prefix = key_in(&arguments->list.prefix),
	    .after = key_in(&arguments->list.after),
	    .limit = arguments->list.limit,
	    .reply_max = call->reply_max,
	};

	if (!permission_show(context, call, arguments->list.epoch, request.prefix, &filter,
			     &request.filter))
		return;
	service_list(context->service, arguments->list.epoch, &request, &call->reply);
	if (request.filter != NULL && call->reply.status == KV_OK)
		call->reply.current = change_ring_last(context->changes, request.filter);
}

static void fill_list(struct procedure_context *context, const struct call *call,
		      union result *result) {
	wire_lists_page_out(&context->lists, &call->reply, &result->list);
	for (u_int i = 0; i < result->list.keys.keys_len; i++)
		result->list.keys.keys_val[i].waiting =
		    parking_count_at(context->parking, key_in(&result->list.keys.keys_val[i].key));
}

static void run_txn(struct procedure_context *context, struct call *call,
		    const union arguments *arguments) {
	const kv1_key no_key = {0};
	const kv1_value no_value = {0};
	struct operation operation =
	    write_in(OPERATION_TXN, &arguments->txn.writer, 0, &no_key, &no_value);
	struct txn txn;

	wire_lists_txn_in(&context->lists, &arguments->txn, &txn);
	operation.txn = &txn;
	run_write(context, call, arguments->txn.writer.epoch, &operation, arguments->txn.wait_ms);
}

static void fill_txn(struct procedure_context *context, const struct call *call,
		     union result *result) {
	wire_lists_txn_out(&context->lists, &call->reply, &result->txn);
}

static void run_changes(struct procedure_context *context, struct call *call,
			const union arguments *arguments) {
	struct access_filter filter;
	struct changes_request request = {
	    .prefix = key_in(&arguments->changes.prefix),
	    .since = arguments->changes.since,
	    .limit = arguments->changes.limit,
	    .reply_max = call->reply_max,
	};

	if (!permission_show(context, call, arguments->changes.epoch, request.prefix, &filter,
			     &request.filter))
		return;
	/* Under a filter it does not wait: what wakes it would tell of other keys. */
	(void)parking_changes(context->parking, call, arguments->changes.epoch, &request,
			      request.filter == NULL ? arguments->changes.wait_ms : 0);
}

static void fill_changes(struct procedure_context *context, const struct call *call,
			 union result *result) {
	wire_lists_changes_out(&context->lists, &call->reply, &result->changes);
}

/* Bytes of the reply to STATUS behind those of WIRE_REPLY_OVERHEAD. */
static size_t counters_size(const struct stats *stats) {
	size_t size = RNDUP(sizeof(KV_SOFTWARE));

	for (unsigned i = 0; i < stats->count; i++)
		size += sizeof(uint32_t) + RNDUP(strlen(stats->list[i].name)) + sizeof(uint64_t);
	return size;
}

/* Counters tell of all callers: with rules they are for those that have an identity. */
static void run_status(struct procedure_context *context, struct call *call,
		       const union arguments *arguments) {
	(void)arguments;
	call->reply.status = KV_OK;
	if (!access_is_open(&context->access))
		(void)permission_other(context, call,
				       (call->caller != NULL && call->caller->is_known) ||
					   access_is_admin(&context->access, call),
				       "an identity (a local socket) is needed, or admin");
}

void procedure_add_stats(struct procedure_context *context, struct stats *stats) {
	service_add_stats(context->service, stats);
	call_times_add_stats(&context->times, stats);
	stats_add(stats, "calls_denied", context->access.denied);
	parking_add_stats(context->parking, stats);
	stats_add(stats, "sessions_each", context->access.sessions_each);
	stats_add(stats, "replies_waiting", context->waiting_count);
	stats_add(stats, "replies_waiting_bytes", context->waiting_bytes);
	stats_add(stats, "replies_waiting_bytes_max", context->waiting_bytes_max);
	change_ring_add_stats(context->changes, stats);
	if (context->hooks.add_stats != NULL)
		context->hooks.add_stats(context->hooks.context, stats);
}

static void fill_status(struct procedure_context *context, const struct call *call,
			union result *result) {
	const struct server_identity *identity = service_identity(context->service);
	struct stats *stats = &context->stats;

	result->status.software = (char *)(uintptr_t) "";
	if (call->reply.status != KV_OK)
		return;
	stats->count = 0;
	procedure_add_stats(context, stats);
	if (counters_size(stats) > call->reply_max) {
		stats->count = 0;
		result->status.status = KV1_TOOBIG;
	}
	for (unsigned i = 0; i < stats->count; i++) {
		context->counters[i].name = (char *)(uintptr_t)stats->list[i].name;
		context->counters[i].value = stats->list[i].value;
	}
	result->status.software = (char *)(uintptr_t)KV_SOFTWARE;
	memcpy(result->status.store, identity->store, STORE_ID_SIZE);
	result->status.epoch = identity->epoch;
	result->status.counters.counters_len = stats->count;
	result->status.counters.counters_val = context->counters;
}

static void run_snapshot(struct procedure_context *context, struct call *call,
			 const union arguments *arguments) {
	const struct dispatch_hooks *others = &context->hooks;
	struct reply *reply = &call->reply;

	reply->status = KV_EPOCH;
	if (!service_is_epoch(context->service, arguments->snapshot.epoch))
		return;
	if (!access_is_open(&context->access) &&
	    !permission_other(context, call, access_is_admin(&context->access, call),
			      "admin is needed"))
		return;
	reply->status = KV_UNAVAILABLE;
	if (others->want_snapshot == NULL)
		return;
	switch (others->want_snapshot(others->context, principal_is_root(call->caller),
				      &reply->current)) {
	case SNAPSHOT_BEGINS:
	case SNAPSHOT_NEXT:
		reply->status = KV_OK;
		break;
	case SNAPSHOT_NO_JOURNAL:
		break;
	}
}

static void fill_snapshot(struct procedure_context *context, const struct call *call,
			  union result *result) {
	(void)context;
	result->snapshot.position = call->reply.current;
}

/*
 * A snapshot holds the client ids of sessions, which are the secrets of their clients: so it is
 * only for those that can read the server's memory and files anyway.
 */
static void run_backup(struct procedure_context *context, struct call *call,
		       const union arguments *arguments) {
	const struct dispatch_hooks *others = &context->hooks;
	struct backup_page page = {.position = arguments->backup.position,
				   .offset = arguments->backup.offset};
	struct reply *reply = &call->reply;
	struct buffer *buffer;

	reply->status = KV_EPOCH;
	if (!service_is_epoch(context->service, arguments->backup.epoch))
		return;
	if (!permission_other(context, call, permission_is_administrator(context, call),
			      "admin is needed"))
		return;
	reply->status = KV_UNAVAILABLE;
	if (others->read_backup == NULL)
		return;
	reply->status = KV_FULL;
	page.size = call->reply_max < KV1_BACKUP_PAGE_MAX ? call->reply_max : KV1_BACKUP_PAGE_MAX;
	buffer = buffer_make(service_memory(context->service), sizeof(*buffer), page.size);
	if (buffer == NULL)
		return;
	page.data = buffer_bytes(buffer);
	reply->status = others->read_backup(others->context, &page);
	reply->current = page.total;
	reply->value = view_all(buffer);
	if (reply->status == KV_OK && page.size > 0)
		reply->value.size = (uint32_t)page.size;
	else
		view_unref(service_memory(context->service), &reply->value);
}

static void fill_backup(struct procedure_context *context, const struct call *call,
			union result *result) {
	(void)context;
	result->backup.size = call->reply.current;
	result->backup.page = value_out(call->reply.value);
}

static void fill_whoami(struct procedure_context *context, const struct call *call,
			union result *result) {
	whoami_fill(&context->access, call, &context->lists, context->principal, &result->whoami);
}

static void fill_nothing(struct procedure_context *context, const struct call *call,
			 union result *result) {
	(void)context;
	(void)call;
	(void)result;
}

/* XDR routines have two or three arguments; libtirpc calls them through one type. */
#define XDR(routine) ((xdrproc_t)(void (*)(void))(routine))

static const struct procedure procedures[] = {
    [KVPROC_NULL] = {"NULL", XDR(xdr_void), run_nothing, fill_nothing, XDR(xdr_void)},
    [KVPROC_HELLO] = {"HELLO", XDR(xdr_void), run_nothing, fill_hello, XDR(xdr_kv1_hello_res)},
    [KVPROC_OPEN] = {"OPEN", XDR(xdr_kv1_open_args), run_open, fill_open, XDR(xdr_kv1_open_res)},
    [KVPROC_CLOSE] = {"CLOSE", XDR(xdr_kv1_close_args), run_close, fill_nothing,
		      XDR(xdr_kv1_close_res)},
    [KVPROC_GET] = {"GET", XDR(xdr_kv1_get_args), run_get, fill_get, XDR(xdr_kv1_get_res)},
    [KVPROC_PUT] = {"PUT", XDR(xdr_kv1_put_args), run_put, fill_put, XDR(xdr_kv1_put_res)},
    [KVPROC_APPEND] = {"APPEND", XDR(xdr_kv1_append_args), run_append, fill_append,
		       XDR(xdr_kv1_append_res)},
    [KVPROC_STATUS] = {"STATUS", XDR(xdr_void), run_status, fill_status, XDR(xdr_kv1_status_res)},
    [KVPROC_DELETE] = {"DELETE", XDR(xdr_kv1_delete_args), run_delete, fill_delete,
		       XDR(xdr_kv1_delete_res)},
    [KVPROC_WAIT] = {"WAIT", XDR(xdr_kv1_wait_args), run_wait, fill_wait, XDR(xdr_kv1_wait_res)},
    [KVPROC_LIST] = {"LIST", XDR(xdr_kv1_list_args), run_list, fill_list, XDR(xdr_kv1_list_res)},
    [KVPROC_TXN] = {"TXN", XDR(xdr_kv1_txn_args), run_txn, fill_txn, XDR(xdr_kv1_txn_res)},
    [KVPROC_CHANGES] = {"CHANGES", XDR(xdr_kv1_changes_args), run_changes, fill_changes,
			XDR(xdr_kv1_changes_res)},
    [KVPROC_SNAPSHOT] = {"SNAPSHOT", XDR(xdr_kv1_snapshot_args), run_snapshot, fill_snapshot,
			 XDR(xdr_kv1_snapshot_res)},
    [KVPROC_WHOAMI] = {"WHOAMI", XDR(xdr_void), run_nothing, fill_whoami, XDR(xdr_kv1_whoami_res)},
    [KVPROC_BACKUP] = {"BACKUP", XDR(xdr_kv1_backup_args), run_backup, fill_backup,
		       XDR(xdr_kv1_backup_res)},
};

const struct procedure *procedure_find(uint32_t number) {
	return number < sizeof(procedures) / sizeof(procedures[0]) && procedures[number].run != NULL
		   ? &procedures[number]
		   : NULL;
}

const char *procedure_name(const struct procedure *procedure) {
	return procedure->name;
}

/* RFC 9289, 4.1: the verifier of the reply to a probe. */
static const char starttls[] = "STARTTLS";

SVCXPRT *procedure_xprt(struct procedure_context *context, struct call *call) {
	SVCXPRT *xprt = &context->xprt;

	xprt->xp_ops = call->xp_ops;
	xprt->xp_p1 = call;
	xprt->xp_p3 = &context->extension;
	xprt->xp_verf = _null_auth;
	if (call->tls == CALL_TLS_STARTS) {
		xprt->xp_verf.oa_base = (char *)(uintptr_t)starttls;
		xprt->xp_verf.oa_length = sizeof(starttls) - 1;
	}
	return xprt;
}

/*
 * Refuses a write whose value found no memory. The slot remembers that, because a copy of the write
 * may find memory later. False: it is no write, or its head is cut.
 */
static bool refuse_unread(struct procedure_context *context, struct call *call) {
	const struct procedure *procedure = call->procedure;
	kv1_writer writer = {0};

	if ((procedure != &procedures[KVPROC_PUT] && procedure != &procedures[KVPROC_APPEND] &&
	     procedure != &procedures[KVPROC_TXN]) ||
	    !xdr_kv1_writer(&context->arguments, &writer))
		return false;
	struct operation operation = {.kind = OPERATION_PUT,
				      .client_id = writer.client_id,
				      .slot = writer.slot,
				      .seq = writer.seq,
				      .is_unread = true};
	run_write(context, call, writer.epoch, &operation, 0);
	return true;
}

bool procedure_run(struct procedure_context *context, struct call *call) {
	const struct procedure *procedure = call->procedure;
	union arguments arguments;

	if (call->is_head_only) {
		if (refuse_unread(context, call))
			return true;
		svcerr_systemerr(procedure_xprt(context, call));
		return false;
	}
	memset(&arguments, 0, sizeof(arguments));
	if (call->procedure == &procedures[KVPROC_TXN])
		wire_lists_lend(&context->lists, &arguments.txn);
	if (!procedure->decode(&context->arguments, &arguments)) {
		svcerr_decode(procedure_xprt(context, call));
		return false;
	}
	procedure->run(context, call, &arguments);
	return !call_is_parked(call);
}

void procedure_reply(struct procedure_context *context, struct call *call) {
	const struct procedure *procedure = call->procedure;
	union result result;

	call_times_replied(&context->times, (unsigned)(procedure - procedures), call->began_ns);
	memset(&result, 0, sizeof(result));
	/* The first member of each. */
	result.close.status = (kv1_status)call->reply.status;
	procedure->fill(context, call, &result);
	/* If the reply cannot be sent, the client repeats its call. */
	(void)svc_sendreply(procedure_xprt(context, call), procedure->encode, (char *)&result);
}
