/* SPDX-License-Identifier: BSD-3-Clause */
#include "deeds.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

struct deeds {
	struct deed *list;
	size_t count;
	size_t room;
	uint64_t moment;
	size_t last[256]; /* of each worker, from 1 */
	uint64_t (*life)(void *context);
	void *context;
};

/* Of the one world: kv_get() and kv_put() have no argument for it. */
static struct deeds *all;

struct deeds *deeds_new(void) {
	return or_die(calloc(1, sizeof(struct deeds)));
}

void deeds_free(struct deeds *deeds) {
	if (deeds == NULL)
		return;
	for (size_t i = 0; i < deeds->count; i++) {
		free(deeds->list[i].value);
		free(deeds->list[i].seen);
	}
	free(deeds->list);
	free(deeds);
}

void deeds_set(struct deeds *deeds, uint64_t (*life)(void *context), void *context) {
	all = deeds;
	if (deeds == NULL)
		return;
	deeds->life = life;
	deeds->context = context;
}

size_t deeds_count(const struct deeds *deeds) {
	return deeds->count;
}

const struct deed *deeds_at(const struct deeds *deeds, size_t index) {
	return &deeds->list[index];
}

void deeds_end(struct deeds *deeds) {
	for (size_t i = 0; i < deeds->count; i++)
		if (deeds->list[i].is_open)
			deeds->list[i].last_life = deeds->life(deeds->context);
}

/* Later ones of the same millisecond come later; there are never a million of them. */
uint64_t deeds_moment(void) {
	uint64_t least = world()->now_ms * 1000000;

	all->moment = all->moment + 1 > least ? all->moment + 1 : least;
	return all->moment;
}

static uint8_t *copy(const void *data, size_t size) {
	uint8_t *bytes = or_die(malloc(size + 1));

	if (size > 0)
		memcpy(bytes, data, size);
	bytes[size] = '\0';
	return bytes;
}

static const struct maker *maker(void) {
	return task_context(task_self());
}

const struct deed *deeds_last(void) {
	return &all->list[all->last[maker()->worker]];
}

/* Answers its index: the list moves as it grows. */
static size_t begin(enum deed_kind kind, const char *key, struct kv_bytes value,
		    uint64_t expected) {
	struct deed *deed;

	if (all->count == all->room) {
		all->room = 2 * all->room + 256;
		all->list = or_die(realloc(all->list, all->room * sizeof(*all->list)));
	}
	deed = &all->list[all->count];
	*deed = (struct deed){.worker = maker()->worker,
			      .kind = kind,
			      .is_open = true,
			      .value = copy(value.data, value.size),
			      .value_size = value.size,
			      .expected = expected,
			      .called = deeds_moment(),
			      .first_life = all->life(all->context)};
	(void)snprintf(deed->key, sizeof(deed->key), "%s", key);
	all->last[deed->worker] = all->count;
	*task_note(task_self()) = 0;
	world()->figures.operations++;
	return all->count++;
}

static const char *word_of(enum deed_kind kind) {
	switch (kind) {
	case DEED_GET:
		return "get";
	case DEED_PUT:
		return "put";
	case DEED_APPEND:
		return "append";
	}
	return "";
}

static void say_expected(char text[32], uint64_t expected) {
	if (expected == KV_ANY)
		(void)snprintf(text, 32, "any");
	else
		(void)snprintf(text, 32, "%" PRIu64, expected);
}

static void end(size_t index, enum kv_status status, uint64_t version,
		const struct kv_value *seen) {
	struct deed *deed = &all->list[index];
	char expected[32];

	/* What the dead are told, nobody hears. */
	if (maker()->host->is_dead)
		return;
	world()->figures.done += status == KV_OK;
	deed->is_open = false;
	deed->status = status;
	deed->version = version;
	deed->returned = deeds_moment();
	deed->last_life = all->life(all->context);
	deed->heard_life = *task_note(task_self());
	if (seen != NULL) {
		deed->seen = copy(seen->data, seen->size);
		deed->seen_size = seen->size;
		deed->seen_version = seen->version;
	}
	say_expected(expected, deed->expected);
	world_say("worker %u: %s %s \"%.24s\" at %s: %s, version %" PRIu64 ", sees \"%.40s\"",
		  deed->worker, word_of(deed->kind), deed->key, (const char *)deed->value, expected,
		  kv_status_name(status), version,
		  deed->seen != NULL ? (const char *)deed->seen : "");
}

enum kv_status deed_get(struct kv_client *client, const char *key, struct kv_value *value) {
	size_t index = begin(DEED_GET, key, (struct kv_bytes){NULL, 0}, KV_ANY);
	enum kv_status status = kv_get(client, (struct kv_bytes){key, strlen(key)}, value);

	end(index, status, value->version, value);
	return status;
}

enum kv_status deed_put(struct kv_client *client, const char *key, struct kv_bytes value,
			uint64_t expected, uint64_t *version) {
	size_t index = begin(DEED_PUT, key, value, expected);
	enum kv_status status =
	    kv_put(client, (struct kv_bytes){key, strlen(key)}, value, expected, version);

	end(index, status, *version, NULL);
	return status;
}

enum kv_status deed_append(struct kv_client *client, const char *key, struct kv_bytes value,
			   uint64_t expected, struct kv_value *old, uint64_t *version) {
	size_t index = begin(DEED_APPEND, key, value, expected);
	enum kv_status status =
	    kv_append(client, (struct kv_bytes){key, strlen(key)}, value, expected, old, version);

	end(index, status, *version, old);
	return status;
}

/* --- The lock's calls: linked in place of kv_get() and kv_put() ---------------------------------
 */

enum kv_status __wrap_kv_get(struct kv_client *client, struct kv_bytes key, struct kv_value *value);
enum kv_status __wrap_kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			     uint64_t expected, uint64_t *version);

static void text_of(struct kv_bytes key, char text[DEED_KEY_MAX]) {
	(void)snprintf(text, DEED_KEY_MAX, "%.*s", (int)key.size, (const char *)key.data);
}

enum kv_status __wrap_kv_get(struct kv_client *client, struct kv_bytes key,
			     struct kv_value *value) {
	char text[DEED_KEY_MAX];

	text_of(key, text);
	return deed_get(client, text, value);
}

enum kv_status __wrap_kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			     uint64_t expected, uint64_t *version) {
	char text[DEED_KEY_MAX];

	text_of(key, text);
	return deed_put(client, text, value, expected, version);
}
