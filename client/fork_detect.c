/* SPDX-License-Identifier: BSD-3-Clause */
#include "fork_detect.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/* An emulator may accept any advice and follow none, so an invalid one must be refused first. */
static bool is_wiped_on_fork(void *page, size_t size) {
	return madvise(page, size, -1) != 0 && madvise(page, size, MADV_WIPEONFORK) == 0;
}

static size_t page_size(void) {
	return (size_t)sysconf(_SC_PAGESIZE);
}

void fork_detect_init(struct fork_detect *fork_detect) {
	void *page =
	    mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*fork_detect = (struct fork_detect){.process = getpid()};
	if (page == MAP_FAILED)
		return;
	if (!is_wiped_on_fork(page, page_size())) {
		(void)munmap(page, page_size());
		return;
	}
	*(volatile bool *)page = true;
	fork_detect->is_here = page;
}

void fork_detect_destroy(struct fork_detect *fork_detect) {
	if (fork_detect->is_here != NULL)
		(void)munmap((void *)fork_detect->is_here, page_size());
	*fork_detect = (struct fork_detect){0};
}

bool fork_detect_is_owner(const struct fork_detect *fork_detect) {
	if (fork_detect->is_here != NULL)
		return *fork_detect->is_here;
	return getpid() == fork_detect->process;
}
