/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/state_codec.h"

#include <stdlib.h>
#include <string.h>

#include "core/session.h"
#include "core/store.h"
#include "le.h"

enum {
	COUNT_SIZE = 8,
	ENTRY_SIZE = 16, /* without key, value and the end of the ttl */
	EXPIRES_SIZE = 8,
	KEPT_SIZE = 4,	     /* without the bytes */
	SESSION_SIZE = 35,   /* without its owner */
	SESSION_SIZE_2 = 34, /* in format 2 */
	SLOT_SIZE = 36,
	VALUES_ROOM_MIN = 64,
};

/* --- Saving -------------------------------------------------------------------------------------
 */

/* A buffer that slots see the first `size` bytes of. Number 0: it is not in the stream yet. */
struct seen {
	struct buffer *buffer;
	uint32_t size;
	uint32_t number;
};

/* Invariant: `seen` is in order of the buffers' addresses, each once. */
struct saver {
	const struct store *store;
	const struct sessions *sessions;
	uint64_t now_ms;
	state_put *put;
	void *context;
	struct seen *seen;
	size_t seen_count;
	uint32_t numbered;
};

typedef bool visit_session(struct saver *saver, const struct session *session);

/* In the order in which they are to be made again. */
static bool each_session(struct saver *saver, visit_session *visit) {
	const struct session *session;

	for (session = saver->sessions->idle_sessions.oldest; session != NULL;
	     session = session->newer)
		if (!visit(saver, session))
			return false;
	for (session = saver->sessions->written_sessions.oldest; session != NULL;
	     session = session->newer)
		if (!visit(saver, session))
			return false;
	for (session = saver->sessions->held_sessions.oldest; session != NULL;
	     session = session->newer)
		if (!visit(saver, session))
			return false;
	return true;
}

static bool count_old(struct saver *saver, const struct session *session) {
	for (uint32_t i = 0; i < session->slots; i++) {
		const struct slot *slot = session_slot(session, i);

		if (slot != NULL && slot->old != NULL)
			saver->seen_count++;
	}
	return true;
}

static bool note_old(struct saver *saver, const struct session *session) {
	for (uint32_t i = 0; i < session->slots; i++) {
		const struct slot *slot = session_slot(session, i);

		if (slot != NULL && slot->old != NULL)
			saver->seen[saver->seen_count++] =
			    (struct seen){.buffer = slot->old, .size = slot->old_size};
	}
	return true;
}

static int compare_seen(const void *one, const void *other) {
	uintptr_t a = (uintptr_t)((const struct seen *)one)->buffer;
	uintptr_t b = (uintptr_t)((const struct seen *)other)->buffer;

	return a < b ? -1 : a > b;
}

static void merge_seen(struct saver *saver) {
	size_t kept = 0;

	for (size_t i = 0; i < saver->seen_count; i++) {
		struct seen *last = kept == 0 ? NULL : &saver->seen[kept - 1];

		if (last == NULL || last->buffer != saver->seen[i].buffer)
			saver->seen[kept++] = saver->seen[i];
		else if (last->size < saver->seen[i].size)
			last->size = saver->seen[i].size;
	}
	saver->seen_count = kept;
}

/* False: no memory. */
static bool collect_seen(struct saver *saver) {
	(void)each_session(saver, count_old);
	if (saver->seen_count == 0)
		return true;
	saver->seen = calloc(saver->seen_count, sizeof(*saver->seen));
	if (saver->seen == NULL)
		return false;
	saver->seen_count = 0;
	(void)each_session(saver, note_old);
	qsort(saver->seen, saver->seen_count, sizeof(*saver->seen), compare_seen);
	merge_seen(saver);
	return true;
}

/* NULL: no slot sees it. */
static struct seen *find_seen(const struct saver *saver, struct buffer *buffer) {
	const struct seen wanted = {.buffer = buffer};

	if (buffer == NULL || saver->seen_count == 0)
		return NULL;
	return bsearch(&wanted, saver->seen, saver->seen_count, sizeof(wanted), compare_seen);
}

static bool put(const struct saver *saver, const void *data, size_t size) {
	return size == 0 || saver->put(saver->context, data, size);
}

static bool put_count(const struct saver *saver, uint64_t count) {
	uint8_t bytes[COUNT_SIZE];

	le_put64(bytes, count);
	return put(saver, bytes, sizeof(bytes));
}

enum saved_flags {
	SAVED_NUMBERED = 1, /* its value takes the next number */
	SAVED_TTL = 2,	    /* the end of its ttl stands behind the head */
};

