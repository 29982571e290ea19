/* SPDX-License-Identifier: BSD-3-Clause */
/* BACKUP over the wire: which snapshots are read, for how long, and by which peers. */
#include <stdlib.h>
#include <string.h>

#include "data_directory.h"
#include "fixture.h"
#include "suite.h"
#include "test.h"

enum {
	WAIT_MS = 60000,
	HELD_MAX = 4, /* HELD_SNAPSHOTS_MAX */
	LARGE = 1 << 20,
};

static kv1_backup_res read_page(struct peer *peer, uint64_t epoch, uint64_t position,
				uint64_t offset) {
	kv1_backup_args args = {.epoch = epoch, .position = position, .offset = offset};
	kv1_backup_res res = {.status = KV1_MAYBE};

	peer_call(peer, KVPROC_BACKUP, (xdrproc_t)xdr_kv1_backup_args, &args,
		  (xdrproc_t)xdr_kv1_backup_res, &res);
	return res;
}

static void free_page(kv1_backup_res *res) {
	xdr_free((xdrproc_t)xdr_kv1_backup_res, res);
}

static kv1_status status_of_page(struct peer *peer, uint64_t position, uint64_t offset) {
	kv1_backup_res res = read_page(peer, 0, position, offset);

	free_page(&res);
	return res.status;
}

/* Writes a key, so that there is something new, and takes a snapshot: its position. */
static uint64_t take_snapshot(uint64_t seq) {
	static char bytes[LARGE];
	struct change change = put_bytes(&fx.session, 0, seq, "large", bytes, LARGE);
	kv1_snapshot_args args = {.epoch = 0};
	kv1_snapshot_res res = {.status = KV1_MAYBE};
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;

	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	peer_call(&fx.peer, KVPROC_SNAPSHOT, (xdrproc_t)xdr_kv1_snapshot_args, &args,
		  (xdrproc_t)xdr_kv1_snapshot_res, &res);
	ck_assert_int_eq(res.status, KV1_OK);
	while (counter(&fx.peer, "snapshot_position") < res.position) {
		ck_assert_msg(suite_now_ms() < deadline_ms, "no snapshot");
		suite_pause_ms(2);
	}
	return counter(&fx.peer, "snapshot_position");
}

/* Reads from `offset` to the end, page by page, into `bytes`, which has room. */
static uint64_t read_rest(struct peer *peer, uint64_t position, uint64_t offset, char *bytes) {
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;

	for (;;) {
		kv1_backup_res res = read_page(peer, 0, position, offset);
		uint64_t size = res.size;

		ck_assert_int_eq(res.status, KV1_OK);
		ck_assert_uint_le(res.page.kv1_value_len, KV1_BACKUP_PAGE_MAX);
		memcpy(bytes + offset, res.page.kv1_value_val, res.page.kv1_value_len);
		offset += res.page.kv1_value_len;
		free_page(&res);
		if (offset == size)
			return size;
		/* A page that the disk reads still is empty. */
		ck_assert_msg(suite_now_ms() < deadline_ms, "it does not come to its end");
	}
}

static struct peer administrator;

static void start(void) {
	fixture_durable();
	peer_open(&administrator, &fx.server, VIA_LOCAL);
}

static void stop(void) {
	peer_close(&administrator);
	fixture_end();
}

static void restart(void) {
	peer_close(&administrator);
	server_restart(&fx.server);
	peer_close(&fx.peer);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	peer_open(&administrator, &fx.server, VIA_LOCAL);
}

CASE(backup, .setup = start, .teardown = stop);

