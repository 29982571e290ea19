/* SPDX-License-Identifier: BSD-3-Clause */
#include "fork_detect.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * An emulator may take any advice for good and follow none. One that is told nonsense and agrees is
 * not believed.
 */
static bool is_wiped_on_fork(void *page, size_t size) {
	return madvise(page, size, -1) != 0 && madvise(page, size, MADV_WIPEONFORK) == 0;
}

static size_t page_size(void) {
	return (size_t)sysconf(_SC_PAGESIZE);
}

void fork_detect_init(struct origin *origin) {
	void *page =
	    mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*origin = (struct origin){.process = getpid()};
	if (page == MAP_FAILED)
		return;
	if (!is_wiped_on_fork(page, page_size())) {
		(void)munmap(page, page_size());
		return;
	}
	*(volatile bool *)page = true;
	origin->is_here = page;
}

void fork_detect_destroy(struct origin *origin) {
	if (origin->is_here != NULL)
		(void)munmap((void *)origin->is_here, page_size());
	*origin = (struct origin){0};
}

bool fork_detect_is_owner(const struct origin *origin) {
	if (origin->is_here != NULL)
		return *origin->is_here;
	return getpid() == origin->process;
}
