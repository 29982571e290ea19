/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: fork epoll_ctl pthread_create */
/*
 * Taking snapshots with a forked child: what the child is and holds, when its file gets its name,
 * and what becomes of each failure.
 *
 * $KEYS says how many keys the large service has.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "storage/huge_pages.h"
#include "storage/snapshotter.h"
#include "temp_directory.h"
#include "test.h"

enum {
	TRIES_MAX = 20,
	USUAL_KEYS = 200000,
	PAUSE_MAX_US = 20 * 1000, /* for so many: a fifth of a GiB */
	FIRST_RETRY_MS = 10 * 1000,
	NICENESS_MAX = 19,
	LAST_RETRY_MS = 10 * 60 * 1000,
};

static const uint64_t enough = (64 << 20) + 1; /* bytes of journal, for a snapshot to be due */

/* What the child does at its first write, and what it found itself to be; in shared memory. */
struct stage {
	atomic_bool hangs;
	atomic_int write_error; /* 0, or negative: what each write answers */
	atomic_int rename_error;
	atomic_int sync_names_error;
	atomic_bool stops_at_sync; /* hangs, after all was written */
	atomic_int pid;
	atomic_int niceness;
	atomic_int death_signal;
	atomic_int descriptors;
	atomic_bool has_mask;
	atomic_bool has_handler;
};

static struct place place;
static struct world world;
static struct vfs disk; /* the place's, with a stage */
static struct stage *stage;
static struct snapshotter *snapshotter;
static uint64_t position;

/* --- The stage ----------------------------------------------------------------------------------
 */

