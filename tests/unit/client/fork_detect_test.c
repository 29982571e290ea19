/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: madvise mmap */
/* A child is told from the process that it was forked off, whatever the kernel offers for it. */
#include "fork_detect.h"
#include "test.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the kernel does with fork_detect.c's calls; the linker sends them here. */
static enum {
	KERNEL_TRUE,
	KERNEL_OLD,	 /* knows no MADV_WIPEONFORK */
	KERNEL_EMULATED, /* agrees to any advice and follows none */
	KERNEL_NO_ROOM,
} kernel;

int __real_madvise(void *start, size_t size, int advice);
int __wrap_madvise(void *start, size_t size, int advice);
void *__real_mmap(void *start, size_t size, int access, int flags, int fd, off_t offset);
void *__wrap_mmap(void *start, size_t size, int access, int flags, int fd, off_t offset);

int __wrap_madvise(void *start, size_t size, int advice) {
	if (kernel == KERNEL_EMULATED)
		return 0;
	errno = EINVAL;
	return kernel == KERNEL_OLD ? -1 : __real_madvise(start, size, advice);
}

void *__wrap_mmap(void *start, size_t size, int access, int flags, int fd, off_t offset) {
	if (kernel != KERNEL_NO_ROOM)
		return __real_mmap(start, size, access, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

/* In a child: ends it, with 0 if it is not the fork_detect and can forget it. */
static void tell_and_exit(struct fork_detect *fork_detect) {
	bool is_here = fork_detect_is_owner(fork_detect);

	fork_detect_destroy(fork_detect);
	_exit(is_here ? 1 : 0);
}

static void check_exit(pid_t child) {
	int status;

	ck_assert_int_ge(child, 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}

static void check_with_fork(void) {
	struct fork_detect fork_detect;
	pid_t child;

	fork_detect_init(&fork_detect);
	ck_assert(fork_detect_is_owner(&fork_detect));
	child = fork();
	if (child == 0)
		tell_and_exit(&fork_detect);
	check_exit(child);
	ck_assert(fork_detect_is_owner(&fork_detect));
	fork_detect_destroy(&fork_detect);
}

TEST(a_forked_child_is_not_the_origin) {
	kernel = KERNEL_TRUE;
	check_with_fork();
}

TEST(nor_is_it_where_the_kernel_wipes_nothing) {
	kernel = KERNEL_OLD;
	check_with_fork();
}

TEST(nor_is_it_where_an_emulator_only_says_that_it_wipes) {
	kernel = KERNEL_EMULATED;
	check_with_fork();
}

TEST(nor_is_it_where_there_is_no_room_for_a_page) {
	kernel = KERNEL_NO_ROOM;
	check_with_fork();
}

/* No handler that a library may set for fork() hears of it. */
TEST(a_child_that_libc_did_not_make_is_not_the_origin) {
	struct fork_detect fork_detect;
	pid_t child;

	fork_detect_init(&fork_detect);
	child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (child == 0)
		tell_and_exit(&fork_detect);
	check_exit(child);
	ck_assert(fork_detect_is_owner(&fork_detect));
	fork_detect_destroy(&fork_detect);
}

TEST(a_grandchild_is_not_the_origin) {
	struct fork_detect fork_detect;
	pid_t child;

	fork_detect_init(&fork_detect);
	child = fork();
	if (child == 0) {
		int status = 1;
		pid_t grandchild = fork();

		if (grandchild == 0)
			tell_and_exit(&fork_detect);
		_exit(waitpid(grandchild, &status, 0) == grandchild && status == 0 ? 0 : 1);
	}
	check_exit(child);
	fork_detect_destroy(&fork_detect);
}

/* As the first process of a container sees it that puts its own child into another one. */
static void mark_and_fork_into_a_namespace(void) {
	struct fork_detect fork_detect;
	int status;
	pid_t child;

	fork_detect_init(&fork_detect);
	if (getpid() != 1 || unshare(CLONE_NEWPID) != 0)
		_exit(0);
	child = fork();
	if (child == 0 && getpid() != 1)
		_exit(0);
	if (child == 0)
		tell_and_exit(&fork_detect);
	_exit(waitpid(child, &status, 0) == child && status == 0 ? 0 : 1);
}

/* Where namespaces are not allowed there is no such child. */
TEST(a_child_with_its_parents_number_is_not_the_origin) {
	pid_t child = fork();

	if (child == 0) {
		int status;
		pid_t first;

		if (unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
			_exit(0);
		first = fork();
		if (first == 0)
			mark_and_fork_into_a_namespace();
		_exit(waitpid(first, &status, 0) == first && status == 0 ? 0 : 1);
	}
	check_exit(child);
}
