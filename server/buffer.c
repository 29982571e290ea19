/* SPDX-License-Identifier: BSD-3-Clause */
#include "buffer.h"

#include <assert.h>
#include <string.h>

/*
 * A buffer is one block, because most values are small and are never appended to. Its bytes move
 * into a block of their own when they outgrow it, or from the start if they are many: others may
 * hold the buffer, so the header stays where it is.
 */
enum {
	NEAR_MAX = 1024, /* bytes; what is left unused when a shared buffer outgrows its block */
};

struct buffer {
	uint32_t count; /* views */
	uint32_t size : 31;
	uint32_t is_far : 1;
	/* Here follow the bytes, or a struct far. */
};

/* Invariant: capacity >= size. */
struct far {
	unsigned char *bytes;
	uint32_t capacity;
	uint32_t block_size; /* of the block that the header and this are in */
};

static struct far *far_of(struct buffer *buffer) {
	return (struct far *)(buffer + 1);
}

/* A near buffer has no capacity field: it follows from the size, and never changes. */
static size_t near_block_size(size_t size) {
	return memory_round(sizeof(struct buffer) +
			    (size < sizeof(struct far) ? sizeof(struct far) : size));
}

static size_t far_block_size(void) {
	return near_block_size(0);
}

static size_t block_size(struct buffer *buffer) {
	return buffer->is_far ? far_of(buffer)->block_size : near_block_size(buffer->size);
}

static size_t capacity(struct buffer *buffer) {
	return buffer->is_far ? far_of(buffer)->capacity
			      : near_block_size(buffer->size) - sizeof(struct buffer);
}

static unsigned char *bytes_of(struct buffer *buffer) {
	return buffer->is_far ? far_of(buffer)->bytes : (unsigned char *)(buffer + 1);
}

/* Half as much again, so that appending n bytes one by one moves O(n) of them. */
static size_t grown_capacity(struct buffer *buffer, size_t more) {
	size_t needed = buffer->size + more;
	size_t generous = buffer->size + buffer->size / 2;

	return memory_round(needed > generous ? needed : generous);
}

static struct buffer *make_near(struct memory *memory, size_t size) {
	struct buffer *buffer = memory_allocate(memory, near_block_size(size));

	if (buffer != NULL)
		*buffer = (struct buffer){.count = 1, .size = (uint32_t)size};
	return buffer;
}

static struct buffer *make_far(struct memory *memory, size_t size, size_t far_capacity) {
	struct buffer *buffer = memory_allocate(memory, far_block_size());

	if (buffer == NULL)
		return NULL;
	unsigned char *bytes = memory_allocate(memory, far_capacity);
	if (bytes == NULL) {
		memory_free(memory, buffer, far_block_size());
		return NULL;
	}
	*buffer = (struct buffer){.count = 1, .size = (uint32_t)size, .is_far = 1};
	*far_of(buffer) = (struct far){
	    .bytes = bytes,
	    .capacity = (uint32_t)far_capacity,
	    .block_size = (uint32_t)far_block_size(),
	};
	return buffer;
}

static void free_buffer(struct memory *memory, struct buffer *buffer) {
	size_t size = block_size(buffer);

	if (buffer->is_far)
		memory_free(memory, far_of(buffer)->bytes, far_of(buffer)->capacity);
	memory_free(memory, buffer, size);
}

bool view_make_blank(struct memory *memory, size_t size, struct view *view, void **bytes) {
	struct buffer *buffer = NULL;

	assert(size <= INT32_MAX);
	*bytes = NULL;
	if (size > 0) {
		buffer = size <= NEAR_MAX ? make_near(memory, size)
					  : make_far(memory, size, memory_round(size));
		if (buffer == NULL)
			return false;
		*bytes = bytes_of(buffer);
	}
	*view = (struct view){.buffer = buffer, .size = (uint32_t)size};
	return true;
}

bool view_make(struct memory *memory, struct kv_bytes bytes, struct view *view) {
	void *copy;

	if (!view_make_blank(memory, bytes.size, view, &copy))
		return false;
	if (bytes.size > 0)
		memcpy(copy, bytes.data, bytes.size);
	return true;
}