/* Those above standard error. */
static int count_descriptors(void) {
	int count = 0;

	for (int fd = 3; fd < 4096; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void look_around(void) {
	struct sigaction action;
	sigset_t mask;
	int death_signal = 0;

	(void)sigaction(SIGTERM, NULL, &action);
	(void)sigprocmask(SIG_BLOCK, NULL, &mask);
	(void)prctl(PR_GET_PDEATHSIG, &death_signal);
	stage->has_handler = action.sa_handler != SIG_DFL;
	stage->has_mask = sigismember(&mask, SIGTERM) == 1;
	stage->death_signal = death_signal;
	stage->niceness = getpriority(PRIO_PROCESS, 0);
	stage->descriptors = count_descriptors();
	stage->pid = getpid();
}

static void hang(void) {
	for (;;)
		(void)pause();
}

static int staged_write(void *context, int file, const void *data, size_t size, uint64_t offset) {
	look_around();
	if (stage->hangs)
		hang();
	if (stage->write_error < 0)
		return stage->write_error;
	return place.disk.write(context, file, data, size, offset);
}

static int staged_sync(void *context, int file) {
	if (stage->stops_at_sync)
		hang();
	return place.disk.sync(context, file);
}

static int staged_rename(void *context, const char *from, const char *to) {
	if (stage->rename_error < 0)
		return stage->rename_error;
	return place.disk.rename(context, from, to);
}

static int staged_sync_names(void *context) {
	if (stage->sync_names_error < 0)
		return stage->sync_names_error;
	return place.disk.sync_names(context);
}

static void start(void) {
	place_open(&place);
	stage =
	    mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(stage != MAP_FAILED);
	disk = place.disk;
	disk.write = staged_write;
	disk.sync = staged_sync;
	disk.rename = staged_rename;
	disk.sync_names = staged_sync_names;
	world_open(&world, usual_limits(), false);
	make_small(&world);
	snapshotter = snapshotter_new(&disk, world.service, 0);
	ck_assert_ptr_nonnull(snapshotter);
	position = 0;
}

static void stop(void) {
	snapshotter_free(snapshotter);
	world_close(&world);
	place_close(&place);
	(void)munmap(stage, sizeof(*stage));
	/* No child is left behind. */
	ck_assert(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
}

static struct snapshotter_counters counted(void) {
	struct snapshotter_counters counters;

	snapshotter_get_stats(snapshotter, &counters);
	return counters;
}

/* Waits for news as the turn does, until the answer is another one than `while_it_is`. */
static enum snapshotter_state news(enum snapshotter_state while_it_is, uint64_t durable,
				   uint64_t now_ms) {
	enum snapshotter_state answer;

	while ((answer = snapshotter_poll(snapshotter, durable, now_ms, &position)) ==
	       while_it_is) {
		struct pollfd ready = {.fd = snapshotter_fd(snapshotter), .events = POLLIN};
		/* The disk may be busy with others: only the test's time limit ends this. */
		ck_assert_int_eq(poll(&ready, 1, -1), 1);
	}
	return answer;
}

/* To the end, whatever it is. */
static enum snapshotter_state outcome(uint64_t now_ms) {
	ck_assert_int_eq(news(SNAPSHOTTER_WRITING, UINT64_MAX, now_ms), SNAPSHOTTER_PUBLISHING);
	return news(SNAPSHOTTER_PUBLISHING, UINT64_MAX, now_ms);
}

static void wait_for_child(void) {
	while (stage->pid == 0)
		(void)poll(NULL, 0, 1);
}

/* --- When all goes well -------------------------------------------------------------------------
 */

CASE(snapshotter, .setup = start, .teardown = stop);

TEST(a_snapshot_is_published_when_the_journal_is_durable_up_to_it) {
	ck_assert_int_eq(snapshotter_poll(snapshotter, 0, 0, &position), SNAPSHOTTER_IDLE);
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_int_eq(news(SNAPSHOTTER_WRITING, 4, 1), SNAPSHOTTER_WAITING);
	ck_assert(is_there(&place, "snapshot.tmp"));
	ck_assert(!is_there(&place, "snapshot-0000000000000005"));
	ck_assert_int_eq(snapshotter_poll(snapshotter, 4, 2, &position), SNAPSHOTTER_WAITING);
	ck_assert_int_eq(snapshotter_poll(snapshotter, 5, 3, &position), SNAPSHOTTER_PUBLISHING);
	ck_assert_int_eq(news(SNAPSHOTTER_PUBLISHING, 5, 4), SNAPSHOTTER_PUBLISHED);
	ck_assert_uint_eq(position, 5);
	ck_assert(is_there(&place, "snapshot-0000000000000005"));
	ck_assert(!is_there(&place, "snapshot.tmp"));
	ck_assert_int_eq(snapshotter_poll(snapshotter, 5, 5, &position), SNAPSHOTTER_IDLE);
	ck_assert_uint_eq(counted().published, 1);
	ck_assert_uint_eq(counted().last_position, 5);
	ck_assert_uint_eq(counted().last_ms, 4);
}

TEST(it_holds_what_was_there_when_it_began) {
	struct world loaded = {.service = another(world.service)};
	struct snapshot snapshot;
	char why[SNAPSHOT_WHY_SIZE];
	size_t before = used(&world);

	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_uint_eq(used(&world), before);
	set(&world, "key", text("later"));
	set(&world, "another", text("later"));
	ck_assert_int_eq(outcome(0), SNAPSHOTTER_PUBLISHED);
	ck_assert_int_eq(snapshot_find_latest(&disk, NULL, NULL, &snapshot, why), SEARCH_FOUND);
	ck_assert_uint_eq(snapshot.size, counted().last_bytes);
	ck_assert(snapshot_load(&disk, 5, NULL, NULL, loaded.service, why));
	assert_holds(&loaded, "key", "new", 3);
	assert_missing(&loaded, "another");
	world_close(&loaded);
}

TEST(older_ones_go_when_it_is_there) {
	take_snapshot(&place, world.service, 3);
	take_snapshot(&place, world.service, 4);
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_int_eq(outcome(0), SNAPSHOTTER_PUBLISHED);
	ck_assert(!is_there(&place, "snapshot-0000000000000003"));
	ck_assert(!is_there(&place, "snapshot-0000000000000004"));
	ck_assert(is_there(&place, "snapshot-0000000000000005"));
}

TEST(one_is_under_way_at_a_time) {
	stage->hangs = true;
	ck_assert(!counted().is_under_way);
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert(counted().is_under_way);
	ck_assert(!snapshotter_is_due(snapshotter, UINT64_MAX, UINT64_MAX));
	ck_assert(!snapshotter_start(snapshotter, 6, 0, 0));
	ck_assert_uint_eq(counted().failed, 0);
}

TEST(the_next_is_due_by_the_journal_since_the_last_one_began) {
	ck_assert(!snapshotter_is_due(snapshotter, enough - 1, 0));
	ck_assert(snapshotter_is_due(snapshotter, enough, 0));
	ck_assert(snapshotter_start(snapshotter, 5, enough, 0));
	ck_assert_int_eq(outcome(0), SNAPSHOTTER_PUBLISHED);
	ck_assert(!snapshotter_is_due(snapshotter, 2 * enough - 1, 0));
	ck_assert(snapshotter_is_due(snapshotter, 2 * enough, 0));
}

TEST(after_a_large_one_it_takes_a_longer_journal) {
	struct snapshotter *other = snapshotter_new(&disk, world.service, 10 * enough);

	ck_assert_ptr_nonnull(other);
	ck_assert(!snapshotter_is_due(other, 10 * enough, 0));
	ck_assert(snapshotter_is_due(other, 10 * enough + 1, 0));
	snapshotter_free(other);
}

TEST(progress_is_seen_while_it_is_written) {
	set(&world, "long", zeros(1 << 20));
	stage->stops_at_sync = true;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	while (counted().bytes < (1 << 20) + 100)
		(void)poll(NULL, 0, 1);
	ck_assert_uint_ge(counted().bytes_about, 1 << 20);
}

/* --- The child ----------------------------------------------------------------------------------
 */

static void handle(int signal) {
	(void)signal;
}

TEST(the_child_has_no_descriptors_signals_or_rank_of_its_parent) {
	struct sigaction action = {.sa_handler = handle};
	sigset_t term;
	int sockets[2];

	ck_assert_int_eq(sigaction(SIGTERM, &action, NULL), 0);
	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &term, NULL), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	stage->hangs = true;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	wait_for_child();
	/* The directory, and the file that it writes. */
	ck_assert_int_eq(stage->descriptors, 2);
	ck_assert(!stage->has_mask && !stage->has_handler);
	ck_assert_int_eq(stage->death_signal, SIGKILL);
	/* There is no lower rank than the last. */
	if (getpriority(PRIO_PROCESS, 0) < NICENESS_MAX)
		ck_assert_int_gt(stage->niceness, getpriority(PRIO_PROCESS, 0));
	else
		ck_assert_int_eq(stage->niceness, NICENESS_MAX);
	(void)close(sockets[0]);
	(void)close(sockets[1]);
}

TEST(a_socket_closed_after_the_start_is_closed_and_out_of_every_epoll) {
	struct epoll_event event = {.events = EPOLLIN | EPOLLHUP};
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int sockets[2];
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[0], &event), 0);
	stage->hangs = true;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	(void)close(sockets[0]);
	/* Its peer sees the end, and it is not reported any more. */
	ck_assert_int_eq(recv(sockets[1], &byte, 1, MSG_DONTWAIT), 0);
	ck_assert_int_eq(epoll_wait(epoll, &event, 1, 0), 0);
	(void)close(sockets[1]);
	(void)close(epoll);
}

