/* SPDX-License-Identifier: BSD-3-Clause */
/* What kvd -d does not start with: one line that says what is wrong, where, and what to do. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_directory.h"
#include "fixture.h"
#include "suite.h"
#include "test.h"

enum {
	EXIT_CANNOT = 1,
	WRITES = 5,
	SNAPSHOT_SECONDS = 60,
	UNPRIVILEGED_UID = 65534,
	LOCKED_MS = 300
};

/* More than a machine has memory, and as much as any file system allows. */
static const off_t long_size = (off_t)1 << 40;

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* --- Stores, and kvds that do not start --------------------------------------------------------
 */

static void write_some(struct peer *peer, const struct session *session, uint64_t from) {
	for (uint64_t seq = from; seq < from + WRITES; seq++) {
		struct change change = append(session, 0, seq, "log", "x");

		ck_assert_int_eq(change_status(peer, &change), KV1_OK);
	}
}

static void take_snapshot(struct fixture *fixture) {
	uint64_t deadline_ms = suite_now_ms() + SNAPSHOT_SECONDS * 1000;
	uint64_t before = counter(&fixture->peer, "snapshots");

	process_signal(&fixture->server.process, SIGUSR1);
	while (counter(&fixture->peer, "snapshots") == before) {
		ck_assert_msg(suite_now_ms() < deadline_ms, "no snapshot");
		suite_pause_ms(5);
	}
}

/* A store with WRITES batches more, then a snapshot if asked for, then more batches; stopped. */
static void use(const char *dir, bool with_snapshot) {
	struct fixture fixture;

	fixture_open(&fixture, "-d", dir, NULL);
	write_some(&fixture.peer, &fixture.session, 1);
	if (with_snapshot)
		take_snapshot(&fixture);
	write_some(&fixture.peer, &fixture.session, 100);
	fixture_close(&fixture);
}

/* One line, with all words in it. */
static void check_said(const char *said, const char *const words[]) {
	const char *end = strchr(said, '\n');

	ck_assert_msg(end != NULL && end[1] == '\0', "not one line: \"%s\"", said);
	ck_assert_msg(strstr(said, "kvd: ") != NULL, "no name: %s", said);
	for (size_t i = 0; words[i] != NULL; i++)
		ck_assert_msg(strstr(said, words[i]) != NULL, "no \"%s\" in: %s", words[i], said);
}

static void check_refused(const char *dir, const char *const words[]) {
	struct server server;

	server_launch(&server,
		      (const char *const[]){"-n", "-l", "tcp:127.0.0.1:0", "-d", dir, NULL});
	bool is_ready = server_await_ready(&server);
	int status = server_wait(&server);
	char *said = server_said(&server);

	ck_assert_msg(!is_ready, "it serves: %s", server.ready);
	ck_assert_msg(status == EXIT_CANNOT, "exit %d: %s", status, said);
	check_said(said, words);
	free(said);
}

static const char *program(char kvd[512]) {
	server_program("kvd", kvd);
	return getenv("KVD") != NULL ? getenv("KVD") : kvd;
}

/* Damage is seen by a start and by --check alike. */
static void check_damaged(const char *dir, const char *const words[]) {
	char kvd[512];
	struct run run = run_program((const char *const[]){program(kvd), "--check", dir, NULL});

	ck_assert_msg(run.status == EXIT_CANNOT, "--check: exit %d: %s", run.status, run.err);
	check_said(run.err, words);
	run_free(&run);
	check_refused(dir, words);
}

/* The name alone, and "offset N". */
struct place {
	char file[64];
	char offset[32];
};

static struct place place(const char *path, uint64_t offset) {
	struct place place;

	(void)snprintf(place.file, sizeof place.file, "%s", strrchr(path, '/') + 1);
	(void)snprintf(place.offset, sizeof place.offset,
		       "offset %llu:", (unsigned long long)offset);
	return place;
}

/* --- The directory ------------------------------------------------------------------------------
 */

