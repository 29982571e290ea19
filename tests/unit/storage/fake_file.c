/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fake_disk.h"

void *resized(void *block, size_t size) {
	void *larger = realloc(block, size + 1);

	/* Once more: a test may refuse an allocation to what it tests, and it is not this one. */
	if (larger == NULL)
		larger = realloc(block, size + 1);
	assert(larger != NULL);
	return larger;
}

static void bytes_resize(struct bytes *bytes, size_t size) {
	bytes->data = resized(bytes->data, size);
	if (size > bytes->size)
		memset(bytes->data + bytes->size, 0, size - bytes->size);
	bytes->size = size;
}

static void bytes_write(struct bytes *bytes, size_t offset, const void *data, size_t size) {
	if (size == 0)
		return;
	if (offset + size > bytes->size)
		bytes_resize(bytes, offset + size);
	memcpy(bytes->data + offset, data, size);
}

static struct bytes bytes_clone(struct bytes from) {
	struct bytes bytes = {.data = resized(NULL, from.size), .size = from.size};

	if (from.size > 0)
		memcpy(bytes.data, from.data, from.size);
	return bytes;
}

static void body_forget_pending(struct body *body) {
	for (size_t i = 0; i < body->pending_count; i++)
		free(body->pending[i].bytes.data);
	free(body->pending);
	body->pending = NULL;
	body->pending_count = 0;
}

struct body *body_new(void) {
	struct body *body = resized(NULL, sizeof(*body));

	*body = (struct body){.holders = 1};
	return body;
}

void body_drop(struct body *body) {
	if (body == NULL || --body->holders > 0)
		return;
	body_forget_pending(body);
	free(body->cache.data);
	free(body->disk.data);
	free(body);
}

struct body *body_own(struct body **place) {
	struct body *shared = *place;
	struct body *body;

	if (shared->holders == 1)
		return shared;
	body = body_new();
	body->is_in_place = shared->is_in_place;
	body->cache = bytes_clone(shared->cache);
	body->disk = bytes_clone(shared->disk);
	body->pending_count = shared->pending_count;
	body->pending = resized(NULL, body->pending_count * sizeof(*body->pending));
	for (size_t i = 0; i < body->pending_count; i++)
		body->pending[i] = (struct pending){shared->pending[i].offset,
						    bytes_clone(shared->pending[i].bytes)};
	body_drop(shared);
	*place = body;
	return body;
}

void body_write(struct body *body, size_t offset, const void *data, size_t size) {
	struct bytes bytes = {.data = resized(NULL, size), .size = size};

	memcpy(bytes.data, data, size);
	bytes_write(&body->cache, offset, data, size);
	body->pending = resized(body->pending, (body->pending_count + 1) * sizeof(*body->pending));
	body->pending[body->pending_count++] = (struct pending){offset, bytes};
}

/* The sectors of one write that are kept reach the disk, as far as the file reaches. */
static size_t settle_write(struct body *body, const struct pending *write, size_t thing,
			   keep_function *keep, void *context) {
	size_t end = write->offset + write->bytes.size;

	for (size_t at = write->offset; at < end; thing++) {
		size_t next = (at / FAKE_SECTOR + 1) * FAKE_SECTOR;

		next = next < end ? next : end;
		if (keep != NULL && keep(context, thing) && at < body->disk.size)
			memcpy(body->disk.data + at, write->bytes.data + (at - write->offset),
			       (next < body->disk.size ? next : body->disk.size) - at);
		at = next;
	}
	return thing;
}

size_t body_settle(struct body *body, size_t thing, keep_function *keep, void *context) {
	size_t reach = body->disk.size;

	for (size_t i = 0; i < body->pending_count; i++) {
		const struct pending *write = &body->pending[i];
		size_t end = write->offset + write->bytes.size;

		if (end > reach) {
			reach = end;
			if (keep != NULL && keep(context, thing) && end > body->disk.size)
				bytes_resize(&body->disk, end);
			thing++;
		}
		thing = settle_write(body, write, thing, keep, context);
	}
	if (keep != NULL)
		body_forget_pending(body);
	return thing;
}

void body_evict(struct body *body) {
	free(body->cache.data);
	body->cache = bytes_clone(body->disk);
	for (size_t i = 0; i < body->pending_count; i++)
		bytes_write(&body->cache, body->pending[i].offset, body->pending[i].bytes.data,
			    body->pending[i].bytes.size);
}

void body_poke(struct body *body, size_t offset, const void *data, size_t size) {
	bytes_write(&body->cache, offset, data, size);
	bytes_write(&body->disk, offset, data, size);
}

void body_resize(struct body *body, size_t size) {
	bytes_resize(&body->cache, size);
	bytes_resize(&body->disk, size);
}
