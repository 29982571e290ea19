/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FIXTURE_H
#define FIXTURE_H

/*
 * fixture.h - the fixture of the core's tests: a service with a clock and a journal of the test's,
 * and short functions to call it.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/service.h"
#include "test.h"

enum {
	EPOCH = 77,
	LEASE_MS = 1000,
	ALL = 1 << 30, /* as reply_max: whatever it is */
};

/* A journal in memory: what was recorded, and when. It can be told to have no room. */
struct tape {
	struct operation *operations; /* with copies of their bytes */
	uint64_t *times_ms;
	size_t count;
	size_t room;
	bool is_full;
};

static inline struct kv_bytes tape_copy(struct kv_bytes bytes) {
	void *copy = malloc(bytes.size + 1);

	/* Not ck_assert(), which writes to a file each time: this is done very often. */
	if (copy == NULL)
		ck_abort_msg("no memory");
	if (bytes.size > 0)
		memcpy(copy, bytes.data, bytes.size);
	return (struct kv_bytes){.data = copy, .size = bytes.size};
}

static inline bool tape_reserve(void *journal, const struct operation *operation) {
	const struct tape *tape = journal;

	(void)operation;
	return !tape->is_full;
}

static inline uint64_t tape_record(void *journal, const struct operation *operation,
				   uint64_t now_ms) {
	struct tape *tape = journal;

	if (tape->count == tape->room) {
		tape->room = 2 * tape->room + 16;
		tape->operations =
		    realloc(tape->operations, tape->room * sizeof(*tape->operations));
		tape->times_ms = realloc(tape->times_ms, tape->room * sizeof(*tape->times_ms));
		if (tape->operations == NULL || tape->times_ms == NULL)
			ck_abort_msg("no memory");
	}
	tape->operations[tape->count] = *operation;
	tape->operations[tape->count].key = tape_copy(operation->key);
	tape->operations[tape->count].value = tape_copy(operation->value);
	tape->times_ms[tape->count] = now_ms;
	return ++tape->count;
}

static inline void tape_free(struct tape *tape) {
	for (size_t i = 0; i < tape->count; i++) {
		free((void *)tape->operations[i].key.data);
		free((void *)tape->operations[i].value.data);
	}
	free(tape->operations);
	free(tape->times_ms);
	*tape = (struct tape){0};
}

struct world {
	struct service *service;
	struct service_limits limits;
	struct tape tape;
	uint64_t now_ms;
	uint64_t next_id;
};

static inline const struct service_limits *usual_limits(void) {
	static const struct service_limits limits = {
	    .value_max = VALUE_MAX,
	    .memory_max = 1 << 30,
	    .sessions_max = 1000,
	    .lease_ms = LEASE_MS,
	};

	return &limits;
}

/* With the tape as its journal if `records`, else memory only. To be closed with world_close(). */
static inline void world_open(struct world *world, const struct service_limits *limits,
			      bool records) {
	const struct server_identity identity = {.epoch = EPOCH, .seed = 4711};

	*world = (struct world){.limits = *limits, .now_ms = 1, .next_id = 1000};
	const struct journal_sink recorder = {
	    .journal = &world->tape,
	    .reserve = tape_reserve,
	    .record = tape_record,
	};
	world->service = service_new(&identity, limits, records ? &recorder : NULL);
	ck_assert_ptr_nonnull(world->service);
}

static inline void world_close(struct world *world) {
	service_free(world->service);
	tape_free(&world->tape);
}

static inline struct kv_bytes text(const char *string) {
	return (struct kv_bytes){.data = string, .size = strlen(string)};
}

/* `size` zeros that need not be freed; at most VALUE_MAX + 1. */
static inline struct kv_bytes zeros(size_t size) {
	/* Never written; not const, for then they would be in the file. */
	static unsigned char bytes[VALUE_MAX + 1];

	ck_assert_uint_le(size, sizeof(bytes));
	return (struct kv_bytes){.data = bytes, .size = size};
}

static inline size_t used(struct world *world) {
	return service_memory(world->service)->used;
}

static inline void drop(struct world *world, struct reply *reply) {
	reply_drop(service_memory(world->service), reply);
}