CASE(the_directory);

TEST(a_directory_that_is_not_there_is_named) {
	char dir[64];
	char missing[80];

	suite_directory(dir);
	(void)snprintf(missing, sizeof missing, "%s/none", dir);
	check_refused(missing, WORDS(missing, "No such file", "create it"));
}

TEST(a_file_in_place_of_the_directory_is_named) {
	char dir[64];
	char path[80];

	suite_directory(dir);
	(void)snprintf(path, sizeof path, "%s/file", dir);
	ck_assert_int_eq(mknod(path, S_IFREG | 0600, 0), 0);
	check_refused(path, WORDS(path, "Not a directory"));
}

TEST(a_directory_of_another_program_is_refused_by_the_name_in_the_way) {
	char dir[64], path[80];

	suite_directory(dir);
	(void)snprintf(path, sizeof path, "%s/lock", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	check_refused(dir, WORDS(path, "Is a directory", "owned by the user that runs kvd"));
}

/* As an ordinary user: root may write anywhere. */
static void check_refused_to_user(const char *dir, const char *const words[]) {
	server_share_kvd();
	struct run run = run_program_unprivileged(
	    (const char *const[]){getenv("KVD"), "-n", "-l", "tcp:127.0.0.1:0", "-d", dir, NULL});

	ck_assert_msg(run.status == EXIT_CANNOT, "exit %d: %s", run.status, run.err);
	check_said(run.err, words);
	ck_assert_str_eq(run.out, "");
	run_free(&run);
}

TEST(a_directory_that_may_only_be_read_is_named) {
	char dir[64];

	suite_directory(dir);
	ck_assert_int_eq(chmod(dir, 0555), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(chown(dir, UNPRIVILEGED_UID, UNPRIVILEGED_UID), 0);
	check_refused_to_user(dir,
			      WORDS(dir, "Permission denied", "owned by the user that runs kvd"));
}

TEST(a_niceness_that_may_not_be_lowered_adds_no_line) {
	ck_assert_int_ge(nice(5), 5);
	check_refused_to_user("/none", WORDS("/none"));
}

TEST(a_directory_of_another_user_is_named) {
	char dir[64];

	if (geteuid() != 0) {
		suite_skip("a directory of another user: only root can make one");
		return;
	}
	suite_directory(dir);
	ck_assert_int_eq(chmod(dir, 0700), 0);
	check_refused_to_user(dir,
			      WORDS(dir, "Permission denied", "owned by the user that runs kvd"));
}

TEST(a_directory_that_others_may_write_is_refused) {
	static const mode_t modes[] = {0777, 01777, 0775, 0702};
	char dir[64];

	suite_directory(dir);
	use(dir, false);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		ck_assert_int_eq(chmod(dir, modes[i]), 0);
		check_refused(dir, WORDS(dir, "can be written by other users", "chmod go-w"));
	}
	ck_assert_int_eq(chmod(dir, 0755), 0);
	use(dir, false);
}

TEST(a_directory_that_another_user_owns_is_refused_though_kvd_could_write_there) {
	char dir[64];

	if (geteuid() != 0) {
		suite_skip("a directory of another user: only root can make one");
		return;
	}
	suite_directory(dir);
	ck_assert_int_eq(chown(dir, UNPRIVILEGED_UID, UNPRIVILEGED_UID), 0);
	check_refused(dir, WORDS(dir, "belongs to user", "chown it"));
}

CASE(the_directory_durable, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_directory_that_another_kvd_uses_is_named_and_that_one_goes_on) {
	write_some(&fx.peer, &fx.session, 1);
	check_refused(fx.dir,
		      WORDS(fx.dir, "in use by another kvd", "stop it, or name another -d"));
	check_key(&fx.peer, "log", "xxxxx", WRITES);
}

CASE(the_directory);

/* As the child that writes a snapshot does, when both are killed before it closed the lock. */
TEST(a_lock_that_is_given_back_soon_is_waited_for) {
	struct server server;
	char dir[64];
	char path[80];

	suite_directory(dir);
	(void)snprintf(path, sizeof path, "%s/lock", dir);
	int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(lock, 0);
	ck_assert_int_eq(flock(lock, LOCK_EX), 0);
	server_launch(&server,
		      (const char *const[]){"-n", "-l", "tcp:127.0.0.1:0", "-d", dir, NULL});
	suite_pause_ms(LOCKED_MS);
	ck_assert_int_eq(close(lock), 0);
	ck_assert(server_await_ready(&server));
	server_stop(&server);
}

/* --- Files of others ----------------------------------------------------------------------------
 */

CASE(files_of_others);

TEST(a_segment_of_a_newer_format_is_refused) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	datadir_set_format(path, SEGMENT_HEADER_SIZE, 99);
	check_damaged(dir, WORDS(place(path, 0).file, "format 99", "use the kvd that wrote it"));
}

