/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: fsync fstatvfs flock */
/* The real disk: files of a directory that is held by one process. */
#include <errno.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "journal_fixture.h"
#include "test.h"

static char path[64];
static struct vfs disk;
static char why[JOURNAL_WHY_SIZE];

/* The linker sends all calls here. */
static bool counts_blocks = true;

int __real_fstatvfs(int fd, struct statvfs *status);
int __wrap_fstatvfs(int fd, struct statvfs *status);

int __wrap_fstatvfs(int fd, struct statvfs *status) {
	int error = __real_fstatvfs(fd, status);

	if (!counts_blocks)
		status->f_blocks = status->f_bfree = status->f_bavail = 0;
	return error;
}

static bool has_locks = true;

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation) {
	if (has_locks)
		return __real_flock(fd, operation);
	errno = ENOLCK;
	return -1;
}

static void start(void) {
	(void)snprintf(path, sizeof(path), "/tmp/kv-disk.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(path));
	ck_assert_msg(vfs_open(path, true, &disk, why, sizeof(why)), "%s", why);
}

static void stop(void) {
	char command[96];

	vfs_close(&disk);
	(void)snprintf(command, sizeof(command), "rm -rf %s", path);
	ck_assert_int_eq(system(command), 0);
}

static int opened(const char *name, enum vfs_mode mode) {
	int file = disk.open(disk.context, name, mode);

	ck_assert_msg(file >= 0, "%s: %s", name, strerror(-file));
	return file;
}

static void make(const char *name, const char *bytes) {
	int file = opened(name, VFS_CREATE);

	ck_assert_int_eq(disk.write(disk.context, file, bytes, strlen(bytes), 0), 0);
	ck_assert_int_eq(disk.sync(disk.context, file), 0);
	disk.close(disk.context, file);
}

static void assert_holds_file(const char *name, const char *bytes) {
	int file = opened(name, VFS_READ);
	char read[64] = {0};

	ck_assert_int_eq(disk.size(disk.context, file), (int64_t)strlen(bytes));
	ck_assert_int_eq(disk.read(disk.context, file, read, sizeof(read), 0),
			 (int64_t)strlen(bytes));
	ck_assert_str_eq(read, bytes);
	disk.close(disk.context, file);
}

/* Counts, and ends at the `most`th. */
struct count {
	unsigned names;
	unsigned most;
};

static bool count_name(void *context, const char *name) {
	struct count *count = context;

	ck_assert_str_ne(name, "lock");
	return ++count->names < count->most;
}

CASE(vfs, .setup = start, .teardown = stop);

TEST(a_file_holds_what_was_written) {
	int file;

	make("a", "0123456789");
	file = opened("a", VFS_WRITE);
	ck_assert_int_eq(disk.write(disk.context, file, "xyz", 3, 4), 0);
	ck_assert_int_eq(disk.write(disk.context, file, "end", 3, 10), 0);
	disk.close(disk.context, file);
	assert_holds_file("a", "0123xyz789end");
	ck_assert_int_eq(disk.sync_names(disk.context), 0);
}

TEST(reading_ends_where_the_file_ends) {
	char read[8] = {0};
	int file;

	make("a", "0123456789");
	file = opened("a", VFS_READ);
	ck_assert_int_eq(disk.read(disk.context, file, read, 4, 8), 2);
	ck_assert_str_eq(read, "89");
	ck_assert_int_eq(disk.read(disk.context, file, read, 4, 100), 0);
	disk.close(disk.context, file);
}

TEST(a_new_file_is_not_there_before_and_no_other_is_made) {
	make("a", "1");
	ck_assert_int_eq(disk.open(disk.context, "a", VFS_CREATE), -EEXIST);
	ck_assert_int_eq(disk.open(disk.context, "b", VFS_READ), -ENOENT);
	ck_assert_int_eq(disk.open(disk.context, "b", VFS_WRITE), -ENOENT);
	assert_holds_file("a", "1");
}

TEST(a_rename_replaces) {
	make("a", "1");
	make("b", "2");
	ck_assert_int_eq(disk.rename(disk.context, "a", "b"), 0);
	assert_holds_file("b", "1");
	ck_assert_int_eq(disk.rename(disk.context, "a", "b"), -ENOENT);
	ck_assert_int_eq(disk.remove(disk.context, "b"), 0);
	ck_assert_int_eq(disk.remove(disk.context, "b"), -ENOENT);
}

TEST(all_names_but_the_lock_are_listed) {
	struct count all = {.most = 100};
	struct count two = {.most = 2};

	make("a", "1");
	make("b", "2");
	make("c", "3");
	ck_assert_int_eq(disk.list(disk.context, count_name, &all), 0);
	ck_assert_uint_eq(all.names, 3);
	ck_assert_int_eq(disk.list(disk.context, count_name, &two), 0);
	ck_assert_uint_eq(two.names, 2);
}

TEST(what_is_written_takes_room) {
	static char bytes[8 << 20];
	int64_t before = disk.room(disk.context);
	int file = opened("a", VFS_CREATE);

	ck_assert_int_gt(before, 0);
	ck_assert_int_eq(disk.write(disk.context, file, bytes, sizeof(bytes), 0), 0);
	ck_assert_int_eq(disk.sync(disk.context, file), 0);
	/* Others write and remove at the same time: only that it is no constant. */
	ck_assert_int_ne(disk.room(disk.context), before);
	disk.close(disk.context, file);
}

TEST(a_disk_that_counts_no_blocks_is_not_a_full_one) {
	counts_blocks = false;
	ck_assert_int_lt(disk.room(disk.context), 0);
	counts_blocks = true;
	ck_assert_int_gt(disk.room(disk.context), 0);
}

TEST(a_file_is_linked_while_its_name_leads_to_it) {
	int file;

	make("file", "1");
	file = opened("file", VFS_READ);
	ck_assert(disk.is_linked(disk.context, file, "file"));
	ck_assert(!disk.is_linked(disk.context, file, "other"));
	make("other", "2");
	ck_assert(!disk.is_linked(disk.context, file, "other"));
	ck_assert_int_eq(disk.rename(disk.context, "other", "file"), 0);
	ck_assert(!disk.is_linked(disk.context, file, "file"));
	ck_assert_int_eq(disk.remove(disk.context, "file"), 0);
	ck_assert(!disk.is_linked(disk.context, file, "file"));
	disk.close(disk.context, file);
}

TEST(no_file_is_linked_once_the_path_leads_to_another_directory) {
	char moved[80];
	int file;

	make("file", "1");
	file = opened("file", VFS_READ);
	(void)snprintf(moved, sizeof(moved), "%s.moved", path);
	ck_assert_int_eq(rename(path, moved), 0);
	ck_assert(!disk.is_linked(disk.context, file, "file"));
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert(!disk.is_linked(disk.context, file, "file"));
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(rename(moved, path), 0);
	ck_assert(disk.is_linked(disk.context, file, "file"));
	disk.close(disk.context, file);
}

TEST(a_directory_whose_lock_was_removed_is_held_all_the_same) {
	struct vfs other;

	ck_assert_int_eq(disk.remove(disk.context, "lock"), 0);
	ck_assert(!vfs_open(path, true, &other, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "in use by another kvd"));
	ck_assert(!vfs_open(path, false, &other, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "in use by a kvd"));
}

TEST(a_file_system_without_locks_is_not_taken_for_one_in_use) {
	struct vfs other;

	vfs_close(&disk);
	has_locks = false;
	ck_assert(!vfs_open(path, true, &other, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "cannot lock"));
	ck_assert_ptr_nonnull(strstr(why, strerror(ENOLCK)));
	has_locks = true;
	ck_assert_msg(vfs_open(path, true, &disk, why, sizeof(why)), "%s", why);
}

TEST(a_link_is_not_followed) {
	char name[80];

	make("file", "1");
	(void)snprintf(name, sizeof(name), "%s/link", path);
	ck_assert_int_eq(symlink("file", name), 0);
	ck_assert_int_eq(disk.open(disk.context, "link", VFS_READ), -ELOOP);
	ck_assert_int_eq(disk.open(disk.context, "link", VFS_WRITE), -ELOOP);
	ck_assert_int_eq(disk.open(disk.context, "link", VFS_CREATE), -EEXIST);
}

TEST(a_directory_that_others_may_write_is_for_reading_only) {
	struct vfs other;

	vfs_close(&disk);
	ck_assert_int_eq(chmod(path, 0770), 0);
	ck_assert(!vfs_open(path, true, &other, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "chmod go-w"));
	ck_assert_msg(vfs_open(path, false, &other, why, sizeof(why)), "%s", why);
	vfs_close(&other);
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_msg(vfs_open(path, true, &disk, why, sizeof(why)), "%s", why);
}

TEST(a_directory_is_held_by_one) {
	struct vfs other;

	ck_assert(!vfs_open(path, true, &other, why, sizeof(why)));
	ck_assert_msg(strstr(why, path) != NULL && strstr(why, "in use") != NULL, "%s", why);
	/* What is half written looks like damage. */
	ck_assert(!vfs_open(path, false, &other, why, sizeof(why)));
	ck_assert_msg(strstr(why, path) != NULL && strstr(why, "in use") != NULL, "%s", why);
	vfs_close(&disk);
	ck_assert_msg(vfs_open(path, true, &disk, why, sizeof(why)), "%s", why);
}

TEST(many_readers_may_look_and_no_kvd_writes_meanwhile) {
	struct vfs looks[2];
	struct vfs other;

	vfs_close(&disk);
	for (size_t i = 0; i < 2; i++)
		ck_assert_msg(vfs_open(path, false, &looks[i], why, sizeof(why)), "%s", why);
	ck_assert(!vfs_open(path, true, &other, why, sizeof(why)));
	for (size_t i = 0; i < 2; i++)
		vfs_close(&looks[i]);
	ck_assert_msg(vfs_open(path, true, &disk, why, sizeof(why)), "%s", why);
}

TEST(a_look_leaves_no_trace) {
	struct vfs other;
	char inner[80];

	(void)snprintf(inner, sizeof(inner), "%s/inner", path);
	ck_assert_int_eq(mkdir(inner, 0700), 0);
	ck_assert(vfs_open(inner, false, &other, why, sizeof(why)));
	vfs_close(&other);
	ck_assert_int_eq(rmdir(inner), 0);
}

TEST(what_is_no_directory_of_ours_is_said_in_one_line) {
	struct vfs other;
	char file[80];

	(void)snprintf(file, sizeof(file), "%s/none", path);
	ck_assert(!vfs_open(file, true, &other, why, sizeof(why)));
	ck_assert_msg(strstr(why, file) != NULL && strstr(why, "create it") != NULL, "%s", why);
	ck_assert_ptr_null(other.context);

	make("file", "1");
	(void)snprintf(file, sizeof(file), "%s/file", path);
	ck_assert(!vfs_open(file, true, &other, why, sizeof(why)));
	ck_assert_msg(strstr(why, "Not a directory") != NULL, "%s", why);
	ck_assert_ptr_null(strchr(why, '\n'));
	vfs_close(&other);
}

/* --- A sync that fails: the linker sends fsync() here --------------------------------------- */

static unsigned fail_syncs;

int __real_fsync(int file);
int __wrap_fsync(int file);

int __wrap_fsync(int file) {
	if (fail_syncs > 0) {
		fail_syncs--;
		errno = EIO;
		return -1;
	}
	return __real_fsync(file);
}

TEST(a_sync_of_names_that_failed_is_told_to_all_who_ask_until_the_next_start) {
	make("new", "");
	fail_syncs = 1;
	ck_assert_int_eq(disk.sync_names(disk.context), -EIO);
	ck_assert_uint_eq(fail_syncs, 0);
	ck_assert_int_eq(disk.sync_names(disk.context), -EIO);
	vfs_close(&disk);
	ck_assert_msg(vfs_open(path, true, &disk, why, sizeof(why)), "%s", why);
	ck_assert_int_eq(disk.sync_names(disk.context), 0);
}
