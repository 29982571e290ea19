/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * dispatch_fuzz.c - calls with right headers and arbitrary arguments, many to one small service.
 *
 * An input is a list of calls. A call is four bytes, and as many bytes of arguments as they say:
 *
 *     procedure    % 19; some are none
 *     how          bit 0: a datagram, else it may wait for a change of a key; bit 1: answers wait
 *                  for the journal from here on; bit 2: the call is sent twice; bits 3 to 7: so
 * many times 100 ms pass first size         two bytes, the low one first
 *
 * It must hold that each call is answered once, at the latest when the journal has caught up, and
 * one that waits for a change of a key when its time is up, unless a copy took its place; that
 * the answer decodes with what rpcgen made, to its last byte, and fits its transport; that a copy
 * of a write in a session gets the very answer that the write got; and that the service holds no
 * more memory than it may. The sanitizers look for leaks and for reads beyond the record.
 */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "core/service.h"
#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "rpc/parking.h"
#include "rpc/xdr_inplace.h"

#define FUZZ_IDS
#include "fuzz.h"

enum {
	PROGRAM = 0x20004b56,
	PROCEDURES = KVPROC_BACKUP + 2,
	HEAD = 4,	   /* bytes before the arguments of each call in the input */
	HEADER_WORDS = 10, /* of an RPC call, before its arguments: RFC 5531, 9 */
	CALLS_MAX = 1024,
	ANSWER_MAX = 1 << 16,
	VALUE_LIMIT = 1024,
	MEMORY_ROOM = 8 * 1024,	  /* beyond what an empty store takes */
	DATAGRAM_REPLY_MAX = 256, /* small, so that answers that do not fit one are met */
	/* Sessions count as memory, but are limited by their number: without one, no fuzzer could
	   write what makes room. */
	SESSIONS_MAX = 2,
	SESSION_MAX = 4096, /* bytes, all slots in use */
	TICK_MS = 100,
	LEASE_MS = 1000,
	FULL_EVERY = 16, /* the journal has no room for each such operation */
};

enum how { HOW_DATAGRAM = 1, HOW_WAITS = 2, HOW_TWICE = 4, HOW_TICKS_SHIFT = 3 };

struct scene {
	struct service *service;
	struct dispatch *dispatch;
	uint64_t now_ms;
	uint64_t position; /* of the journal */
	unsigned reserved;
	unsigned asked;	   /* calls: their numbers are their xids */
	unsigned answered; /* or given up for a copy on the same connection */
	unsigned parked;
	uint32_t procedures[CALLS_MAX];
	bool is_answered[CALLS_MAX];
	uint32_t size; /* of the last answer: */
	_Alignas(8) char answer[ANSWER_MAX];
};

static struct scene scene;

static const struct caller administrator = {.is_known = true, .is_administrator = true};

static void no_others(void *context, struct stats *stats) {
	(void)context;
	stats_add(stats, "nothing", 0);
}

static enum snapshot_answer want_snapshot(void *context, bool is_root, uint64_t *position) {
	(void)context;
	(void)is_root;
	*position = scene.position;
	return scene.position % 2 == 0 ? SNAPSHOT_BEGINS : SNAPSHOT_NEXT;
}

/* A snapshot of 100 bytes is at position 1, and others are gone, or still read by the disk. */
static enum kv_status read_backup(void *context, struct backup_page *page) {
	enum { SIZE = 100 };
	uint64_t left = page->offset < SIZE ? SIZE - page->offset : 0;

	(void)context;
	page->total = SIZE;
	if (page->position > 2)
		return KV_COMPACTED;
	if (page->size > left || page->position == 2)
		page->size = page->position == 2 ? 0 : (size_t)left;
	memset(page->data, 'b', page->size);
	return KV_OK;
}

static bool reserve(void *journal, const struct operation *operation) {
	(void)journal;
	(void)operation;
	return ++scene.reserved % FULL_EVERY != 0;
}

static uint64_t record(void *journal, const struct operation *operation, uint64_t now_ms) {
	(void)journal;
	(void)operation;
	(void)now_ms;
	return ++scene.position;
}

