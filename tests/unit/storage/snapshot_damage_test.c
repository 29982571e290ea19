/* SPDX-License-Identifier: BSD-3-Clause */
/* Snapshot files on a real disk: whatever is not as it was written is found out. */
#include "le.h"
#include "snapshot_place.h"
#include "storage/crc32c.h"
#include "test.h"

enum { HEADER_SIZE = 64 };

/* The file of position 1 is this now: it is not taken for a snapshot. */
static void assert_refused(const void *data, size_t size) {
	struct snapshot snapshot;

	write_snapshot(&place, 1, data, size);
	ck_assert(!check(1));
	ck_assert_int_ne(why[0], '\0');
	ck_assert(!loads(1));
	ck_assert_int_ne(why[0], '\0');
	ck_assert_int_eq(snapshot_find_latest(&place.disk, NULL, NULL, &snapshot, why), SEARCH_BAD);
	ck_assert_int_ne(why[0], '\0');
}

CASE(snapshot_damage, .setup = start, .teardown = stop);

TEST(any_single_flipped_bit_is_found) {
	make_small(&world);
	take(1);
	read_snapshot(&place, 1, &file);
	for (size_t bit = 0; bit < 8 * file.size; bit++) {
		file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_refused(file.data, file.size);
		file.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	write_snapshot(&place, 1, file.data, file.size);
	ck_assert(check(1) && loads(1));
	printf("figure: %zu bits flipped, each was found\n", 8 * file.size);
}

TEST(every_truncation_and_every_byte_more_is_found) {
	make_small(&world);
	take(1);
	read_snapshot(&place, 1, &file);
	for (size_t size = 0; size < file.size; size++)
		assert_refused(file.data, size);
	uint8_t *longer = calloc(1, file.size + 8);
	ck_assert_ptr_nonnull(longer);
	memcpy(longer, file.data, file.size);
	for (size_t more = 1; more <= 8; more++)
		assert_refused(longer, file.size + more);
	free(longer);
}

/* Of a snapshot with several full chunks. */
enum { CHUNK = 8 + CHUNK_MAX };

TEST(chunks_that_were_swapped_or_lost_or_repeated_are_found) {
	set(&world, "long", zeros(4 * CHUNK_MAX));
	take(1);
	read_snapshot(&place, 1, &file);
	/* All zeros inside, so only the chain of checksums can tell. */
	uint8_t *first = file.data + HEADER_SIZE;
	uint8_t *changed = malloc(file.size + CHUNK);
	ck_assert_ptr_nonnull(changed);
	memcpy(changed, file.data, file.size);
	memcpy(changed + HEADER_SIZE + CHUNK, first + 2 * CHUNK, CHUNK);
	memcpy(changed + HEADER_SIZE + 2 * CHUNK, first + CHUNK, CHUNK);
	assert_refused(changed, file.size);

	memcpy(changed, file.data, file.size);
	memmove(changed + HEADER_SIZE + CHUNK, first + 2 * CHUNK,
		file.size - HEADER_SIZE - 2 * CHUNK);
	assert_refused(changed, file.size - CHUNK);

	memcpy(changed, file.data, HEADER_SIZE + 2 * CHUNK);
	memcpy(changed + HEADER_SIZE + 2 * CHUNK, first + CHUNK, file.size - HEADER_SIZE - CHUNK);
	assert_refused(changed, file.size + CHUNK);
	free(changed);
}

TEST(a_chunk_of_another_snapshot_is_found) {
	struct bytes other = {0};

	set(&world, "long", zeros(3 * CHUNK_MAX));
	take(1);
	read_snapshot(&place, 1, &file);
	take(2);
	read_snapshot(&place, 2, &other);
	/* The same state, and so the same chunks, but for their checksums. */
	memcpy(file.data + HEADER_SIZE + CHUNK, other.data + HEADER_SIZE + CHUNK, CHUNK);
	ck_assert_int_eq(snapshot_remove_others(&place.disk, 1), 0);
	assert_refused(file.data, file.size);
	bytes_free(&other);
}

TEST(one_under_anothers_name_is_found) {
	make_small(&world);
	take(2);
	read_snapshot(&place, 2, &file);
	ck_assert_int_eq(snapshot_remove_others(&place.disk, 1), 0);
	assert_refused(file.data, file.size);
	ck_assert_msg(says("under this name"), "%s", why);
}

TEST(an_older_one_is_found_behind_a_damaged_one_and_that_is_said) {
	struct snapshot snapshot;

	make_small(&world);
	take(1);
	take(2);
	read_snapshot(&place, 2, &file);
	file.data[file.size - 1] ^= 1;
	write_snapshot(&place, 2, file.data, file.size);
	write_snapshot(&place, 3, "garbage", 7);
	ck_assert_int_eq(snapshot_find_latest(&place.disk, NULL, NULL, &snapshot, why),
			 SEARCH_FOUND);
	ck_assert_uint_eq(snapshot.position, 1);
	ck_assert_msg(says("snapshot-0000000000000003 is damaged at offset 0: it is cut short"),
		      "%s", why);
}

/* Makes the header right again, whatever was written into it. */
static void sign(void) {
	le_put32(file.data + 8, crc32c(0, file.data + 12, HEADER_SIZE - 12));
}

TEST(no_older_one_is_taken_for_one_of_a_newer_format) {
	struct snapshot snapshot;

	make_small(&world);
	take(1);
	take(2);
	read_snapshot(&place, 2, &file);
	le_put32(file.data + 12, SNAPSHOT_FORMAT + 1);
	sign();
	write_snapshot(&place, 2, file.data, file.size);
	ck_assert_int_eq(snapshot_find_latest(&place.disk, NULL, NULL, &snapshot, why), SEARCH_BAD);
	ck_assert_msg(says("has format 5, and this kvd knows 2 to 4"), "%s", why);
	ck_assert(!loads(2));
	ck_assert_msg(says("has format 5"), "%s", why);
}

TEST(one_of_an_older_format_is_not_guessed_at) {
	struct snapshot snapshot;

	make_small(&world);
	take(1);
	read_snapshot(&place, 1, &file);
	le_put32(file.data + 12, SNAPSHOT_FORMAT_MIN - 1);
	sign();
	write_snapshot(&place, 1, file.data, file.size);
	ck_assert_int_eq(snapshot_find_latest(&place.disk, NULL, NULL, &snapshot, why), SEARCH_BAD);
	ck_assert_msg(says("has format 1, and this kvd knows 2 to 4"), "%s", why);
	ck_assert(!loads(1));
}

TEST(one_of_another_store_is_not_loaded) {
	struct server_identity identity = *service_identity(world.service);

	make_small(&world);
	take(1);
	identity.store[3] ^= 1;
	struct service *service = service_new(&identity, usual_limits(), NULL);
	ck_assert(!snapshot_load(&place.disk, 1, NULL, NULL, service, why));
	ck_assert_msg(says("belongs to another store"), "%s", why);
	service_free(service);
}

/* Right by all checksums, but not what kvd writes: a header and these bytes as the only chunk. */
static void write_state(const void *state, uint32_t size, uint64_t entries) {
	uint8_t head[8];
	uint8_t end[16] = {0};

	le_put64(file.data + 48, entries);
	sign();
	uint32_t checksum = le_get32(file.data + 8);
	file.size = HEADER_SIZE;
	le_put32(head, size);
	checksum = crc32c(crc32c(checksum, head, 4), state, size);
	le_put32(head + 4, checksum);
	ck_assert(bytes_put(&file, head, sizeof(head)) && bytes_put(&file, state, size));
	le_put64(end + 8, size);
	le_put32(end + 4, crc32c(crc32c(checksum, end, 4), end + 8, 8));
	ck_assert(bytes_put(&file, end, sizeof(end)));
	write_snapshot(&place, 1, file.data, file.size);
	ck_assert_msg(check(1), "%s", why);
}

TEST(bytes_that_make_no_sense_are_not_loaded_though_their_checksums_are_right) {
	uint8_t state[48] = {0};

	take(1);
	read_snapshot(&place, 1, &file);
	write_state(state, 40, 0);
	ck_assert_msg(loads(1), "%s", why);
	write_state(state, 41, 0);
	ck_assert(!loads(1));
	ck_assert_msg(says("it holds more than the state"), "%s", why);
	write_state(state, 40, 1);
	ck_assert(!loads(1));
	ck_assert_msg(says("its header does not fit what it holds"), "%s", why);
	write_state(state, 39, 0);
	ck_assert(!loads(1));
	ck_assert_msg(says("makes no sense"), "%s", why);
	state[16] = 1;
	write_state(state, 40, 1);
	ck_assert(!loads(1));
	ck_assert_msg(says("makes no sense"), "%s", why);
}

TEST(without_memory_that_is_said_and_nothing_about_damage) {
	make_small(&world);
	take(1);
	struct service *service = another(world.service);
	service_memory(service)->fail_in = 1;
	ck_assert(!snapshot_load(&place.disk, 1, NULL, NULL, service, why));
	ck_assert_msg(says("Cannot allocate memory") && !says("damaged"), "%s", why);
	service_free(service);
}
