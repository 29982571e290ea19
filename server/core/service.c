/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/service.h"

#include <assert.h>
#include <stdlib.h>

#include "core/session.h"
#include "core/store.h"

enum {
	EXPIRE_RETRY_MS = 1000, /* after the journal had no room for the end of a session */
};

/* Invariant: `now_ms` and `position` never go back. */
struct service {
	struct identity identity;
	struct service_limits limits;
	struct recorder recorder; /* all NULL: none */
	struct memory memory;
	struct store store;
	struct sessions sessions;
	uint64_t now_ms;   /* the latest time seen */
	uint64_t position; /* of the last operation recorded; 0: none by this process */
	uint64_t sessions_opened;
	uint64_t sessions_expired;
	uint64_t calls_run;
	uint64_t calls_replayed;
	uint64_t calls_refused;
};

struct service *service_new(const struct identity *identity, const struct service_limits *limits,
			    const struct recorder *recorder) {
	assert(identity->epoch != 0 && limits->value_max <= VALUE_MAX);

	struct service *service = malloc(sizeof(*service));
	if (service == NULL)
		return NULL;
	*service = (struct service){
	    .identity = *identity,
	    .limits = *limits,
	    .memory = {.limit = limits->memory_max},
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
	free(service);
	return NULL;
}

void service_free(struct service *service) {
	if (service == NULL)
		return;
	sessions_close(&service->sessions);
	store_destroy(&service->store);
	free(service);
}

const struct identity *service_identity(const struct service *service) {
	return &service->identity;
}

const struct service_limits *service_limits(const struct service *service) {
	return &service->limits;
}

struct memory *service_memory(struct service *service) {
	return &service->memory;
}

bool service_is_epoch(const struct service *service, uint64_t epoch) {
	return epoch == 0 || epoch == service->identity.epoch;
}

static enum kv_status check_key(struct kv_bytes key) {
	if (key.size == 0)
		return KV_INVALID;
	return key.size > KEY_MAX ? KV_TOOBIG : KV_OK;
}

void service_get(struct service *service, uint64_t epoch, struct kv_bytes key, uint32_t reply_max,
		 struct reply *reply) {
	*reply = (struct reply){.status = KV_EPOCH};
	if (!service_is_epoch(service, epoch))
		return;
	reply->status = check_key(key);
	if (reply->status != KV_OK)
		return;

	struct entry *entry = store_find(&service->store, key);
	if (entry == NULL) {
		reply->status = KV_NOKEY;
		return;
	}
	/* The answer shows this one write, so it waits for no other to be durable. */
	reply->position = entry->position;
	reply->current = entry->version;
	struct view value = view_all(&entry->value);
	if (value.size > reply_max)
		reply->status = KV_TOOBIG;
	else
		reply->value = view_ref(value);
}

void service_prefetch(const struct service *service, const struct kv_bytes *keys, unsigned count) {
	store_prefetch(&service->store, keys, count);
}

/* False: the journal has no room. */
static bool record(struct service *service, const struct operation *operation) {
	const struct recorder *recorder = &service->recorder;

	if (recorder->record == NULL)
		return true;
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

static void apply_end(struct service *service, enum operation_kind kind, struct session *session) {
	session_destroy(&service->sessions, session);
	if (kind == OPERATION_EXPIRE)
		service->sessions_expired++;
}

static void apply_write(struct service *service, const struct operation *operation,
			struct change *change, uint64_t position, struct reply *reply) {
	store_commit(&service->store, change, operation, position, reply);
	service->calls_run++;
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
	apply_end(service, OPERATION_EXPIRE, session);
	return true;
}

/* Sessions that never wrote have nothing to lose but their id, so they go first. */
static bool make_room_for_session(struct service *service) {
	const struct sessions *sessions = &service->sessions;

	while (sessions->by_id.count >= service->limits.sessions_max)
		if (sessions->silent.oldest == NULL || !expire(service, sessions->silent.oldest))
			return false;
	return true;
}

static void run_open(struct service *service, const struct operation *operation,
		     struct reply *reply) {
	struct sessions *sessions = &service->sessions;

	assert(operation->client_id != 0);
	if (operation->slots == 0) {
		reply->status = KV_INVALID;
		return;
	}
	struct session *known = sessions_find_nonce(sessions, operation->nonce);
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
	struct session *session = session_prepare(sessions, operation);
	if (session == NULL)
		return;
	if (!make_room_for_session(service) || !record(service, operation)) {
		session_cancel(sessions, session);
		return;
	}
	apply_open(service, session, reply);
}

static void run_close(struct service *service, const struct operation *operation,
		      struct reply *reply) {
	struct session *session = sessions_find(&service->sessions, operation->client_id);

	if (session == NULL) {
		reply->status = KV_BADSESSION;
		return;
	}
	if (!record(service, operation)) {
		session_renew(&service->sessions, session, service->now_ms);
		reply->status = KV_FULL;
		return;
	}
	apply_end(service, OPERATION_CLOSE, session);
	reply->status = KV_OK;
}

/* --- Writes -------------------------------------------------------------------------------- */

/* What an Append makes, and what it answers. */
static enum kv_status check_append(const struct service *service, const struct entry *entry,
				   const struct operation *operation, uint32_t reply_max) {
	uint32_t old_size = entry == NULL ? 0 : entry->value.size;

	if (old_size + operation->value.size > service->limits.value_max)
		return KV_TOOBIG;
	return operation->want_old && old_size > reply_max ? KV_TOOBIG : KV_OK;
}

static enum kv_status check_sizes(const struct service *service,
				  const struct operation *operation) {
	enum kv_status status = check_key(operation->key);

	if (status == KV_OK && operation->value.size > service->limits.value_max)
		return KV_TOOBIG;
	return status;
}

/* A write that the duplicate cache has nothing to say about: does it, or says why not. */
static void try_write(struct service *service, const struct operation *operation,
		      uint32_t reply_max, struct reply *reply) {
	struct store *store = &service->store;
	struct change change;

	reply->status = check_sizes(service, operation);
	if (reply->status != KV_OK)
		return;
	struct entry *entry = store_find(store, operation->key);
	reply->current = entry == NULL ? 0 : entry->version;
	reply->status = store_check(entry, operation->expected);
	if (reply->status == KV_OK && operation->kind == OPERATION_APPEND)
		reply->status = check_append(service, entry, operation, reply_max);
	if (reply->status != KV_OK)
		return;

	reply->status = KV_FULL;
	if (!store_has_memory_for(store, entry, operation))
		return;
	if (!store_prepare(store, entry, operation, &change))
		return;
	if (!record(service, operation)) {
		store_cancel(store, &change);
		return;
	}
	apply_write(service, operation, &change, service->position, reply);
}

/*
 * Without a session a copy cannot be told from a new call, so only a write that a copy of it makes
 * impossible is allowed.
 */
static void run_stateless(struct service *service, const struct operation *operation,
			  uint32_t reply_max, struct reply *reply) {
	if (operation->kind == OPERATION_PUT && operation->expected != VERSION_ANY)
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

/* True: it was a copy, and it was answered as the first one. */
static bool run_write(struct service *service, const struct operation *operation,
		      uint32_t reply_max, struct reply *reply) {
	struct session *session = sessions_find(&service->sessions, operation->client_id);
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

/* --- The calls ----------------------------------------------------------------------------- */

static void advance(struct service *service, uint64_t now_ms) {
	if (now_ms > service->now_ms)
		service->now_ms = now_ms;
}

void service_run(struct service *service, uint64_t epoch, const struct operation *operation,
		 uint32_t reply_max, uint64_t now_ms, struct reply *reply) {
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
			if (operation->client_id == 0)
				run_stateless(service, operation, reply_max, reply);
			else
				is_copy = run_write(service, operation, reply_max, reply);
			break;
		case OPERATION_EXPIRE:
			assert(!"nobody may ask for this");
			break;
		}
	}
	if (is_copy)
		service->calls_replayed++;
	else if (reply->status != KV_OK)
		service->calls_refused++;
	/* More than it shows, perhaps: a refusal, too, may show the last write recorded. */
	reply->position = service->position;
}

uint64_t service_expire(struct service *service, unsigned most, uint64_t now_ms) {
	struct session *session;

	advance(service, now_ms);
	while ((session = sessions_oldest(&service->sessions)) != NULL) {
		uint64_t idle_ms = service->now_ms - session->active_ms;
		if (idle_ms < service->limits.lease_ms)
			return service->limits.lease_ms - idle_ms;
		if (most-- == 0)
			return 0;
		if (!expire(service, session))
			return EXPIRE_RETRY_MS;
	}
	return UINT64_MAX;
}

static bool replay_write(struct service *service, const struct operation *operation,
			 struct reply *reply) {
	struct session *session = sessions_find(&service->sessions, operation->client_id);
	struct entry *entry = store_find(&service->store, operation->key);
	struct change change;

	if (!store_prepare(&service->store, entry, operation, &change))
		return false;
	if (session != NULL && !session_prepare_slot(&service->sessions, session, operation->slot)) {
		store_cancel(&service->store, &change);
		return false;
	}
	apply_write(service, operation, &change, 0, reply);
	if (session != NULL) {
		session_renew(&service->sessions, session, service->now_ms);
		session_cache_reply(&service->sessions, session, operation, operation_hash(operation),
				 reply);
	}
	return true;
}

bool service_apply(struct service *service, const struct operation *operation, uint64_t now_ms,
		   struct reply *reply) {
	struct reply unwanted;
	struct session *session;

	if (reply == NULL)
		reply = &unwanted;
	*reply = (struct reply){.status = KV_OK};
	advance(service, now_ms);
	switch (operation->kind) {
	case OPERATION_OPEN:
		session = session_prepare(&service->sessions, operation);
		if (session == NULL)
			return false;
		apply_open(service, session, reply);
		break;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		session = sessions_find(&service->sessions, operation->client_id);
		if (session != NULL)
			apply_end(service, operation->kind, session);
		break;
	case OPERATION_PUT:
	case OPERATION_APPEND:
		if (!replay_write(service, operation, reply))
			return false;
		break;
	}
	if (reply == &unwanted)
		reply_drop(&service->memory, reply);
	return true;
}

uint64_t service_time(const struct service *service) {
	return service->now_ms;
}

enum state_result service_save(const struct service *service, state_put *put, void *context) {
	return state_save(&service->store, &service->sessions, service->now_ms, put, context);
}

enum state_result service_load(struct service *service, uint64_t size, state_get *get,
			       void *context) {
	return state_load(&service->store, &service->sessions, &service->now_ms, size, get,
			  context);
}

void service_get_stats(const struct service *service, struct service_counters *counters) {
	*counters = (struct service_counters){
	    .keys = service->store.entries.count,
	    .sessions = service->sessions.by_id.count,
	    .sessions_opened = service->sessions_opened,
	    .sessions_expired = service->sessions_expired,
	    .memory_used = service->memory.used,
	    .calls_run = service->calls_run,
	    .calls_replayed = service->calls_replayed,
	    .calls_refused = service->calls_refused,
	};
}
