/* SPDX-License-Identifier: BSD-3-Clause */
#include "history.h"

#include <stdlib.h>
#include <string.h>

enum {
	CHUNK_SIZE = 256 * 1024,
	FIRST_CALLS = 256,
	FIRST_KEYS = 64, /* a power of two */
};

/* Bytes that never move. */
struct chunk {
	struct chunk *next;
	size_t used;
	size_t size;
	uint8_t data[];
};

/*
 * `table` finds the number + 1 of a key by its hash, and is at most half full; its size is a power
 * of two.
 */
struct history {
	struct history_call *calls;
	uint32_t *key_of; /* of each call, the number of its key */
	size_t count;
	size_t room;
	struct kv_bytes *keys;
	uint32_t *table;
	size_t key_count;
	size_t table_size;
	struct chunk *chunks;
	size_t bytes;
	uint32_t *ids; /* number + 1 of each merged call, by client and call_ns */
	size_t id_count;
	size_t ids_size; /* as table_size */
	uint64_t boots[HISTORY_BOOTS_MAX];
	bool has_ends;
};

/* No bytes, at a place that may be pointed to. */
static const struct kv_bytes nothing = {.data = "", .size = 0};

struct history *history_new(void) {
	struct history *history = calloc(1, sizeof(*history));

	if (history == NULL)
		return NULL;
	history->table_size = FIRST_KEYS;
	history->table = calloc(FIRST_KEYS, sizeof(*history->table));
	history->keys = malloc(FIRST_KEYS / 2 * sizeof(*history->keys));
	if (history->table == NULL || history->keys == NULL) {
		history_free(history);
		return NULL;
	}
	return history;
}

void history_free(struct history *history) {
	if (history == NULL)
		return;
	while (history->chunks != NULL) {
		struct chunk *chunk = history->chunks;
		history->chunks = chunk->next;
		free(chunk);
	}
	free(history->calls);
	free(history->key_of);
	free(history->keys);
	free(history->table);
	free(history->ids);
	free(history);
}

/* Room for `size` more bytes in the first chunk. */
static bool make_room(struct history *history, size_t size) {
	struct chunk *chunk = history->chunks;
	size_t chunk_size = size > CHUNK_SIZE ? size : CHUNK_SIZE;

	if (chunk != NULL && chunk->size - chunk->used >= size)
		return true;
	if (chunk_size > HISTORY_BYTES_MAX - history->bytes)
		return false;
	chunk = malloc(sizeof(*chunk) + chunk_size);
	if (chunk == NULL)
		return false;
	*chunk = (struct chunk){.next = history->chunks, .size = chunk_size};
	history->chunks = chunk;
	history->bytes += chunk_size;
	return true;
}

/* The room was made. */
static struct kv_bytes copy(struct history *history, struct kv_bytes bytes) {
	struct chunk *chunk = history->chunks;
	uint8_t *to = chunk->data + chunk->used;

	if (bytes.size > 0)
		memcpy(to, bytes.data, bytes.size);
	chunk->used += bytes.size;
	return (struct kv_bytes){.data = to, .size = bytes.size};
}

/* FNV-1a: keys are short. */
static size_t hash(struct kv_bytes key) {
	const uint8_t *data = key.data;
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < key.size; i++)
		hash = (hash ^ data[i]) * 1099511628211u;
	return (size_t)(hash ^ hash >> 32);
}

/* Where the key's number is, or would be. */
static size_t find(const struct history *history, struct kv_bytes key) {
	size_t at = hash(key) & (history->table_size - 1);

	while (history->table[at] != 0) {
		const struct kv_bytes *other = &history->keys[history->table[at] - 1];
		if (other->size == key.size && memcmp(other->data, key.data, key.size) == 0)
			break;
		at = (at + 1) & (history->table_size - 1);
	}
	return at;
}

static bool make_room_for_key(struct history *history) {
	size_t size = history->table_size * 2;

	if (history->key_count < history->table_size / 2)
		return true;
	uint32_t *table = calloc(size, sizeof(*table));
	struct kv_bytes *keys = realloc(history->keys, size / 2 * sizeof(*keys));
	if (keys != NULL)
		history->keys = keys;
	if (table == NULL || keys == NULL) {
		free(table);
		return false;
	}
	free(history->table);
	history->table = table;
	history->table_size = size;
	for (size_t i = 0; i < history->key_count; i++)
		table[find(history, keys[i])] = (uint32_t)i + 1;
	return true;
}

static bool make_room_for_call(struct history *history) {
	size_t room = history->room == 0 ? FIRST_CALLS : history->room + history->room / 2;

	if (history->count < history->room)
		return true;
	if (history->count >= HISTORY_CALLS_MAX)
		return false;
	struct history_call *calls = realloc(history->calls, room * sizeof(*calls));
	if (calls != NULL)
		history->calls = calls;
	uint32_t *key_of = realloc(history->key_of, room * sizeof(*key_of));
	if (key_of != NULL)
		history->key_of = key_of;
	if (calls == NULL || key_of == NULL)
		return false;
	history->room = room;
	return true;
}