TEST(a_snapshot_of_a_newer_format_is_refused) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, true);
	datadir_last(dir, "snapshot-", path);
	datadir_set_format(path, SNAPSHOT_HEADER_SIZE, 99);
	check_damaged(dir, WORDS(place(path, 0).file, "format 99", "use the kvd that wrote it"));
}

/* Moves the last file with this prefix from one directory to another. */
static void move_last(const char *from, const char *to, const char *prefix) {
	char old_path[DATADIR_PATH_MAX];
	char new_path[DATADIR_PATH_MAX + 64];

	datadir_last(from, prefix, old_path);
	(void)snprintf(new_path, sizeof new_path, "%s%s", to, strrchr(old_path, '/'));
	ck_assert_int_eq(rename(old_path, new_path), 0);
}

TEST(a_segment_of_another_store_is_refused) {
	char dir[64];
	char other[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	suite_directory(other);
	use(dir, false);
	use(other, false);
	use(other, false);
	move_last(other, dir, "journal-");
	ck_assert_uint_eq(datadir_count(dir, "journal-"), 2);
	datadir_last(dir, "journal-", path);
	check_damaged(dir, WORDS(place(path, 0).file, "offset 0:", "belongs to another store",
				 "restore a copy of the directory"));
}

TEST(a_snapshot_of_another_store_is_refused) {
	char dir[64];
	char other[64];
	char path[DATADIR_PATH_MAX];
	char segment[DATADIR_PATH_MAX];

	suite_directory(dir);
	suite_directory(other);
	use(dir, true);
	use(other, true);
	move_last(other, dir, "snapshot-");
	datadir_last(dir, "snapshot-", path);
	datadir_last(dir, "journal-", segment);
	check_damaged(dir, WORDS(place(path, 0).file, place(segment, 0).file, "different stores",
				 "restore a copy of the directory"));
}

/* Nothing is waited for that is no file. */
TEST(a_pipe_under_the_name_of_a_file_is_refused) {
	static const char *const names[] = {"journal-000000000000000f",
					    "snapshot-000000000000000f"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char dir[64];
		char path[128];

		suite_directory(dir);
		(void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		ck_assert_int_eq(mkfifo(path, 0600), 0);
		check_damaged(dir, WORDS(names[i]));
	}
}

TEST(a_lock_that_is_a_link_makes_no_file_elsewhere) {
	char dir[64];
	char other[64];
	char link[80];
	char file[80];

	suite_directory(dir);
	suite_directory(other);
	(void)snprintf(link, sizeof link, "%s/lock", dir);
	(void)snprintf(file, sizeof file, "%s/file", other);
	ck_assert_int_eq(symlink(file, link), 0);
	check_refused(dir, WORDS(dir));
	ck_assert_int_ne(access(file, F_OK), 0);
}

/* --- Damage -------------------------------------------------------------------------------------
 */

CASE(damage);

TEST(damage_in_the_middle_of_the_journal_is_named_by_file_and_offset) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	uint64_t offset = datadir_batch(path, 2);
	ck_assert_uint_gt(offset, 0);
	datadir_flip(path, offset + 60);
	check_damaged(dir, WORDS(place(path, 0).file, place(path, offset).offset,
				 "restore a copy of the directory"));
}

TEST(damage_to_the_last_batch_is_named_after_a_clean_stop) {
	char dir[64];
	char path[DATADIR_PATH_MAX];
	unsigned count = 0;

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	while (datadir_batch(path, count) > 0)
		count++;
	/* The mark of the stop is a batch, too. */
	uint64_t offset = datadir_batch(path, count - 2);
	datadir_flip(path, offset + 60);
	check_damaged(dir, WORDS(place(path, 0).file, place(path, offset).offset,
				 "restore a copy of the directory"));
}

/* Starts a kvd, which must say so and serve. */
static void check_told(const char *dir, const char *what, const char *file) {
	struct fixture fixture;
	char *said;

	fixture_open(&fixture, "-d", dir, "-v", NULL);
	fixture_close(&fixture);
	said = server_said(&fixture.server);
	ck_assert_msg(strstr(said, what) != NULL && strstr(said, file) != NULL, "%s", said);
	free(said);
}

CASE(damage_durable, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_last_batch_that_a_crash_cut_short_is_named_by_its_file) {
	uint64_t last = 0;
	char path[DATADIR_PATH_MAX];

	write_some(&fx.peer, &fx.session, 1);
	fixture_kill();
	datadir_last(fx.dir, "journal-", path);
	for (unsigned i = 0; datadir_batch(path, i) != 0; i++)
		last = datadir_batch(path, i);
	datadir_flip(path, last + 50);
	check_told(fx.dir, "the last batch was cut short by a crash", place(path, 0).file);
}

CASE(damage);

TEST(a_segment_that_became_shorter_is_named) {
	char kvd[512];
	char dir[64];
	char path[DATADIR_PATH_MAX];
	struct stat status;
	struct run run;

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_int_eq(truncate(path, status.st_size - 1), 0);
	run = run_program((const char *const[]){program(kvd), "--check", dir, NULL});
	ck_assert_int_eq(run.status, EXIT_CANNOT);
	check_said(run.err, WORDS("the last segment lacks 1 bytes", place(path, 0).file,
				  "restore a copy of the directory"));
	run_free(&run);
	check_told(dir, "the last segment lacks 1 bytes", place(path, 0).file);
}

TEST(a_damaged_header_of_a_segment_is_named) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	datadir_flip(path, 40);
	check_damaged(dir, WORDS(place(path, 0).file, "offset 0:", "header",
				 "restore a copy of the directory"));
}