static bool put_entry(void *context, struct entry *entry) {
	struct saver *saver = context;
	uint64_t expires_ms = store_expires(saver->store, entry);
	uint16_t flags = expires_ms != 0 ? SAVED_TTL : 0;
	struct kv_bytes bytes = view_bytes(view_all(&entry->value));
	struct seen *seen = NULL;
	uint8_t head[ENTRY_SIZE];

	/* Few are held by others too, and only these need be looked for. */
	if (buffer_exclusive_bytes(&entry->value) == 0)
		seen = find_seen(saver, &entry->value);
	if (seen != NULL) {
		seen->number = ++saver->numbered;
		flags |= SAVED_NUMBERED;
	}
	le_put64(head, entry->version);
	le_put32(head + 8, entry->value.size);
	le_put16(head + 12, (uint16_t)entry_key(entry).size);
	le_put16(head + 14, flags);
	return put(saver, head, sizeof(head)) &&
	       (expires_ms == 0 || put_count(saver, expires_ms)) &&
	       put(saver, entry->key, entry_key(entry).size) && put(saver, bytes.data, bytes.size);
}

static bool put_kept(struct saver *saver) {
	uint64_t count = 0;

	for (size_t i = 0; i < saver->seen_count; i++)
		count += saver->seen[i].number == 0;
	if (!put_count(saver, count))
		return false;
	for (size_t i = 0; i < saver->seen_count; i++) {
		struct seen *seen = &saver->seen[i];
		uint8_t head[KEPT_SIZE];

		if (seen->number != 0)
			continue;
		seen->number = ++saver->numbered;
		struct kv_bytes bytes =
		    view_bytes((struct view){.buffer = seen->buffer, .size = seen->size});
		le_put32(head, seen->size);
		if (!put(saver, head, sizeof(head)) || !put(saver, bytes.data, bytes.size))
			return false;
	}
	return true;
}

static bool put_slot(struct saver *saver, uint32_t number, const struct slot *slot) {
	const struct seen *seen = find_seen(saver, slot->old);
	uint8_t bytes[SLOT_SIZE];

	bytes[0] = (uint8_t)number;
	bytes[1] = slot->status;
	bytes[2] = slot->had_old ? 1 : 0;
	bytes[3] = slot->which;
	le_put32(bytes + 4, seen == NULL ? 0 : seen->number);
	le_put32(bytes + 8, slot->old_size);
	le_put64(bytes + 12, slot->seq);
	le_put64(bytes + 20, slot->hash);
	le_put64(bytes + 28, slot->current);
	return put(saver, bytes, sizeof(bytes));
}

static bool put_session(struct saver *saver, const struct session *session) {
	const struct kv_bytes owner = owner_principal(session->owner);
	uint8_t head[SESSION_SIZE];
	uint8_t used = 0;

	for (uint32_t i = 0; i < session->slots; i++)
		used += session_slot(session, i) != NULL;
	le_put64(head, session->client_id);
	/* Because it is held until now, it is the newest of whichever list it is loaded on. */
	le_put64(head + 8, session->parked > 0 ? saver->now_ms : session->active_ms);
	memset(head + 16, 0, NONCE_SIZE);
	if (!session->has_written)
		memcpy(head + 16, session->nonce, NONCE_SIZE);
	head[32] = (uint8_t)session->slots;
	head[33] = used;
	head[34] = (uint8_t)owner.size;
	if (!put(saver, head, sizeof(head)) || !put(saver, owner.data, owner.size))
		return false;
	for (uint32_t i = 0; i < session->slots; i++) {
		const struct slot *slot = session_slot(session, i);

		if (slot != NULL && !put_slot(saver, i, slot))
			return false;
	}
	return true;
}

enum state_result state_save(const struct store *store, const struct sessions *sessions,
			     uint64_t now_ms, state_put *put_bytes, void *context) {
	const struct kv_bytes every = {0};
	struct saver saver = {
	    .store = store,
	    .sessions = sessions,
	    .now_ms = now_ms,
	    .put = put_bytes,
	    .context = context,
	};

	if (!collect_seen(&saver))
		return STATE_NO_MEMORY;
	bool is_whole = put_count(&saver, now_ms) && put_count(&saver, store->floor) &&
			put_count(&saver, store->entries.count) &&
			store_list(store, every, every, false, put_entry, &saver) &&
			put_kept(&saver) && put_count(&saver, sessions->by_id.count) &&
			each_session(&saver, put_session);
	free(saver.seen);
	return is_whole ? STATE_DONE : STATE_INVALID;
}

/* --- Loading ------------------------------------------------------------------------------------
 */

/*
 * Nothing is allocated for more bytes than are left: so damaged ones can ask for no more memory
 * than a stream of their size may. `values` are those with numbers; the array holds a view of each
 * until the slots have theirs.
 */
