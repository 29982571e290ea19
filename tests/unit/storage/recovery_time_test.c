/* SPDX-License-Identifier: BSD-3-Clause */
/* Time does not go back over a restart: the latest time of the snapshot or the journal goes on. */
#include "journal_fixture.h"
#include "storage/recovery.h"
#include "test.h"

enum { SEGMENT = 64 << 10, FIRST_MS = 5000, SECOND_MS = 9000 };

static struct fake_disk *disk;
static struct recovery recovery;
static struct service *service;

static void begin(void) {
	const struct journal_file_options options = {SEGMENT, world_chance};

	struct server_identity identity = {.epoch = 1, .seed = 1};

	ck_assert(recovery_open_disk(&recovery, fake_disk_of(disk), &options));
	memcpy(identity.store, recovery.store, STORE_ID_SIZE);
	service = service_new(&identity, usual_limits(), NULL);
	ck_assert_ptr_nonnull(service);
	ck_assert(recovery_run(&recovery, service));
}

static void end(void) {
	journal_file_close(recovery.file, true);
	recovery_close(&recovery);
	service_free(service);
}

static void start(void) {
	disk = fake_disk_new(1);
	begin();
}

static void stop(void) {
	end();
	fake_disk_free(disk);
}

static void write_one(uint64_t now_ms) {
	struct operation put = put_call(0, 0, "key", "value");
	uint8_t batch[256];
	char why[JOURNAL_WHY_SIZE];
	bool is_full;

	put.expected = VERSION_ANY;
	while (journal_file_make_spare(recovery.file) == SPARE_BEGUN)
		;
	operation_encode(batch + BATCH_HEADER_SIZE, &put, now_ms);
	ck_assert(journal_file_append(recovery.file, batch, operation_encoded_size(&put), 1,
				      &is_full, why));
	ck_assert(service_apply(service, &put, now_ms, NULL));
	recovery.last++;
}

static void take_snapshot(void) {
	int error;

	ck_assert_int_eq(snapshot_write(fake_disk_of(disk), service, recovery.last, NULL, NULL), 0);
	ck_assert_int_eq(snapshot_publish(fake_disk_of(disk), recovery.last, &error), PUBLISH_DONE);
}

CASE(recovery_time, .setup = start, .teardown = stop);

TEST(a_new_store_has_no_time) {
	ck_assert_uint_eq(recovery.time_ms, 0);
}

TEST(the_time_of_the_journal_goes_on) {
	write_one(FIRST_MS);
	end();
	begin();
	ck_assert_uint_eq(recovery.time_ms, FIRST_MS);
	ck_assert_uint_eq(service_time(service), FIRST_MS);
}

TEST(the_time_of_a_snapshot_goes_on_though_nothing_follows_it) {
	write_one(FIRST_MS);
	take_snapshot();
	end();
	begin();
	ck_assert_uint_eq(recovery.replayed, 0);
	ck_assert_uint_eq(recovery.found.operations, 0);
	ck_assert_uint_eq(recovery.snapshot.time_ms, FIRST_MS);
	ck_assert_uint_eq(recovery.time_ms, FIRST_MS);
	ck_assert_uint_eq(service_time(service), FIRST_MS);
}

TEST(of_both_the_later_time_goes_on) {
	write_one(FIRST_MS);
	take_snapshot();
	write_one(SECOND_MS);
	end();
	begin();
	ck_assert_uint_eq(recovery.snapshot.time_ms, FIRST_MS);
	ck_assert_uint_eq(recovery.time_ms, SECOND_MS);
	ck_assert_uint_eq(service_time(service), SECOND_MS);
}
