/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk that is full, or fails: writes are refused, reads go on, all replies are true. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data_directory.h"
#include "fixture.h"
#include "suite.h"
#include "test.h"

enum {
	EXIT_CANNOT = 1,
	EXIT_LIMIT = 8,
	LARGE = 1 << 20,
	WRITES_MAX = 1000, /* of LARGE bytes: some disk is full by then */
	WAIT_MS = 60000,
};

static char large[LARGE];

/* --- A disk of our own --------------------------------------------------------------------------
 */

static bool write_text(const char *path, const char *text) {
	int file = open(path, O_WRONLY | O_CLOEXEC);
	bool written = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);

	if (file >= 0)
		(void)close(file);
	return written;
}

/* As an ordinary user: root over nothing but one's own mounts. */
static bool enter_own_namespace(void) {
	char users[32];
	char groups[32];

	if (geteuid() == 0)
		return unshare(CLONE_NEWNS) == 0;
	(void)snprintf(users, sizeof users, "%u %u 1", geteuid(), geteuid());
	(void)snprintf(groups, sizeof groups, "%u %u 1", getegid(), getegid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
	       write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups);
}

/* A small disk at `dir`, which this process and its children see. False: said why not. */
static bool make_disk(const char *dir, const char *options) {
	if (enter_own_namespace() && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("tmpfs", dir, "tmpfs", 0, options) == 0)
		return true;
	suite_skip("a disk that is full: this user may not mount one here");
	return false;
}

static void resize_disk(const char *dir, const char *options) {
	ck_assert_int_eq(mount(NULL, dir, NULL, MS_REMOUNT, options), 0);
}

static struct change write_large(const struct session *session, uint64_t seq, const char *key) {
	return put_bytes(session, 0, seq, key, large, LARGE);
}

/* Writes to one key until it is refused; answers the seq of the refused call. */
static uint64_t write_until_full(struct fixture *fixture, uint64_t seq) {
	uint64_t last = seq + WRITES_MAX;

	for (; seq < last; seq++) {
		struct change change = write_large(&fixture->session, seq, "large");
		kv1_status status = change_status(&fixture->peer, &change);

		if (status == KV1_FULL)
			return seq;
		ck_assert_int_eq(status, KV1_OK);
	}
	ck_abort_msg("the disk is never full");
	return 0;
}

/* Tries new calls until one is done; answers its seq. */
static uint64_t write_until_room(struct fixture *fixture, uint64_t seq) {
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;

	for (;; seq++) {
		struct change change = write_large(&fixture->session, seq, "large");
		kv1_status status = change_status(&fixture->peer, &change);

		if (status == KV1_OK)
			return seq;
		ck_assert_int_eq(status, KV1_FULL);
		ck_assert_msg(suite_now_ms() < deadline_ms, "writing does not go on");
		suite_pause_ms(20);
	}
}

/* Once each, in this order. */
static void check_said_room(const struct server *server) {
	static const char none[] =
	    "no space for the next segment of the journal: No space left on device";
	static const char again[] = "the disk takes the journal again";
	char *said = server_said(server);
	const char *first = strstr(said, none);

	ck_assert_msg(first != NULL && strstr(first + 1, none) == NULL, "%s", said);
	ck_assert_msg(strstr(first, again) != NULL, "%s", said);
	free(said);
}

/* --- Full ---------------------------------------------------------------------------------------
 */

CASE(full, .teardown = fixture_end);

TEST(a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_room) {
	suite_directory(fx.dir);
	if (!make_disk(fx.dir, "size=100m,mode=0700"))
		return;
	fixture_open(&fx, "-d", fx.dir, NULL);
	struct change first = append(&fx.session, 1, 1, "log", "x");
	ck_assert_int_eq(change_status(&fx.peer, &first), KV1_OK);
	uint64_t refused = write_until_full(&fx, 1);
	ck_assert_uint_gt(refused, 1);
	ck_assert_uint_eq(counter(&fx.peer, "disk_full"), 1);
	check_key(&fx.peer, "log", "x", 1);
	struct outcome outcome = get(&fx.peer, "large");
	ck_assert_uint_eq(outcome.current, refused - 1);
	outcome_free(&outcome);
	/* "A copy of an answered call gets its answer even when the store is full." */
	ck_assert_int_eq(change_status(&fx.peer, &first), KV1_OK);
	check_key(&fx.peer, "log", "x", 1);

	resize_disk(fx.dir, "size=400m");
	uint64_t done = write_until_room(&fx, refused + 1);
	/* The refusal stands: a copy of that call does not run now. */
	struct change change = write_large(&fx.session, refused, "large");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_STALE);
	outcome = get(&fx.peer, "large");
	ck_assert_uint_eq(outcome.current, refused);
	outcome_free(&outcome);
	ck_assert_uint_gt(done, refused);
	check_said_room(&fx.server);

	server_restart(&fx.server);
	peer_close(&fx.peer);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	outcome = get(&fx.peer, "large");
	ck_assert_uint_eq(outcome.current, refused);
	outcome_free(&outcome);
}

