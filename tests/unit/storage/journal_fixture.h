/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef JOURNAL_FIXTURE_H
#define JOURNAL_FIXTURE_H

/*
 * journal_fixture.h - a journal on a fake disk, and a tape that remembers what was recorded in it,
 * to be compared with what is read.
 */

#include "core/fixture.h"
#include "fake_disk.h"
#include "prng.h"
#include "storage/journal_file.h"
#include "storage/journal_format.h"
#include "storage/journal_scan.h"

enum { MANIFEST_SIZE = 8192 }; /* bytes */

/* For what is looked at very often: ck_assert() writes to a file each time, this if it fails. */
static inline void must(bool holds, const char *what) {
	if (!holds)
		ck_abort_msg("%s", what);
}

/*
 * Invariants: the tape holds the operations of all batches that were handed to the journal and of
 * the one being gathered; those up to `durable` were answered.
 */
struct journal_world {
	struct fake_disk *disk;
	struct journal_file *file; /* NULL: not open */
	struct journal_file_options options;
	uint8_t store[STORE_ID_SIZE];
	struct tape tape;
	uint64_t durable;
	uint8_t *batch;
	size_t payload;
	uint32_t count;
	struct journal_found found; /* by the last opening */
	char why[JOURNAL_WHY_SIZE];
};

/* Salts that are the same in every run, and never twice the same. */
static inline uint64_t world_chance(void) {
	static struct prng prng;

	return prng_next(&prng);
}

static inline void journal_world_open(struct journal_world *world, uint64_t segment_size,
				      uint64_t seed) {
	*world = (struct journal_world){.disk = fake_disk_new(seed),
					.options = {segment_size, world_chance}};
	memset(world->store, 0x5a, sizeof(world->store));
}

static inline void journal_world_close(struct journal_world *world) {
	journal_file_close(world->file, false);
	fake_disk_free(world->disk);
	tape_free(&world->tape);
	free(world->batch);
}

static inline bool same_bytes(struct kv_bytes one, struct kv_bytes other) {
	return one.size == other.size &&
	       (one.size == 0 || memcmp(one.data, other.data, one.size) == 0);
}

/* In all that is recorded of it. */
static inline bool same_operation(const struct operation *one, const struct operation *other) {
	if (one->kind == OPERATION_OPEN &&
	    (one->slots != other->slots || memcmp(one->nonce, other->nonce, NONCE_SIZE) != 0))
		return false;
	return one->kind == other->kind && one->slot == other->slot &&
	       one->client_id == other->client_id && one->seq == other->seq &&
	       one->expected == other->expected && one->want_old == other->want_old &&
	       same_bytes(one->key, other->key) && same_bytes(one->value, other->value);
}

/* What is read, compared with the tape. */
struct reading {
	const struct tape *tape;
	uint64_t next; /* position */
	bool differs;
};

static inline bool read_back(void *context, uint64_t position, const struct operation *operation,
			     uint64_t time_ms) {
	struct reading *reading = context;
	const struct tape *tape = reading->tape;

	if (position != reading->next || position > tape->count ||
	    time_ms != tape->times_ms[position - 1] ||
	    !same_operation(operation, &tape->operations[position - 1]))
		reading->differs = true;
	reading->next++;
	return true;
}

/*
 * Opens the journal of any disk, and says whether it could be. What it holds must be the tape's, as
 * far as it goes.
 */
static inline bool world_read(struct journal_world *world, struct fake_disk *disk, uint64_t after,
			      struct journal_file **file) {
	struct reading reading = {.tape = &world->tape, .next = after + 1};
	uint8_t store[STORE_ID_SIZE];

	memcpy(store, world->store, sizeof(store));
	*file = journal_file_open(fake_disk_of(disk), &world->options, store, after, read_back,
				  &reading, &world->found, world->why);
	must(!reading.differs, "operations were read that were never written");
	if (*file == NULL)
		return false;
	must(memcmp(store, world->store, sizeof(store)) == 0, "another store");
	must(world->found.last == reading.next - 1 &&
		 world->found.operations == reading.next - 1 - after,
	     "something else was found than was handed over");
	return true;
}

/* Takes the last one off the tape: it was not answered, and is not there. */
static inline void world_untape(struct journal_world *world) {
	struct tape *tape = &world->tape;

	tape->count--;
	free((void *)tape->operations[tape->count].key.data);
	free((void *)tape->operations[tape->count].value.data);
}

/* Opens the world's own journal, which must succeed. */
static inline void world_start(struct journal_world *world) {
	ck_assert_msg(world_read(world, world->disk, 0, &world->file), "%s", world->why);
}

static inline void world_gather(struct journal_world *world, const struct operation *operation,
				uint64_t time_ms) {
	size_t size = operation_encoded_size(operation);

	(void)tape_record(&world->tape, operation, time_ms);
	world->batch = realloc(world->batch, BATCH_HEADER_SIZE + world->payload + size + 8);
	must(world->batch != NULL, "no memory");
	operation_encode(world->batch + BATCH_HEADER_SIZE + world->payload, operation, time_ms);
	world->payload += size;
	world->count++;
}

/* False: the disk has no room for it. */
static inline bool world_make_spare(struct journal_world *world) {
	enum journal_spare spare;

	do
		spare = journal_file_make_spare(world->file);
	while (spare == SPARE_BEGUN);
	return spare == SPARE_READY;
}

/* Writes what was gathered, the next segment made first, as the journal does. */
static inline bool world_append(struct journal_world *world) {
	bool is_full;
	bool written;

	if (journal_file_room(world->file) < batch_size(world->payload) && !world_make_spare(world))
		return false;
	written = journal_file_append(world->file, world->batch, world->payload, world->count,
				      &is_full, world->why);
	if (written)
		world->durable += world->count;
	world->payload = 0;
	world->count = 0;
	return written;
}

/* A batch of one Put, whose value has `size` bytes. */
static inline bool world_put(struct journal_world *world, size_t size) {
	uint64_t number = world->tape.count + 1;
	struct operation put = put_call(1000, number, "key", "");

	put.value = zeros(size);
	world_gather(world, &put, number);
	return world_append(world);
}

static inline void world_stop(struct journal_world *world, bool is_clean) {
	journal_file_close(world->file, is_clean);
	world->file = NULL;
	ck_assert_uint_eq(fake_disk_open_files(world->disk), 0);
}

#endif