/* --- What comes back ----------------------------------------------------------------------- */

static xdrproc_t results_of(uint32_t procedure) {
	static const xdrproc_t decoders[] = {
	    [KVPROC_HELLO] = (xdrproc_t)(void (*)(void))xdr_kv1_hello_res,
	    [KVPROC_OPEN] = (xdrproc_t)(void (*)(void))xdr_kv1_open_res,
	    [KVPROC_CLOSE] = (xdrproc_t)(void (*)(void))xdr_kv1_close_res,
	    [KVPROC_GET] = (xdrproc_t)(void (*)(void))xdr_kv1_get_res,
	    [KVPROC_PUT] = (xdrproc_t)(void (*)(void))xdr_kv1_put_res,
	    [KVPROC_APPEND] = (xdrproc_t)(void (*)(void))xdr_kv1_append_res,
	    [KVPROC_STATUS] = (xdrproc_t)(void (*)(void))xdr_kv1_status_res,
	    [KVPROC_DELETE] = (xdrproc_t)(void (*)(void))xdr_kv1_delete_res,
	    [KVPROC_WAIT] = (xdrproc_t)(void (*)(void))xdr_kv1_wait_res,
	    [KVPROC_LIST] = (xdrproc_t)(void (*)(void))xdr_kv1_list_res,
	    [KVPROC_SNAPSHOT] = (xdrproc_t)(void (*)(void))xdr_kv1_snapshot_res,
	    [KVPROC_BACKUP] = (xdrproc_t)(void (*)(void))xdr_kv1_backup_res,
	    [KVPROC_TXN] = (xdrproc_t)(void (*)(void))xdr_kv1_txn_res,
	    [KVPROC_CHANGES] = (xdrproc_t)(void (*)(void))xdr_kv1_changes_res,
	    [KVPROC_WHOAMI] = (xdrproc_t)(void (*)(void))xdr_kv1_whoami_res,
	};

	return procedure < sizeof(decoders) / sizeof(decoders[0]) ? decoders[procedure] : NULL;
}

/* The first results word of all but NULL. */
static void check_status(const struct kv1_close_res *res) {
	switch (res->status) {
	case KV1_OK:
	case KV1_NOKEY:
	case KV1_VERSION:
	case KV1_MAYBE:
	case KV1_BADSESSION:
	case KV1_STALE:
	case KV1_FALSE_RETRY:
	case KV1_TOOBIG:
	case KV1_FULL:
	case KV1_DENIED:
	case KV1_INVALID:
	case KV1_UNAVAILABLE:
	case KV1_EPOCH:
	case KV1_UNMET:
	case KV1_COMPACTED:
		return;
	}
	abort();
}

static void check_results(XDR *xdrs, uint32_t procedure) {
	union {
		kv1_close_res close; /* a status alone: all begin with it */
		kv1_hello_res hello;
		kv1_open_res open;
		kv1_get_res get;
		kv1_put_res put;
		kv1_append_res append;
		kv1_status_res status;
		kv1_delete_res delete;
		kv1_wait_res wait;
		kv1_list_res list;
		kv1_snapshot_res snapshot;
		kv1_backup_res backup;
		kv1_txn_res txn;
		kv1_changes_res changes;
		kv1_whoami_res whoami;
	} results;
	xdrproc_t decode = results_of(procedure);

	if (decode == NULL)
		return;
	memset(&results, 0, sizeof(results));
	must((*decode)(xdrs, &results));
	check_status(&results.close);
	if (procedure == KVPROC_GET)
		must(results.get.status == KV1_OK || results.get.value.kv1_value_len == 0);
	if (procedure == KVPROC_APPEND)
		must(results.append.status == KV1_OK || results.append.old.kv1_value_len == 0);
	if (procedure == KVPROC_BACKUP)
		must(results.backup.status == KV1_OK || results.backup.page.kv1_value_len == 0);
	xdr_free(decode, &results);
}

