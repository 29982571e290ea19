/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/service.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/service_private.h"
#include "core/write.h"

enum {
	EXPIRE_RETRY_MS = 1000, /* after the journal had no room for the end of a session */
	SESSIONS_END_MAX = 64,	/* sessions that end to make room for one */
};

struct service *service_new(const struct server_identity *identity,
			    const struct service_limits *limits,
			    const struct journal_sink *recorder) {
	assert(identity->epoch != 0 && limits->value_max <= VALUE_MAX);

	struct service *service = malloc(sizeof(*service));
	if (service == NULL)
		return NULL;
	*service = (struct service){
	    .identity = *identity,
	    .limits = *limits,
	    .memory = {.limit = limits->memory_max, .slabs.own.source = limits->memory},
	};
	if (recorder != NULL)
		service->recorder = *recorder;
	if (!store_init(&service->store, &service->memory, identity->seed))
		goto no_store;
	if (!sessions_open(&service->sessions, &service->memory, identity->seed))
		goto no_sessions;
	return service;

no_sessions:
	store_destroy(&service->store);
no_store:
	regions_destroy(&service->memory.slabs.own);
	free(service);
	return NULL;
}

void service_free(struct service *service) {
	if (service == NULL)
		return;
	sessions_close(&service->sessions);
	store_destroy(&service->store);
	regions_destroy(&service->memory.slabs.own);
	free(service);
}

uint64_t service_give_back(struct service *service, unsigned max, uint64_t now_ms) {
	return regions_give_back(&service->memory.slabs.own, max, now_ms);
}

const struct server_identity *service_identity(const struct service *service) {
	return &service->identity;
}

const struct service_limits *service_limits(const struct service *service) {
	return &service->limits;
}

struct mem_account *service_memory(struct service *service) {
	return &service->memory;
}

struct service_refusals service_refusals(const struct service *service) {
	return service->refusals;
}

size_t service_memory_used(const struct service *service) {
	return service->memory.used;
}

size_t service_key_count(const struct service *service) {
	return service->store.entries.count;
}

size_t service_session_count(const struct service *service) {
	return service->sessions.by_id.count;
}

bool service_is_epoch(const struct service *service, uint64_t epoch) {
	return epoch == 0 || epoch == service->identity.epoch;
}

/* False: the journal has no room. */
static bool record(struct service *service, const struct operation *operation) {
	const struct journal_sink *recorder = &service->recorder;

	if (recorder->record == NULL)
		return ++service->position > 0;
	if (!recorder->reserve(recorder->journal, operation))
		return false;
	service->position = recorder->record(recorder->journal, operation, service->now_ms);
	return true;
}

/* --- Applying: none of these can fail ------------------------------------------------------ */

static void apply_open(struct service *service, struct session *session, struct reply *reply) {
	session_add(&service->sessions, session, service->now_ms);
	service->sessions_opened++;
	*reply = (struct reply){
	    .status = KV_OK,
	    .client_id = session->client_id,
	    .lease_ms = service->limits.lease_ms,
	    .slots = session->slots,
	};
}

static void observe(struct service *service, const struct operation *operation) {
	if (service->observer.applied != NULL)
		service->observer.applied(service->observer.context, operation);
}

static void apply_end(struct service *service, const struct operation *operation,
		      struct session *session) {
	session_destroy(&service->sessions, session);
	if (operation->kind == OPERATION_EXPIRE)
		service->sessions_expired++;
	observe(service, operation);
}

static void apply_write(struct service *service, const struct operation *operation,
			struct write *write, uint64_t position, struct reply *reply) {
	write_commit(&service->store, operation, write, position, service->now_ms, reply);
	service->writes_applied++;
	observe(service, operation);
}

/* --- Sessions ------------------------------------------------------------------------------ */

/* False: the journal has no room. */
static bool expire(struct service *service, struct session *session) {
	const struct operation end = {
	    .kind = OPERATION_EXPIRE,
	    .client_id = session->client_id,
	};

	if (!record(service, &end))
		return false;
	apply_end(service, &end, session);
	return true;
}

/* What sessions may take of the memory. */
static size_t sessions_memory_max(const struct service *service) {
	size_t share = service->limits.memory_max / SESSIONS_SHARE;

	return share > SESSIONS_MEMORY_MIN ? share : SESSIONS_MEMORY_MIN;
}

/* The slots that one more session would be given; 0: there is no room for it. */
static uint32_t slots_for(const struct service *service, uint32_t wanted) {
	return service->sessions.by_id.count < service->limits.sessions_max
		   ? sessions_slots_for(&service->sessions, wanted, sessions_memory_max(service))
		   : 0;
}

/*
 * Ends sessions that never wrote, which have nothing to lose but their id, until there is room for
 * one more. With limits that are lower than they were it may end no more than SESSIONS_END_MAX: one
 * for which two or more ended is taken in nevertheless. 0: there is no room.
 */
