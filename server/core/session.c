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
	if (session->parked > 0)
		return &sessions->held_sessions;
	return session->has_written ? &sessions->written_sessions : &sessions->idle_sessions;
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

bool sessions_open(struct sessions *sessions, struct mem_account *memory, uint64_t seed) {
	*sessions = (struct sessions){.memory = memory, .owners = {.memory = memory, .seed = seed}};
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
	while ((session = sessions->held_sessions.oldest) != NULL)
		session_destroy(sessions, session);
	hash_table_destroy(&sessions->by_nonce);
	hash_table_destroy(&sessions->by_id);
	owner_table_destroy(&sessions->owners);
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
	struct session *idle_sessions = sessions->idle_sessions.oldest;
	struct session *written_sessions = sessions->written_sessions.oldest;

	if (idle_sessions == NULL)
		return written_sessions;
	if (written_sessions == NULL || idle_sessions->active_ms <= written_sessions->active_ms)
		return idle_sessions;
	return written_sessions;
}

bool session_is_of(const struct session *session, const struct operation *operation) {
	struct kv_bytes owner = owner_principal(session->owner);

	return !operation->checks_owner ||
	       (owner.size == operation->principal.size &&
		(owner.size == 0 ||
		 memcmp(owner.data, operation->principal.data, owner.size) == 0));
}

/* --- One session --------------------------------------------------------------------------- */

struct session *session_prepare(struct sessions *sessions, const struct operation *operation) {
	uint32_t slots = operation->slots < SLOTS_MAX ? operation->slots : SLOTS_MAX;

	if (!hash_table_reserve_one(&sessions->by_id) ||
	    !hash_table_reserve_one(&sessions->by_nonce))
		return NULL;
	struct owner *owner;
	if (!owner_table_ref(&sessions->owners, operation, &owner))
		return NULL;
	struct session *session = mem_account_alloc(sessions->memory, sizeof(*session));
	if (session == NULL) {
		owner_table_unref(&sessions->owners, owner);
		return NULL;
	}
	*session = (struct session){
	    .client_id = operation->client_id, .slots = slots & 127, .owner = owner};
	memcpy(session->nonce, operation->nonce, NONCE_SIZE);
	return session;
}

void session_cancel(struct sessions *sessions, struct session *session) {
	owner_table_unref(&sessions->owners, session->owner);
	mem_account_free(sessions->memory, session, sizeof(*session));
}

/* So many bytes more, or less, for the session. */
static void reserve(struct sessions *sessions, const struct session *session, size_t more) {
	sessions->reserved += more;
	if (session->owner != NULL)
		session->owner->reserved += more;
}

void session_add(struct sessions *sessions, struct session *session, uint64_t now_ms) {
	session->active_ms = now_ms & ACTIVE_MAX_MS;
	reserve(sessions, session, session_cost(session->slots));
	hash_table_insert(&sessions->by_id, session);
	hash_table_insert(&sessions->by_nonce, session);
	list_append(list_of(sessions, session), session);
}

/* Where this slot (1 or more) is in the list, or would be. */
static unsigned index_of(uint64_t map, uint32_t slot) {
	uint64_t all = (UINT64_C(1) << slot) - 2;
	uint64_t below = map & all;

	/* Most clients use their slots in order, and counting bits takes longer than that. */
	return below == all ? slot - 1 : (unsigned)__builtin_popcountll(below);
}

/* NULL: it was never used, and is not the first. */
static struct slot *slot_at(struct session *session, uint32_t slot) {
	struct used_slots *others = session->others;

	if (slot == 0)
		return session->has_written ? &session->first : NULL;
	return others != NULL && (others->map >> slot & 1) != 0
		   ? &others->list[index_of(others->map, slot)]
		   : NULL;
}

/* Of session->others with `count` slots: memory is made for 1, 3, 7 and so on, but no more than
   there are. */
static unsigned others_max(const struct session *session, unsigned count) {
	unsigned max = 0;

	while (max < count)
		max = 2 * max + 1;
	return max < session->slots ? max : session->slots - 1u;
}

static unsigned others_count(const struct session *session) {
	return session->others == NULL ? 0 : (unsigned)__builtin_popcountll(session->others->map);
}

static size_t others_size(unsigned max) {
	return max == 0 ? 0 : sizeof(struct used_slots) + max * sizeof(struct slot);
}

size_t session_cost(uint32_t slots) {
	/* In each of the tables: 6 pointers in a line of 64 bytes, and some lines that follow one.
	 */
	enum { TABLES_COST = 2 * 16 };
	size_t others = slots > 1 ? mem_account_cost(others_size(slots - 1)) : 0;

	return mem_account_cost(sizeof(struct session)) + TABLES_COST + others;
}

uint32_t sessions_slots_for(const struct sessions *sessions, uint32_t wanted, size_t limit) {
	size_t left = limit > sessions->reserved ? limit - sessions->reserved : 0;
	size_t shared = left > limit / 2 ? left - limit / 2 : 0;
	size_t others = shared / SESSIONS_PART / sizeof(struct slot);

	if (left < session_cost(1))
		return 0;
	if (wanted > SLOTS_MAX)
		wanted = SLOTS_MAX;
	return wanted <= 1 + others ? wanted : (uint32_t)(1 + others);
}

