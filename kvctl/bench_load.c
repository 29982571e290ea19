/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench_load.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "timing.h"

struct load_thread {
	struct load *load;
	struct kv_client *client;
	unsigned number;
	bool fills;
	bool is_made;
	pthread_t thread;
	_Atomic bool is_done;
	uint64_t seed;
	uint64_t conflicts;
	char key[KV_KEY_MAX];
	struct histogram latencies[WORKS];
};

static struct kv_bytes name_key(struct load_thread *thread, uint64_t key) {
	size_t size = strlen(thread->load->prefix);

	memcpy(thread->key, thread->load->prefix, size);
	workload_digits(key, thread->key + size);
	return (struct kv_bytes){thread->key, size + WORKLOAD_DIGITS};
}

/* Notes the first failure and ends the load. */
static void fail(struct load_thread *thread, enum kv_status status) {
	struct load *load = thread->load;

	if (!atomic_exchange(&load->has_failed, true)) {
		load->status = status;
		load->failed_client = thread->client;
	}
	atomic_store(&load->is_over, true);
}

/* The key of an INSERT is chosen by other threads before the INSERT is done. */
static bool is_being_inserted(const struct load_thread *thread, enum kv_status status) {
	return status == KV_NOKEY && thread->load->workload.shares[WORK_INSERT] != 0;
}

static enum kv_status modify(struct load_thread *thread, struct kv_bytes key,
			     struct kv_value *value) {
	struct kv_bytes next = thread->load->value;
	enum kv_status status = kv_get(thread->client, key, value);

	if (status == KV_OK)
		status = kv_put(thread->client, key, next, value->version, NULL);
	else if (is_being_inserted(thread, status))
		return KV_OK;
	if (status != KV_VERSION)
		return status;
	thread->conflicts++;
	return KV_OK;
}

static enum kv_status work_on(struct load_thread *thread, enum op_type work, struct kv_bytes key) {
	struct kv_bytes value = thread->load->value;
	struct kv_value answer = {.data = NULL};
	enum kv_status status = KV_OK;

	switch (work) {
	case WORK_NULL:
		status = kv_ping(thread->client);
		break;
	case WORK_GET:
		status = kv_get(thread->client, key, &answer);
		if (is_being_inserted(thread, status))
			status = KV_OK;
		break;
	case WORK_PUT:
	case WORK_INSERT:
		status = kv_put(thread->client, key, value, KV_ANY, NULL);
		break;
	case WORK_APPEND:
		status = kv_append(thread->client, key, value, KV_ANY, NULL, NULL);
		break;
	case WORK_MODIFY:
		status = modify(thread, key, &answer);
		break;
	}
	kv_value_free(&answer);
	return status;
}

static void fill(struct load_thread *thread) {
	struct load *load = thread->load;

	while (!atomic_load(&load->is_over)) {
		uint64_t number = atomic_fetch_add(&load->next_key, 1);
		if (number >= load->workload.keys)
			return;
		struct kv_bytes key = name_key(thread, number);
		enum kv_status status = kv_put(thread->client, key, load->value, KV_ANY, NULL);
		if (status != KV_OK)
			fail(thread, status);
		(void)atomic_fetch_add(&load->answered, 1);
	}
}

static void make_calls(struct load_thread *thread) {
	struct load *load = thread->load;
	double interval_ms = load->rate > 0 ? load->threads * 1e3 / load->rate : 0;
	/* The threads take turns, instead of all at once. */
	double due_ms = load->begin_ms + interval_ms * thread->number / load->threads;

	for (; !atomic_load(&load->is_over); due_ms += interval_ms) {
		double begin_ms = timing_now_ms();
		if (interval_ms > 0) {
			timing_sleep_until_ms(due_ms < load->end_ms ? due_ms : load->end_ms);
			begin_ms = due_ms;
		}
		if (begin_ms >= load->end_ms || timing_now_ms() >= load->end_ms)
			return;
		uint64_t number = 0;
		enum op_type work = workload_next(&load->workload, &thread->seed, &number);
		enum kv_status status = work_on(thread, work, name_key(thread, number));
		double took_ms = timing_now_ms() - begin_ms;
		if (status != KV_OK) {
			fail(thread, status);
			return;
		}
		histogram_add(&thread->latencies[work], (uint64_t)(took_ms * 1e6));
		(void)atomic_fetch_add_explicit(&load->answered, 1, memory_order_relaxed);
	}
}

static void *run_thread(void *context) {
	struct load_thread *thread = context;

	if (thread->fills)
		fill(thread);
	else
		make_calls(thread);
	atomic_store(&thread->is_done, true);
	return NULL;
}

bool load_start(struct load *load, struct kv_client *const clients[], bool fills) {
	load->members = calloc(load->threads, sizeof(*load->members));
	load->latencies = calloc(WORKS, sizeof(*load->latencies));
	if (load->members == NULL || load->latencies == NULL)
		return false;
	atomic_store(&load->answered, 0);
	load->begin_ms = timing_now_ms();
	load->end_ms = load->begin_ms + load->duration_ms;
	for (unsigned i = 0; i < load->threads; i++) {
		struct load_thread *thread = &load->members[i];
		thread->load = load;
		thread->client = clients[i];
		thread->number = i;
		thread->fills = fills;
		thread->seed = i;
		thread->is_made = pthread_create(&thread->thread, NULL, run_thread, thread) == 0;
		if (!thread->is_made) {
			atomic_store(&load->is_over, true);
			return false;
		}
	}
	return true;
}

bool load_is_done(struct load *load, unsigned wait_ms) {
	double until_ms = timing_now_ms() + wait_ms;

	for (;;) {
		unsigned done = 0;
		for (unsigned i = 0; i < load->threads; i++)
			done += atomic_load(&load->members[i].is_done);
		double now_ms = timing_now_ms();
		if (done == load->threads || now_ms >= until_ms)
			return done == load->threads;
		timing_sleep_until_ms(now_ms + 10);
	}
}

bool load_wait(struct load *load) {
	for (unsigned i = 0; load->members != NULL && i < load->threads; i++) {
		struct load_thread *thread = &load->members[i];
		if (!thread->is_made)
			continue;
		(void)pthread_join(thread->thread, NULL);
		thread->is_made = false;
		load->conflicts += thread->conflicts;
		for (unsigned work = 0; work < WORKS; work++)
			histogram_merge(&load->latencies[work], &thread->latencies[work]);
	}
	load->end_ms = timing_now_ms();
	return !atomic_load(&load->has_failed);
}

void load_free(struct load *load) {
	free(load->members);
	free(load->latencies);
	load->members = NULL;
	load->latencies = NULL;
}