static uint32_t make_room_for_session(struct service *service, uint32_t wanted) {
	uint32_t slots = slots_for(service, wanted);

	for (unsigned ended = 0; slots == 0; slots = slots_for(service, wanted)) {
		if (ended == SESSIONS_END_MAX)
			return 1;
		if (service->sessions.idle_sessions.oldest == NULL ||
		    !expire(service, service->sessions.idle_sessions.oldest))
			return ended > 1 ? 1 : 0;
		ended++;
	}
	return slots;
}

/* NULL: there is none, or it is another principal's, for which there is none either. */
static struct session *find_own(struct service *service, const struct operation *operation) {
	struct session *session = sessions_find(&service->sessions, operation->client_id);

	return session != NULL && session_is_of(session, operation) ? session : NULL;
}

bool service_owns_session(struct service *service, const struct operation *operation) {
	const struct session *session = sessions_find(&service->sessions, operation->client_id);

	return session == NULL || session_is_of(session, operation);
}

static void run_open(struct service *service, const struct operation *operation,
		     struct reply *reply) {
	struct sessions *sessions = &service->sessions;

	assert(operation->client_id != 0);
	reply->status = KV_INVALID;
	if (operation->slots == 0)
		return;
	struct session *known = sessions_find_nonce(sessions, operation->nonce);
	reply->status = KV_DENIED;
	if (known != NULL && !session_is_of(known, operation))
		return;
	if (known != NULL) {
		session_renew(sessions, known, service->now_ms);
		*reply = (struct reply){
		    .status = KV_OK,
		    .client_id = known->client_id,
		    .lease_ms = service->limits.lease_ms,
		    .slots = known->slots,
		};
		return;
	}
	reply->status = KV_FULL;
	if (sessions_find(sessions, operation->client_id) != NULL)
		return;
	if (sessions_are_all_of_peer(sessions, operation,
				     sessions_memory_max(service) / SESSIONS_SHARE)) {
		service->refusals.sessions_each++;
		return;
	}
	/* First, because the sessions that end take back what their table has reserved. */
	struct operation open = *operation;
	open.slots = make_room_for_session(service, operation->slots);
	if (open.slots == 0) {
		service->refusals.sessions++;
		return;
	}
	struct session *session = session_prepare(sessions, &open);
	if (session == NULL)
		return;
	if (!record(service, &open)) {
		session_cancel(sessions, session);
		return;
	}
	apply_open(service, session, reply);
}

static void run_close(struct service *service, const struct operation *operation,
		      struct reply *reply) {
	struct session *session = find_own(service, operation);

	if (session == NULL) {
		reply->status = KV_BADSESSION;
		return;
	}
	if (!record(service, operation)) {
		session_renew(&service->sessions, session, service->now_ms);
		reply->status = KV_FULL;
		return;
	}
	apply_end(service, operation, session);
	reply->status = KV_OK;
}

/* --- Writes -------------------------------------------------------------------------------- */

/* A write that is no copy: applies or refuses it. */
static void try_write(struct service *service, const struct operation *operation,
		      uint32_t reply_max, struct reply *reply) {
	struct store *store = &service->store;
	struct write write;

	if (operation->is_unread || operation->refusal != KV_OK) {
		reply->status = operation->is_unread ? KV_FULL : operation->refusal;
		return;
	}
	write_check(store, operation, service->limits.value_max, reply_max, &write, reply);
	if (reply->status != KV_OK)
		return;
	reply->status = KV_FULL;
	if (!write_prepare(store, operation, false, &write)) {
		service->refusals.memory++;
		return;
	}
	if (record(service, operation))
		apply_write(service, operation, &write, service->position, reply);
	else
		write_cancel(store, operation, &write);
}

/*
 * Without a session a copy cannot be distinguished from a new call, so only a write that a copy of
 * it makes impossible is allowed.
 */
static void run_stateless(struct service *service, const struct operation *operation,
			  uint32_t reply_max, struct reply *reply) {
	bool is_once = operation->expected != VERSION_ANY &&
		       (operation->kind == OPERATION_PUT ||
			(operation->kind == OPERATION_DELETE && operation->expected != 0));

	if (is_once)
		try_write(service, operation, reply_max, reply);
	else
		reply->status = KV_INVALID;
}

static void run_new(struct service *service, struct session *session,
		    const struct operation *operation, uint64_t hash, uint32_t reply_max,
		    struct reply *reply) {
	/*
	 * A refusal that no slot remembers is no refusal: a copy could run later. Without a slot
	 * nothing is known of this call but that.
	 */
	if (!session_prepare_slot(&service->sessions, session, operation->slot)) {
		reply->status = KV_MAYBE;
		return;
	}
	try_write(service, operation, reply_max, reply);
	session_cache_reply(&service->sessions, session, operation, hash, reply);
}

