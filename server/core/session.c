/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/session.h"

#include <assert.h>
#include <string.h>

static uint64_t hash_id(uint64_t seed, const void *session) {
	const uint64_t *client_id = &((const struct session *)session)->client_id;

	return hash_bytes(seed, client_id, sizeof(*client_id));
}

static uint64_t hash_nonce(uint64_t seed, const void *session) {
	return hash_bytes(seed, ((const struct session *)session)->nonce, NONCE_SIZE);
}

static bool has_id(const void *session, const void *client_id) {
	return ((const struct session *)session)->client_id == *(const uint64_t *)client_id;
}

static bool has_nonce(const void *session, const void *nonce) {
	return memcmp(((const struct session *)session)->nonce, nonce, NONCE_SIZE) == 0;
}

/* --- The two lists ------------------------------------------------------------------------- */

static struct session_list *list_of(struct sessions *sessions, const struct session *session) {
	return session->has_written ? &sessions->wrote : &sessions->silent;
}

static void list_append(struct session_list *list, struct session *session) {
	session->older = list->newest;
	session->newer = NULL;
	if (list->newest != NULL)
		list->newest->newer = session;
	else
		list->oldest = session;
	list->newest = session;
}

static void list_remove(struct session_list *list, struct session *session) {
	if (session->older != NULL)
		session->older->newer = session->newer;
	else
		list->oldest = session->newer;
	if (session->newer != NULL)
		session->newer->older = session->older;
	else
		list->newest = session->older;
	session->older = NULL;
	session->newer = NULL;
}

/* --- All sessions -------------------------------------------------------------------------- */

bool sessions_open(struct sessions *sessions, struct memory *memory, uint64_t seed) {
	*sessions = (struct sessions){.memory = memory};
	if (!hash_table_init(&sessions->by_id, memory, hash_id, seed))
		return false;
	if (!hash_table_init(&sessions->by_nonce, memory, hash_nonce, seed)) {
		hash_table_destroy(&sessions->by_id);
		return false;
	}
	return true;
}

void sessions_close(struct sessions *sessions) {
	struct session *session;

	while ((session = sessions_oldest(sessions)) != NULL)
		session_destroy(sessions, session);
	hash_table_destroy(&sessions->by_nonce);
	hash_table_destroy(&sessions->by_id);
}

static struct session *look_up(const struct sessions *sessions, uint64_t client_id) {
	uint64_t hash = hash_bytes(sessions->by_id.seed, &client_id, sizeof(client_id));

	return hash_table_find(&sessions->by_id, hash, has_id, &client_id);
}

struct session *sessions_find(struct sessions *sessions, uint64_t client_id) {
	struct session *session = sessions->last;

	if (session != NULL && session->client_id == client_id)
		return session;
	session = look_up(sessions, client_id);
	if (session != NULL)
		sessions->last = session;
	return session;
}

struct session *sessions_find_nonce(const struct sessions *sessions,
				    const uint8_t nonce[NONCE_SIZE]) {
	uint64_t hash = hash_bytes(sessions->by_nonce.seed, nonce, NONCE_SIZE);

	return hash_table_find(&sessions->by_nonce, hash, has_nonce, nonce);
}

struct session *sessions_oldest(const struct sessions *sessions) {
	struct session *silent = sessions->silent.oldest;
	struct session *wrote = sessions->wrote.oldest;

	if (silent == NULL)
		return wrote;
	if (wrote == NULL || silent->active_ms <= wrote->active_ms)
		return silent;
	return wrote;
}

/* --- One session --------------------------------------------------------------------------- */

struct session *session_prepare(struct sessions *sessions, const struct operation *operation) {
	uint32_t slots = operation->slots < SLOTS_MAX ? operation->slots : SLOTS_MAX;

	if (!hash_table_reserve_one(&sessions->by_id) || !hash_table_reserve_one(&sessions->by_nonce))
		return NULL;
	struct session *session = mem_account_alloc(sessions->memory, sizeof(*session));
	if (session == NULL)
		return NULL;
	*session = (struct session){
	    .client_id = operation->client_id,
	    .slots = (uint8_t)slots,
	};
	memcpy(session->nonce, operation->nonce, NONCE_SIZE);
	return session;
}

void session_cancel(struct sessions *sessions, struct session *session) {
	mem_account_free(sessions->memory, session, sizeof(*session));
}

void session_add(struct sessions *sessions, struct session *session, uint64_t now_ms) {
	session->active_ms = now_ms;
	hash_table_insert(&sessions->by_id, session);
	hash_table_insert(&sessions->by_nonce, session);
	list_append(list_of(sessions, session), session);
}

