/* SPDX-License-Identifier: BSD-3-Clause */
#include "random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *data, size_t size) {
	unsigned char *next = data;

	while (size > 0) {
		ssize_t got = getrandom(next, size, 0);

		if (got < 0) {
			if (errno == EINTR)
				continue;
			abort();
		}
		next += got;
		size -= (size_t)got;
	}
}

uint64_t random_id(void) {
	uint64_t id = 0;

	while (id == 0)
		random_bytes(&id, sizeof(id));
	return id;
}
