/* SPDX-License-Identifier: BSD-3-Clause */
#include "random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

/* A filter of system calls that is older than getrandom(2) refuses it: the device has the same. */
static ssize_t read_some(void *data, size_t size, int *device) {
	ssize_t got = getrandom(data, size, 0);

	if (got >= 0 || errno == EINTR)
		return got;
	if (*device < 0)
		*device = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	return *device < 0 ? -1 : read(*device, data, size);
}

void random_bytes(void *data, size_t size) {
	static const char why[] = "kv: the kernel has no random bits: getrandom(2) is refused, and "
				  "/dev/urandom cannot be read\n";
	unsigned char *next = data;
	int device = -1;

	while (size > 0) {
		ssize_t got = read_some(next, size, &device);

		if (got <= 0) {
			if (got < 0 && errno == EINTR)
				continue;
			(void)!write(STDERR_FILENO, why, sizeof(why) - 1);
			abort();
		}
		next += got;
		size -= (size_t)got;
	}
	if (device >= 0)
		(void)close(device);
}

uint64_t random_id(void) {
	uint64_t id = 0;

	while (id == 0)
		random_bytes(&id, sizeof(id));
	return id;
}
