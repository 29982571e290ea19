/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_FILE_H
#define FAKE_FILE_H

/*
 * fake_file.h - what a file of the fake disk holds: as the cache shows it, as the disk has it, and
 * the writes between the two. See fake_disk.h for what becomes of them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	uint8_t *data;
	size_t size;
};

/* A write that no sync took in. */
struct pending {
	size_t offset;
	struct bytes bytes;
};

/* Copies of a disk share it until one of them changes it: body_own(). */
struct body {
	unsigned holders;
	struct bytes cache;
	struct bytes disk;
	struct pending *pending;
	size_t pending_count;
	bool is_in_place; /* bytes that replace others need no space, whatever the file system */
};

/* realloc() that ends the test program if there is no memory. */
void *resized(void *block, size_t size);

struct body *body_new(void);
/* NULL is fine. */
void body_drop(struct body *body);
/* *body is made one that has no other owner. */
struct body *body_own(struct body **body);

void body_write(struct body *body, size_t offset, const void *data, size_t size);
/* In cache and disk alike. */
void body_poke(struct body *body, size_t offset, const void *data, size_t size);
void body_resize(struct body *body, size_t size);

/* Whether a thing that is pending reaches the disk. */
typedef bool keep_function(void *context, size_t thing);

/*
 * Asks about each thing pending, the first being number `thing`, and nothing is pending any more;
 * answers the next number. `keep` NULL: only counts.
 */
size_t body_settle(struct body *body, size_t thing, keep_function *keep, void *context);

/* The cache is read from the disk again, but for what is still to be written. */
void body_evict(struct body *body);

#endif