TEST(a_segment_that_became_longer_is_named) {
	char dir[64];
	char path[DATADIR_PATH_MAX];
	struct stat status;

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	ck_assert_int_eq(stat(path, &status), 0);
	/* A hole: not all of it is read. */
	ck_assert_int_eq(truncate(path, long_size), 0);
	check_damaged(dir, WORDS(place(path, 0).file, place(path, (uint64_t)status.st_size).offset,
				 "restore a copy of the directory"));
}

TEST(a_damaged_snapshot_is_named) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, true);
	datadir_last(dir, "snapshot-", path);
	datadir_flip(path, SNAPSHOT_HEADER_SIZE + 20);
	check_damaged(dir, WORDS(place(path, 0).file, place(path, SNAPSHOT_HEADER_SIZE).offset,
				 "restore a copy of the directory"));
}

TEST(a_segment_that_is_missing_is_named) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	use(dir, false);
	ck_assert_int_eq(unlink(path), 0);
	check_damaged(dir, WORDS(place(path, 0).file, "is missing", "restore a copy"));
}

TEST(a_snapshot_without_its_journal_is_refused) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, true);
	datadir_last(dir, "journal-", path);
	ck_assert_int_eq(unlink(path), 0);
	check_damaged(dir, WORDS(place(path, 0).file, "is missing", "restore a copy"));
}

