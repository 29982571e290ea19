/* SPDX-License-Identifier: BSD-3-Clause */
#include "record_marking.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t last_fragment = 0x80000000;

static uint32_t number_of(const uint8_t mark[RECORD_MARK_SIZE]) {
	return (uint32_t)mark[0] << 24 | (uint32_t)mark[1] << 16 | (uint32_t)mark[2] << 8 | mark[3];
}

/* Takes what is here of a mark. False: what it says makes no sense. */
static bool add_mark(struct record *record, const uint8_t **bytes, size_t *size, size_t size_max) {
	size_t part = RECORD_MARK_SIZE - record->mark_size;
	uint32_t number;

	if (part > *size)
		part = *size;
	memcpy(record->mark + record->mark_size, *bytes, part);
	record->mark_size += (unsigned)part;
	*bytes += part;
	*size -= part;
	if (record->mark_size < RECORD_MARK_SIZE)
		return true;
	number = number_of(record->mark);
	record->is_last = (number & last_fragment) != 0;
	record->left = number & ~last_fragment;
	if (record->left == 0 && ++record->empty_fragments > RECORD_EMPTY_FRAGMENTS_MAX)
		return false;
	return record->left <= size_max && record->size <= size_max - record->left;
}

/*
 * The first piece gets what it needs: most records come in one. Later ones get several times what
 * arrived, since growing copies; and up to the end of the fragment, if nothing can come behind it
 * or it is known to be large, rather than nearly so much.
 */
static bool make_room(struct record *record, size_t more) {
	enum { GROWTH = 4 };
	size_t needed = record->size + more;
	size_t end = record->size + record->left;
	size_t capacity = record->capacity * GROWTH;
	uint8_t *data;

	if (needed <= record->capacity)
		return true;
	if (capacity < needed)
		capacity = needed;
	if ((record->is_last || record->left >= RECORD_DIRECT_LEAST) &&
	    capacity + capacity / 2 > end)
		capacity = end;
	data = realloc(record->data, capacity);
	if (data == NULL)
		return false;
	record->data = data;
	record->capacity = capacity;
	return true;
}

/* The next record, if it is one fragment that lies in the bytes at hand, as most do. */
static bool take_in_place(const struct record *record, const uint8_t **bytes, size_t *size,
			  size_t size_max, struct kv_bytes *whole) {
	uint32_t number;
	size_t whole_size;

	if (*size < RECORD_MARK_SIZE || record_is_partial(record) ||
	    (uintptr_t)*bytes % RECORD_ALIGNMENT != 0)
		return false;
	number = number_of(*bytes);
	whole_size = number & ~last_fragment;
	if ((number & last_fragment) == 0 || whole_size == 0 || whole_size > size_max ||
	    whole_size > *size - RECORD_MARK_SIZE)
		return false;
	*whole = (struct kv_bytes){*bytes + RECORD_MARK_SIZE, whole_size};
	*bytes += RECORD_MARK_SIZE + whole_size;
	*size -= RECORD_MARK_SIZE + whole_size;
	return true;
}

/* What has its place in the memory of the record; all of it, unless the rest is discarded. */
static void keep(struct record *record, const uint8_t *bytes, size_t size) {
	if (record->size >= record->capacity)
		return;
	if (size > record->capacity - record->size)
		size = record->capacity - record->size;
	memcpy(record->data + record->size, bytes, size);
}

enum record_state record_feed(struct record *record, const uint8_t **bytes, size_t *size,
			      size_t size_max, struct kv_bytes *whole) {
	if (take_in_place(record, bytes, size, size_max, whole))
		return RECORD_COMPLETE;
	for (;;) {
		size_t piece_size;

		if (record->mark_size < RECORD_MARK_SIZE) {
			if (*size == 0)
				return RECORD_MORE;
			if (!add_mark(record, bytes, size, size_max))
				return RECORD_INVALID;
			continue;
		}
		piece_size = *size < record->left ? *size : record->left;
		if (!record->is_discarding && !make_room(record, piece_size))
			return RECORD_NOMEM;
		if (piece_size > 0)
			keep(record, *bytes, piece_size);
		record->size += piece_size;
		*bytes += piece_size;
		*size -= piece_size;
		record->left -= (uint32_t)piece_size;
		if (record->left > 0)
			return RECORD_MORE;
		record->mark_size = 0;
		if (record->is_last) {
			*whole = (struct kv_bytes){record->data, record->size};
			if (!record->is_discarding)
				return RECORD_COMPLETE;
			if (whole->size > RECORD_HEAD_MAX)
				whole->size = RECORD_HEAD_MAX;
			return RECORD_HEAD_ONLY;
		}
	}
}

bool record_direct_buffer(struct record *record, uint8_t **place, size_t *room) {
	*place = NULL;
	*room = 0;
	if (record->mark_size < RECORD_MARK_SIZE || record->left < RECORD_DIRECT_LEAST ||
	    record->is_discarding)
		return true;
	if (!make_room(record, RECORD_DIRECT_LEAST))
		return false;
	*place = record->data + record->size;
	*room = record->capacity - record->size;
	if (*room > record->left)
		*room = record->left;
	return true;
}

void record_direct_filled(struct record *record, size_t size) {
	record->size += size;
	record->left -= (uint32_t)size;
}

uint8_t *record_detach(struct record *record, struct kv_bytes whole) {
	uint8_t *data = record->data;

	if (whole.data != data) {
		data = malloc(whole.size > 0 ? whole.size : 1);
		if (data == NULL)
			return NULL;
		memcpy(data, whole.data, whole.size);
		free(record->data);
	}
	*record = (struct record){0};
	return data;
}

bool record_discard(struct record *record) {
	uint8_t *data = realloc(record->data, RECORD_HEAD_MAX);

	if (data == NULL)
		return false;
	record->data = data;
	record->capacity = RECORD_HEAD_MAX;
	record->is_discarding = true;
	return true;
}

void record_reset(struct record *record) {
	free(record->data);
	*record = (struct record){0};
}

bool record_is_partial(const struct record *record) {
	return record->size > 0 || record->mark_size > 0 || record->empty_fragments > 0;
}

bool record_is_complete(const struct record *record) {
	return record->mark_size == RECORD_MARK_SIZE && record->is_last && record->left == 0;
}

void record_mark(uint8_t mark[RECORD_MARK_SIZE], size_t size) {
	uint32_t number = last_fragment | (uint32_t)size;

	mark[0] = (uint8_t)(number >> 24);
	mark[1] = (uint8_t)(number >> 16);
	mark[2] = (uint8_t)(number >> 8);
	mark[3] = (uint8_t)number;
}