bool history_add(struct history *history, const struct history_call *call) {
	bool has_got = call->has_got && call->got.size > 0;
	size_t size = call->key.size + call->value.size + (has_got ? call->got.size : 0);

	if (!make_room_for_call(history) || !make_room_for_key(history) ||
	    !make_room(history, size))
		return false;

	size_t at = find(history, call->key);
	struct history_call *added = &history->calls[history->count];
	if (history->table[at] == 0) {
		history->keys[history->key_count++] = copy(history, call->key);
		history->table[at] = (uint32_t)history->key_count;
	}
	*added = *call;
	added->key = history->keys[history->table[at] - 1];
	added->value = copy(history, call->value);
	added->got = has_got ? copy(history, call->got) : nothing;
	history->key_of[history->count++] = history->table[at] - 1;
	history->has_ends = history->has_ends || call->op == HISTORY_DELETE || call->ttl_ms != 0;
	return true;
}

bool history_has_ends(const struct history *history) {
	return history->has_ends;
}

static bool complete(struct history *history, struct history_call *open,
		     const struct history_call *call) {
	size_t size = call->has_got ? call->got.size : 0;

	if (!make_room(history, size))
		return false;
	open->status = call->status;
	open->version = call->version;
	open->position = call->position;
	open->has_got = call->has_got;
	open->got = size > 0 ? copy(history, call->got) : nothing;
	open->return_ns = call->return_ns;
	return true;
}

/* Where the number of the call is, or would be. */
static uint32_t *find_id(const struct history *history, uint64_t client, uint64_t call_ns,
			 unsigned part) {
	uint64_t mixed =
	    (client * 0x9e3779b97f4a7c15u ^ call_ns ^ (uint64_t)part << 56) * 0xbf58476d1ce4e5b9u;
	size_t at = (size_t)(mixed >> 32) & (history->ids_size - 1);

	for (; history->ids[at] != 0; at = (at + 1) & (history->ids_size - 1)) {
		const struct history_call *call = &history->calls[history->ids[at] - 1];
		if (call->client == client && call->call_ns == call_ns && call->part == part)
			break;
	}
	return &history->ids[at];
}

static bool make_room_for_id(struct history *history) {
	uint32_t *old = history->ids;
	size_t old_size = history->ids_size;

	if (history->id_count < old_size / 2)
		return true;
	uint32_t *ids = calloc(old_size == 0 ? FIRST_CALLS : 2 * old_size, sizeof(*ids));
	if (ids == NULL)
		return false;
	history->ids = ids;
	history->ids_size = old_size == 0 ? FIRST_CALLS : 2 * old_size;
	for (size_t i = 0; i < old_size; i++) {
		if (old[i] == 0)
			continue;
		const struct history_call *call = &history->calls[old[i] - 1];
		*find_id(history, call->client, call->call_ns, call->part) = old[i];
	}
	free(old);
	return true;
}

static bool is_same(struct kv_bytes a, struct kv_bytes b) {
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool is_same_call(const struct history_call *a, const struct history_call *b) {
	return a->op == b->op && a->test == b->test && a->expected == b->expected &&
	       a->ttl_ms == b->ttl_ms && is_same(a->key, b->key) && is_same(a->value, b->value);
}

static bool is_same_reply(const struct history_call *a, const struct history_call *b) {
	return a->return_ns == b->return_ns && a->status == b->status && a->version == b->version &&
	       a->position == b->position && a->has_got == b->has_got &&
	       (!a->has_got || is_same(a->got, b->got));
}

static void note_boot(struct history *history, uint64_t boot) {
	size_t i = 0;

	while (boot != 0 && i < HISTORY_BOOTS_MAX && history->boots[i] != boot) {
		if (history->boots[i] == 0)
			history->boots[i] = boot;
		else
			i++;
	}
}

enum history_merge history_merge(struct history *history, const struct history_call *call) {
	uint32_t *id;
	struct history_call *known;

	if (!make_room_for_id(history))
		return HISTORY_NO_ROOM;
	id = find_id(history, call->client, call->call_ns, call->part);
	if (*id == 0) {
		if (!history_add(history, call))
			return HISTORY_NO_ROOM;
		*id = (uint32_t)history->count;
		history->id_count++;
		note_boot(history, call->boot);
		return HISTORY_MERGED;
	}
	known = &history->calls[*id - 1];
	if (!is_same_call(known, call))
		return HISTORY_CONFLICT;
	if (call->return_ns == HISTORY_OPEN)
		return HISTORY_MERGED;
	if (known->return_ns == HISTORY_OPEN)
		return complete(history, known, call) ? HISTORY_MERGED : HISTORY_NO_ROOM;
	return is_same_reply(known, call) ? HISTORY_MERGED : HISTORY_CONFLICT;
}

uint64_t history_boot(const struct history *history, size_t index) {
	return index < HISTORY_BOOTS_MAX ? history->boots[index] : 0;
}

struct history *history_of_boot(const struct history *history, uint64_t boot) {
	struct history *part = history_new();

	for (size_t i = 0; part != NULL && i < history->count; i++) {
		const struct history_call *call = &history->calls[i];
		if ((call->boot == 0 || call->boot == boot) && !history_add(part, call)) {
			history_free(part);
			return NULL;
		}
	}
	return part;
}

size_t history_count(const struct history *history) {
	return history->count;
}

const struct history_call *history_at(const struct history *history, size_t index) {
	return &history->calls[index];
}

size_t history_key_count(const struct history *history) {
	return history->key_count;
}

size_t history_key_of(const struct history *history, size_t index) {
	return history->key_of[index];
}

bool history_write(const struct history *history, FILE *file) {
	bool is_written = true;

	for (size_t i = 0; is_written && i < history->count; i++) {
		size_t size = 0;
		char *line = history_line(&history->calls[i], &size);
		is_written = line != NULL && fwrite(line, 1, size, file) == size;
		free(line);
	}
	return is_written && fflush(file) == 0;
}
