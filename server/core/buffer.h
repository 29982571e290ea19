/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BUFFER_H
#define BUFFER_H

/*
 * buffer.h - reference-counted bytes of a value, which are shared and grow only at the end.
 *
 * A buffer begins with a head that is its owner's, for what belongs to the value: an entry is the
 * head of its own value's buffer. The owner holds a view of the whole and is the only one that
 * changes it; an old value (a cached reply, a reply that is being sent) is a shorter view of the
 * same buffer, and stays right because bytes that another view covers never change. The bytes may
 * move in memory when a buffer grows, though the head does not: keep the view, not the pointer.
 *
 * One thread uses buffers; nothing here locks.
 */

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "core/mem_account.h"

/*
 * Its fields are this file's and buffer.c's own, but for `size`. Laid out for heads that begin with
 * it.
 */
struct buffer {
	uint32_t count;	    /* views */
	uint32_t size : 31; /* bytes in the value */
	uint32_t is_far : 1;
	uint16_t head_size; /* bytes, this struct included */
	uint16_t flags;	    /* the owner's own; 0 at first */
};

/* The first `size` bytes of a buffer. An empty view may have buffer NULL. Holds one count. */
struct view {
	struct buffer *buffer;
	uint32_t size;
};

/*
 * A buffer whose value has `size` bytes, to be dropped by its whole view. The caller writes them,
 * and what the head has more than a struct buffer, before there is another view. NULL: no memory.
 */
struct buffer *buffer_make(struct mem_account *memory, size_t head_size, size_t size);

/* What buffer_make() would add to memory->used. */
size_t buffer_cost(size_t head_size, size_t size);

/* What dropping its whole view would take off memory->used: 0 if there are other views. */
size_t buffer_exclusive_bytes(struct buffer *buffer);

/* The bytes of the value; valid until it grows. Of none, any pointer. */
void *buffer_bytes(struct buffer *buffer);

/*
 * Returns whether it may be given a value of `size` bytes in the place of its own: there is no
 * other view, and a buffer made for so many would take as much memory.
 */
bool buffer_fits_exactly(struct buffer *buffer, size_t size);
/* Gives it this value. */
void buffer_overwrite(struct buffer *buffer, struct kv_bytes bytes);

/* Returns whether a value can stay in the block in which it came: it fills most of a large one. */
bool buffer_can_adopt(const struct owned_block *block, struct kv_bytes bytes);
/* Gives it to a new buffer of no bytes: buffer_can_adopt() was true. The block is taken. */
void buffer_adopt(struct mem_account *memory, struct buffer *buffer, struct owned_block *block,
		  struct kv_bytes bytes);

/*
 * Makes room for `more` bytes at the end, so that the next buffer_append() of up to as many cannot
 * fail. O(1) amortised. False: no memory, nothing changed.
 */
bool buffer_reserve(struct mem_account *memory, struct buffer *buffer, size_t more);

/* What buffer_reserve() would add to memory->used. */
size_t buffer_growth(struct buffer *buffer, size_t more);

/* Adds bytes at the end, for which room is reserved. Views see what they saw. */
void buffer_append(struct buffer *buffer, struct kv_bytes bytes);

/*
 * The view of the whole buffer, for an owner that keeps the pointer alone. It is the owner's one
 * view, not another. NULL: an empty view.
 */
struct view view_all(struct buffer *buffer);

/* Another view of the same bytes, to be dropped with view_unref(). Of no bytes it holds nothing. */
static inline struct view view_ref(struct view view) {
	if (view.size == 0)
		return (struct view){0};
	assert(view.buffer->count < UINT32_MAX);
	view.buffer->count++;
	return view;
}

/* Frees a buffer without views: for view_unref() alone. */
void buffer_free(struct mem_account *memory, struct buffer *buffer);

/* Gives a view up and empties it. The last one frees the buffer. An empty view is fine. */
static inline void view_unref(struct mem_account *memory, struct view *view) {
	struct buffer *buffer = view->buffer;

	*view = (struct view){0};
	if (buffer != NULL && --buffer->count == 0)
		buffer_free(memory, buffer);
}

/* The bytes seen; valid until the buffer grows or the view is dropped. */
struct kv_bytes view_bytes(struct view view);

#endif
