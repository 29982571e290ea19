/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PARKING_FIXTURE_H
#define PARKING_FIXTURE_H

/*
 * parking_fixture.h - calls that wait, without sockets: a service, its parking, connections that
 * the test ends, and what became of each call.
 */
#include <stdlib.h>
#include <string.h>

#include "rpc/call.h"
#include "rpc/parking.h"
#include "test.h"

enum {
	EPOCH = 7,
	LEASE_MS = 1000,
	CALLS_MAX = 4000,
	BYTES_MAX = 64 << 20,
	WAIT_MS = 10000,
	A = 101, /* sessions */
	B = 102,
	C = 103,
	SLOTS = 8,
	SESSIONS_MAX = 1000,
	FEW_SESSIONS = 4,
};

/* A connection. */
struct stream {
	bool has_ended; /* and the server has not noticed */
	unsigned parked;
	unsigned owed;
};

static struct service *service;
static struct change_ring *ring;
static struct parking *parking;
static uint64_t now_ms;
static bool is_behind;
static uint64_t recorded;
static bool is_journal_full;
static struct stream links[CALLS_MAX];

/* What became of a call, by its xid. */
static struct {
	bool is_answered;
	bool is_dropped;
	enum kv_status status;
	uint64_t current;
	uint32_t order;
	char value[16];
} calls[CALLS_MAX];
static uint32_t answers;
static uint32_t next_xid;

static inline void take_answer(void *context, struct call *call) {
	struct kv_bytes value = view_bytes(call->reply.value);

	(void)context;
	ck_assert(!calls[call->xid].is_answered && !calls[call->xid].is_dropped);
	calls[call->xid].is_answered = true;
	calls[call->xid].status = call->reply.status;
	calls[call->xid].current = call->reply.current;
	calls[call->xid].order = ++answers;
	if (value.size > 0 && value.size < sizeof(calls[0].value))
		memcpy(calls[call->xid].value, value.data, value.size);
	if (call->stream != NULL)
		call->stream->owed--;
	reply_drop(service_memory(service), &call->reply);
	free(call);
}

static inline void take_dropped(void *context, struct call *call) {
	(void)context;
	calls[call->xid].is_dropped = true;
	free(call);
}

static inline bool has_backlog(void *context) {
	(void)context;
	return is_behind;
}

static inline void park(struct call *call) {
	call->stream->owed--;
	call->stream->parked++;
}

static inline void unpark(struct call *call, bool owes) {
	call->stream->parked--;
	if (owes)
		call->stream->owed++;
}

static inline bool is_connected(const struct call *call) {
	return !call->stream->has_ended;
}

static const struct park_ops ops = {.park = park, .unpark = unpark, .is_connected = is_connected};

static inline bool reserve(void *journal, const struct operation *operation) {
	(void)journal;
	(void)operation;
	return !is_journal_full;
}

static inline uint64_t record(void *journal, const struct operation *operation, uint64_t at_ms) {
	(void)journal;
	(void)operation;
	(void)at_ms;
	return ++recorded;
}

static inline struct kv_bytes text(const char *from) {
	return (struct kv_bytes){from, strlen(from)};
}

