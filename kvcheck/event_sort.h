/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ORDER_H
#define ORDER_H

/* order.h - events by their time. */

#include <stdbool.h>
#include <stddef.h>

struct event;

/* Sorts by time; events of the same time stay as they stand. False: no memory. */
bool event_sort(struct event *events, size_t count);

#endif
