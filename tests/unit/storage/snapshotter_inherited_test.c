/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: close_range opendir */
/* A snapshot is written whatever the process inherited, and whatever its container refuses. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "storage/snapshotter.h"
#include "temp_directory.h"
#include "test.h"

enum {
	WAIT_MS = 20 * 1000,
	FIRST = 3, /* descriptor above standard error */
	LOOKED_AT = 4096,
};

static struct place place;
static struct world world;
static struct vfs disk;
static atomic_int *descriptors; /* of the child at its first write; shared memory */
static struct snapshotter *snapshotter;
static int close_range_error;
static bool has_no_proc;

/* --- The kernel: the linker sends all calls here ------------------------------------------------
 */

int __real_close_range(unsigned first, unsigned last, int flags);
int __wrap_close_range(unsigned first, unsigned last, int flags);
DIR *__real_opendir(const char *name);
DIR *__wrap_opendir(const char *name);

int __wrap_close_range(unsigned first, unsigned last, int flags) {
	errno = close_range_error;
	return close_range_error != 0 ? -1 : __real_close_range(first, last, flags);
}

DIR *__wrap_opendir(const char *name) {
	errno = ENOENT;
	return has_no_proc && strcmp(name, "/proc/self/fd") == 0 ? NULL : __real_opendir(name);
}

static int counting_write(void *context, int file, const void *data, size_t size, uint64_t offset) {
	int count = 0;

	for (int fd = FIRST; fd < LOOKED_AT; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	atomic_store(descriptors, count);
	return place.disk.write(context, file, data, size, offset);
}

static void start(void) {
	place_open(&place);
	descriptors = mmap(NULL, sizeof(*descriptors), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(descriptors != MAP_FAILED);
	disk = place.disk;
	disk.write = counting_write;
	world_open(&world, usual_limits(), false);
	snapshotter = snapshotter_new(&disk, world.service, 0);
	ck_assert_ptr_nonnull(snapshotter);
}

static void stop(void) {
	snapshotter_free(snapshotter);
	world_close(&world);
	place_close(&place);
	(void)munmap(descriptors, sizeof(*descriptors));
	close_range_error = 0;
	has_no_proc = false;
	(void)signal(SIGCHLD, SIG_DFL);
}

static enum snapshotter_state take(void) {
	enum snapshotter_state state;
	uint64_t position = 0;

	ck_assert(snapshotter_start(snapshotter, 1, 0, 0));
	while ((state = snapshotter_poll(snapshotter, 1, 0, &position)) == SNAPSHOTTER_WRITING ||
	       state == SNAPSHOTTER_PUBLISHING) {
		struct pollfd news = {.fd = snapshotter_fd(snapshotter), .events = POLLIN};

		ck_assert_int_eq(poll(&news, 1, WAIT_MS), 1);
	}
	return state;
}

CASE(snapshotter_inherited, .setup = start, .teardown = stop);

TEST(it_is_published_though_ended_children_leave_no_status) {
	ck_assert(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	ck_assert_int_eq(take(), SNAPSHOTTER_PUBLISHED);
	ck_assert(is_there(&place, "snapshot-0000000000000001"));
	ck_assert_int_eq(take(), SNAPSHOTTER_PUBLISHED);
}

TEST(without_close_range_the_child_closes_one_descriptor_after_the_other) {
	static const int errors[] = {ENOSYS, EPERM};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		close_range_error = errors[i];
		ck_assert_int_eq(take(), SNAPSHOTTER_PUBLISHED);
		/* The directory and the file. */
		ck_assert_int_eq(atomic_load(descriptors), 2);
	}
}

TEST(without_proc_too) {
	close_range_error = ENOSYS;
	has_no_proc = true;
	ck_assert_int_eq(take(), SNAPSHOTTER_PUBLISHED);
	ck_assert_int_eq(atomic_load(descriptors), 2);
}
