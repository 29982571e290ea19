/* SPDX-License-Identifier: BSD-3-Clause */
#include "coroutine.h"

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

struct coroutine {
	coroutine_body *body;
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

static void before_going_in(struct coroutine *coroutine) {
	(void)coroutine;
#ifdef HAS_ASAN
	__sanitizer_start_switch_fiber(&coroutine->outside_fake, coroutine->memory + GUARD_SIZE,
				       STACK_SIZE);
#endif
#ifdef HAS_TSAN
	coroutine->outside_tsan = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(coroutine->inside_tsan, 0);
#endif
}

static void after_coming_out(struct coroutine *coroutine) {
	(void)coroutine;
#ifdef HAS_ASAN
	__sanitizer_finish_switch_fiber(coroutine->outside_fake, NULL, NULL);
#endif
}

static void before_going_out(struct coroutine *coroutine) {
	(void)coroutine;
#ifdef HAS_ASAN
	/* NULL: this stack is not come back to. */
	__sanitizer_start_switch_fiber(coroutine->has_ended ? NULL : &coroutine->inside_fake,
				       coroutine->outside_bottom, coroutine->outside_size);
#endif
#ifdef HAS_TSAN
	__tsan_switch_to_fiber(coroutine->outside_tsan, 0);
#endif
}

static void after_coming_in(struct coroutine *coroutine) {
	(void)coroutine;
#ifdef HAS_ASAN
	__sanitizer_finish_switch_fiber(coroutine->inside_fake, &coroutine->outside_bottom,
					&coroutine->outside_size);
#endif
}

/* makecontext() passes ints: a pointer takes two. */
static void enter(unsigned high, unsigned low) {
	struct coroutine *coroutine =
	    (struct coroutine *)(((uintptr_t)high << 32) | (uintptr_t)low);

	after_coming_in(coroutine);
	coroutine->body(coroutine->context);
	coroutine->has_ended = true;
	before_going_out(coroutine);
	(void)swapcontext(&coroutine->inside, &coroutine->outside);
	abort();
}

struct coroutine *coroutine_new(coroutine_body *body, void *context) {
	struct coroutine *coroutine = calloc(1, sizeof(*coroutine));
	uintptr_t self = (uintptr_t)coroutine;
	void *memory = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	if (coroutine == NULL || memory == MAP_FAILED ||
	    mprotect(memory, GUARD_SIZE, PROT_NONE) != 0 || getcontext(&coroutine->inside) != 0) {
		(void)fputs("simulate: no memory for another stack\n", stderr);
		exit(EXIT_FAILURE);
	}
	coroutine->body = body;
	coroutine->context = context;
	coroutine->memory = memory;
	coroutine->inside.uc_stack.ss_sp = coroutine->memory + GUARD_SIZE;
	coroutine->inside.uc_stack.ss_size = STACK_SIZE;
	makecontext(&coroutine->inside, (void (*)(void))enter, 2, (unsigned)(self >> 32),
		    (unsigned)(self & UINT32_MAX));
#ifdef HAS_TSAN
	coroutine->inside_tsan = __tsan_create_fiber(0);
#endif
	return coroutine;
}

void coroutine_free(struct coroutine *coroutine) {
	if (coroutine == NULL)
		return;
#ifdef HAS_TSAN
	__tsan_destroy_fiber(coroutine->inside_tsan);
#endif
	(void)munmap(coroutine->memory, GUARD_SIZE + STACK_SIZE);
	free(coroutine);
}

void coroutine_resume(struct coroutine *coroutine) {
	before_going_in(coroutine);
	(void)swapcontext(&coroutine->outside, &coroutine->inside);
	after_coming_out(coroutine);
}

void coroutine_yield(struct coroutine *coroutine) {
	before_going_out(coroutine);
	(void)swapcontext(&coroutine->inside, &coroutine->outside);
	after_coming_in(coroutine);
}

bool coroutine_has_ended(const struct coroutine *coroutine) {
	return coroutine->has_ended;
}
