/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: flock */
/* wrap: listen */
/* wrap: poll */
/* Local sockets: whose path it is, with which mode, and where others interfere. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "net/local_socket.h"
#include "test.h"

enum { STARTERS = 4, ROUNDS = 100 };

static char directory[] = "/tmp/kv-local.XXXXXX";
static char path[64];
static char lock_path[80];
static char secret[64];
static bool is_swapped;	      /* before it listens, the path becomes a link to `secret` */
static bool is_lock_replaced; /* before it is locked, by a file that another server locks */
static unsigned waits_ms;     /* the sum of what poll() was to wait; none is waited */

int __real_flock(int, int);
int __real_listen(int, int);
int __wrap_listen(int, int);
int __wrap_listen(int fd, int backlog) {
	if (is_swapped) {
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(symlink(secret, path), 0);
	}
	return __real_listen(fd, backlog);
}

static int lock_as_other(void) {
	int fd = open(lock_path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(__real_flock(fd, LOCK_EX), 0);
	return fd;
}

int __wrap_flock(int, int);
int __wrap_flock(int fd, int how) {
	if (is_lock_replaced) {
		is_lock_replaced = false;
		ck_assert_int_eq(unlink(lock_path), 0);
		(void)lock_as_other();
	}
	return __real_flock(fd, how);
}

int __real_poll(struct pollfd *, nfds_t, int);
int __wrap_poll(struct pollfd *, nfds_t, int);
int __wrap_poll(struct pollfd *fds, nfds_t count, int wait_ms) {
	if (count > 0)
		return __real_poll(fds, count, wait_ms);
	waits_ms += (unsigned)wait_ms;
	return __real_poll(fds, count, 0);
}

static void make_file(const char *at, mode_t mode) {
	int fd = open(at, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, mode);

	ck_assert_int_ge(fd, 0);
	(void)close(fd);
}

static mode_t mode_of(const char *at) {
	struct stat status;

	ck_assert_int_eq(stat(at, &status), 0);
	return status.st_mode & 07777;
}

static void check_nothing_at(const char *at) {
	struct stat status;

	ck_assert_int_eq(lstat(at, &status), -1);
	ck_assert_int_eq(errno, ENOENT);
}

static void set_up(void) {
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/s", directory);
	(void)snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	(void)snprintf(secret, sizeof(secret), "%s/secret", directory);
	log_open("local_socket_test", -1);
	is_swapped = false;
	is_lock_replaced = false;
	waits_ms = 0;
}

static void tear_down(void) {
	(void)unlink(path);
	(void)unlink(lock_path);
	(void)unlink(secret);
	(void)rmdir(directory);
}

CASE(local_socket, .setup = set_up, .teardown = tear_down);

/* A server that lives until its input ends. It writes 1 if it has the socket, else 0. */
static void run_starter(int begin, int results) {
	struct local_socket local;
	char byte;
	char has;

	(void)!read(begin, &byte, 1); /* all start when it is closed */
	has = local_socket_open(&local, path) ? 1 : 0;
	(void)!write(results, &has, 1);
	(void)pause();
	_exit(0);
}

/* Starts servers at the same moment, and returns how many have the socket. */
static unsigned start_together(void) {
	int begin[2], results[2];
	pid_t starters[STARTERS];
	unsigned winners = 0;

	ck_assert_int_eq(pipe(begin), 0);
	ck_assert_int_eq(pipe(results), 0);
	for (unsigned i = 0; i < STARTERS; i++) {
		starters[i] = fork();
		ck_assert_int_ge(starters[i], 0);
		if (starters[i] == 0) {
			(void)close(begin[1]);
			run_starter(begin[0], results[1]);
		}
	}
	(void)close(begin[1]);
	for (unsigned i = 0; i < STARTERS; i++) {
		char has;

		ck_assert_int_eq(read(results[0], &has, 1), 1);
		winners += (unsigned)has;
	}
	for (unsigned i = 0; i < STARTERS; i++) {
		ck_assert_int_eq(kill(starters[i], SIGKILL), 0);
		ck_assert_int_eq(waitpid(starters[i], NULL, 0), starters[i]);
	}
	(void)close(begin[0]);
	(void)close(results[0]);
	(void)close(results[1]);
	return winners;
}

TEST(of_servers_that_start_together_exactly_one_gets_the_path) {
	for (unsigned i = 0; i < ROUNDS; i++) {
		ck_assert_uint_eq(start_together(), 1);
		(void)unlink(path);
	}
}

TEST(likewise_where_a_dead_server_left_its_socket) {
	for (unsigned i = 0; i < ROUNDS; i++)
		ck_assert_uint_eq(start_together(), 1);
}

TEST(every_user_may_connect_whatever_the_umask_is) {
	struct local_socket local;

	(void)umask(077);
	ck_assert(local_socket_open(&local, path));
	ck_assert_uint_eq(mode_of(path), 0666);
	ck_assert_uint_eq(umask(022), 077);
	(void)close(local.fd);
}

TEST(a_file_that_the_path_leads_to_meanwhile_keeps_its_mode) {
	struct local_socket local;

	make_file(secret, 0600);
	is_swapped = true;
	if (local_socket_open(&local, path))
		(void)close(local.fd);
	ck_assert_uint_eq(mode_of(secret), 0600);
}

TEST(the_lock_is_there_only_while_a_server_starts) {
	struct local_socket local;

	make_file(lock_path, 0600); /* left by one that was killed */
	ck_assert(local_socket_open(&local, path));
	check_nothing_at(lock_path);
	ck_assert(!local_socket_open(&(struct local_socket){0}, path));
	check_nothing_at(lock_path);
	(void)close(local.fd);
}

TEST(a_start_that_does_not_end_is_waited_for_but_not_forever) {
	struct local_socket local;
	int fd = lock_as_other();

	ck_assert(!local_socket_open(&local, path));
	ck_assert_uint_eq(waits_ms, LOCAL_SOCKET_LOCK_WAIT_MS);
	check_nothing_at(path);
	(void)close(fd);
}

TEST(a_lock_that_its_last_owner_removed_meanwhile_is_none) {
	struct local_socket local;

	is_lock_replaced = true;
	ck_assert(!local_socket_open(&local, path));
	ck_assert_uint_eq(waits_ms, LOCAL_SOCKET_LOCK_WAIT_MS);
}

TEST(a_lock_that_is_a_link_is_not_followed) {
	struct local_socket local;

	ck_assert_int_eq(symlink(secret, lock_path), 0);
	ck_assert(!local_socket_open(&local, path));
	check_nothing_at(secret);
	check_nothing_at(path);
}

TEST(what_is_no_socket_stays) {
	struct local_socket local;

	make_file(path, 0600);
	ck_assert(!local_socket_open(&local, path));
	ck_assert_uint_eq(mode_of(path), 0600);
}

TEST(a_path_is_removed_once_and_only_if_it_is_the_same_socket) {
	struct local_socket local;

	ck_assert(local_socket_open(&local, path));
	ck_assert(local_socket_unlink(&local, path));
	check_nothing_at(path);
	make_file(path, 0600);
	ck_assert(local_socket_unlink(&local, path)); /* nothing is left to remove */
	ck_assert_uint_eq(mode_of(path), 0600);
	(void)close(local.fd);
}
