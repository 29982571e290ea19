/* SPDX-License-Identifier: BSD-3-Clause */
#include "load_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	THREADS = 32,	       /* each with one transaction under way */
	BATCH_BYTES = 1 << 18, /* of keys and values that are written together, or one entry */
};

/* Entries that are written together. */
struct batch {
	struct load_entry entries[KV_CHANGES_MAX];
	uint64_t lines[KV_CHANGES_MAX];
	size_t count, bytes;
};

/*
 * `filling` belongs to the thread that hands in entries, `writing` to the writer. The mutex guards
 * the rest. One batch is filled, one is queued, one is written: that is all the memory.
 */
struct writer {
	struct load_pool *pool;
	pthread_t thread;
	bool is_started;
	struct batch *filling, *queued, *writing;
	bool has_queued;
	bool is_over; /* after what is queued */
	pthread_mutex_t mutex;
	pthread_cond_t changed;
};

struct load_pool {
	struct kv_client *client;
	enum load_mode mode;
	struct writer writers[THREADS];
	atomic_uint_fast64_t written, kept;
	atomic_bool has_failed, is_cancelled;
	struct load_failure failure; /* whose thread set has_failed */
};

/* --- Writing --------------------------------------------------------------------------------- */

static void batch_clear(struct batch *batch) {
	for (size_t i = 0; i < batch->count; i++)
		free(batch->entries[i].memory);
	batch->count = batch->bytes = 0;
}

static void fail(struct load_pool *pool, const struct batch *batch, size_t at,
		 enum kv_status status, uint64_t current) {
	const struct load_entry *entry = &batch->entries[at];

	if (atomic_exchange(&pool->is_cancelled, true))
		return;
	pool->failure = (struct load_failure){.line = batch->lines[at],
					      .status = status,
					      .current = current,
					      .value_size = entry->value.size,
					      .key_size = entry->key.size};
	memcpy(pool->failure.key, entry->key.data, entry->key.size);
	atomic_store(&pool->has_failed, true);
}

static enum kv_status write_entries(struct load_pool *pool, const struct load_entry *entries,
				    size_t count, uint64_t *current) {
	struct kv_condition conditions[KV_CONDITIONS_MAX];
	struct kv_change changes[KV_CHANGES_MAX];
	struct kv_txn txn = {
	    .conditions = conditions,
	    .condition_count = pool->mode == LOAD_OVERWRITE ? 0 : count,
	    .changes = changes,
	    .change_count = count,
	};

	for (size_t i = 0; i < count; i++)
		changes[i] = (struct kv_change){.kind = KV_CHANGE_PUT,
						.key = entries[i].key,
						.value = entries[i].value,
						.ttl_ms = entries[i].ttl_ms};
	for (size_t i = 0; i < txn.condition_count; i++)
		conditions[i] =
		    (struct kv_condition){.test = KV_AT, .key = entries[i].key, .version = 0};
	enum kv_status status = kv_txn(pool->client, &txn);
	*current = txn.current;
	return status;
}

static bool is_same(struct kv_bytes value, const struct kv_value *found) {
	return value.size == found->size &&
	       (value.size == 0 || memcmp(value.data, found->data, value.size) == 0);
}

/* One entry by itself. KV_VERSION: the key has another value. */
static enum kv_status write_one(struct load_pool *pool, const struct load_entry *entry,
				uint64_t *current, bool *is_kept) {
	struct kv_value found;
	enum kv_status status;

	*is_kept = false;
	/* Again if it went in between. */
	do {
		status = write_entries(pool, entry, 1, current);
		if (status != KV_UNMET)
			return status;
		*is_kept = true;
		if (pool->mode == LOAD_CREATE)
			return KV_OK;
		status = kv_get(pool->client, entry->key, &found);
	} while (status == KV_NOKEY);
	if (status != KV_OK)
		return status;
	*current = found.version;
	status = is_same(entry->value, &found) ? KV_OK : KV_VERSION;
	kv_value_free(&found);
	return status;
}

/* Whether the entries for themselves may fare better, or say which of them it is. */
static bool is_refusal(enum kv_status status) {
	return status == KV_UNMET || status == KV_TOOBIG || status == KV_INVALID ||
	       status == KV_FULL;
}

static void write_batch(struct load_pool *pool, const struct batch *batch) {
	uint64_t current = 0;
	enum kv_status status = KV_UNMET;

	if (batch->count > 1)
		status = write_entries(pool, batch->entries, batch->count, &current);
	if (status == KV_OK) {
		(void)atomic_fetch_add(&pool->written, batch->count);
		return;
	}
	if (!is_refusal(status)) {
		fail(pool, batch, 0, status, 0);
		return;
	}
	for (size_t i = 0; i < batch->count && !atomic_load(&pool->is_cancelled); i++) {
		bool is_kept = false;

		status = write_one(pool, &batch->entries[i], &current, &is_kept);
		if (status != KV_OK)
			fail(pool, batch, i, status, current);
		else
			(void)atomic_fetch_add(is_kept ? &pool->kept : &pool->written, 1);
	}
}

