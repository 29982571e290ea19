/* SPDX-License-Identifier: BSD-3-Clause */
/* The mark of a directory: it is its own, another's, or none. */
#include <errno.h>

#include "storage/copy_mark.h"
#include "temp_directory.h"
#include "test.h"

static struct place place;
static struct vfs disk;
static char why[COPY_MARK_WHY_SIZE];
static uint64_t birth;
static bool has_birth;

static bool birth_of(void *context, int file, uint64_t *birth_ns) {
	(void)context;
	(void)file;
	*birth_ns = birth;
	return has_birth;
}

static void start(void) {
	place_open(&place);
	disk = place.disk;
	disk.birth = birth_of;
	birth = 1234567890123456789;
	has_birth = true;
	why[0] = '\0';
}

static void stop(void) {
	place_close(&place);
}

static enum copy_mark check(void) {
	return copy_mark_check(&disk, why);
}

static void change_byte(off_t at) {
	int fd = place_file(&place, copy_mark_name, O_RDWR);
	uint8_t byte;

	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	(void)close(fd);
}

CASE(copy_mark, .setup = start, .teardown = stop);

TEST(a_mark_is_its_directorys_own_until_it_was_born_at_another_moment) {
	ck_assert_int_eq(check(), COPY_MARK_NONE);
	ck_assert_int_eq(copy_mark_make(&disk), 0);
	ck_assert_int_eq(check(), COPY_MARK_OWN);
	birth++;
	ck_assert_int_eq(check(), COPY_MARK_OTHER);
	ck_assert_ptr_nonnull(strstr(why, "--moved"));
	ck_assert_ptr_nonnull(strstr(why, "--restored"));
	ck_assert_int_eq(copy_mark_make(&disk), 0);
	ck_assert_int_eq(check(), COPY_MARK_OWN);
	ck_assert(!is_there(&place, copy_mark_temporary_name));
}

TEST(where_no_moment_is_known_nothing_is_told) {
	has_birth = false;
	ck_assert_int_eq(copy_mark_make(&disk), 0);
	ck_assert(!is_there(&place, copy_mark_name));
	ck_assert(!is_there(&place, copy_mark_temporary_name));
	has_birth = true;
	ck_assert_int_eq(copy_mark_make(&disk), 0);
	has_birth = false;
	ck_assert_int_eq(check(), COPY_MARK_OWN);
	disk.birth = NULL;
	ck_assert_int_eq(check(), COPY_MARK_NONE);
	ck_assert_int_eq(copy_mark_make(&disk), 0);
}

TEST(a_mark_that_is_damaged_or_cut_is_not_believed) {
	ck_assert_int_eq(copy_mark_make(&disk), 0);
	for (off_t at = 0; at < 32; at++) {
		change_byte(at);
		ck_assert_int_eq(check(), COPY_MARK_OTHER);
		ck_assert_ptr_nonnull(strstr(why, "birth is damaged"));
		change_byte(at);
	}
	ck_assert_int_eq(check(), COPY_MARK_OWN);
	int fd = place_file(&place, copy_mark_name, O_RDWR);
	ck_assert_int_eq(ftruncate(fd, 31), 0);
	(void)close(fd);
	ck_assert_int_eq(check(), COPY_MARK_OTHER);
}

TEST(on_a_real_disk_a_copy_of_its_bytes_is_told_from_it) {
	struct vfs *real = &place.disk;
	uint8_t bytes[32];
	char from[160];
	char to[160];
	int fd;

	ck_assert_int_eq(copy_mark_make(real), 0);
	if (!is_there(&place, copy_mark_name))
		return; /* This file system does not say when a file was made. */
	ck_assert_int_eq(copy_mark_check(real, why), COPY_MARK_OWN);
	(void)snprintf(from, sizeof(from), "%s/%s", place.path, copy_mark_name);
	(void)snprintf(to, sizeof(to), "%s/elsewhere", place.path);
	ck_assert_int_eq(rename(from, to), 0);
	ck_assert_int_eq(rename(to, from), 0);
	ck_assert_int_eq(copy_mark_check(real, why), COPY_MARK_OWN);
	fd = place_file(&place, copy_mark_name, O_RDONLY);
	ck_assert_int_eq(read(fd, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
	(void)close(fd);
	/* The clock of a file system goes in steps of some milliseconds. */
	do {
		ck_assert(unlink(from) == 0);
		fd = place_file(&place, copy_mark_name, O_WRONLY | O_CREAT);
		ck_assert_int_eq(write(fd, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
		(void)close(fd);
	} while (copy_mark_check(real, why) == COPY_MARK_OWN);
	ck_assert_int_eq(copy_mark_check(real, why), COPY_MARK_OTHER);
}