static inline void open_session(uint64_t client_id) {
	struct operation open = {.kind = OPERATION_OPEN, .client_id = client_id, .slots = SLOTS};
	struct reply reply;

	memcpy(open.nonce, &client_id, sizeof(client_id));
	service_run(service, EPOCH, &open, UINT32_MAX, now_ms, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
}

static inline void turn(uint64_t passed_ms) {
	now_ms += passed_ms;
	parking_begin_turn(parking, now_ms);
}

static inline void start_with(uint32_t sessions_max, size_t bytes_max) {
	static const struct server_identity identity = {.epoch = EPOCH, .seed = 1};
	const struct service_limits limits = {.value_max = 1 << 20,
					      .memory_max = 64 << 20,
					      .sessions_max = sessions_max,
					      .lease_ms = LEASE_MS};
	static const struct journal_sink journal = {.reserve = reserve, .record = record};

	now_ms = 1;
	service = service_new(&identity, &limits, &journal);
	ring = change_ring_new(service, 0);
	parking =
	    parking_new(service, ring, bytes_max,
			&(struct parking_hooks){
			    .answer = take_answer, .drop = take_dropped, .is_behind = has_backlog});
	ck_assert(service != NULL && parking != NULL && ring != NULL);
	turn(0);
	open_session(A);
	open_session(B);
	open_session(C);
}

static inline void start(void) {
	start_with(SESSIONS_MAX, BYTES_MAX);
}

static inline void stop(void) {
	unsigned left = 0;

	parking_free(parking);
	change_ring_free(ring);
	service_free(service);
	for (unsigned i = 0; i < CALLS_MAX; i++)
		left += links[i].parked + links[i].owed;
	ck_assert_uint_eq(left, 0);
}

/* --- Calls ----------------------------------------------------------------------------------- */

static inline struct call *make_call(struct stream *link) {
	struct call *call = calloc(1, sizeof(*call));

	ck_assert_ptr_nonnull(call);
	call->xid = next_xid++;
	ck_assert_uint_lt(call->xid, CALLS_MAX);
	call->reply_max = UINT32_MAX;
	call->stream = link;
	if (link != NULL) {
		call->park_ops = &ops;
		link->owed++;
	}
	return call;
}

/* Returns its number in `calls`. */
static inline uint32_t write_call(struct stream *link, const struct operation *operation,
				  uint32_t wait_ms) {
	struct call *call = make_call(link);
	uint32_t xid = call->xid;

	if (parking_write(parking, call, EPOCH, operation, wait_ms))
		take_answer(NULL, call);
	(void)parking_run(parking);
	return xid;
}

static inline uint32_t txn(struct stream *link, uint64_t client_id, uint32_t slot, uint64_t seq,
			   struct condition condition, struct change change, uint32_t wait_ms) {
	struct txn txn = {
	    .conditions = &condition, .changes = &change, .condition_count = 1, .change_count = 1};
	const struct operation operation = {
	    .kind = OPERATION_TXN, .client_id = client_id, .slot = slot, .seq = seq, .txn = &txn};

	txn.hash = txn_hash(&txn);
	return write_call(link, &operation, wait_ms);
}

/* The lock "l" is free if it holds "U" or is missing. */
static inline uint32_t acquire(struct stream *link, uint64_t client_id, uint32_t slot, uint64_t seq,
			       const char *id, uint32_t wait_ms) {
	return txn(link, client_id, slot, seq,
		   (struct condition){.test = CONDITION_FREE, .key = text("l"), .value = text("U")},
		   (struct change){.kind = CHANGE_PUT, .key = text("l"), .value = text(id)},
		   wait_ms);
}

/* Without a session: at whatever version the key is. */
static inline void put(const char *key, const char *value) {
	const struct operation operation = {.kind = OPERATION_PUT,
					    .expected = service_version(service, text(key)),
					    .key = text(key),
					    .value = text(value)};
	uint32_t xid = write_call(NULL, &operation, 0);

	ck_assert_int_eq(calls[xid].status, KV_OK);
}

static inline void del(const char *key) {
	const struct operation operation = {.kind = OPERATION_DELETE,
					    .expected = service_version(service, text(key)),
					    .key = text(key)};
	uint32_t xid = write_call(NULL, &operation, 0);

	ck_assert_int_eq(calls[xid].status, KV_OK);
}

static inline uint32_t put_in(uint64_t client_id, uint32_t slot, uint64_t seq, const char *key) {
	const struct operation operation = {.kind = OPERATION_PUT,
					    .client_id = client_id,
					    .slot = slot,
					    .seq = seq,
					    .expected = VERSION_ANY,
					    .key = text(key),
					    .value = text("v")};

	return write_call(NULL, &operation, 0);
}

static inline uint32_t wait_for(struct stream *link, const char *key, uint64_t seen,
				uint32_t wait_ms) {
	struct call *call = make_call(link);
	uint32_t xid = call->xid;

	if (parking_wait(parking, call, EPOCH, text(key), seen, wait_ms))
		take_answer(NULL, call);
	return xid;
}

static inline bool waits(uint32_t xid) {
	return !calls[xid].is_answered && !calls[xid].is_dropped;
}

static inline void assert_status(uint32_t xid, enum kv_status status) {
	ck_assert_msg(calls[xid].is_answered, "call %u has no reply", xid);
	ck_assert_int_eq(calls[xid].status, status);
}

static inline void assert_holder(const char *id) {
	struct reply reply;

	service_get(service, EPOCH, text("l"), UINT32_MAX, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	struct kv_bytes value = view_bytes(reply.value);
	ck_assert_uint_eq(value.size, strlen(id));
	ck_assert_mem_eq(value.data, id, value.size);
	reply_drop(service_memory(service), &reply);
}

static inline uint64_t stat_of(const char *name) {
	struct stats stats = {.count = 0};

	parking_add_stats(parking, &stats);
	return stats_value(&stats, name);
}

#endif
