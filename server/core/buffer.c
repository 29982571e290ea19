/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/buffer.h"

#include <assert.h>
#include <string.h>

/*
 * A buffer is one block, because most values are small and are never appended to. Its bytes move
 * into a block of their own when they outgrow it, or from the start if they are many: others may
 * hold the buffer, so the head stays where it is.
 */
enum {
	NEAR_MAX = 1024, /* bytes; what is left unused when a buffer outgrows its block */
	ADOPT_LEAST = 16 * 1024,
	ADOPT_SHARE = 16, /* at most this part of an adopted value is wasted around it */
};

/* What follows the head, aligned, when the bytes are elsewhere. Invariant: capacity >= size. */
struct external {
	unsigned char *bytes;
	uint32_t capacity;
	uint16_t block_size; /* of the block that the head and this are in */
	uint16_t offset;     /* of the bytes in theirs, which was adopted; else 0 */
};

static size_t far_offset(size_t head_size) {
	return (head_size + _Alignof(struct external) - 1) & ~(_Alignof(struct external) - 1);
}

static struct external *far_of(struct buffer *buffer) {
	return (struct external *)((unsigned char *)buffer + far_offset(buffer->head_size));
}

static size_t far_block_size(size_t head_size) {
	return mem_account_round_up(far_offset(head_size) + sizeof(struct external));
}

static size_t far_bytes_size(const struct external *far) {
	return far->offset + (size_t)far->capacity;
}

/* With room for a struct external, too. It has no field: what is appended in it does not change it.
 */
static size_t near_block_size(size_t head_size, size_t size) {
	size_t least = far_block_size(head_size);
	size_t block_size = mem_account_round_up(head_size + size);

	return block_size < least ? least : block_size;
}

static size_t block_size_of(struct buffer *buffer) {
	return buffer->is_far ? far_of(buffer)->block_size
			      : near_block_size(buffer->head_size, buffer->size);
}

static size_t capacity(struct buffer *buffer) {
	return buffer->is_far
		   ? far_of(buffer)->capacity
		   : near_block_size(buffer->head_size, buffer->size) - buffer->head_size;
}

/* Half as much again, so that appending n bytes one by one moves O(n) of them. */
static size_t grown_capacity(struct buffer *buffer, size_t more) {
	size_t needed = buffer->size + more;
	size_t generous = buffer->size + buffer->size / 2;

	return mem_account_round_up(needed > generous ? needed : generous);
}

struct buffer *buffer_make(struct mem_account *memory, size_t head_size, size_t size) {
	bool is_far = size > NEAR_MAX;
	size_t block_size = is_far ? far_block_size(head_size) : near_block_size(head_size, size);
	struct buffer *buffer = mem_account_alloc(memory, block_size);

	assert(head_size >= sizeof(*buffer) && block_size <= UINT16_MAX && size <= INT32_MAX);
	if (buffer == NULL)
		return NULL;
	*buffer = (struct buffer){
	    .count = 1,
	    .size = (uint32_t)size,
	    .is_far = is_far,
	    .head_size = (uint16_t)head_size,
	};
	if (!is_far)
		return buffer;
	*far_of(buffer) = (struct external){
	    .bytes = mem_account_alloc(memory, mem_account_round_up(size)),
	    .capacity = (uint32_t)mem_account_round_up(size),
	    .block_size = (uint16_t)block_size,
	};
	if (far_of(buffer)->bytes != NULL)
		return buffer;
	mem_account_free(memory, buffer, block_size);
	return NULL;
}

size_t buffer_cost(size_t head_size, size_t size) {
	if (size <= NEAR_MAX)
		return mem_account_cost(near_block_size(head_size, size));
	return mem_account_cost(far_block_size(head_size)) + mem_account_cost(size);
}

size_t buffer_exclusive_bytes(struct buffer *buffer) {
	if (buffer->count > 1)
		return 0;
	return mem_account_cost(block_size_of(buffer)) +
	       (buffer->is_far ? mem_account_cost(far_bytes_size(far_of(buffer))) : 0);
}

void *buffer_bytes(struct buffer *buffer) {
	return buffer->is_far ? far_of(buffer)->bytes : (unsigned char *)buffer + buffer->head_size;
}

bool buffer_fits_exactly(struct buffer *buffer, size_t size) {
	if (buffer->count > 1 || buffer->is_far != (size > NEAR_MAX))
		return false;
	if (buffer->is_far)
		return far_of(buffer)->capacity == mem_account_round_up(size);
	return block_size_of(buffer) == near_block_size(buffer->head_size, size);
}