TEST(a_young_store_that_lost_its_journal_is_refused) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	ck_assert_int_eq(unlink(path), 0);
	check_damaged(dir, WORDS(place(path, 0).file, "is missing", "restore a copy"));
}

TEST(the_newest_segment_is_missed_after_a_clean_stop) {
	char dir[64];
	char path[DATADIR_PATH_MAX];

	suite_directory(dir);
	use(dir, false);
	use(dir, false);
	datadir_last(dir, "journal-", path);
	ck_assert_int_eq(unlink(path), 0);
	check_damaged(dir, WORDS(place(path, 0).file, "is missing", "restore a copy"));
}

TEST(a_snapshot_beyond_the_end_of_the_journal_is_refused) {
	char dir[64];
	char old[DATADIR_PATH_MAX];
	char kept[DATADIR_PATH_MAX];
	char path[DATADIR_PATH_MAX];
	char manifest[80];

	suite_directory(dir);
	use(dir, false);
	datadir_last(dir, "journal-", old);
	datadir_keep(old, kept);
	use(dir, true);
	datadir_last(dir, "journal-", path);
	ck_assert_str_ne(path, old);
	ck_assert_int_eq(unlink(path), 0);
	datadir_put_back(kept);
	/* As in a directory from before there was a manifest. */
	(void)snprintf(manifest, sizeof manifest, "%s/manifest", dir);
	ck_assert_int_eq(unlink(manifest), 0);
	check_damaged(dir, WORDS("the journal ends at operation", place(old, 0).file,
				 "and the snapshot goes up to", "restore a copy of the directory"));
}

/* Two runs with a snapshot each; whatever the second removed is kept aside. */
static void use_twice(const char *dir, char snapshot[DATADIR_PATH_MAX],
		      char segment[DATADIR_PATH_MAX]) {
	char path[DATADIR_PATH_MAX];

	use(dir, true);
	datadir_last(dir, "snapshot-", path);
	datadir_keep(path, snapshot);
	datadir_last(dir, "journal-", path);
	datadir_keep(path, segment);
	use(dir, true);
	datadir_last(dir, "snapshot-", path);
	datadir_flip(path, SNAPSHOT_HEADER_SIZE + 20);
	datadir_put_back(snapshot);
}

CASE(damage_with_options, .teardown = fixture_end);

TEST(an_older_snapshot_serves_if_the_journal_is_whole_from_there) {
	char snapshot[DATADIR_PATH_MAX];
	char segment[DATADIR_PATH_MAX];
	char *said;

	suite_directory(fx.dir);
	use_twice(fx.dir, snapshot, segment);
	datadir_put_back(segment);
	fixture_open(&fx, "-d", fx.dir, NULL);
	check_key(&fx.peer, "log", "xxxxxxxxxxxxxxxxxxxx", 4 * WRITES);
	said = server_said(&fx.server);
	ck_assert_ptr_nonnull(strstr(said, "is damaged at offset 64:"));
	ck_assert_ptr_nonnull(strstr(said, "going on from an older snapshot"));
	free(said);
}

CASE(damage);

TEST(an_older_snapshot_does_not_serve_if_a_segment_after_it_is_gone) {
	char snapshot[DATADIR_PATH_MAX];
	char segment[DATADIR_PATH_MAX];
	char dir[64];
	struct server server;

	suite_directory(dir);
	use_twice(dir, snapshot, segment);
	server_launch(&server,
		      (const char *const[]){"-n", "-l", "tcp:127.0.0.1:0", "-d", dir, NULL});
	ck_assert(!server_await_ready(&server));
	ck_assert_int_eq(server_wait(&server), EXIT_CANNOT);
	/* The older snapshot is tried, which is said; then what it lacks. */
	char *said = server_said(&server);
	ck_assert_msg(strstr(said, "going on from an older snapshot") != NULL &&
			  strstr(said, "is missing") != NULL &&
			  strstr(said, "restore a copy of the directory") != NULL,
		      "%s", said);
	free(said);
}
