/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sync.c - batches of bytes written and synced alone, one after the other: what the disk itself
 * takes for what a journal does.
 *
 *	sync FILE BATCH_BYTES MS
 *
 * FILE must not exist; it is filled with zeros first, as kvd's segments are, and removed at the
 *end. Prints the median and the mean of a write with its fdatasync, in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "histogram.h"
#include "log.h"

enum { FILE_SIZE = 16 << 20, BATCH_MAX = 1 << 20 };

/* Makes the file if it is not there. */
static bool fill(int fd, const void *bytes) {
	if (lseek(fd, 0, SEEK_END) == FILE_SIZE)
		return true;
	for (off_t at = 0; at < FILE_SIZE; at += BATCH_MAX)
		if (pwrite(fd, bytes, BATCH_MAX, at) != BATCH_MAX)
			return false;
	return fsync(fd) == 0;
}

static bool write_batches(int fd, const void *bytes, size_t size, unsigned ms,
			  struct histogram *latencies) {
	uint64_t begin_ns = clock_ns();
	uint64_t end_ns = begin_ns + (uint64_t)ms * 1000000;
	off_t at = 0;

	while (begin_ns < end_ns) {
		uint64_t now_ns = 0;
		if (pwrite(fd, bytes, size, at) != (ssize_t)size || fdatasync(fd) != 0)
			return false;
		at = at + (off_t)size > FILE_SIZE - (off_t)size ? 0 : at + (off_t)size;
		now_ns = clock_ns();
		histogram_add(latencies, now_ns - begin_ns);
		begin_ns = now_ns;
	}
	return true;
}

int main(int argc, char **argv) {
	static char bytes[BATCH_MAX];
	static struct histogram latencies;
	size_t size = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
	bool is_right = false;
	int fd = -1;

	log_open("sync", 0);
	if (size == 0 || size > BATCH_MAX) {
		log_error("usage: sync FILE BATCH_BYTES MS, with at most %d bytes", BATCH_MAX);
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		log_error("%s: %s", argv[1], strerror(errno));
		return 1;
	}
	memset(bytes, 'v', sizeof(bytes));
	is_right = fill(fd, bytes) &&
		   write_batches(fd, bytes, size, (unsigned)strtoul(argv[3], NULL, 10), &latencies);
	if (!is_right)
		log_error("%s: %s", argv[1], strerror(errno));
	(void)close(fd);
	if (is_right)
		printf("p50_us %.2f\nmean_us %.2f\n",
		       (double)histogram_quantile(&latencies, 0.5) / 1e3,
		       histogram_mean(&latencies) / 1e3);
	return is_right ? 0 : 1;
}
