/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HEAP_H
#define HEAP_H

/*
 * heap.h - large pages under malloc's memory, because fork() copies an entry for each page: 20 to
 * 27 ms for each GiB in pages of 4 KiB, less than 2 ms in pages of 2 MiB; and because with many
 * keys each call waits for the addresses of pages, too.
 *
 * New memory is asked for in large pages. Those that are written to while a forked child has them
 * too are split by the kernel, and large values have small ones: so before the next fork a thread
 * makes large ones of what is in use (MADV_COLLAPSE, Linux 6.1). Where the kernel cannot, or malloc
 * is another one, it changes nothing.
 *
 * All functions are the turn's.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Its fields are heap.c's own. */
struct heap {
	char *end;
	size_t left_small;
	int event;
	bool has_thread;
	pthread_t thread;
	atomic_bool is_done;
	atomic_bool is_closing;
};

/*
 * Before much is allocated. Once the heap has `left_small` bytes more, malloc takes memory from the
 * kernel in large steps, which cost a small server more than they are worth to it.
 */
void huge_pages_init(struct heap *heap, size_t left_small);
/* Waits for the thread, not for long. */
void huge_pages_destroy(struct heap *heap);

/* Now and then, at least once for some MiB allocated; costs nothing if the heap has not grown. */
void huge_pages_advise(struct heap *heap);

/*
 * Before a fork: false means that a thread is at work now; ask again when huge_pages_fd() is readable.
 * It takes 0.1 to 3 s for a GiB, and nothing if all is well already. True is said once.
 */
bool huge_pages_collapse(struct heap *heap);

/* -1: huge_pages_collapse() is always true. */
int huge_pages_fd(const struct heap *heap);

#endif
