/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/timeout_list.h"

void timeout_list_remove(struct timeout_list *timeouts, struct timeout_entry *timeout) {
	if (!timeout->is_listed)
		return;
	if (timeout->previous != NULL)
		timeout->previous->next = timeout->next;
	else
		timeouts->first = timeout->next;
	if (timeout->next != NULL)
		timeout->next->previous = timeout->previous;
	else
		timeouts->last = timeout->previous;
	timeout->next = timeout->previous = NULL;
	timeout->is_listed = false;
}

void timeout_list_touch(struct timeout_list *timeouts, struct timeout_entry *timeout,
			uint64_t now_ms) {
	timeout_list_remove(timeouts, timeout);
	timeout->since_ms = now_ms;
	timeout->bytes = 0;
	timeout->previous = timeouts->last;
	if (timeouts->last != NULL)
		timeouts->last->next = timeout;
	else
		timeouts->first = timeout;
	timeouts->last = timeout;
	timeout->is_listed = true;
}