/* True: it was a copy, and has the reply of the first one. */
static bool run_write(struct service *service, const struct operation *operation,
		      uint32_t reply_max, struct reply *reply) {
	struct session *session = find_own(service, operation);
	uint64_t hash = 0;

	if (session != NULL) {
		session_renew(&service->sessions, session, service->now_ms);
		hash = operation_hash(operation);
	}
	switch (session_admit(session, operation, hash)) {
	case ADMIT_NEW:
		run_new(service, session, operation, hash, reply_max, reply);
		break;
	case ADMIT_REPLAY:
		if (!session_cached_reply(session, operation->slot, reply_max, reply))
			reply->status = KV_MAYBE;
		return true;
	case ADMIT_FALSE_RETRY:
		reply->status = KV_FALSE_RETRY;
		break;
	case ADMIT_UNREAD:
		reply->status = KV_MAYBE;
		break;
	case ADMIT_STALE:
		reply->status = KV_STALE;
		break;
	case ADMIT_UNKNOWN:
		reply->status = KV_BADSESSION;
		break;
	case ADMIT_INVALID:
		reply->status = KV_INVALID;
		break;
	}
	return false;
}

bool service_may_park(struct service *service, uint64_t epoch, const struct operation *operation) {
	struct session *session;
	uint32_t which;

	if (operation->kind != OPERATION_TXN || !service_is_epoch(service, epoch))
		return false;
	session = find_own(service, operation);
	return session_admit(session, operation, operation_hash(operation)) == ADMIT_NEW &&
	       txn_check_sizes(operation->txn, service->limits.value_max, &which) == KV_OK &&
	       operation->txn->condition_count > 0;
}

void service_hold_session(struct service *service, uint64_t client_id, bool is_parked) {
	struct session *session = sessions_find(&service->sessions, client_id);

	if (session != NULL)
		session_hold(&service->sessions, session, is_parked, service->now_ms);
}

/* --- The calls ----------------------------------------------------------------------------- */

static void advance(struct service *service, uint64_t now_ms) {
	if (now_ms > service->now_ms)
		service->now_ms = now_ms;
}

void service_run(struct service *service, uint64_t epoch, const struct operation *operation,
		 uint32_t reply_max, uint64_t now_ms, struct reply *reply) {
	/* Of keys that may lie in the block, which a write takes. */
	uint64_t refusal = operation->block != NULL ? refusal_position(service, operation) : 0;
	bool is_copy = false;

	*reply = (struct reply){.status = KV_EPOCH};
	if (service_is_epoch(service, epoch)) {
		advance(service, now_ms);
		switch (operation->kind) {
		case OPERATION_OPEN:
			run_open(service, operation, reply);
			break;
		case OPERATION_CLOSE:
			run_close(service, operation, reply);
			break;
		case OPERATION_PUT:
		case OPERATION_APPEND:
		case OPERATION_DELETE:
		case OPERATION_TXN:
			if (operation->client_id == 0)
				run_stateless(service, operation, reply_max, reply);
			else
				is_copy = run_write(service, operation, reply_max, reply);
			break;
		case OPERATION_EXPIRE:
		case OPERATION_END:
			assert(!"only service_expire() and service_end_ttls() record these");
			break;
		}
	}
	if (is_copy)
		service->calls_replayed++;
	else if (reply->status != KV_OK)
		service->calls_refused++;
	/* More than it shows, perhaps: a refusal, too, may show the last write recorded. */
	reply->position = service_until(service, service->position);
	if (reply->status == KV_FULL) {
		if (operation->block == NULL)
			refusal = refusal_position(service, operation);
		reply->position = service_until(service, refusal);
	}
}

void service_observe(struct service *service, const struct service_observer *observer) {
	service->observer = *observer;
}

void service_renew_leases(struct service *service) {
	service->leases_from_ms = service->now_ms;
}

uint64_t service_expire(struct service *service, unsigned max, uint64_t now_ms) {
	struct session *session;

	advance(service, now_ms);
	while ((session = sessions_oldest(&service->sessions)) != NULL) {
		uint64_t idle_ms = service->now_ms - (session->active_ms > service->leases_from_ms
							  ? session->active_ms
							  : service->leases_from_ms);
		if (idle_ms < service->limits.lease_ms)
			return service->limits.lease_ms - idle_ms;
		if (max-- == 0)
			return 0;
		if (!expire(service, session))
			return EXPIRE_RETRY_MS;
	}
	return UINT64_MAX;
}

