/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshot files on a real disk: what was written is found and loaded. How long that takes is a
 * figure.
 *
 * $KEYS says how many keys the large one has.
 */
#include "clock.h"
#include "snapshot_place.h"
#include "test.h"

enum { USUAL_KEYS = 1000000 };

/* --- What is right ------------------------------------------------------------------------------
 */

CASE(snapshot_file, .setup = start, .teardown = stop);

TEST(a_snapshot_that_was_published_is_found_and_loaded) {
	struct snapshot snapshot;

	make_small(&world);
	world.now_ms = 777;
	(void)open_session(&world, 4);
	take(0x1234);
	ck_assert(is_there(&place, "snapshot-0000000000001234"));
	ck_assert(!is_there(&place, "snapshot.tmp"));
	ck_assert_int_eq(snapshot_find_latest(&place.disk, NULL, NULL, &snapshot, why),
			 SEARCH_FOUND);
	ck_assert_str_eq(why, "");
	ck_assert_uint_eq(snapshot.position, 0x1234);
	ck_assert_uint_eq(snapshot.time_ms, 777);
	ck_assert_uint_eq(snapshot.entries, 2);
	ck_assert_uint_eq(snapshot.sessions, 4);
	ck_assert_int_eq(
	    memcmp(snapshot.store, service_identity(world.service)->store, STORE_ID_SIZE), 0);
	read_snapshot(&place, 0x1234, &file);
	ck_assert_uint_eq(snapshot.size, file.size);

	struct world loaded = {.service = another(world.service)};
	ck_assert(snapshot_load(&place.disk, 0x1234, NULL, NULL, loaded.service, why));
	assert_holds(&loaded, "key", "new", 3);
	assert_holds(&loaded, "other", "valuemore!", 3);
	ck_assert_uint_eq(service_time(loaded.service), 777);
	world_close(&loaded);
}

TEST(a_value_longer_than_a_chunk_comes_back_whole) {
	struct reply reply;
	size_t size = 3 * CHUNK_MAX + 17;
	unsigned char *bytes = malloc(size);

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < size; i++)
		bytes[i] = (unsigned char)(i % 251);
	set(&world, "long", (struct kv_bytes){.data = bytes, .size = size});
	take(1);
	struct service *service = another(world.service);
	ck_assert_msg(snapshot_load(&place.disk, 1, NULL, NULL, service, why), "%s", why);
	service_get(service, 0, text("long"), ALL, &reply);
	ck_assert_uint_eq(reply.value.size, size);
	ck_assert_int_eq(memcmp(view_bytes(reply.value).data, bytes, size), 0);
	reply_drop(service_memory(service), &reply);
	service_free(service);
	free(bytes);
}

TEST(a_state_that_fills_its_chunks_to_the_last_byte_is_whole) {
	struct bytes state = {0};

	for (size_t more = 0; more < 3; more++) {
		/* 40 bytes, and 16 and the key of an entry, stand beside the value. */
		set(&world, "long", zeros(CHUNK_MAX - 40 - 16 - 4 - 1 + more));
		save(world.service, &state);
		ck_assert_uint_eq(state.size, CHUNK_MAX - 1 + more);
		take(1);
		ck_assert_msg(check(1) && loads(1), "%s", why);
	}
	bytes_free(&state);
}

TEST(an_empty_directory_has_no_snapshot) {
	struct snapshot snapshot;
	uint64_t positions[SNAPSHOTS_MAX];

	ck_assert_int_eq(snapshot_find_latest(&place.disk, NULL, NULL, &snapshot, why),
			 SEARCH_NONE);
	ck_assert_int_eq(snapshot_list(&place.disk, positions), 0);
	ck_assert_int_eq(snapshot_discard(&place.disk), 0);
	ck_assert_int_eq(snapshot_remove_others(&place.disk, 1), 0);
	ck_assert(!check(1));
	ck_assert_msg(says("cannot read snapshot-0000000000000001"), "%s", why);
}

TEST(names_that_are_no_snapshot_are_left_alone) {
	static const char *const names[] = {
	    "snapshot-",
	    "snapshot-123",
	    "snapshot-000000000000000g",
	    "snapshot-00000000000000000",
	    "snapshot-000000000000000A",
	    "snapshot-+00000000000000a",
	    "xsnapshot-0000000000000001",
	    "journal-0000000000000001",
	};
	uint64_t positions[SNAPSHOTS_MAX];
	uint64_t position;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)close(place_file(&place, names[i], O_CREAT | O_WRONLY));
		ck_assert(!snapshot_position(names[i], &position));
	}
	ck_assert(snapshot_position("snapshot-ffffffffffffffff", &position));
	ck_assert_uint_eq(position, UINT64_MAX);
	ck_assert_int_eq(snapshot_list(&place.disk, positions), 0);
	ck_assert_int_eq(snapshot_remove_others(&place.disk, 5), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert(is_there(&place, names[i]));
}

TEST(the_newest_are_listed_first_and_all_others_are_removed) {
	uint64_t positions[SNAPSHOTS_MAX];

	for (uint64_t i = 0; i < 3 * SNAPSHOTS_MAX; i++)
		write_snapshot(&place, 1 + i * 29 % (3 * SNAPSHOTS_MAX), "x", 1);
	ck_assert_int_eq(snapshot_list(&place.disk, positions), SNAPSHOTS_MAX);
	for (uint64_t i = 0; i < SNAPSHOTS_MAX; i++)
		ck_assert_uint_eq(positions[i], 3 * SNAPSHOTS_MAX - i);
	ck_assert_int_eq(snapshot_remove_others(&place.disk, 5), 0);
	ck_assert_int_eq(snapshot_list(&place.disk, positions), 1);
	ck_assert_uint_eq(positions[0], 5);
}

