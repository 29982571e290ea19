/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * state_fuzz.c - whatever stands in a snapshot whose checksums are right: it is refused, or it is a
 * state, and then one that can be saved and loaded again and used.
 */

#include <stdlib.h>
#include <string.h>

#include "core/service.h"
#include "fuzz.h"

struct bytes {
	uint8_t *data;
	size_t size;
	size_t at;
	size_t room;
};

static bool get(void *context, void *data, size_t size) {
	struct bytes *bytes = context;

	if (size > bytes->size - bytes->at)
		return false;
	memcpy(data, bytes->data + bytes->at, size);
	bytes->at += size;
	return true;
}

static bool put(void *context, const void *data, size_t size) {
	struct bytes *bytes = context;

	/* What no slot sees of a kept value is dropped, and nothing becomes longer. */
	must(size <= bytes->room - bytes->size);
	memcpy(bytes->data + bytes->size, data, size);
	bytes->size += size;
	return true;
}

static struct service *make(void) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = 4096, .memory_max = 1 << 20, .sessions_max = 4, .lease_ms = 1000};
	struct service *service = service_new(&identity, &limits, NULL);

	must(service != NULL);
	return service;
}

static void use(struct service *service) {
	static const struct operation append = {.kind = OPERATION_APPEND,
						.client_id = 1,
						.slot = 0,
						.seq = UINT64_MAX,
						.expected = VERSION_ANY,
						.key = {.data = "k", .size = 1},
						.value = {.data = "value", .size = 5},
						.want_old = true};
	struct reply reply;

	service_run(service, 0, &append, UINT32_MAX, 0, &reply);
	reply_drop(service_memory(service), &reply);
	(void)service_expire(service, 1, service_time(service));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct bytes input = {.size = size};
	struct bytes again = {.room = size};
	struct service *service = make();

	input.data = malloc(size + 1);
	again.data = malloc(size + 1);
	must(input.data != NULL && again.data != NULL);
	if (size > 0)
		memcpy(input.data, data, size);
	enum state_result answer = service_load(service, STATE_FORMAT, size, get, &input);
	must(answer != STATE_NO_MEMORY);
	if (answer == STATE_DONE) {
		struct service *other = make();
		must(service_save(service, put, &again) == STATE_DONE);
		must(service_load(other, STATE_FORMAT, again.size, get, &again) == STATE_DONE);
		must(service_memory(other)->used <= service_memory(service)->used);
		use(other);
		service_free(other);
		use(service);
	}
	service_free(service);
	free(input.data);
	free(again.data);
	return 0;
}