TEST(the_child_dies_with_its_parent) {
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	stage->hangs = true;
	pid_t parent = fork();
	ck_assert_int_ge(parent, 0);
	if (parent == 0) {
		(void)snapshotter_start(snapshotter, 5, 0, 0);
		hang();
	}
	wait_for_child();
	ck_assert_int_eq(kill(parent, SIGKILL), 0);
	ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
	ck_assert_int_eq(waitpid(stage->pid, NULL, 0), stage->pid);
}

static atomic_bool is_churning;

static void *churn(void *argument) {
	void *blocks[64];

	(void)argument;
	while (is_churning) {
		for (size_t i = 0; i < 64; i++)
			blocks[i] = malloc(1 + i * 300);
		for (size_t i = 0; i < 64; i++)
			free(blocks[i]);
	}
	return NULL;
}

TEST(the_child_can_work_while_a_thread_of_its_parent_was_allocating) {
	const char *wrapper = getenv("WRAPPER");
	pthread_t thread;

	if (wrapper != NULL && wrapper[0] != '\0') {
		printf(
		    "skip: valgrind calls lost what the thread held when the child was forked\n");
		return;
	}
	is_churning = true;
	ck_assert_int_eq(pthread_create(&thread, NULL, churn, NULL), 0);
	for (uint64_t i = 1; i <= 50; i++) {
		ck_assert(snapshotter_start(snapshotter, i, 0, 0));
		ck_assert_int_eq(outcome(0), SNAPSHOTTER_PUBLISHED);
	}
	is_churning = false;
	(void)pthread_join(thread, NULL);
	ck_assert_uint_eq(counted().published, 50);
}