static void copy(void *to, struct kv_bytes bytes) {
	if (bytes.size > 0)
		memcpy(to, bytes.data, bytes.size);
}

void buffer_overwrite(struct buffer *buffer, struct kv_bytes bytes) {
	copy(buffer_bytes(buffer), bytes);
	buffer->size = (uint32_t)bytes.size;
}

static size_t offset_in(const struct owned_block *block, struct kv_bytes bytes) {
	return (size_t)((const unsigned char *)bytes.data - (const unsigned char *)block->data);
}

bool buffer_can_adopt(const struct owned_block *block, struct kv_bytes bytes) {
	return block->data != NULL && bytes.size >= ADOPT_LEAST &&
	       block->size - bytes.size <= bytes.size / ADOPT_SHARE &&
	       offset_in(block, bytes) <= UINT16_MAX;
}

void buffer_adopt(struct mem_account *memory, struct buffer *buffer, struct owned_block *block,
		  struct kv_bytes bytes) {
	size_t offset = offset_in(block, bytes);
	size_t block_size = block_size_of(buffer);

	assert(buffer->size == 0 && !buffer->is_far && offset + bytes.size <= block->size);
	buffer->is_far = 1;
	buffer->size = (uint32_t)bytes.size;
	*far_of(buffer) = (struct external){
	    .capacity = (uint32_t)(block->size - offset),
	    .block_size = (uint16_t)block_size,
	    .offset = (uint16_t)offset,
	};
	far_of(buffer)->bytes = (unsigned char *)mem_account_adopt(memory, block) + offset;
}

/* Moves the bytes of a near buffer into a block of their own. */
static bool move_far(struct mem_account *memory, struct buffer *buffer, size_t far_capacity) {
	size_t block_size = block_size_of(buffer);
	unsigned char *bytes = mem_account_alloc(memory, far_capacity);

	if (bytes == NULL)
		return false;
	memcpy(bytes, buffer_bytes(buffer), buffer->size);
	buffer->is_far = 1;
	*far_of(buffer) = (struct external){
	    .bytes = bytes,
	    .capacity = (uint32_t)far_capacity,
	    .block_size = (uint16_t)block_size,
	};
	return true;
}

bool buffer_reserve(struct mem_account *memory, struct buffer *buffer, size_t more) {
	assert(buffer->size + more <= INT32_MAX);
	if (more <= capacity(buffer) - buffer->size)
		return true;
	size_t wanted = grown_capacity(buffer, more);
	if (!buffer->is_far)
		return move_far(memory, buffer, wanted);

	struct external *far = far_of(buffer);
	unsigned char *block = mem_account_realloc(memory, far->bytes - far->offset,
						   far_bytes_size(far), far->offset + wanted);
	if (block == NULL)
		return false;
	far->bytes = block + far->offset;
	far->capacity = (uint32_t)wanted;
	return true;
}

size_t buffer_growth(struct buffer *buffer, size_t more) {
	if (more <= capacity(buffer) - buffer->size)
		return 0;
	size_t grown = grown_capacity(buffer, more);
	if (!buffer->is_far)
		return mem_account_cost(grown);
	const struct external *far = far_of(buffer);
	return mem_account_cost(far->offset + grown) - mem_account_cost(far_bytes_size(far));
}

void buffer_append(struct buffer *buffer, struct kv_bytes bytes) {
	assert(bytes.size <= capacity(buffer) - buffer->size);
	copy((unsigned char *)buffer_bytes(buffer) + buffer->size, bytes);
	buffer->size += (uint32_t)bytes.size;
}

void buffer_free(struct mem_account *memory, struct buffer *buffer) {
	size_t block_size = block_size_of(buffer);

	if (buffer->is_far)
		mem_account_free(memory, far_of(buffer)->bytes - far_of(buffer)->offset,
				 far_bytes_size(far_of(buffer)));
	mem_account_free(memory, buffer, block_size);
}

/* --- Views --------------------------------------------------------------------------------- */

struct view view_all(struct buffer *buffer) {
	return (struct view){.buffer = buffer, .size = buffer == NULL ? 0 : buffer->size};
}

struct kv_bytes view_bytes(struct view view) {
	if (view.size == 0)
		return (struct kv_bytes){0};
	return (struct kv_bytes){.data = buffer_bytes(view.buffer), .size = view.size};
}
