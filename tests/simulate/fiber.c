/* SPDX-License-Identifier: BSD-3-Clause */
#include "fiber.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifdef __SANITIZE_ADDRESS__
#define HAS_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define HAS_TSAN 1
#endif
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define HAS_TSAN 1
#endif
#endif

#ifdef HAS_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef HAS_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum {
	STACK_SIZE = 512 * 1024, /* most of it is never touched; sanitizers need more */
	GUARD_SIZE = 4096,
};

struct fiber {
	fiber_body *body;
	void *context;
	bool has_ended;
	uint8_t *memory; /* the guard, then the stack */
	ucontext_t inside;
	ucontext_t outside;
#ifdef HAS_ASAN
	void *inside_fake;
	void *outside_fake;
	const void *outside_bottom;
	size_t outside_size;
#endif
#ifdef HAS_TSAN
	void *inside_tsan;
	void *outside_tsan;
#endif
};

static void before_going_in(struct fiber *fiber) {
	(void)fiber;
#ifdef HAS_ASAN
	__sanitizer_start_switch_fiber(&fiber->outside_fake, fiber->memory + GUARD_SIZE,
				       STACK_SIZE);
#endif
#ifdef HAS_TSAN
	fiber->outside_tsan = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(fiber->inside_tsan, 0);
#endif
}

static void after_coming_out(struct fiber *fiber) {
	(void)fiber;
#ifdef HAS_ASAN
	__sanitizer_finish_switch_fiber(fiber->outside_fake, NULL, NULL);
#endif
}

static void before_going_out(struct fiber *fiber) {
	(void)fiber;
#ifdef HAS_ASAN
	/* NULL: this stack is not come back to. */
	__sanitizer_start_switch_fiber(fiber->has_ended ? NULL : &fiber->inside_fake,
				       fiber->outside_bottom, fiber->outside_size);
#endif
#ifdef HAS_TSAN
	__tsan_switch_to_fiber(fiber->outside_tsan, 0);
#endif
}

static void after_coming_in(struct fiber *fiber) {
	(void)fiber;
#ifdef HAS_ASAN
	__sanitizer_finish_switch_fiber(fiber->inside_fake, &fiber->outside_bottom,
					&fiber->outside_size);
#endif
}

/* makecontext() passes ints: a pointer takes two. */
static void enter(unsigned high, unsigned low) {
	struct fiber *fiber = (struct fiber *)(((uintptr_t)high << 32) | (uintptr_t)low);

	after_coming_in(fiber);
	fiber->body(fiber->context);
	fiber->has_ended = true;
	before_going_out(fiber);
	(void)swapcontext(&fiber->inside, &fiber->outside);
	abort();
}

struct fiber *fiber_new(fiber_body *body, void *context) {
	struct fiber *fiber = calloc(1, sizeof(*fiber));
	uintptr_t self = (uintptr_t)fiber;
	void *memory = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (fiber == NULL || memory == MAP_FAILED || mprotect(memory, GUARD_SIZE, PROT_NONE) != 0 ||
	    getcontext(&fiber->inside) != 0) {
		(void)fputs("simulate: no memory for another stack\n", stderr);
		exit(EXIT_FAILURE);
	}
	fiber->body = body;
	fiber->context = context;
	fiber->memory = memory;
	fiber->inside.uc_stack.ss_sp = fiber->memory + GUARD_SIZE;
	fiber->inside.uc_stack.ss_size = STACK_SIZE;
	makecontext(&fiber->inside, (void (*)(void))enter, 2, (unsigned)(self >> 32),
		    (unsigned)(self & UINT32_MAX));
#ifdef HAS_TSAN
	fiber->inside_tsan = __tsan_create_fiber(0);
#endif
	return fiber;
}

void fiber_free(struct fiber *fiber) {
	if (fiber == NULL)
		return;
#ifdef HAS_TSAN
	__tsan_destroy_fiber(fiber->inside_tsan);
#endif
	(void)munmap(fiber->memory, GUARD_SIZE + STACK_SIZE);
	free(fiber);
}

void fiber_resume(struct fiber *fiber) {
	before_going_in(fiber);
	(void)swapcontext(&fiber->outside, &fiber->inside);
	after_coming_out(fiber);
}

void fiber_yield(struct fiber *fiber) {
	before_going_out(fiber);
	(void)swapcontext(&fiber->inside, &fiber->outside);
	after_coming_in(fiber);
}

bool fiber_has_ended(const struct fiber *fiber) {
	return fiber->has_ended;
}
