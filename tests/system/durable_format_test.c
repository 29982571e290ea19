/* SPDX-License-Identifier: BSD-3-Clause */
/* Directories of older formats, kept as bytes: each kvd reads them, and goes on. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data_directory.h"
#include "fixture.h"
#include "format1_directory.h"
#include "format2_directory.h"
#include "suite.h"
#include "test.h"

enum { EXIT_CANNOT = 1 };

static void write_file(const char *dir, const char *name, const void *start, size_t size,
		       const void *rest, size_t rest_size, off_t whole) {
	char path[128];
	int file;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(pwrite(file, start, size, 0), (ssize_t)size);
	ck_assert_int_eq(pwrite(file, rest, rest_size, FORMAT1_BATCHES_AT), (ssize_t)rest_size);
	ck_assert_int_eq(ftruncate(file, whole), 0);
	ck_assert_int_eq(close(file), 0);
}

CASE(durable_format);

TEST(a_directory_from_before_the_manifest_is_read_and_goes_on) {
	struct fixture scene;
	struct server server;
	struct change change;
	char *said;
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	write_file(dir, "snapshot-0000000000000000", format1_snapshot, sizeof format1_snapshot, "",
		   0, sizeof format1_snapshot);
	write_file(dir, "journal-0000000000000001", format1_header, sizeof format1_header,
		   format1_batches, sizeof format1_batches, FORMAT1_SEGMENT_SIZE);
	fixture_open(&scene, "-d", dir, NULL);
	check_key(&scene.peer, "motd", "good morning, everyone", 2);
	change = append(&scene.session, 0, 1, "log", "x");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	fixture_close(&scene);
	/* From now on it says what it must have. */
	ck_assert_uint_eq(datadir_count(dir, "manifest"), 1);
	fixture_open(&scene, "-d", dir, NULL);
	check_key(&scene.peer, "motd", "good morning, everyone", 2);
	check_key(&scene.peer, "log", "x", 1);
	fixture_close(&scene);
	datadir_last(dir, "journal-", path);
	ck_assert_int_eq(unlink(path), 0);
	server_launch(&server,
		      (const char *const[]){"-n", "-l", "tcp:127.0.0.1:0", "-d", dir, NULL});
	ck_assert(!server_await_ready(&server));
	ck_assert_int_eq(server_wait(&server), EXIT_CANNOT);
	said = server_said(&server);
	ck_assert_msg(strstr(said, "is missing") != NULL, "%s", said);
	free(said);
}

TEST(a_directory_from_before_owners_is_read_with_its_sessions_and_goes_on) {
	struct fixture scene;
	struct session other = {.client_id = FORMAT2_OTHER};
	struct session first = {.client_id = FORMAT2_FIRST};
	struct change change;
	char dir[64];

	suite_directory(dir);
	write_file(dir, "snapshot-0000000000000004", format2_snapshot, sizeof format2_snapshot, "",
		   0, sizeof format2_snapshot);
	write_file(dir, "journal-0000000000000001", format2_header, sizeof format2_header,
		   format2_batches, sizeof format2_batches, FORMAT2_SEGMENT_SIZE);
	for (int start = 0; start < 2; start++) {
		fixture_open(&scene, "-d", dir, NULL);
		check_key(&scene.peer, "motd", "good morning, everyone", 2);
		check_key(&scene.peer, "log", "x", 1);
		other.epoch = first.epoch = scene.session.epoch;
		/* A copy of what was answered before. */
		change = put(&other, 0, 1, "log", "x");
		ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
		change = put(&first, 0, 3, "next", "y");
		ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
		check_key(&scene.peer, "next", "y", 1);
		fixture_close(&scene);
	}
}
