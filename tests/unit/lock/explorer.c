/* SPDX-License-Identifier: BSD-3-Clause */
#include "explorer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "test.h"

enum { DEPTH_MAX = 160, STEP_SIZE = 80, SEEN_SIZE = 1 << 22 };

static struct {
	uint64_t *seen;
	unsigned long states, ends;
	char steps[DEPTH_MAX][STEP_SIZE];
	jmp_buf stopped;
} explorer;

void explorer_begin(void) {
	explorer.states = explorer.ends = 0;
	explorer.seen = calloc(SEEN_SIZE, sizeof(*explorer.seen));
	ck_assert_ptr_nonnull(explorer.seen);
}

void explorer_end(const char *format, ...) {
	va_list arguments;

	printf("figure: ");
	va_start(arguments, format);
	(void)vprintf(format, arguments);
	va_end(arguments);
	printf(": %lu states, %lu ends\n", explorer.states, explorer.ends);
	free(explorer.seen);
	explorer.seen = NULL;
	ck_assert_uint_gt(explorer.ends, 0);
}

const char *explorer_id(int index) {
	static const char *const ids[EXPLORER_IDS] = {"00000000000000000000000000000000",
						      "01010101010101010101010101010101",
						      "02020202020202020202020202020202"};

	return ids[index];
}

void explorer_run(void (*program)(void)) {
	if (setjmp(explorer.stopped) == 0)
		program();
}

void explorer_stop(void) {
	longjmp(explorer.stopped, 1);
}

void explorer_must(bool holds, const char *otherwise) {
	if (!holds)
		ck_abort_msg("%s", otherwise);
}

uint64_t explorer_mix(uint64_t hash, uint64_t with) {
	hash = (hash ^ with) * 0x9e3779b97f4a7c15U;
	return hash ^ hash >> 29;
}

bool explorer_was_seen(uint64_t hash) {
	size_t at;

	hash |= 1;
	for (at = hash % SEEN_SIZE; explorer.seen[at] != 0; at = (at + 1) % SEEN_SIZE) {
		if (explorer.seen[at] == hash)
			return true;
	}
	explorer.seen[at] = hash;
	explorer_must(++explorer.states < SEEN_SIZE / 4 * 3, "too many states");
	return false;
}

void explorer_ends(void) {
	explorer.ends++;
}

void explorer_tell(unsigned depth, const char *format, ...) {
	va_list arguments;

	explorer_must(depth < DEPTH_MAX, "a schedule that does not end");
	va_start(arguments, format);
	(void)vsnprintf(explorer.steps[depth], STEP_SIZE, format, arguments);
	va_end(arguments);
}

void explorer_violated(unsigned depth, const char *what) {
	for (unsigned i = 0; i < depth; i++)
		fprintf(stderr, "%3u  %s\n", i, explorer.steps[i]);
	ck_abort_msg("%s", what);
}
