/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk that is full, or fails: writes are refused, reads go on, nobody is lied to. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datadir.h"
#include "scene.h"
#include "suite.h"

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
static uint64_t write_until_full(struct scene *scene, uint64_t seq) {
	uint64_t last = seq + WRITES_MAX;

	for (; seq < last; seq++) {
		struct change change = write_large(&scene->session, seq, "large");
		kv1_status status = change_status(&scene->peer, &change);

		if (status == KV1_FULL)
			return seq;
		ck_assert_int_eq(status, KV1_OK);
	}
	ck_abort_msg("the disk is never full");
	return 0;
}

/* Tries new calls until one is done; answers its seq. */
static uint64_t write_until_room(struct scene *scene, uint64_t seq) {
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;

	for (;; seq++) {
		struct change change = write_large(&scene->session, seq, "large");
		kv1_status status = change_status(&scene->peer, &change);

		if (status == KV1_OK)
			return seq;
		ck_assert_int_eq(status, KV1_FULL);
		ck_assert_msg(suite_now_ms() < deadline_ms, "writing does not go on");
		suite_pause_ms(20);
	}
}

static void await_counter(struct peer *peer, const char *name, uint64_t least) {
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;

	while (counter(peer, name) < least) {
		ck_assert_msg(suite_now_ms() < deadline_ms, "%s does not reach %llu", name,
			      (unsigned long long)least);
		suite_pause_ms(10);
	}
}

static struct run kvctl(const struct server *server, const char *const words[]) {
	const char *argv[16] = {NULL};
	char path[512];
	char address[128];
	size_t count = 3;

	server_program("kvctl", path);
	server_address(server, VIA_LOCAL, address);
	argv[0] = getenv("KVCTL") != NULL ? getenv("KVCTL") : path;
	argv[1] = "-s";
	argv[2] = address;
	for (size_t i = 0; words[i] != NULL; i++)
		argv[count++] = words[i];
	return run_program(argv);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Once each, in this order. */
static void check_said_room(const struct server *server) {
	static const char none[] = "the disk has no room for another segment";
	static const char again[] = "the disk has room for the journal again";
	char *said = server_said(server);
	const char *first = strstr(said, none);

	ck_assert_msg(first != NULL && strstr(first + 1, none) == NULL, "%s", said);
	ck_assert_msg(strstr(first, again) != NULL, "%s", said);
	free(said);
}

/* --- Full ---------------------------------------------------------------------------------------
 */

START_TEST(a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_room) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	if (!make_disk(dir, "size=100m,mode=0777"))
		return;
	scene_open(&scene, "-d", dir, NULL);
	struct change first = append(&scene.session, 1, 1, "log", "x");
	ck_assert_int_eq(change_status(&scene.peer, &first), KV1_OK);
	uint64_t refused = write_until_full(&scene, 1);
	ck_assert_uint_gt(refused, 1);
	ck_assert_uint_eq(counter(&scene.peer, "disk_full"), 1);
	check_key(&scene.peer, "log", "x", 1);
	struct outcome outcome = get(&scene.peer, "large");
	ck_assert_uint_eq(outcome.current, refused - 1);
	outcome_free(&outcome);
	/* "A copy of an answered call gets its answer even when the store is full." */
	ck_assert_int_eq(change_status(&scene.peer, &first), KV1_OK);
	check_key(&scene.peer, "log", "x", 1);

	resize_disk(dir, "size=400m");
	uint64_t done = write_until_room(&scene, refused + 1);
	/* The refusal stands: a copy of that call does not run now. */
	struct change change = write_large(&scene.session, refused, "large");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_STALE);
	outcome = get(&scene.peer, "large");
	ck_assert_uint_eq(outcome.current, refused);
	outcome_free(&outcome);
	ck_assert_uint_gt(done, refused);
	check_said_room(&scene.server);

	server_restart(&scene.server);
	peer_close(&scene.peer);
	peer_open(&scene.peer, &scene.server, VIA_TCP);
	outcome = get(&scene.peer, "large");
	ck_assert_uint_eq(outcome.current, refused);
	outcome_free(&outcome);
	scene_end(&scene);
}
END_TEST

