/* SPDX-License-Identifier: BSD-3-Clause */
#include "heap.h"

#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	/*
	 * Of each step, the 2 MiB at its ends may be in small pages. It is address space only until
	 * it is used; but as much is not given back when memory is freed.
	 */
	STEP = 64 << 20,
};

void heap_open(struct heap *heap) {
	(void)mallopt(M_TOP_PAD, STEP);
	heap->end = sbrk(0);
}

/* What is not touched yet when it is told gets large pages at once; the rest perhaps later. */
void heap_tend(struct heap *heap) {
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	/* No system call: the C library knows. */
	char *end = sbrk(0);
	uintptr_t from = ((uintptr_t)heap->end + page - 1) & ~(page - 1);

	if (end == heap->end)
		return;
	/* It may be refused, and then all is as without. */
	if ((uintptr_t)end > from)
		(void)madvise((void *)from, (uintptr_t)end - from, MADV_HUGEPAGE);
	heap->end = end;
}
