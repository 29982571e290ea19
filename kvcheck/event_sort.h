/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef EVENT_SORT_H
#define EVENT_SORT_H

/* event_sort.h - a stable radix sort of events by time. */

#include <stdbool.h>
#include <stddef.h>

struct event;

/* Sorts by time; events of the same time stay as they stand. False: no memory. */
bool event_sort(struct event *events, size_t count);

#endif