struct loader {
	struct store *store;
	struct sessions *sessions;
	state_get *get;
	void *context;
	unsigned format;
	uint64_t left; /* bytes */
	uint64_t now_ms;
	uint64_t active_ms[2]; /* of the last session: that never wrote, that did */
	struct view *values;
	size_t values_count;
	size_t values_room;
};

static bool take(struct loader *loader, void *data, size_t size) {
	if (size > loader->left)
		return false;
	loader->left -= size;
	return size == 0 || loader->get(loader->context, data, size);
}

static bool take_number(struct loader *loader, uint64_t *number) {
	uint8_t bytes[COUNT_SIZE];

	if (!take(loader, bytes, sizeof(bytes)))
		return false;
	*number = le_get64(bytes);
	return true;
}

/* A count of things that take `least` bytes each. */
static bool take_count(struct loader *loader, size_t least, uint64_t *count) {
	return take_number(loader, count) && *count <= loader->left / least;
}

static bool is_size(const struct loader *loader, uint32_t size) {
	return size <= VALUE_MAX && size <= loader->left;
}

/* Gives a value the next number. */
static enum state_result number_value(struct loader *loader, struct view value) {
	if (value.size == 0)
		return STATE_INVALID;
	if (loader->values_count == loader->values_room) {
		size_t room = loader->values_room == 0 ? VALUES_ROOM_MIN : 2 * loader->values_room;
		struct view *values = realloc(loader->values, room * sizeof(*values));
		if (values == NULL)
			return STATE_NO_MEMORY;
		loader->values = values;
		loader->values_room = room;
	}
	loader->values[loader->values_count++] = view_ref(value);
	return STATE_DONE;
}

static enum state_result load_entry(struct loader *loader) {
	uint8_t head[ENTRY_SIZE];
	unsigned char key_bytes[KEY_MAX];
	struct kv_bytes key = {.data = key_bytes};

	if (!take(loader, head, sizeof(head)))
		return STATE_INVALID;
	uint64_t version = le_get64(head);
	uint32_t size = le_get32(head + 8);
	uint16_t flags = le_get16(head + 14);
	uint64_t expires_ms = 0;
	key.size = le_get16(head + 12);
	if (flags > (loader->format == 1 ? SAVED_NUMBERED : SAVED_NUMBERED | SAVED_TTL) ||
	    ((flags & SAVED_TTL) != 0 && !take_number(loader, &expires_ms)))
		return STATE_INVALID;
	if (version == 0 || key.size == 0 || key.size > KEY_MAX ||
	    !take(loader, key_bytes, key.size) || !is_size(loader, size) ||
	    store_find(loader->store, key) != NULL)
		return STATE_INVALID;
	struct entry *entry = store_restore(loader->store, key, version, expires_ms, size);
	if (entry == NULL)
		return STATE_NO_MEMORY;
	if (!take(loader, buffer_bytes(&entry->value), size))
		return STATE_INVALID;
	return (flags & SAVED_NUMBERED) == 0 ? STATE_DONE
					     : number_value(loader, view_all(&entry->value));
}

static enum state_result load_entries(struct loader *loader) {
	enum state_result result = STATE_DONE;
	uint64_t count;

	if (!take_count(loader, ENTRY_SIZE + 1, &count))
		return STATE_INVALID;
	if (!hash_table_reserve_total(&loader->store->entries, count))
		return STATE_NO_MEMORY;
	for (uint64_t i = 0; i < count && result == STATE_DONE; i++)
		result = load_entry(loader);
	return result;
}

static enum state_result load_kept_value(struct loader *loader) {
	struct mem_account *memory = loader->store->memory;
	enum state_result result = STATE_INVALID;
	uint8_t head[KEPT_SIZE];

	if (!take(loader, head, sizeof(head)) || !is_size(loader, le_get32(head)))
		return STATE_INVALID;
	struct buffer *buffer = buffer_make(memory, sizeof(*buffer), le_get32(head));
	if (buffer == NULL)
		return STATE_NO_MEMORY;
	struct view value = view_all(buffer);
	if (take(loader, buffer_bytes(buffer), value.size))
		result = number_value(loader, value);
	view_unref(memory, &value);
	return result;
}

static enum state_result load_kept(struct loader *loader) {
	enum state_result result = STATE_DONE;
	uint64_t count;

	if (!take_count(loader, KEPT_SIZE + 1, &count))
		return STATE_INVALID;
	for (uint64_t i = 0; i < count && result == STATE_DONE; i++)
		result = load_kept_value(loader);
	return result;
}

