/* SPDX-License-Identifier: BSD-3-Clause */
#include "data_directory.h"

#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"

enum {
	AT_CHECKSUM = 8,
	AT_CHECKED = 12,
	AT_FORMAT = 12,
	BATCH_HEADER_SIZE = 56,
	BATCH_ALIGNMENT = 8,
	AT_PAYLOAD_SIZE = 8,
};

static const char batch_magic[4] = {'k', 'v', 'b', '1'};
static const char kept_end[] = ".kept";

static unsigned look(const char *directory, const char *prefix, char last[DATADIR_PATH_MAX]) {
	char greatest[80] = "";
	DIR *names = opendir(directory);
	const struct dirent *name;
	unsigned count = 0;

	ck_assert_msg(names != NULL, "no directory %s", directory);
	while ((name = readdir(names)) != NULL) {
		size_t length = strlen(name->d_name);

		if (strncmp(name->d_name, prefix, strlen(prefix)) != 0 ||
		    length >= sizeof greatest || strstr(name->d_name, kept_end) != NULL)
			continue;
		count++;
		if (strcmp(name->d_name, greatest) > 0)
			memcpy(greatest, name->d_name, length + 1);
	}
	(void)closedir(names);
	(void)snprintf(last, DATADIR_PATH_MAX, "%s/%s", directory, greatest);
	return count;
}

unsigned datadir_count(const char *directory, const char *prefix) {
	char last[DATADIR_PATH_MAX];

	return look(directory, prefix, last);
}

void datadir_last(const char *directory, const char *prefix, char path[DATADIR_PATH_MAX]) {
	ck_assert_msg(look(directory, prefix, path) > 0, "no %s* in %s", prefix, directory);
}

static int open_file(const char *path, int flags) {
	int file = open(path, flags | O_CLOEXEC);

	ck_assert_msg(file >= 0, "cannot open %s", path);
	return file;
}

void datadir_read(const char *path, uint64_t offset, void *data, size_t size) {
	int file = open_file(path, O_RDONLY);

	ck_assert_int_eq(pread(file, data, size, (off_t)offset), (ssize_t)size);
	(void)close(file);
}

void datadir_write(const char *path, uint64_t offset, const void *data, size_t size) {
	int file = open_file(path, O_WRONLY);

	ck_assert_int_eq(pwrite(file, data, size, (off_t)offset), (ssize_t)size);
	ck_assert_int_eq(close(file), 0);
}

void datadir_flip(const char *path, uint64_t offset) {
	uint8_t byte;

	datadir_read(path, offset, &byte, 1);
	byte ^= 1;
	datadir_write(path, offset, &byte, 1);
}

/* CRC32C (RFC 3720, B.4), a bit at a time: the product's comes from a library. */
static uint32_t checksum(const uint8_t *data, size_t size) {
	uint32_t state = UINT32_MAX;

	for (size_t i = 0; i < size; i++) {
		state ^= data[i];
		for (int bit = 0; bit < 8; bit++)
			state = state >> 1 ^ (state & 1 ? 0x82f63b78 : 0);
	}
	return ~state;
}

void datadir_set_format(const char *path, size_t size, uint32_t format) {
	uint8_t header[SEGMENT_HEADER_SIZE];
	uint32_t sum;

	ck_assert_uint_le(size, sizeof header);
	datadir_read(path, 0, header, size);
	/* Or the layout is another one than this file thinks. */
	memcpy(&sum, header + AT_CHECKSUM, sizeof sum);
	ck_assert_uint_eq(le32toh(sum), checksum(header + AT_CHECKED, size - AT_CHECKED));
	format = htole32(format);
	memcpy(header + AT_FORMAT, &format, sizeof format);
	sum = htole32(checksum(header + AT_CHECKED, size - AT_CHECKED));
	memcpy(header + AT_CHECKSUM, &sum, sizeof sum);
	datadir_write(path, 0, header, size);
}

uint64_t datadir_batch(const char *path, unsigned index) {
	uint64_t offset = SEGMENT_HEADER_SIZE;

	for (;;) {
		uint8_t header[BATCH_HEADER_SIZE];
		uint32_t payload_size;

		datadir_read(path, offset, header, sizeof header);
		if (memcmp(header, batch_magic, sizeof batch_magic) != 0)
			return 0;
		if (index-- == 0)
			return offset;
		memcpy(&payload_size, header + AT_PAYLOAD_SIZE, sizeof payload_size);
		offset +=
		    (BATCH_HEADER_SIZE + (uint64_t)le32toh(payload_size) + BATCH_ALIGNMENT - 1) /
		    BATCH_ALIGNMENT * BATCH_ALIGNMENT;
	}
}

void datadir_keep(const char *path, char kept[DATADIR_PATH_MAX]) {
	int length = snprintf(kept, DATADIR_PATH_MAX, "%s%s", path, kept_end);

	ck_assert_int_lt(length, DATADIR_PATH_MAX);
	ck_assert_int_eq(link(path, kept), 0);
}

void datadir_put_back(const char *kept) {
	char path[DATADIR_PATH_MAX];

	(void)snprintf(path, sizeof path, "%.*s", (int)(strlen(kept) - strlen(kept_end)), kept);
	(void)unlink(path);
	ck_assert_int_eq(rename(kept, path), 0);
}
