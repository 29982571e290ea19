/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HUGE_PAGES_H
#define HUGE_PAGES_H

/*
 * huge_pages.h - huge pages for malloc's memory. fork() copies an entry for each page: 20 to 27 ms
 * for each GiB in pages of 4 KiB, less than 2 ms in pages of 2 MiB; and with many keys each call
 * waits for address translation, too.
 *
 * New memory is requested in huge pages. The kernel splits those that are written while a forked
 * child shares them, and large values have small ones: so before the next fork a thread collapses
 * the memory in use into huge pages (MADV_COLLAPSE, Linux 6.1). Where the kernel cannot, or malloc
 * is another one, nothing changes.
 *
 * All functions are called by the turn's thread.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Its fields are private. */
struct huge_pages {
	char *end;
	size_t left_small;
	int event;
	bool has_thread;
	pthread_t thread;
	atomic_bool is_done;
	atomic_bool is_closing;
};

/*
 * To be called before much is allocated. Once the heap has grown by `left_small` bytes, malloc
 * takes memory from the kernel in large steps, which a small server does not profit from.
 */
void huge_pages_init(struct huge_pages *pages, size_t left_small);
/* Waits for the thread, shortly. */
void huge_pages_destroy(struct huge_pages *pages);

/* To be called at least once for some MiB allocated; costs nothing if the heap has not grown. */
void huge_pages_advise(struct huge_pages *pages);

/*
 * To be called before a fork. False: a thread is at work; call again when huge_pages_fd() is
 * readable. It takes 0.1 to 3 s for a GiB, and nothing if nothing is to be done. True is returned
 * once.
 */
bool huge_pages_collapse(struct huge_pages *pages);

/* -1: huge_pages_collapse() is always true. */
int huge_pages_fd(const struct huge_pages *pages);

#endif
