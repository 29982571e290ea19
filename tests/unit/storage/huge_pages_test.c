/* SPDX-License-Identifier: BSD-3-Clause */
/* Large pages before a fork: the memory in use gets them, and what is not in use stays unused. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/huge_pages.h"
#include "test.h"

enum {
	LARGE = 2 << 20,
	BLOCK = 16 * LARGE,
	READY_MS = 100000, /* long: a machine may have much to do */
};

static struct huge_pages heap;
static char *block; /* all touched */
static char *empty; /* hardly touched */

/* Whether large pages can be had, and are made only on request. */
static bool is_able(void) {
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
	char modes[64] = "";

	if (file == NULL || fgets(modes, sizeof(modes), file) == NULL)
		strcpy(modes, "none");
	if (file != NULL)
		(void)fclose(file);
	if (strstr(modes, "[madvise]") == NULL)
		return false;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return false;
#else
	char *memory = mmap(NULL, 2 * (size_t)LARGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *aligned = (char *)(((uintptr_t)memory + LARGE - 1) & ~((uintptr_t)LARGE - 1));
	bool is_done;

	memset(memory, 1, 2 * (size_t)LARGE);
	is_done = madvise(aligned, LARGE, 25) == 0;
	(void)munmap(memory, 2 * (size_t)LARGE);
	return is_done;
#endif
}

/* Of the mapping that holds it, in kB; -1: none does. */
static long field_of(const char *at, const char *name) {
	FILE *maps = fopen("/proc/self/smaps", "re");
	bool is_inside = false;
	unsigned long from;
	unsigned long to;
	char line[512];
	long value = -1;

	ck_assert_ptr_nonnull(maps);
	while (value < 0 && fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_inside = (uintptr_t)at >= from && (uintptr_t)at < to;
		else if (is_inside && strncmp(line, name, strlen(name)) == 0)
			value = strtol(line + strlen(name), NULL, 10);
	(void)fclose(maps);
	return value;
}

static char *map(void) {
	/* One page before and after that no other mapping can be joined to. */
	char *memory = mmap(NULL, BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(memory, MAP_FAILED);
	ck_assert_int_eq(mprotect(memory + 4096, BLOCK - 8192, PROT_READ | PROT_WRITE), 0);
	(void)memset(memory + 4096, 1, 4096);
	return memory;
}

static void start(void) {
	huge_pages_init(&heap, 0);
	block = map();
	(void)memset(block + 4096, 1, BLOCK - 8192);
	empty = map();
	for (size_t at = 4096; at < BLOCK - 8192; at += LARGE / 2)
		empty[at] = 1;
}

static void stop(void) {
	huge_pages_destroy(&heap);
	(void)munmap(block, BLOCK);
	(void)munmap(empty, BLOCK);
}

static void await(void) {
	struct pollfd news = {.fd = huge_pages_fd(&heap), .events = POLLIN};

	ck_assert(!huge_pages_collapse(&heap));
	do
		ck_assert_int_eq(poll(&news, 1, READY_MS), 1);
	while (!huge_pages_collapse(&heap));
	/* Said once, and the news is taken in. */
	ck_assert_int_eq(poll(&news, 1, 0), 0);
}

CASE(huge_pages, .setup = start, .teardown = stop, .seconds = 300);

TEST(what_is_in_use_is_in_large_pages_when_it_is_ready) {
	if (!is_able())
		return;
	await();
	/* But for the ends. */
	ck_assert_int_ge(field_of(block + 4096, "AnonHugePages:"), (BLOCK - 2 * LARGE) >> 10);
	for (size_t at = 4096; at < BLOCK - 4096; at += 1001)
		ck_assert_int_eq(block[at], 1);
}

TEST(what_is_hardly_used_takes_no_more_memory) {
	long before = field_of(empty + 4096, "Rss:");

	if (!is_able())
		return;
	await();
	ck_assert_int_eq(field_of(empty + 4096, "Rss:"), before);
}

TEST(pages_that_a_child_had_split_become_large_again) {
	pid_t child;

	if (!is_able())
		return;
	await();
	child = fork();
	if (child == 0) {
		(void)pause();
		_exit(0);
	}
	for (size_t at = 4096; at < BLOCK - 4096; at += LARGE / 4)
		block[at] = 1;
	ck_assert_int_eq(field_of(block + 4096, "AnonHugePages:"), 0);
	(void)kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	await();
	ck_assert_int_ge(field_of(block + 4096, "AnonHugePages:"), (BLOCK - 2 * LARGE) >> 10);
}

TEST(it_can_be_closed_while_the_thread_is_at_work) {
	ck_assert(!huge_pages_collapse(&heap));
	huge_pages_destroy(&heap);
	ck_assert_int_eq(huge_pages_fd(&heap), -1);
	ck_assert(huge_pages_collapse(&heap));
}

TEST(memory_that_goes_meanwhile_does_no_harm) {
	ck_assert(!huge_pages_collapse(&heap));
	for (unsigned i = 0; i < 200; i++) {
		char *memory = map();

		(void)memset(memory + 4096, 2, LARGE);
		(void)munmap(memory, BLOCK);
	}
	(void)munmap(block, BLOCK / 2);
	while (!huge_pages_collapse(&heap))
		;
	huge_pages_advise(&heap);
}