START_TEST(a_copy_of_a_call_refused_for_a_full_disk_stays_refused) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	if (!make_disk(dir, "size=100m,mode=0777"))
		return;
	scene_open(&scene, "-d", dir, NULL);
	uint64_t refused = write_until_full(&scene, 1);
	struct change change = write_large(&scene.session, refused, "large");
	resize_disk(dir, "size=400m");
	struct session other = session_open(&scene.peer);
	/* There is room once another session is served. */
	struct scene second = scene;
	second.session = other;
	(void)write_until_room(&second, 1);
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_FULL);
	scene_end(&scene);
}
END_TEST

START_TEST(kvctl_says_that_the_disk_is_full_with_exit_8) {
	struct scene scene;
	char dir[64];
	char value[96];
	char file[80];

	suite_directory(dir);
	if (!make_disk(dir, "size=100m,mode=0777"))
		return;
	scene_open(&scene, "-d", dir, NULL);
	(void)write_until_full(&scene, 1);
	(void)snprintf(file, sizeof file, "%s/value", scene.server.dir);
	(void)snprintf(value, sizeof value, "@%s", file);
	FILE *out = fopen(file, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(large, 1, LARGE, out), LARGE);
	ck_assert_int_eq(fclose(out), 0);
	struct run run = kvctl(&scene.server, WORDS("put", "key", value));
	ck_assert_int_eq(run.status, EXIT_LIMIT);
	ck_assert_str_eq(run.out, "");
	ck_assert_msg(strstr(run.err, "disk") != NULL, "%s", run.err);
	run_free(&run);
	run = kvctl(&scene.server, WORDS("get", "large", "--version"));
	ck_assert_int_eq(run.status, 0);
	run_free(&run);
	scene_end(&scene);
}
END_TEST

START_TEST(a_snapshot_that_finds_no_room_is_given_up_and_the_next_one_succeeds) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	if (!make_disk(dir, "size=150m,mode=0777"))
		return;
	scene_open(&scene, "-d", dir, NULL);
	for (uint64_t i = 0; i < 40; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)i);
		struct change change = write_large(&scene.session, i + 1, key);
		ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	}
	struct run run = kvctl(&scene.server, WORDS("snapshot"));
	ck_assert_int_eq(run.status, EXIT_LIMIT);
	ck_assert_str_eq(run.out, "");
	ck_assert_msg(strstr(run.err, "disk has no room") != NULL, "%s", run.err);
	run_free(&run);
	ck_assert_uint_eq(counter(&scene.peer, "snapshots_failed"), 1);
	ck_assert_uint_eq(counter(&scene.peer, "snapshot_error"), KV1_FULL);
	/* Only that of nothing, which a new store begins with. */
	ck_assert_uint_eq(datadir_count(dir, "snapshot-"), 1);
	ck_assert_uint_eq(datadir_count(dir, "snapshot."), 0);
	struct change change = append(&scene.session, 1, 1, "log", "x");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	char *said = server_said(&scene.server);
	ck_assert_ptr_nonnull(strstr(said, "no snapshot: No space left on device"));
	free(said);
	resize_disk(dir, "size=400m");
	run = kvctl(&scene.server, WORDS("snapshot"));
	ck_assert_msg(run.status == 0, "%s", run.err);
	run_free(&run);
	ck_assert_uint_eq(datadir_count(dir, "snapshot-"), 1);
	scene_end(&scene);
}
END_TEST

START_TEST(a_snapshot_that_was_due_and_found_no_room_is_tried_again) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	/* Room for two segments, and for neither a third one nor a snapshot of what one holds. */
	if (!make_disk(dir, "size=190m,mode=0777"))
		return;
	scene_open(&scene, "-d", dir, NULL);
	for (uint64_t i = 0; i < 80; i++) {
		char key[16];
		(void)snprintf(key, sizeof key, "k%u", (unsigned)i);
		struct change change = write_large(&scene.session, i + 1, key);
		ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	}
	await_counter(&scene.peer, "snapshots_failed", 1);
	ck_assert_uint_eq(counter(&scene.peer, "snapshots"), 0);
	resize_disk(dir, "size=800m");
	await_counter(&scene.peer, "snapshots", 1);
	scene_end(&scene);
}
END_TEST