/* --- Failures -----------------------------------------------------------------------------------
 */

static void assert_failed_cleanly(uint64_t now_ms) {
	uint64_t failed = counted().failed;

	ck_assert_int_eq(outcome(now_ms), SNAPSHOTTER_FAILED);
	ck_assert_uint_eq(counted().failed, failed + 1);
	ck_assert(!is_there(&place, "snapshot.tmp"));
	ck_assert_int_eq(snapshotter_poll(snapshotter, 0, now_ms, &position), SNAPSHOTTER_IDLE);
}

TEST(without_space_it_is_given_up_said_once_and_tried_later_and_later) {
	uint64_t retry_ms = FIRST_RETRY_MS;
	uint64_t now_ms = 1000;
	char said[4096];

	/* What is said goes to a file. */
	int standard_error = dup(STDERR_FILENO);
	int lines = place_file(&place, "lines", O_RDWR | O_CREAT);
	(void)dup2(lines, STDERR_FILENO);
	stage->write_error = -ENOSPC;
	for (unsigned i = 0; i < 10; i++) {
		ck_assert(snapshotter_is_due(snapshotter, enough, now_ms));
		ck_assert(snapshotter_start(snapshotter, 5, enough, now_ms));
		assert_failed_cleanly(now_ms);
		ck_assert(!snapshotter_is_due(snapshotter, enough, now_ms + retry_ms - 1));
		now_ms += retry_ms;
		retry_ms = 2 * retry_ms < LAST_RETRY_MS ? 2 * retry_ms : LAST_RETRY_MS;
	}
	stage->write_error = 0;
	ck_assert(snapshotter_start(snapshotter, 6, enough, now_ms));
	ck_assert_int_eq(outcome(now_ms), SNAPSHOTTER_PUBLISHED);
	(void)dup2(standard_error, STDERR_FILENO);
	(void)close(standard_error);
	ssize_t size = pread(lines, said, sizeof(said) - 1, 0);
	(void)close(lines);
	ck_assert_int_ge(size, 0);
	said[size] = '\0';
	char *first = strstr(said, "no snapshot: No space left on device");
	ck_assert_msg(first != NULL && strstr(first + 1, "no snapshot") == NULL, "%s", said);
	ck_assert_ptr_nonnull(strstr(first, "snapshots are taken again"));

	/* All is as at first. */
	stage->write_error = -EIO;
	ck_assert(snapshotter_start(snapshotter, 7, enough, now_ms));
	assert_failed_cleanly(now_ms);
	ck_assert(!snapshotter_is_due(snapshotter, 2 * enough, now_ms + FIRST_RETRY_MS - 1));
	ck_assert(snapshotter_is_due(snapshotter, 2 * enough, now_ms + FIRST_RETRY_MS));
}

TEST(a_child_that_is_killed_has_failed) {
	stage->hangs = true;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	wait_for_child();
	ck_assert(is_there(&place, "snapshot.tmp"));
	ck_assert_int_eq(kill(stage->pid, SIGKILL), 0);
	assert_failed_cleanly(0);
}

TEST(a_name_that_is_refused_is_a_failure) {
	stage->rename_error = -EACCES;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	assert_failed_cleanly(0);
	ck_assert(!is_there(&place, "snapshot-0000000000000005"));
}

TEST(names_that_cannot_be_synced_stop_the_process) {
	take_snapshot(&place, world.service, 4);
	stage->sync_names_error = -EIO;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_int_eq(outcome(0), SNAPSHOTTER_BROKEN);
	/* The older one is needed if the name is lost. */
	ck_assert(is_there(&place, "snapshot-0000000000000004"));
}

