/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HEAP_H
#define HEAP_H

/*
 * heap.h - asks the kernel for large pages under malloc's memory, because fork() copies an entry
 * for each page: 20 to 27 ms for each GiB in pages of 4 KiB, less than 3 ms with most of it in
 * pages of 2 MiB. Where the system has no large pages ("never" in
 * /sys/kernel/mm/transparent_hugepage/enabled), or malloc is another one, it changes nothing.
 */

/* Its field is heap.c's own. */
struct heap {
	char *end;
};

/* Before much is allocated. From now on malloc takes memory from the kernel in large steps. */
void heap_open(struct heap *heap);

/* Now and then, at least once for some MiB allocated; costs nothing if the heap has not grown. */
void heap_tend(struct heap *heap);

#endif
