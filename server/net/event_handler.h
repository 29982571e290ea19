/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef EVENT_HANDLER_H
#define EVENT_HANDLER_H

/* event_handler.h - a descriptor in the event loop's epoll, and the function that is called when it
 * is ready. */

#include <stdint.h>

struct event_handler {
	int fd;
	/* `events` are epoll's. The handler may be freed when it returns. */
	void (*ready)(struct event_handler *handler, uint32_t events);
};

#endif