START_TEST(a_disk_that_may_only_be_read_is_named) {
	char dir[64];
	struct server server;

	suite_directory(dir);
	if (!make_disk(dir, "size=1m,mode=0777"))
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
END_TEST

/* --- A limit of the size of files, which any user may set ---------------------------------------
 */

static void limit_files(const struct server *server, rlim_t size) {
	struct rlimit limit = {.rlim_cur = size, .rlim_max = RLIM_INFINITY};
	struct rlimit was;

	ck_assert_int_eq(prlimit(server->process.pid, RLIMIT_FSIZE, NULL, &was), 0);
	limit.rlim_max = was.rlim_max;
	ck_assert_int_eq(prlimit(server->process.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

START_TEST(a_write_that_fails_stops_kvd_and_a_restart_tells_the_truth) {
	struct scene scene;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	struct change change = append(&scene.session, 0, 1, "log", "x");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	/* Its log is shorter, and the next batch begins behind. */
	limit_files(&scene.server, SEGMENT_HEADER_SIZE);
	change = append(&scene.session, 1, 1, "log", "y");
	(void)change_send(&scene.peer, &change);
	struct answer answer;
	ck_assert_int_eq(peer_receive(&scene.peer, WAIT_MS, &answer), ARRIVAL_CLOSED);
	ck_assert_int_eq(server_wait(&scene.server), EXIT_CANNOT);
	char *said = server_said(&scene.server);
	ck_assert_msg(strstr(said, "cannot write journal-") != NULL &&
			  strstr(said, "start it again to find out") != NULL,
		      "%s", said);
	free(said);
	peer_close(&scene.peer);
	server_start(&scene.server, "-d", dir, NULL);
	peer_open(&scene.peer, &scene.server, VIA_TCP);
	check_key(&scene.peer, "log", "x", 1);
	change.writer.epoch = hello(&scene.peer).epoch;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	check_key(&scene.peer, "log", "xy", 2);
	scene_end(&scene);
}
END_TEST

START_TEST(a_start_without_room_for_a_segment_serves_reads_and_takes_writes_when_there_is) {
	struct scene scene;
	struct server server;
	char dir[64];

	suite_directory(dir);
	scene_open(&scene, "-d", dir, NULL);
	struct change change = append(&scene.session, 0, 1, "log", "x");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	scene_end(&scene);

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
	server_start(&server, "-d", dir, NULL);
	peer_open(&scene.peer, &server, VIA_TCP);
	check_key(&scene.peer, "log", "x", 1);
	ck_assert_uint_eq(counter(&scene.peer, "disk_full"), 1);
	change.writer.epoch = hello(&scene.peer).epoch;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	change.writer.seq = 2;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_FULL);
	limit_files(&server, was);
	uint64_t deadline_ms = suite_now_ms() + WAIT_MS;
	do {
		ck_assert_msg(suite_now_ms() < deadline_ms, "writing does not go on");
		suite_pause_ms(20);
		change.writer.seq++;
	} while (change_status(&scene.peer, &change) == KV1_FULL);
	check_key(&scene.peer, "log", "xx", 2);
	peer_close(&scene.peer);
	server_stop(&server);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("disk_full");
	TCase *full = suite_case(suite, "full");
	TCase *limit = suite_case(suite, "limit");

	memset(large, 'x', sizeof large);
	tcase_add_test(full,
		       a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_room);
	tcase_add_test(full, a_copy_of_a_call_refused_for_a_full_disk_stays_refused);
	tcase_add_test(full, kvctl_says_that_the_disk_is_full_with_exit_8);
	tcase_add_test(full, a_snapshot_that_finds_no_room_is_given_up_and_the_next_one_succeeds);
	tcase_add_test(full, a_snapshot_that_was_due_and_found_no_room_is_tried_again);
	tcase_add_test(full, a_disk_that_may_only_be_read_is_named);
	tcase_add_test(limit, a_write_that_fails_stops_kvd_and_a_restart_tells_the_truth);
	tcase_add_test(
	    limit, a_start_without_room_for_a_segment_serves_reads_and_takes_writes_when_there_is);
	return suite_run(suite);
}