static void check_answer(const struct call *call, uint32_t procedure) {
	struct rpc_msg message;
	XDR xdrs;

	xdr_mem_init(&xdrs, XDR_DECODE, scene.answer, scene.size);
	memset(&message, 0, sizeof(message));
	message.acpted_rply.ar_results.proc = (xdrproc_t)(void (*)(void))xdr_void;
	must(xdr_replymsg(&xdrs, &message));
	must(message.rm_xid == call->xid && message.rm_reply.rp_stat == MSG_ACCEPTED);
	switch (message.acpted_rply.ar_stat) {
	case SUCCESS:
		must(procedure == KVPROC_NULL || results_of(procedure) != NULL);
		check_results(&xdrs, procedure);
		break;
	case PROC_UNAVAIL:
		must(procedure != KVPROC_NULL && results_of(procedure) == NULL);
		break;
	case GARBAGE_ARGS:
		must(results_of(procedure) != NULL);
		break;
	case PROG_UNAVAIL:
	case PROG_MISMATCH:
	case SYSTEM_ERR:
		abort();
	}
	must(XDR_GETPOS(&xdrs) == scene.size);
	must(scene.size <= WIRE_REPLY_OVERHEAD + (size_t)call->reply_max ||
	     procedure == KVPROC_STATUS);
}

/* The transport's part. */
static bool_t take_reply(SVCXPRT *xprt, struct rpc_msg *reply) {
	struct call *call = xprt->xp_p1;
	XDR xdrs;

	must(call->xid < scene.asked && !scene.is_answered[call->xid]);
	scene.is_answered[call->xid] = true;
	scene.answered++;
	reply->rm_xid = call->xid;
	xdr_mem_init(&xdrs, XDR_ENCODE, scene.answer, sizeof(scene.answer));
	must(xdr_inplace_replymsg(&xdrs, reply));
	scene.size = XDR_GETPOS(&xdrs);
	check_answer(call, scene.procedures[call->xid]);
	dispatch_call_free(scene.dispatch, call);
	return TRUE;
}

static const struct xp_ops ops = {
    .xp_reply = take_reply,
};

static void park(struct call *call) {
	must(!scene.is_answered[call->xid]);
	scene.parked++;
}

static void unpark(struct call *call, bool owes) {
	must(scene.parked-- > 0);
	if (owes)
		return;
	must(!scene.is_answered[call->xid]);
	scene.is_answered[call->xid] = true;
	scene.answered++;
}

static bool is_connected(const struct call *call) {
	(void)call;
	return true;
}

static const struct park_ops park_ops = {
    .park = park, .unpark = unpark, .is_connected = is_connected};

/* --- What is sent -------------------------------------------------------------------------- */

static void send_call(uint32_t procedure, bool is_datagram, const uint8_t *arguments, size_t size) {
	const uint32_t header[HEADER_WORDS] = {htonl(scene.asked),     htonl(CALL),
					       htonl(RPC_MSG_VERSION), htonl(PROGRAM),
					       htonl(KV_V1),	       htonl(procedure)};
	struct call *call = dispatch_call(scene.dispatch);
	/* Just so large, and gone afterwards: a read beyond it, or later, is detected. */
	char *bytes = malloc(sizeof(header) + size);

	must(call != NULL && bytes != NULL);
	memcpy(bytes, header, sizeof(header));
	memcpy(bytes + sizeof(header), arguments, size);
	call->xp_ops = &ops;
	call->caller = is_datagram ? NULL : &administrator;
	call->park_ops = is_datagram ? NULL : &park_ops;
	call->reply_max = is_datagram ? DATAGRAM_REPLY_MAX : UINT32_MAX;
	scene.procedures[scene.asked] = procedure;
	scene.is_answered[scene.asked++] = false;
	must(dispatch_record(scene.dispatch, call, (struct kv_bytes){bytes, sizeof(header) + size},
			     NULL));
	free(bytes);
	must(service_memory(scene.service)->used <=
	     service_memory(scene.service)->limit + SESSIONS_MAX * SESSION_MAX);
}