static inline struct reply run_with(struct world *world, uint64_t epoch,
				    const struct operation *operation, uint32_t reply_max) {
	struct reply reply;

	service_run(world->service, epoch, operation, reply_max, world->now_ms, &reply);
	return reply;
}

static inline struct reply run(struct world *world, const struct operation *operation) {
	return run_with(world, EPOCH, operation, ALL);
}

static inline enum kv_status status_of(struct world *world, const struct operation *operation) {
	struct reply reply = run(world, operation);

	drop(world, &reply);
	return reply.status;
}

/* Each `number` stands for one nonce. */
static inline struct operation open_call(struct world *world, uint32_t number, uint32_t slots) {
	struct operation operation = {
	    .kind = OPERATION_OPEN,
	    .client_id = world->next_id++,
	    .slots = slots,
	};

	memcpy(operation.nonce, &number, sizeof(number));
	return operation;
}

static inline uint64_t open_session(struct world *world, uint32_t number) {
	struct operation call = open_call(world, number, SLOTS_MAX);
	struct reply reply = run(world, &call);

	ck_assert_int_eq(reply.status, KV_OK);
	return reply.client_id;
}

static inline struct operation close_call(uint64_t client_id) {
	return (struct operation){.kind = OPERATION_CLOSE, .client_id = client_id};
}

/* On slot 0, whatever the version. */
static inline struct operation put_call(uint64_t client_id, uint64_t seq, const char *key,
					const char *value) {
	return (struct operation){
	    .kind = OPERATION_PUT,
	    .client_id = client_id,
	    .seq = seq,
	    .expected = VERSION_ANY,
	    .key = text(key),
	    .value = text(value),
	};
}

/* And it wants the old value. */
static inline struct operation append_call(uint64_t client_id, uint64_t seq, const char *key,
					   const char *value) {
	struct operation operation = put_call(client_id, seq, key, value);

	operation.kind = OPERATION_APPEND;
	operation.want_old = true;
	return operation;
}

/* A write without a session, that makes or changes the key whatever its version. */
static inline void set(struct world *world, const char *key, struct kv_bytes value) {
	struct reply reply;
	service_get(world->service, 0, text(key), ALL, &reply);
	struct operation put = put_call(0, 0, key, "");

	put.value = value;
	put.expected = reply.current;
	drop(world, &reply);
	ck_assert_int_eq(status_of(world, &put), KV_OK);
}

static inline bool is_text(struct view view, const char *expected) {
	struct kv_bytes bytes = view_bytes(view);

	return bytes.size == strlen(expected) &&
	       (bytes.size == 0 || memcmp(bytes.data, expected, bytes.size) == 0);
}

static inline void assert_holds(struct world *world, const char *key, const char *value,
				uint64_t version) {
	struct reply reply;

	service_get(world->service, EPOCH, text(key), ALL, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert(is_text(reply.value, value));
	ck_assert_uint_eq(reply.current, version);
	drop(world, &reply);
}

static inline void assert_missing(struct world *world, const char *key) {
	struct reply reply;

	service_get(world->service, EPOCH, text(key), ALL, &reply);
	ck_assert_int_eq(reply.status, KV_NOKEY);
}

/* What service_add_stats() adds, by name. */
struct service_counters {
	uint64_t keys;
	uint64_t sessions;
	uint64_t sessions_opened;
	uint64_t sessions_expired;
	uint64_t memory_used;
	uint64_t reads_served;
	uint64_t writes_applied;
	uint64_t calls_replayed;
	uint64_t calls_refused;
};

static inline struct service_counters counters(struct world *world) {
	struct stats stats = {0};

	service_add_stats(world->service, &stats);
	return (struct service_counters){
	    .keys = stats_value(&stats, "keys"),
	    .sessions = stats_value(&stats, "sessions"),
	    .sessions_opened = stats_value(&stats, "sessions_opened"),
	    .sessions_expired = stats_value(&stats, "sessions_expired"),
	    .memory_used = stats_value(&stats, "memory_used"),
	    .reads_served = stats_value(&stats, "reads_served"),
	    .writes_applied = stats_value(&stats, "writes_applied"),
	    .calls_replayed = stats_value(&stats, "calls_replayed"),
	    .calls_refused = stats_value(&stats, "calls_refused"),
	};
}

#endif