TEST(one_at_the_same_position_takes_the_place_of_the_other) {
	set(&world, "key", text("one"));
	take(7);
	set(&world, "key", text("two"));
	take(7);
	struct world loaded = {.service = another(world.service)};
	ck_assert(snapshot_load(&place.disk, 7, NULL, NULL, loaded.service, why));
	assert_holds(&loaded, "key", "two", 2);
	world_close(&loaded);
}

TEST(one_is_due_when_the_journal_is_longer_than_it_and_64_mib) {
	uint64_t least = 64 << 20;

	ck_assert(!snapshot_is_due(0, 0));
	ck_assert(!snapshot_is_due(least, 0) && snapshot_is_due(least + 1, 0));
	ck_assert(!snapshot_is_due(least, 5) && snapshot_is_due(least + 1, 5));
	ck_assert(!snapshot_is_due(3 * least, 3 * least));
	ck_assert(snapshot_is_due(3 * least + 1, 3 * least));
}

/* What other versions of kvd rely on. */
TEST(the_layout_of_an_empty_one_is_this) {
	static const char expected[] = "6b7664736e617031" /* magic, checksum, format */
				       "f1877541"
				       "04000000"
				       "00000000000000000000000000000000" /* store */
				       "0700000000000000" /* position, time, entries, sessions */
				       "0000000000000000"
				       "0000000000000000"
				       "0000000000000000"
				       "28000000" /* a chunk */
				       "3a3fa476"
				       "0000000000000000"
				       "0000000000000000"
				       "0000000000000000"
				       "0000000000000000"
				       "0000000000000000"
				       "00000000" /* the end */
				       "cd6c3b39"
				       "2800000000000000";
	char text[2 * 256 + 1];

	take(7);
	read_snapshot(&place, 7, &file);
	ck_assert_uint_eq(file.size, (sizeof(expected) - 1) / 2);
	for (size_t i = 0; i < file.size; i++)
		(void)snprintf(text + 2 * i, 3, "%02x", file.data[i]);
	ck_assert_str_eq(text, expected);
}

struct seen {
	uint64_t done;
	uint64_t size;
	size_t times;
};

static void see(void *context, uint64_t done, uint64_t size) {
	struct seen *seen = context;

	ck_assert_uint_gt(done, seen->done);
	*seen = (struct seen){.done = done, .size = size, .times = seen->times + 1};
}

TEST(progress_is_told_up_to_the_end) {
	struct seen seen = {0};
	struct snapshot snapshot;
	int error;

	set(&world, "long", zeros(5 * CHUNK_MAX));
	ck_assert_int_eq(snapshot_write(&place.disk, world.service, 1, see, &seen), 0);
	ck_assert_int_eq(snapshot_publish(&place.disk, 1, &error), PUBLISH_DONE);
	read_snapshot(&place, 1, &file);
	ck_assert_uint_eq(seen.done, file.size);
	ck_assert_uint_eq(seen.size, 0);
	seen = (struct seen){0};
	ck_assert(snapshot_check(&place.disk, 1, see, &seen, &snapshot, why));
	ck_assert_uint_gt(seen.done + 64, file.size);
	ck_assert_uint_eq(seen.size, file.size);
	ck_assert_uint_ge(seen.times, 5);
}

/* --- How long it takes --------------------------------------------------------------------------
 */

static uint64_t keys_wanted(void) {
	const char *wanted = getenv("KEYS");

	if (wanted != NULL)
		return strtoull(wanted, NULL, 0);
	return is_slowed_down() ? USUAL_KEYS / 20 : USUAL_KEYS;
}

TEST(a_million_keys_come_back) {
	uint64_t keys = keys_wanted();
	struct operation put = put_call(0, 0, "", "");
	struct snapshot snapshot;
	char key[32];
	int error;

	put.expected = 0;
	put.value = zeros(100);
	for (uint64_t i = 0; i < keys; i++) {
		(void)snprintf(key, sizeof(key), "key-%012llu", (unsigned long long)i);
		put.key = text(key);
		ck_assert_int_eq(status_of(&world, &put), KV_OK);
	}
	uint64_t began_ns = clock_ns();
	ck_assert_int_eq(snapshot_write(&place.disk, world.service, 1, NULL, NULL), 0);
	uint64_t saved_ns = clock_ns();
	ck_assert_int_eq(snapshot_publish(&place.disk, 1, &error), PUBLISH_DONE);
	struct service *service = another(world.service);
	uint64_t searching_ns = clock_ns();
	ck_assert_int_eq(snapshot_find_latest(&place.disk, NULL, NULL, &snapshot, why),
			 SEARCH_FOUND);
	uint64_t found_ns = clock_ns();
	ck_assert_msg(snapshot_load(&place.disk, 1, NULL, NULL, service, why), "%s", why);
	uint64_t loaded_ns = clock_ns();
	printf("figure: %llu keys, %llu MB: written and synced in %llu ms, verified in %llu ms, "
	       "loaded in %llu ms\n",
	       (unsigned long long)keys, (unsigned long long)snapshot.size / 1000000,
	       (unsigned long long)(saved_ns - began_ns) / 1000000,
	       (unsigned long long)(found_ns - searching_ns) / 1000000,
	       (unsigned long long)(loaded_ns - found_ns) / 1000000);
	ck_assert_uint_eq(snapshot.entries, keys);
	/* Other keys share a bucket there. */
	ck_assert_uint_le(service_memory(service)->used, used(&world) + used(&world) / 1000);
	service_free(service);
}