bool sessions_are_all_of_peer(const struct sessions *sessions, const struct operation *open,
			      size_t limit) {
	const struct owner *owner = owner_table_find(&sessions->owners, open);

	return open->sessions_max > 0 && owner != NULL &&
	       (owner->sessions >= open->sessions_max || owner->reserved + session_cost(1) > limit);
}

static void forget(struct sessions *sessions, struct slot *slot) {
	struct view old = {.buffer = slot->old, .size = slot->old_size};

	view_unref(sessions->memory, &old);
	slot->old = NULL;
	slot->old_size = 0;
}

void session_destroy(struct sessions *sessions, struct session *session) {
	unsigned max = others_max(session, others_count(session));

	if (sessions->last == session)
		sessions->last = NULL;
	hash_table_remove(&sessions->by_id, session);
	if (!session->has_written)
		hash_table_remove(&sessions->by_nonce, session);
	list_remove(list_of(sessions, session), session);
	for (uint32_t i = 0; i < session->slots; i++)
		if (slot_at(session, i) != NULL)
			forget(sessions, slot_at(session, i));
	mem_account_free(sessions->memory, session->others, others_size(max));
	reserve(sessions, session, 0 - session_cost(session->slots));
	owner_table_unref(&sessions->owners, session->owner);
	mem_account_free(sessions->memory, session, sizeof(*session));
}

void session_renew(struct sessions *sessions, struct session *session, uint64_t now_ms) {
	session->active_ms = now_ms & ACTIVE_MAX_MS;
	/* The newest stays where it is: so do most, for calls of one client come together. */
	if (session->newer == NULL)
		return;
	list_remove(list_of(sessions, session), session);
	list_append(list_of(sessions, session), session);
}

void session_hold(struct sessions *sessions, struct session *session, bool is_parked,
		  uint64_t now_ms) {
	list_remove(list_of(sessions, session), session);
	session->parked = (uint8_t)(is_parked ? session->parked + 1 : session->parked - 1);
	session->active_ms = now_ms & ACTIVE_MAX_MS;
	list_append(list_of(sessions, session), session);
}

/* --- Slots --------------------------------------------------------------------------------- */

const struct slot *session_slot(const struct session *session, uint32_t slot) {
	const struct slot *found = slot_at((struct session *)session, slot);

	return found == NULL || found->seq == 0 ? NULL : found;
}

enum slot_check session_admit(const struct session *session, const struct operation *operation,
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
	if (hash == slot->hash || slot->hash == HASH_UNREAD)
		return ADMIT_REPLAY;
	return hash == HASH_UNREAD ? ADMIT_UNREAD : ADMIT_FALSE_RETRY;
}

static bool make_slot(struct sessions *sessions, struct session *session, uint32_t slot) {
	struct used_slots *others = session->others;
	unsigned count = others_count(session);
	unsigned max = others_max(session, count);

	if (count == max) {
		others = mem_account_realloc(sessions->memory, others, others_size(max),
					     others_size(others_max(session, count + 1)));
		if (others == NULL)
			return false;
		if (count == 0)
			others->map = 0;
		session->others = others;
	}
	struct slot *place = &others->list[index_of(others->map, slot)];
	memmove(place + 1, place, (size_t)(others->list + count - place) * sizeof(*place));
	*place = (struct slot){0};
	others->map |= UINT64_C(1) << slot;
	return true;
}

bool session_prepare_slot(struct sessions *sessions, struct session *session, uint32_t slot) {
	struct slot *last = slot_at(session, slot);

	assert(slot < session->slots);
	if (last != NULL)
		forget(sessions, last);
	return last != NULL || slot == 0 || make_slot(sessions, session, slot);
}

/* The first slot takes the place of the nonce. */
static void mark_written(struct sessions *sessions, struct session *session) {
	hash_table_remove(&sessions->by_nonce, session);
	list_remove(list_of(sessions, session), session);
	session->has_written = 1;
	session->first = (struct slot){0};
	list_append(list_of(sessions, session), session);
}

void session_cache_reply(struct sessions *sessions, struct session *session,
			 const struct operation *operation, uint64_t hash,
			 const struct reply *reply) {
	struct view old = view_ref(reply->value);

	if (!session->has_written)
		mark_written(sessions, session);
	struct slot *slot = slot_at(session, operation->slot);
	assert(slot != NULL && slot->old == NULL);
	*slot = (struct slot){
	    .seq = operation->seq,
	    .hash = hash,
	    .current = reply->current,
	    .old = old.buffer,
	    .old_size = old.size,
	    .status = (uint8_t)reply->status,
	    .which = (uint8_t)reply->which,
	    .had_old = reply->old_version != 0,
	};
}

bool session_cached_reply(const struct session *session, uint32_t slot, uint32_t reply_max,
			  struct reply *reply) {
	const struct slot *last = slot_at((struct session *)session, slot);

	if (last->old_size > reply_max)
		return false;
	*reply = (struct reply){
	    .status = (enum kv_status)last->status,
	    .current = last->current,
	    .which = last->which,
	    .old_version = last->had_old ? last->current - 1 : 0,
	    .value = view_ref((struct view){.buffer = last->old, .size = last->old_size}),
	};
	return true;
}