struct view view_whole(struct buffer *buffer) {
	return (struct view){.buffer = buffer, .size = buffer == NULL ? 0 : buffer->size};
}

struct view view_hold(struct view view) {
	if (view.size == 0)
		return (struct view){0};
	assert(view.buffer->count < UINT32_MAX);
	view.buffer->count++;
	return view;
}

void view_drop(struct memory *memory, struct view *view) {
	if (view->buffer != NULL && --view->buffer->count == 0)
		free_buffer(memory, view->buffer);
	*view = (struct view){0};
}

struct kv_bytes view_bytes(struct view view) {
	if (view.size == 0)
		return (struct kv_bytes){0};
	return (struct kv_bytes){.data = bytes_of(view.buffer), .size = view.size};
}

/* Moves the bytes of a near buffer into a block of their own. */
static bool move_far(struct memory *memory, struct view *view, size_t far_capacity) {
	struct buffer *buffer = view->buffer;

	if (buffer->count == 1) {
		struct buffer *moved = make_far(memory, buffer->size, far_capacity);
		if (moved == NULL)
			return false;
		memcpy(bytes_of(moved), bytes_of(buffer), buffer->size);
		view->buffer = moved;
		free_buffer(memory, buffer);
		return true;
	}
	size_t near_size = block_size(buffer);
	unsigned char *bytes = memory_allocate(memory, far_capacity);
	if (bytes == NULL)
		return false;
	memcpy(bytes, bytes_of(buffer), buffer->size);
	buffer->is_far = 1;
	*far_of(buffer) = (struct far){
	    .bytes = bytes,
	    .capacity = (uint32_t)far_capacity,
	    .block_size = (uint32_t)near_size,
	};
	return true;
}

bool view_reserve(struct memory *memory, struct view *view, size_t more) {
	struct buffer *buffer = view->buffer;

	if (more == 0)
		return true;
	if (buffer == NULL) {
		view->buffer = make_far(memory, 0, memory_round(more));
		return view->buffer != NULL;
	}
	assert(view->size == buffer->size && buffer->size + more <= INT32_MAX);
	if (more <= capacity(buffer) - buffer->size)
		return true;
	if (!buffer->is_far)
		return move_far(memory, view, grown_capacity(buffer, more));

	struct far *far = far_of(buffer);
	size_t wanted = grown_capacity(buffer, more);
	unsigned char *bytes = memory_resize(memory, far->bytes, far->capacity, wanted);
	if (bytes == NULL)
		return false;
	far->bytes = bytes;
	far->capacity = (uint32_t)wanted;
	return true;
}

void view_append(struct view *view, struct kv_bytes bytes) {
	struct buffer *buffer = view->buffer;

	if (bytes.size == 0)
		return;
	assert(view->size == buffer->size && bytes.size <= capacity(buffer) - buffer->size);
	memcpy(bytes_of(buffer) + buffer->size, bytes.data, bytes.size);
	buffer->size += (uint32_t)bytes.size;
	view->size = buffer->size;
}

size_t view_cost(size_t size) {
	if (size == 0)
		return 0;
	if (size <= NEAR_MAX)
		return memory_cost(near_block_size(size));
	return memory_cost(far_block_size()) + memory_cost(size);
}

size_t view_growth(struct view view, size_t more) {
	struct buffer *buffer = view.buffer;

	if (more == 0)
		return 0;
	if (buffer == NULL)
		return memory_cost(far_block_size()) + memory_cost(more);
	if (more <= capacity(buffer) - buffer->size)
		return 0;
	size_t grown = memory_cost(grown_capacity(buffer, more));
	if (buffer->is_far)
		return grown - memory_cost(far_of(buffer)->capacity);
	if (buffer->count > 1)
		return grown;
	/* More than was there, in any case: the bytes alone took most of the block given up. */
	return grown + memory_cost(far_block_size()) - memory_cost(block_size(buffer));
}

size_t view_sole_bytes(struct view view) {
	struct buffer *buffer = view.buffer;

	if (buffer == NULL || buffer->count > 1)
		return 0;
	return memory_cost(block_size(buffer)) +
	       (buffer->is_far ? memory_cost(far_of(buffer)->capacity) : 0);
}
