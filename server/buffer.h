/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BUFFER_H
#define BUFFER_H

/*
 * buffer.h - the bytes of a value: shared, counted, growing only at the end.
 *
 * An entry holds a view of the whole buffer and is the only one that appends to it; an old value
 * (a remembered reply, an answer on its way out) is a shorter view of the same buffer, and stays
 * right because bytes once written never change. A Put starts a new buffer. The bytes may move in
 * memory when a buffer grows: keep the view, not the pointer.
 *
 * One thread uses buffers; nothing here locks.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"

struct buffer;

/* The first `size` bytes of a buffer. An empty view may have buffer NULL. Holds one count. */
struct view {
	struct buffer *buffer;
	uint32_t size;
};

/* A new view of a new buffer with a copy of `bytes`; false and *view untouched: no memory. */
bool view_make(struct memory *memory, struct kv_bytes bytes, struct view *view);

/*
 * The same with `size` bytes that the caller writes, to *bytes, before anyone else sees them. Of no
 * bytes *bytes is NULL.
 */
bool view_make_blank(struct memory *memory, size_t size, struct view *view, void **bytes);

/*
 * The view of the whole buffer, for an owner that keeps the pointer alone. It is the owner's one
 * view, not another. NULL: an empty view.
 */
struct view view_whole(struct buffer *buffer);

/* Another view of the same bytes, to be dropped with view_drop(). Of no bytes it holds nothing. */
struct view view_hold(struct view view);

/* Gives a view up and empties it. The last one frees the buffer. An empty view is fine. */
void view_drop(struct memory *memory, struct view *view);

/* The bytes seen; valid until the buffer grows or the view is dropped. */
struct kv_bytes view_bytes(struct view view);

/*
 * Makes room for `more` bytes at the end of the whole buffer that `view` sees, so that the next
 * view_append() of up to as many cannot fail. O(1) amortised. False: no memory, nothing changed.
 * An empty view gets a buffer.
 */
bool view_reserve(struct memory *memory, struct view *view, size_t more);

/* Adds bytes at the end; the view must see the whole buffer, and the room must be reserved. */
void view_append(struct view *view, struct kv_bytes bytes);

/* What view_make() of `size` bytes and view_reserve() would add to memory->used. */
size_t view_cost(size_t size);
size_t view_growth(struct view view, size_t more);

/* What view_drop() would take off memory->used: 0 if others hold the buffer too. */
size_t view_sole_bytes(struct view view);

#endif