TEST(one_that_is_given_up_leaves_nothing) {
	stage->hangs = true;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	wait_for_child();
	snapshotter_free(snapshotter);
	ck_assert(!is_there(&place, "snapshot.tmp"));

	stage->hangs = false;
	snapshotter = snapshotter_new(&disk, world.service, 0);
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_int_eq(news(SNAPSHOTTER_WRITING, 4, 0), SNAPSHOTTER_WAITING);
	snapshotter_free(snapshotter);
	ck_assert(!is_there(&place, "snapshot.tmp"));

	snapshotter = snapshotter_new(&disk, world.service, 0);
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_int_eq(news(SNAPSHOTTER_WRITING, 5, 0), SNAPSHOTTER_PUBLISHING);
	snapshotter_free(snapshotter);
	ck_assert(is_there(&place, "snapshot-0000000000000005"));
	snapshotter = NULL;
}

/* The linker sends these calls here: see the Makefile. Those of the real ones are the C library's.
 */
static bool refuse_fork;
static bool refuse_epoll;
static bool refuse_thread;

pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*begin)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*begin)(void *), void *argument);

pid_t __wrap_fork(void) {
	errno = EAGAIN;
	return refuse_fork ? -1 : __real_fork();
}

int __wrap_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
	errno = ENOMEM;
	return refuse_epoll ? -1 : __real_epoll_ctl(epoll, operation, fd, event);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*begin)(void *), void *argument) {
	return refuse_thread ? EAGAIN : __real_pthread_create(thread, attributes, begin, argument);
}

TEST(whatever_the_kernel_refuses_it_goes_on_later) {
	static bool *const refusals[] = {&refuse_fork, &refuse_epoll};
	struct rlimit few;

	stage->hangs = true;
	for (size_t i = 0; i < 2; i++) {
		*refusals[i] = true;
		ck_assert(!snapshotter_start(snapshotter, 5, enough, 0));
		*refusals[i] = false;
		ck_assert_uint_eq(counted().failed, i + 1);
		ck_assert(!counted().is_under_way);
		ck_assert(!snapshotter_is_due(snapshotter, enough, FIRST_RETRY_MS - 1));
	}
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &few), 0);
	rlim_t usual = few.rlim_cur;
	few.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert(!snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_uint_eq(counted().failed, 3);
	few.rlim_cur = usual;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);

	stage->hangs = false;
	refuse_thread = true;
	ck_assert(snapshotter_start(snapshotter, 5, 0, 0));
	ck_assert_int_eq(outcome(0), SNAPSHOTTER_PUBLISHED);
	refuse_thread = false;
	ck_assert(is_there(&place, "snapshot-0000000000000005"));
}

/* --- How long it takes --------------------------------------------------------------------------
 */

TEST(the_turn_stands_still_for_little) {
	const char *wanted = getenv("KEYS");
	uint64_t keys = is_slowed_down() ? USUAL_KEYS / 20 : USUAL_KEYS;
	struct operation put = put_call(0, 0, "", "");
	uint64_t pause_us = UINT64_MAX;
	struct huge_pages heap;
	char key[32];

	if (wanted != NULL)
		keys = strtoull(wanted, NULL, 0);
	huge_pages_init(&heap, 0);
	service_memory(world.service)->limit = SIZE_MAX;
	put.expected = 0;
	put.value = zeros(1000);
	for (uint64_t i = 0; i < keys; i++) {
		(void)snprintf(key, sizeof(key), "key-%012llu", (unsigned long long)i);
		put.key = text(key);
		ck_assert_int_eq(status_of(&world, &put), KV_OK);
		huge_pages_advise(&heap);
	}
	/* The least of some: others may use the processor, too, and may use all of it for a while.
	 */
	for (unsigned i = 0; i < 3 || (i < TRIES_MAX && pause_us >= PAUSE_MAX_US); i++) {
		snapshotter_free(snapshotter);
		snapshotter = snapshotter_new(&disk, world.service, 0);
		ck_assert(snapshotter_start(snapshotter, keys, 0, 0));
		if (counted().pause_us < pause_us)
			pause_us = counted().pause_us;
	}
	ck_assert_int_eq(outcome(0), SNAPSHOTTER_PUBLISHED);
	ck_assert_uint_ge(counted().last_bytes, keys * 1000);
	printf("figure: the turn waited for %llu us with %zu MB\n", (unsigned long long)pause_us,
	       used(&world) / 1000000);
	ck_assert(is_slowed_down() || keys > USUAL_KEYS || pause_us < PAUSE_MAX_US);
}