/* The reply that a slot remembers; its value is not held. */
static bool read_reply(const struct loader *loader, const uint8_t *bytes, struct reply *reply) {
	uint32_t number = le_get32(bytes + 4);
	uint32_t size = le_get32(bytes + 8);
	bool had_old = bytes[2] == 1;

	*reply = (struct reply){
	    .status = (enum kv_status)bytes[1],
	    .which = bytes[3],
	    .current = le_get64(bytes + 28),
	};
	if (bytes[1] > KV_UNMET || bytes[2] > 1 || bytes[3] >= CHANGES_MAX ||
	    (bytes[3] != 0 && reply->status == KV_OK))
		return false;
	if (had_old && reply->current < 2)
		return false;
	if (had_old)
		reply->old_version = reply->current - 1;
	if (number == 0)
		return size == 0;
	/* Without an old value they are the versions of a TXN, 8 bytes each. */
	if (!had_old && size % 8 != 0)
		return false;
	if (size == 0 || number > loader->values_count || size > loader->values[number - 1].size)
		return false;
	reply->value = (struct view){
	    .buffer = loader->values[number - 1].buffer,
	    .size = size,
	};
	return true;
}

static enum state_result load_slots(struct loader *loader, struct session *session, uint8_t used) {
	uint32_t least = 0;

	for (uint8_t i = 0; i < used; i++) {
		struct operation call = {.kind = OPERATION_PUT};
		uint8_t bytes[SLOT_SIZE];
		struct reply reply;

		if (!take(loader, bytes, sizeof(bytes)))
			return STATE_INVALID;
		call.slot = bytes[0];
		call.seq = le_get64(bytes + 12);
		if (call.slot < least || call.slot >= session->slots || call.seq == 0 ||
		    !read_reply(loader, bytes, &reply))
			return STATE_INVALID;
		least = call.slot + 1;
		if (!session_prepare_slot(loader->sessions, session, call.slot))
			return STATE_NO_MEMORY;
		session_cache_reply(loader->sessions, session, &call, le_get64(bytes + 20), &reply);
	}
	return STATE_DONE;
}

static enum state_result load_session(struct loader *loader) {
	struct operation open = {.kind = OPERATION_OPEN};
	uint8_t head[SESSION_SIZE] = {0};
	uint8_t owner[PRINCIPAL_SIZE_MAX];

	if (!take(loader, head, loader->format < 3 ? SESSION_SIZE_2 : SESSION_SIZE) ||
	    !take(loader, owner, head[34]))
		return STATE_INVALID;
	uint64_t active_ms = le_get64(head + 8);
	uint8_t used = head[33];
	/* A session that wrote has used a slot, and by that goes to the other list. */
	uint64_t *before_ms = &loader->active_ms[used > 0];
	open.client_id = le_get64(head);
	open.slots = head[32];
	open.principal = (struct kv_bytes){owner, head[34]};
	memcpy(open.nonce, head + 16, NONCE_SIZE);
	if (open.client_id == 0 || open.slots == 0 || open.slots > SLOTS_MAX || used > open.slots ||
	    active_ms < *before_ms || active_ms > loader->now_ms || active_ms > ACTIVE_MAX_MS ||
	    sessions_find(loader->sessions, open.client_id) != NULL)
		return STATE_INVALID;
	*before_ms = active_ms;
	struct session *session = session_prepare(loader->sessions, &open);
	if (session == NULL)
		return STATE_NO_MEMORY;
	session_add(loader->sessions, session, active_ms);
	return load_slots(loader, session, used);
}

static enum state_result load_sessions(struct loader *loader) {
	enum state_result result = STATE_DONE;
	uint64_t count;

	if (!take_count(loader, SESSION_SIZE_2, &count))
		return STATE_INVALID;
	if (!hash_table_reserve_total(&loader->sessions->by_id, count))
		return STATE_NO_MEMORY;
	for (uint64_t i = 0; i < count && result == STATE_DONE; i++)
		result = load_session(loader);
	return result;
}

enum state_result state_load(struct store *store, struct sessions *sessions, uint64_t *now_ms,
			     unsigned format, uint64_t size, state_get *get, void *context) {
	struct loader loader = {
	    .format = format,
	    .store = store,
	    .sessions = sessions,
	    .get = get,
	    .context = context,
	    .left = size,
	};

	if (!take_number(&loader, &loader.now_ms) ||
	    (format > 1 && !take_number(&loader, &store->floor)))
		return STATE_INVALID;
	*now_ms = loader.now_ms;
	enum state_result result = load_entries(&loader);
	if (result == STATE_DONE)
		result = load_kept(&loader);
	if (result == STATE_DONE)
		result = load_sessions(&loader);
	for (size_t i = 0; i < loader.values_count; i++)
		view_unref(store->memory, &loader.values[i]);
	free(loader.values);
	return result;
}
