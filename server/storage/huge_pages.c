/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/huge_pages.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Newer than some kernel headers. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum {
	/*
	 * Of each step, the 2 MiB at its ends may be in small pages. It is address space only until
	 * it is used; but as much is not given back when memory is freed.
	 */
	STEP = 64 << 20,
	/*
	 * Less than this is not given back to the kernel, only to be asked for again and cleared: a
	 * call with a value of 1 MiB would cost twice as much.
	 */
	KEPT = 4 << 20,
	LARGE = 2 << 20, /* bytes of a large page */
	SMALL_LEAST = 4096,
	LINE_MAX_SIZE = 512,
};

void huge_pages_init(struct huge_pages *pages, size_t left_small) {
	*pages = (struct huge_pages){.end = sbrk(0),
				     .left_small = left_small,
				     .event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
	if (left_small == 0)
		(void)mallopt(M_TOP_PAD, STEP);
	(void)mallopt(M_MMAP_THRESHOLD, KEPT);
	(void)mallopt(M_TRIM_THRESHOLD, KEPT);
}

void huge_pages_destroy(struct huge_pages *pages) {
	atomic_store(&pages->is_closing, true);
	if (pages->has_thread)
		(void)pthread_join(pages->thread, NULL);
	pages->has_thread = false;
	if (pages->event >= 0)
		(void)close(pages->event);
	pages->event = -1;
}

/* What is not touched yet when it is told gets large pages at once; the rest perhaps later. */
void huge_pages_advise(struct huge_pages *pages) {
	/* No system call: the C library knows. */
	char *end = sbrk(0);

	if (end == pages->end)
		return;
	if (pages->left_small > 0) {
		if (end < pages->end || (size_t)(end - pages->end) < pages->left_small)
			return;
		pages->left_small = 0;
		(void)mallopt(M_TOP_PAD, STEP);
	}
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)pages->end + page - 1) & ~(page - 1);
	/* It may be refused, and then all is as without. */
	if ((uintptr_t)end > from)
		(void)madvise((void *)from, (uintptr_t)end - from, MADV_HUGEPAGE);
	pages->end = end;
}

/* --- Before a fork ------------------------------------------------------------------------------
 */

/* Most of it: else making it one page would take memory. */
static bool is_in_use(uintptr_t at, size_t page) {
	unsigned char resident[LARGE / SMALL_LEAST];
	size_t count = LARGE / page;
	size_t used = 0;

	if (mincore((void *)at, LARGE, resident) != 0)
		return false;
	for (size_t i = 0; i < count; i++)
		used += resident[i] & 1;
	return used >= count / 4 * 3;
}

/* False: there is no point in going on. */
static bool collapse(const struct huge_pages *pages, uintptr_t from, uintptr_t to) {
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t at = (from + LARGE - 1) & ~((uintptr_t)LARGE - 1);

	if (page < SMALL_LEAST)
		return false;
	/* What is no longer there, or of which the kernel has no page, stays as it is. */
	for (; at < to && to - at >= LARGE; at += LARGE) {
		if (atomic_load_explicit(&pages->is_closing, memory_order_relaxed))
			return false;
		if (is_in_use(at, page))
			(void)madvise((void *)at, LARGE, MADV_COLLAPSE);
	}
	return true;
}

/*
 * Memory of the process's own that can be written to, and is no file's. What is more than the
 * machine has is address space, of a sanitizer for example.
 */
static bool is_own(const char *line, uintptr_t *from, uintptr_t *to) {
	uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	char rights[5];
	uint64_t inode;

	return sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %" SCNu64, from, to, rights,
		      &inode) == 4 &&
	       strcmp(rights, "rw-p") == 0 && inode == 0 && strstr(line, "[stack]") == NULL &&
	       (*to - *from) / page <= pages;
}

static void *make_ready(void *argument) {
	struct huge_pages *pages = argument;
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[LINE_MAX_SIZE];
	uint64_t one = 1;
	uintptr_t from;
	uintptr_t to;

	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL)
		if (is_own(line, &from, &to) && !collapse(pages, from, to))
			break;
	if (maps != NULL)
		(void)fclose(maps);
	atomic_store(&pages->is_done, true);
	/* It can only fail if the counter is full, and then the turn is already notified. */
	(void)!write(pages->event, &one, sizeof(one));
	return NULL;
}

bool huge_pages_collapse(struct huge_pages *pages) {
	uint64_t count;

	if (pages->event < 0)
		return true;
	if (!pages->has_thread) {
		atomic_store(&pages->is_done, false);
		pages->has_thread = pthread_create(&pages->thread, NULL, make_ready, pages) == 0;
		return !pages->has_thread;
	}
	if (!atomic_load(&pages->is_done))
		return false;
	(void)pthread_join(pages->thread, NULL);
	(void)!read(pages->event, &count, sizeof(count));
	pages->has_thread = false;
	return true;
}

int huge_pages_fd(const struct huge_pages *pages) {
	return pages->event;
}