static void *run(void *context) {
	struct writer *writer = context;

	(void)pthread_mutex_lock(&writer->mutex);
	for (;;) {
		while (!writer->has_queued && !writer->is_over)
			(void)pthread_cond_wait(&writer->changed, &writer->mutex);
		if (!writer->has_queued)
			break;
		struct batch *batch = writer->queued;
		writer->queued = writer->writing;
		writer->writing = batch;
		writer->has_queued = false;
		(void)pthread_cond_signal(&writer->changed);
		(void)pthread_mutex_unlock(&writer->mutex);
		if (!atomic_load(&writer->pool->is_cancelled))
			write_batch(writer->pool, batch);
		batch_clear(batch);
		(void)pthread_mutex_lock(&writer->mutex);
	}
	(void)pthread_mutex_unlock(&writer->mutex);
	return NULL;
}

/* --- Handing in ------------------------------------------------------------------------------ */

static void queue_batch(struct writer *writer) {
	struct batch *filled = writer->filling;

	(void)pthread_mutex_lock(&writer->mutex);
	while (writer->has_queued)
		(void)pthread_cond_wait(&writer->changed, &writer->mutex);
	writer->filling = writer->queued;
	writer->queued = filled;
	writer->has_queued = true;
	(void)pthread_cond_signal(&writer->changed);
	(void)pthread_mutex_unlock(&writer->mutex);
}

/* FNV-1a. */
static struct writer *writer_of(struct load_pool *pool, struct kv_bytes key) {
	const unsigned char *bytes = key.data;
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < key.size; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	return &pool->writers[(hash >> 32) % THREADS];
}

/* A transaction changes a key once. */
static bool has_key(const struct batch *batch, struct kv_bytes key) {
	for (size_t i = 0; i < batch->count; i++) {
		const struct kv_bytes other = batch->entries[i].key;

		if (other.size == key.size && memcmp(other.data, key.data, key.size) == 0)
			return true;
	}
	return false;
}

bool load_pool_add(struct load_pool *pool, struct load_entry *entry, uint64_t line) {
	const size_t count_max = pool->mode == LOAD_OVERWRITE ? KV_CHANGES_MAX : KV_CONDITIONS_MAX;
	const size_t bytes = entry->key.size + entry->value.size;
	struct writer *writer = writer_of(pool, entry->key);

	if (writer->filling->count == count_max || has_key(writer->filling, entry->key) ||
	    (writer->filling->count > 0 && writer->filling->bytes + bytes > BATCH_BYTES))
		queue_batch(writer);
	struct batch *batch = writer->filling;
	batch->entries[batch->count] = *entry;
	batch->lines[batch->count++] = line;
	batch->bytes += bytes;
	entry->memory = NULL;
	return !atomic_load(&pool->is_cancelled);
}

/* --- Beginning and end ----------------------------------------------------------------------- */

static bool start(struct load_pool *pool, struct writer *writer) {
	writer->pool = pool;
	writer->filling = calloc(1, sizeof(*writer->filling));
	writer->queued = calloc(1, sizeof(*writer->queued));
	writer->writing = calloc(1, sizeof(*writer->writing));
	(void)pthread_mutex_init(&writer->mutex, NULL);
	(void)pthread_cond_init(&writer->changed, NULL);
	writer->is_started = writer->filling != NULL && writer->queued != NULL &&
			     writer->writing != NULL &&
			     pthread_create(&writer->thread, NULL, run, writer) == 0;
	return writer->is_started;
}

struct load_pool *load_pool_new(struct kv_client *client, enum load_mode mode) {
	struct load_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pool->client = client;
	pool->mode = mode;
	for (size_t i = 0; i < THREADS; i++) {
		if (start(pool, &pool->writers[i]))
			continue;
		(void)load_pool_end(pool, false, NULL);
		load_pool_free(pool);
		return NULL;
	}
	return pool;
}

bool load_pool_end(struct load_pool *pool, bool finishes, struct load_failure *failure) {
	if (!finishes)
		atomic_store(&pool->is_cancelled, true);
	for (size_t i = 0; i < THREADS; i++) {
		struct writer *writer = &pool->writers[i];

		if (!writer->is_started)
			continue;
		if (writer->filling->count > 0)
			queue_batch(writer);
		(void)pthread_mutex_lock(&writer->mutex);
		writer->is_over = true;
		(void)pthread_cond_signal(&writer->changed);
		(void)pthread_mutex_unlock(&writer->mutex);
	}
	for (size_t i = 0; i < THREADS; i++) {
		if (pool->writers[i].is_started)
			(void)pthread_join(pool->writers[i].thread, NULL);
		pool->writers[i].is_started = false;
	}
	if (atomic_load(&pool->has_failed) && failure != NULL)
		*failure = pool->failure;
	return !atomic_load(&pool->has_failed);
}

uint64_t load_pool_written(const struct load_pool *pool) {
	return atomic_load(&pool->written);
}

uint64_t load_pool_kept(const struct load_pool *pool) {
	return atomic_load(&pool->kept);
}

void load_pool_free(struct load_pool *pool) {
	if (pool == NULL)
		return;
	for (size_t i = 0; i < THREADS; i++) {
		free(pool->writers[i].filling);
		free(pool->writers[i].queued);
		free(pool->writers[i].writing);
	}
	free(pool);
}