static void catch_up(void) {
	dispatch_release_durable(scene.dispatch, scene.position);
	must(scene.answered + scene.parked == scene.asked);
}

/* A turn begins, in which those that waited for long enough are answered. */
static void pass_time(uint64_t ms) {
	scene.now_ms += ms;
	dispatch_set_time(scene.dispatch, scene.now_ms);
	(void)service_expire(scene.service, 1, scene.now_ms);
	dispatch_end_turn(scene.dispatch);
}

/* Whether these are the arguments of a write in a session: its client id is the second number. */
static bool is_in_session(uint32_t procedure, const uint8_t *arguments, size_t size) {
	static const uint8_t no_client[8] = {0};

	return (procedure == KVPROC_PUT || procedure == KVPROC_APPEND ||
		procedure == KVPROC_DELETE || procedure == KVPROC_TXN) &&
	       size >= 16 && memcmp(arguments + 8, no_client, sizeof(no_client)) != 0;
}

/*
 * "= last, same hash: runs nothing; sends the remembered reply (to every copy that asks)." The
 * same goes for a copy of what was refused.
 */
static void send_twice(uint32_t procedure, bool is_datagram, const uint8_t *arguments,
		       size_t size) {
	static char first[ANSWER_MAX];
	uint64_t position;
	uint32_t first_size;
	uint32_t first_call;

	catch_up();
	first_call = scene.asked;
	send_call(procedure, is_datagram, arguments, size);
	catch_up();
	if (!scene.is_answered[first_call]) {
		send_call(procedure, is_datagram, arguments, size);
		return;
	}
	position = scene.position;
	first_size = scene.size;
	memcpy(first, scene.answer, first_size);
	send_call(procedure, is_datagram, arguments, size);
	catch_up();
	if (!is_in_session(procedure, arguments, size))
		return;
	must(scene.position == position && scene.size == first_size);
	/* All but the xid. */
	must(memcmp(scene.answer + 4, first + 4, first_size - 4) == 0);
}

static void begin(void) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {.value_max = VALUE_LIMIT,
						     .memory_max = SIZE_MAX,
						     .sessions_max = SESSIONS_MAX,
						     .lease_ms = LEASE_MS};
	static const struct dispatch_hooks others = {
	    .add_stats = no_others, .want_snapshot = want_snapshot, .read_backup = read_backup};
	static const struct journal_sink recorder = {
	    .journal = &scene, .reserve = reserve, .record = record};

	last_id = 0;
	scene = (struct scene){.now_ms = 1};
	scene.service = service_new(&identity, &limits, &recorder);
	must(scene.service != NULL);
	service_memory(scene.service)->limit = service_memory(scene.service)->used + MEMORY_ROOM;
	scene.dispatch = dispatch_new(scene.service, PROGRAM, &others);
	must(scene.dispatch != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	begin();
	while (size >= HEAD && scene.asked + 2 <= CALLS_MAX) {
		const uint32_t procedure = data[0] % PROCEDURES;
		const uint8_t how = data[1];
		const uint8_t *arguments = data + HEAD;
		size_t wanted = data[2] | (size_t)data[3] << 8;

		size -= HEAD;
		if (wanted > size)
			wanted = size;
		pass_time((uint64_t)(how >> HOW_TICKS_SHIFT) * TICK_MS);
		if ((how & HOW_TWICE) != 0)
			send_twice(procedure, (how & HOW_DATAGRAM) != 0, arguments, wanted);
		else
			send_call(procedure, (how & HOW_DATAGRAM) != 0, arguments, wanted);
		if ((how & HOW_WAITS) == 0)
			catch_up();
		data = arguments + wanted;
		size -= wanted;
	}
	/* Calls that become able to run do so in slices, a turn each. */
	for (unsigned turns = 0; scene.parked > 0; turns++) {
		must(turns < CALLS_MAX);
		pass_time(PARKING_TIME_MAX_MS);
		catch_up();
	}
	catch_up();
	must(scene.answered == scene.asked);
	dispatch_free(scene.dispatch);
	service_free(scene.service);
	return 0;
}
