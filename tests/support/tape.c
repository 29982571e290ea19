/* SPDX-License-Identifier: BSD-3-Clause */
#include "tape.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "suite.h"

static uint64_t now_ns(void) {
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct kv_bytes copy(struct kv_bytes from) {
	void *data = malloc(from.size + 1);

	ck_assert_ptr_nonnull(data);
	if (from.size > 0)
		memcpy(data, from.data, from.size);
	return (struct kv_bytes){data, from.size};
}

void tape_begin(struct tape *tape) {
	*tape = (struct tape){.count = 0};
	ck_assert_int_eq(pthread_mutex_init(&tape->mutex, NULL), 0);
}

void tape_call(struct taped *call) {
	call->call_ns = now_ns();
}

void tape_return(struct tape *tape, struct taped *call) {
	struct taped kept = *call;

	call->return_ns = kept.return_ns = now_ns();
	kept.key = copy(call->key);
	kept.value = copy(call->value);
	kept.got = copy(call->got);
	ck_assert_int_eq(pthread_mutex_lock(&tape->mutex), 0);
	if (tape->count == tape->capacity) {
		tape->capacity = tape->capacity == 0 ? 1024 : 2 * tape->capacity;
		tape->calls = realloc(tape->calls, tape->capacity * sizeof kept);
		ck_assert_ptr_nonnull(tape->calls);
	}
	tape->calls[tape->count++] = kept;
	ck_assert_int_eq(pthread_mutex_unlock(&tape->mutex), 0);
}

/* --- Judging -----------------------------------------------------------------------------------
 */

static int compare_bytes(struct kv_bytes a, struct kv_bytes b) {
	int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

	return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* By key, then by the version that the call tells of, a write before the Gets that see it. */
static int by_version(const void *left, const void *right) {
	const struct taped *a = left, *b = right;
	int order = compare_bytes(a->key, b->key);

	if (order != 0)
		return order;
	if (a->version != b->version)
		return a->version < b->version ? -1 : 1;
	return (a->op == TAPED_GET) - (b->op == TAPED_GET);
}

static bool tells(const struct taped *call) {
	return call->status == KV_OK || call->status == KV_VERSION ||
	       (call->status == KV_NOKEY && call->op == TAPED_GET);
}

static bool has_written(const struct taped *call) {
	return call->status == KV_OK && call->op != TAPED_GET;
}

/*
 * Versions say in which order a key's calls took effect, so time must agree: no call may tell of an
 * older version than one that had returned before it was made. `calls` are those of one key.
 */
static void judge_times(const struct taped *calls, size_t count) {
	uint64_t earliest_return = UINT64_MAX; /* of those that tell of a later version */

	for (size_t i = count; i-- > 0;) {
		uint64_t version = calls[i].version;
		size_t first = i;

		while (first > 0 && calls[first - 1].version == version)
			first--;
		for (size_t j = first; j <= i; j++)
			ck_assert_msg(calls[j].call_ns <= earliest_return,
				      "%.*s: version %llu was told after a later one",
				      (int)calls[j].key.size, (const char *)calls[j].key.data,
				      (unsigned long long)version);
		for (size_t j = first; j <= i; j++)
			if (calls[j].return_ns < earliest_return)
				earliest_return = calls[j].return_ns;
		i = first;
	}
}

/* Each version was made once, and whoever saw it saw the same. */
static void judge_values(const struct taped *calls, size_t count) {
	const struct taped *write = NULL;

	for (size_t i = 0; i < count; i++) {
		const struct taped *call = &calls[i];

		if (has_written(call)) {
			ck_assert_msg(write == NULL || write->version != call->version,
				      "version %llu was made twice",
				      (unsigned long long)call->version);
			ck_assert(call->expected == KV_ANY || call->expected + 1 == call->version);
			write = call;
		} else if (call->op == TAPED_GET && call->status == KV_OK && write != NULL &&
			   write->version == call->version && write->op == TAPED_PUT) {
			ck_assert_int_eq(compare_bytes(call->got, write->value), 0);
		} else if (call->op == TAPED_GET && call->status == KV_OK && write != NULL &&
			   write->version == call->version && write->has_old) {
			ck_assert_uint_eq(call->got.size, write->got.size + write->value.size);
			ck_assert_mem_eq(call->got.data, write->got.data, write->got.size);
		}
	}
}

void tape_judge(struct tape *tape) {
	size_t told = 0;

	for (size_t i = 0; i < tape->count; i++)
		if (tells(&tape->calls[i]))
			tape->calls[told++] = tape->calls[i];
	if (told > 0)
		qsort(tape->calls, told, sizeof *tape->calls, by_version);
	for (size_t i = 0, first = 0; i < told; i++) {
		if (i + 1 < told && compare_bytes(tape->calls[i].key, tape->calls[i + 1].key) == 0)
			continue;
		judge_times(tape->calls + first, i + 1 - first);
		judge_values(tape->calls + first, i + 1 - first);
		first = i + 1;
	}
}