static void end_entry(struct service *service, struct operation *end, struct entry *entry) {
	unsigned char key[KEY_MAX];

	/* The entry's own is gone when that is observed. */
	memcpy(key, end->key.data, end->key.size);
	end->key.data = key;
	(void)store_end(&service->store, entry, service->position);
	service->ttls_ended++;
	observe(service, end);
}

uint64_t service_end_ttls(struct service *service, unsigned max, uint64_t now_ms) {
	struct store *store = &service->store;
	struct entry *entry;

	advance(service, now_ms);
	while ((entry = expiry_heap_first(&store->ttls)) != NULL) {
		uint64_t at_ms = store_expires(store, entry);
		struct operation end = {
		    .kind = OPERATION_END,
		    .key = entry_key(entry),
		    .expected = entry->version,
		};

		if (at_ms > service->now_ms)
			return at_ms - service->now_ms;
		if (max-- == 0)
			return 0;
		if (!record(service, &end))
			return EXPIRE_RETRY_MS;
		end_entry(service, &end, entry);
	}
	return UINT64_MAX;
}

static bool replay_write(struct service *service, const struct operation *operation,
			 struct reply *reply) {
	struct session *session = sessions_find(&service->sessions, operation->client_id);
	struct write write;

	write_find(&service->store, operation, &write);
	if (!write_prepare(&service->store, operation, true, &write))
		return false;
	if (session != NULL &&
	    !session_prepare_slot(&service->sessions, session, operation->slot)) {
		write_cancel(&service->store, operation, &write);
		return false;
	}
	apply_write(service, operation, &write, service->position, reply);
	if (session != NULL) {
		session_renew(&service->sessions, session, service->now_ms);
		session_cache_reply(&service->sessions, session, operation,
				    operation_hash(operation), reply);
	}
	return true;
}

/* Nothing was applied. */
static bool undo_position(struct service *service) {
	service->position--;
	return false;
}

bool service_apply(struct service *service, const struct operation *operation, uint64_t now_ms,
		   struct reply *reply) {
	struct reply unwanted;
	struct session *session;

	if (reply == NULL)
		reply = &unwanted;
	*reply = (struct reply){.status = KV_OK};
	advance(service, now_ms);
	service->position++;
	switch (operation->kind) {
	case OPERATION_OPEN:
		session = session_prepare(&service->sessions, operation);
		if (session == NULL)
			return undo_position(service);
		apply_open(service, session, reply);
		break;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		session = sessions_find(&service->sessions, operation->client_id);
		if (session != NULL)
			apply_end(service, operation, session);
		break;
	case OPERATION_PUT:
	case OPERATION_APPEND:
	case OPERATION_DELETE:
	case OPERATION_TXN:
	case OPERATION_END:
		if (!replay_write(service, operation, reply))
			return undo_position(service);
		break;
	}
	if (reply == &unwanted)
		reply_drop(&service->memory, reply);
	return true;
}

void service_set_position(struct service *service, uint64_t position) {
	if (position != service->position)
		service->store.changed = position;
	service->position = position;
}

uint64_t service_position(const struct service *service) {
	return service->position;
}

uint64_t service_changed_position(const struct service *service) {
	return service->store.changed;
}

void service_set_change_sink(struct service *service, const struct change_sink *sink) {
	service->store.sink = sink;
}

uint64_t service_time(const struct service *service) {
	return service->now_ms;
}

enum state_result service_save(const struct service *service, state_put *put, void *context) {
	return state_save(&service->store, &service->sessions, service->now_ms, put, context);
}

enum state_result service_load(struct service *service, unsigned format, uint64_t size,
			       state_get *get, void *context) {
	return state_load(&service->store, &service->sessions, &service->now_ms, format, size, get,
			  context);
}

void service_add_stats(const struct service *service, struct stats *stats) {
	stats_add(stats, "keys", service->store.entries.count);
	stats_add(stats, "sessions", service->sessions.by_id.count);
	stats_add(stats, "sessions_opened", service->sessions_opened);
	stats_add(stats, "sessions_expired", service->sessions_expired);
	stats_add(stats, "sessions_memory_reserved", service->sessions.reserved);
	stats_add(stats, "sessions_memory_max", sessions_memory_max(service));
	stats_add(stats, "memory_used", service->memory.used);
	stats_add(stats, "memory_max", service->limits.memory_max);
	stats_add(stats, "value_max", service->limits.value_max);
	stats_add(stats, "sessions_max", service->limits.sessions_max);
	stats_add(stats, "reads_served", service->reads_served);
	stats_add(stats, "reads_missed", service->reads_missed);
	stats_add(stats, "writes_applied", service->writes_applied);
	stats_add(stats, "keys_with_ttl", service->store.ttls.count);
	stats_add(stats, "ttls_ended", service->ttls_ended);
	stats_add(stats, "calls_replayed", service->calls_replayed);
	stats_add(stats, "calls_refused", service->calls_refused);
}
