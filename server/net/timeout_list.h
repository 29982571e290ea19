/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PACING_H
#define PACING_H

/*
 * pacing.h - who stands still: those that have to move, in the order of how long they have not
 * moved enough. The one that stands still longest comes first, so that looking costs nothing.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One of them; all zero: it does not have to move. */
struct paced {
	bool is_pacing;	   /* it is on the list, and then ... */
	uint64_t since_ms; /* ... since when it has to move enough ... */
	size_t bytes;	   /* ... of which it moved these; its user adds to it */
	struct paced *next;
	struct paced *previous;
};

/* All zero: nobody has to. */
struct pacing {
	struct paced *first; /* the one that stands still longest */
	struct paced *last;
};

/* It has to move from now on, nothing of it yet. `now_ms` does not go back. */
void timeout_list_touch(struct pacing *pacing, struct paced *paced, uint64_t now_ms);

/* It does not have to any more. */
void timeout_list_remove(struct pacing *pacing, struct paced *paced);

#endif
