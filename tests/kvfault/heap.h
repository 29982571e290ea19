/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HEAP_H
#define HEAP_H

/* heap.h - the parcels on their way, by when they are due. */

#include "network.h"

/* False: no memory; the parcel stays the caller's. */
bool heap_add(struct network *network, struct parcel *parcel);

/* The parcel that is due first. There must be one. */
struct parcel *heap_take(struct network *network);

#endif
