/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef REFUSE_MEMORY_H
#define REFUSE_MEMORY_H

/*
 * refuse_memory.h - allocations that a test refuses: the linker sends all calls here ("wrap: malloc
 * calloc realloc" at the head of the test), and the test's is_refused() is asked at each.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

static bool is_refused(void);

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);

void *__wrap_malloc(size_t size) {
	errno = ENOMEM;
	return is_refused() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
	errno = ENOMEM;
	return is_refused() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size) {
	errno = ENOMEM;
	return is_refused() ? NULL : __real_realloc(block, size);
}

#endif