TEST(all_pages_are_the_file_of_the_snapshot) {
	uint64_t position = take_snapshot(1);
	char *bytes = malloc(2 * LARGE);
	char *file = malloc(2 * LARGE);
	char path[DATADIR_PATH_MAX];

	ck_assert(bytes != NULL && file != NULL);
	uint64_t size = read_rest(&administrator, position, 0, bytes);
	ck_assert_uint_gt(size, LARGE);
	datadir_last(fx.dir, "snapshot-", path);
	datadir_read(path, 0, file, (size_t)size);
	ck_assert_mem_eq(bytes, file, (size_t)size);
	/* At the end and behind it there is nothing, and that is no error. */
	kv1_backup_res res = read_page(&administrator, 0, position, size);
	ck_assert_int_eq(res.status, KV1_OK);
	ck_assert_uint_eq(res.page.kv1_value_len, 0);
	free_page(&res);
	res = read_page(&administrator, 0, position, UINT64_MAX);
	ck_assert_int_eq(res.status, KV1_OK);
	ck_assert_uint_eq(res.page.kv1_value_len, 0);
	free_page(&res);
	free(bytes);
	free(file);
}

TEST(a_snapshot_that_is_read_is_held_when_a_newer_one_takes_its_place) {
	uint64_t position = take_snapshot(1);
	char *bytes = malloc(2 * LARGE);

	ck_assert_ptr_nonnull(bytes);
	kv1_backup_res res = read_page(&administrator, 0, position, 0);
	ck_assert_int_eq(res.status, KV1_OK);
	free_page(&res);
	ck_assert_uint_gt(take_snapshot(2), position);
	ck_assert_uint_gt(read_rest(&administrator, position, 0, bytes), LARGE);
	ck_assert_uint_eq(counter(&fx.peer, "backups_read"), 1);
	free(bytes);
}

TEST(reading_goes_on_after_a_restart_of_the_server) {
	uint64_t position = take_snapshot(1);
	char *whole = malloc(2 * LARGE);
	char *parts = malloc(2 * LARGE);

	ck_assert(whole != NULL && parts != NULL);
	uint64_t size = read_rest(&administrator, position, 0, whole);
	memcpy(parts, whole, 1000);
	restart();
	ck_assert_uint_eq(read_rest(&administrator, position, 1000, parts), size);
	ck_assert_mem_eq(whole, parts, (size_t)size);
	free(whole);
	free(parts);
}

TEST(a_snapshot_that_is_gone_or_never_was_is_said_to_be_so) {
	uint64_t position = take_snapshot(1);

	(void)take_snapshot(2);
	ck_assert_int_eq(status_of_page(&administrator, position, 0), KV1_COMPACTED);
	ck_assert_int_eq(status_of_page(&administrator, UINT64_MAX, 0), KV1_COMPACTED);
	ck_assert_uint_eq(counter(&fx.peer, "backups_read"), 0);
}

TEST(only_so_many_snapshots_are_held) {
	for (unsigned i = 0; i < HELD_MAX; i++)
		ck_assert_int_eq(status_of_page(&administrator, take_snapshot(i + 1), 0), KV1_OK);
	uint64_t position = take_snapshot(HELD_MAX + 1);
	ck_assert_int_eq(status_of_page(&administrator, position, 0), KV1_FULL);
	ck_assert_uint_eq(counter(&fx.peer, "backups_read"), HELD_MAX);
}

TEST(others_than_the_users_of_the_machine_that_may_are_denied) {
	uint64_t position = take_snapshot(1);
	struct peer udp;

	ck_assert_int_eq(status_of_page(&fx.peer, position, 0), KV1_DENIED);
	peer_open(&udp, &fx.server, VIA_UDP);
	ck_assert_int_eq(status_of_page(&udp, position, 0), KV1_DENIED);
	peer_close(&udp);
	ck_assert_uint_eq(counter(&fx.peer, "backups_read"), 0);
}

TEST(another_epoch_is_refused) {
	uint64_t position = take_snapshot(1);
	kv1_backup_res res = read_page(&administrator, fx.session.epoch + 1, position, 0);

	ck_assert_int_eq(res.status, KV1_EPOCH);
	free_page(&res);
}

CASE(backup_of_memory, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_store_in_memory_has_no_backups) {
	struct peer local;

	peer_open(&local, &fx.server, VIA_LOCAL);
	ck_assert_int_eq(status_of_page(&local, 0, 0), KV1_UNAVAILABLE);
	peer_close(&local);
}
