/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOT_FIXTURE_H
#define SNAPSHOT_FIXTURE_H

/* snapshot_fixture.h - for the tests of snapshots: bytes in memory, and services of the same store.
 */

#include "core/fixture.h"
#include "prng.h"

struct bytes {
	uint8_t *data;
	size_t size;
	size_t room;
	size_t at; /* read so far */
	size_t limit;
	bool is_limited;
};

static inline bool bytes_put(void *context, const void *data, size_t size) {
	struct bytes *bytes = context;

	if (bytes->is_limited && size > bytes->limit - bytes->size)
		return false;
	if (size > bytes->room - bytes->size) {
		bytes->room = 2 * bytes->room + size;
		bytes->data = realloc(bytes->data, bytes->room);
		ck_assert_ptr_nonnull(bytes->data);
	}
	memcpy(bytes->data + bytes->size, data, size);
	bytes->size += size;
	return true;
}

static inline bool bytes_get(void *context, void *data, size_t size) {
	struct bytes *bytes = context;

	if (size > bytes->size - bytes->at)
		return false;
	memcpy(data, bytes->data + bytes->at, size);
	bytes->at += size;
	return true;
}

static inline void bytes_free(struct bytes *bytes) {
	free(bytes->data);
	*bytes = (struct bytes){0};
}

/* `bytes` becomes the state of the service, and nothing else. */
static inline void save(const struct service *service, struct bytes *bytes) {
	bytes->size = 0;
	ck_assert_int_eq(service_save(service, bytes_put, bytes), STATE_DONE);
}

static inline enum state_result load(struct service *service, const struct bytes *bytes) {
	struct bytes reading = {.data = bytes->data, .size = bytes->size};

	return service_load(service, STATE_FORMAT, reading.size, bytes_get, &reading);
}

/* An empty service of the same store, as after a restart. */
static inline struct service *another(const struct service *like) {
	struct server_identity identity = *service_identity(like);

	identity.seed++;
	struct service *service = service_new(&identity, service_limits(like), NULL);
	ck_assert_ptr_nonnull(service);
	return service;
}

#if defined(__has_feature)
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif

/* By a sanitizer, or by whatever runs it: then no figure is its own. */
static inline bool is_slowed_down(void) {
	const char *wrapper = getenv("WRAPPER");
	bool is_instrumented = HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer);

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	is_instrumented = true;
#endif
	return is_instrumented || (wrapper != NULL && wrapper[0] != '\0');
}

/* A few hundred bytes with everything in them: entries, views of them, kept values, a refusal. */
static inline void make_small(struct world *world) {
	uint64_t client = open_session(world, 1);
	uint64_t other = open_session(world, 2);
	struct operation calls[] = {
	    append_call(client, 1, "key", "first "),   append_call(client, 2, "key", "second"),
	    append_call(other, 7, "other", "value"),   append_call(other, 8, "other", "more"),
	    append_call(client, 1, "other", "!"),      put_call(client, 1, "key", "new"),
	    put_call(other, 9, "nothing here", "..."),
	};

	calls[4].slot = 5;
	calls[5].slot = 2;
	calls[6].slot = 63;
	calls[6].expected = 77;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		(void)status_of(world, &calls[i]);
	(void)open_session(world, 3);
}

#endif