TEST(a_copy_of_a_call_refused_for_a_full_disk_stays_refused) {
	suite_directory(fx.dir);
	if (!make_disk(fx.dir, "size=100m,mode=0700"))
		return;
	fixture_open(&fx, "-d", fx.dir, NULL);
	uint64_t refused = write_until_full(&fx, 1);
	struct change change = write_large(&fx.session, refused, "large");
	resize_disk(fx.dir, "size=400m");
	struct session other = session_open(&fx.peer);
	/* There is room once another session is served. */
	struct fixture second = fx;
	second.session = other;
	(void)write_until_room(&second, 1);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_FULL);
}

TEST(kvctl_says_that_the_disk_is_full_with_exit_8) {
	char value[96];
	char file[80];

	suite_directory(fx.dir);
	if (!make_disk(fx.dir, "size=100m,mode=0700"))
		return;
	fixture_open(&fx, "-d", fx.dir, NULL);
	(void)write_until_full(&fx, 1);
	(void)snprintf(file, sizeof file, "%s/value", fx.server.dir);
	(void)snprintf(value, sizeof value, "@%s", file);
	FILE *out = fopen(file, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(large, 1, LARGE, out), LARGE);
	ck_assert_int_eq(fclose(out), 0);
	struct run run = server_kvctl(&fx.server, WORDS("put", "key", value));
	ck_assert_int_eq(run.status, EXIT_LIMIT);
	ck_assert_str_eq(run.out, "");
	ck_assert_msg(strstr(run.err, "disk") != NULL, "%s", run.err);
	run_free(&run);
	run = server_kvctl(&fx.server, WORDS("get", "large", "--version"));
	ck_assert_int_eq(run.status, 0);
	run_free(&run);
}

TEST(a_snapshot_that_finds_no_room_is_given_up_and_the_next_one_succeeds) {
	suite_directory(fx.dir);
	if (!make_disk(fx.dir, "size=150m,mode=0700"))
		return;
	fixture_open(&fx, "-d", fx.dir, NULL);
	for (uint64_t i = 0; i < 40; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)i);
		struct change change = write_large(&fx.session, i + 1, key);
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	}
	struct run run = server_kvctl(&fx.server, WORDS("snapshot"));
	ck_assert_int_eq(run.status, EXIT_LIMIT);
	ck_assert_str_eq(run.out, "");
	ck_assert_msg(strstr(run.err, "disk has no space") != NULL, "%s", run.err);
	run_free(&run);
	ck_assert_uint_eq(counter(&fx.peer, "snapshots_failed"), 1);
	ck_assert_uint_eq(counter(&fx.peer, "snapshot_error"), KV1_FULL);
	/* Only that of nothing, which a new store begins with. */
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot-"), 1);
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot."), 0);
	struct change change = append(&fx.session, 1, 1, "log", "x");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	char *said = server_said(&fx.server);
	ck_assert_ptr_nonnull(strstr(said, "no snapshot: No space left on device"));
	free(said);
	resize_disk(fx.dir, "size=400m");
	run = server_kvctl(&fx.server, WORDS("snapshot"));
	ck_assert_msg(run.status == 0, "%s", run.err);
	run_free(&run);
	ck_assert_uint_eq(datadir_count(fx.dir, "snapshot-"), 1);
}

