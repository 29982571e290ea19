/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WATCH_H
#define WATCH_H

/* watch.h - a descriptor that the turn waits for, and what is called when it is ready. */

#include <stdint.h>

struct watch {
	int fd;
	/* `events` are epoll's. The watch may be gone when it returns. */
	void (*ready)(struct watch *watch, uint32_t events);
};

#endif
