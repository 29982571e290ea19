/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef EVENT_HEAP_H
#define EVENT_HEAP_H

/* event_heap.h - the scheduled parcels, a heap by due time. */

#include "network.h"

/* False: no memory; the parcel stays the caller's. */
bool heap_add(struct network *network, struct parcel *parcel);

/* The parcel that is due first. There must be one. */
struct parcel *heap_take(struct network *network);

#endif