TEST(a_snapshot_that_was_due_and_found_no_room_is_tried_again) {
	suite_directory(fx.dir);
	/* Room for two segments, and for neither a third one nor a snapshot of what one holds. */
	if (!make_disk(fx.dir, "size=190m,mode=0700"))
		return;
	fixture_open(&fx, "-d", fx.dir, NULL);
	for (uint64_t i = 0; i < 80; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)i);
		struct change change = write_large(&fx.session, i + 1, key);
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	}
	counter_await(&fx.peer, "snapshots_failed", 1);
	ck_assert_uint_eq(counter(&fx.peer, "snapshots"), 0);
	resize_disk(fx.dir, "size=800m");
	counter_await(&fx.peer, "snapshots", 1);
}

CASE(full_alone);

TEST(a_disk_that_may_only_be_read_is_named) {
	char dir[64];
	struct server server;

	suite_directory(dir);
	if (!make_disk(dir, "size=1m,mode=0700"))
		return;
	ck_assert_int_eq(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	server_launch(&server, WORDS("-n", "-l", "tcp:127.0.0.1:0", "-d", dir));
	ck_assert(!server_await_ready(&server));
	ck_assert_int_eq(server_wait(&server), EXIT_CANNOT);
	char *said = server_said(&server);
	ck_assert_msg(strstr(said, dir) != NULL && strstr(said, "Read-only file system") != NULL,
		      "%s", said);
	ck_assert_ptr_eq(strchr(said, '\n') + 1, said + strlen(said));
	free(said);
}

/* --- A limit of the size of files, which any user may set ---------------------------------------
 */

static void limit_files(const struct server *server, rlim_t size) {
	struct rlimit limit = {.rlim_cur = size, .rlim_max = RLIM_INFINITY};
	struct rlimit was;

	ck_assert_int_eq(prlimit(server->process.pid, RLIMIT_FSIZE, NULL, &was), 0);
	limit.rlim_max = was.rlim_max;
	ck_assert_int_eq(prlimit(server->process.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

CASE(limit, .setup = fixture_durable, .teardown = fixture_end);

TEST(a_write_that_fails_stops_kvd_and_a_restart_tells_the_truth) {
	struct change change = append(&fx.session, 0, 1, "log", "x");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	/* Its log is shorter, and the next batch begins behind. */
	limit_files(&fx.server, SEGMENT_HEADER_SIZE);
	change = append(&fx.session, 1, 1, "log", "y");
	(void)change_send(&fx.peer, &change);
	struct answer answer;
	ck_assert_int_eq(peer_receive(&fx.peer, WAIT_MS, &answer), RECEIVED_CLOSED);
	ck_assert_int_eq(server_wait(&fx.server), EXIT_CANNOT);
	char *said = server_said(&fx.server);
	ck_assert_msg(strstr(said, "cannot write journal-") != NULL &&
			  strstr(said, "restart it to recover") != NULL,
		      "%s", said);
	free(said);
	peer_close(&fx.peer);
	server_start(&fx.server, "-d", fx.dir, NULL);
	peer_open(&fx.peer, &fx.server, VIA_TCP);
	check_key(&fx.peer, "log", "x", 1);
	change.writer.epoch = hello(&fx.peer).epoch;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	check_key(&fx.peer, "log", "xy", 2);
}

TEST(a_start_without_room_for_a_segment_serves_reads_and_takes_writes_when_there_is) {
	struct server server;

	struct change change = append(&fx.session, 0, 1, "log", "x");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	fixture_end();

	/* Inherited by kvd, and of no harm to what this process writes. */
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	if (limit.rlim_max < (rlim_t)256 << 20) {
		suite_skip("a start without room: files are limited already");
		return;
	}
	rlim_t was = limit.rlim_cur;
	limit.rlim_cur = 16 << 20;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	server_start(&server, "-d", fx.dir, NULL);
	peer_open(&fx.peer, &server, VIA_TCP);
	check_key(&fx.peer, "log", "x", 1);
	ck_assert_uint_eq(counter(&fx.peer, "disk_full"), 1);
	change.writer.epoch = hello(&fx.peer).epoch;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	change.writer.seq = 2;
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_FULL);
	limit_files(&server, was);
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
	do {
		ck_assert_msg(suite_now_ms() < deadline_ms, "writing does not go on");
		suite_pause_ms(20);
		change.writer.seq++;
	} while (change_status(&fx.peer, &change) == KV1_FULL);
	check_key(&fx.peer, "log", "xx", 2);
	peer_close(&fx.peer);
	server_stop(&server);
}

BEFORE_ALL {
	memset(large, 'x', sizeof large);
}