static void forget(struct sessions *sessions, struct slot *slot) {
	struct view old = {.buffer = slot->old, .size = slot->old_size};

	view_unref(sessions->memory, &old);
	slot->old = NULL;
	slot->old_size = 0;
}

void session_destroy(struct sessions *sessions, struct session *session) {
	if (sessions->last == session)
		sessions->last = NULL;
	hash_table_remove(&sessions->by_id, session);
	hash_table_remove(&sessions->by_nonce, session);
	list_remove(list_of(sessions, session), session);
	forget(sessions, &session->first);
	for (size_t i = 0; i < session->others_count; i++)
		forget(sessions, &session->others[i]);
	mem_account_free(sessions->memory, session->others,
		    session->others_count * sizeof(*session->others));
	mem_account_free(sessions->memory, session, sizeof(*session));
}

void session_renew(struct sessions *sessions, struct session *session, uint64_t now_ms) {
	session->active_ms = now_ms;
	/* The newest stays where it is: so do most, for calls of one client come together. */
	if (session->newer == NULL)
		return;
	list_remove(list_of(sessions, session), session);
	list_append(list_of(sessions, session), session);
}

/* --- Slots --------------------------------------------------------------------------------- */

/* NULL: it was never used. */
static struct slot *slot_at(struct session *session, uint32_t slot) {
	if (slot == 0)
		return &session->first;
	return slot <= session->others_count ? &session->others[slot - 1] : NULL;
}

const struct slot *session_slot(const struct session *session, uint32_t slot) {
	const struct slot *found = slot_at((struct session *)session, slot);

	return found == NULL || found->seq == 0 ? NULL : found;
}

enum admission session_admit(const struct session *session, const struct operation *operation,
			     uint64_t hash) {
	if (session == NULL)
		return ADMIT_UNKNOWN;
	if (operation->slot >= session->slots || operation->seq == 0)
		return ADMIT_INVALID;

	const struct slot *slot = slot_at((struct session *)session, operation->slot);
	if (slot == NULL || operation->seq > slot->seq)
		return ADMIT_NEW;
	if (operation->seq < slot->seq)
		return ADMIT_STALE;
	return hash == slot->hash ? ADMIT_REPLAY : ADMIT_FALSE_RETRY;
}

/* Slots 1, 1 .. 3, 1 .. 7 and so on: a client that uses few of them takes few. */
static bool make_slots(struct sessions *sessions, struct session *session, uint32_t slot) {
	size_t count = 1;

	while (count < slot)
		count = 2 * count + 1;
	struct slot *others =
	    mem_account_realloc(sessions->memory, session->others,
			  session->others_count * sizeof(*others), count * sizeof(*others));
	if (others == NULL)
		return false;
	for (size_t i = session->others_count; i < count; i++)
		others[i] = (struct slot){0};
	session->others = others;
	session->others_count = (uint8_t)count;
	return true;
}

bool session_prepare_slot(struct sessions *sessions, struct session *session, uint32_t slot) {
	struct slot *last = slot_at(session, slot);

	assert(slot < session->slots);
	if (last == NULL)
		return make_slots(sessions, session, slot);
	forget(sessions, last);
	return true;
}

void session_cache_reply(struct sessions *sessions, struct session *session,
		      const struct operation *operation, uint64_t hash, const struct reply *reply) {
	struct slot *slot = slot_at(session, operation->slot);
	struct view old = view_ref(reply->value);

	assert(slot != NULL && slot->old == NULL);
	*slot = (struct slot){
	    .seq = operation->seq,
	    .hash = hash,
	    .current = reply->current,
	    .old = old.buffer,
	    .old_size = old.size,
	    .status = (uint8_t)reply->status,
	    .had_old = reply->old_version != 0,
	};
	if (!session->has_written) {
		list_remove(&sessions->silent, session);
		session->has_written = true;
		list_append(&sessions->wrote, session);
	}
}

bool session_cached_reply(const struct session *session, uint32_t slot, uint32_t reply_max,
		    struct reply *reply) {
	const struct slot *last = slot_at((struct session *)session, slot);

	if (last->old_size > reply_max)
		return false;
	*reply = (struct reply){
	    .status = (enum kv_status)last->status,
	    .current = last->current,
	    .old_version = last->had_old ? last->current - 1 : 0,
	    .value = view_ref((struct view){.buffer = last->old, .size = last->old_size}),
	};
	return true;
}
