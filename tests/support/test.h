/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_H
#define TEST_H

/*
 * test.h - self-registering tests on top of libcheck. A test program is one source file of TESTs,
 * linked with test_main.c, which holds main():
 *
 *     CASE(sessions, .setup = start, .teardown = stop);
 *
 *     TEST(a_session_that_was_closed_is_unknown) {
 *             ck_assert(...);
 *     }
 *
 * Tests run in the order of their lines, each in a process of its own (unless CK_FORK=no). The
 * variables of libcheck hold: CK_RUN_CASE, CK_VERBOSITY, CK_FORK, CK_TIMEOUT_MULTIPLIER, ... An
 * argument of the program stands for SEED.
 */

#include <stdint.h>

#include <check.h>

#define TEST_SECONDS "120"

/* Settings of the tests that follow CASE(), up to the next one. */
struct test_case {
	const char *name;
	void (*setup)(void); /* before each test, in its process; may be NULL */
	void (*teardown)(void);
	int seconds; /* time limit of a test: 0 means CK_DEFAULT_TIMEOUT, or TEST_SECONDS */
};

/* A line of the program: a TEST, if it has a function, or a CASE. */
struct test_entry {
	TTest test;
	int from, to; /* values of `_i` */
	struct test_case settings;
	struct test_entry *next;
};

/*
 * libcheck writes the place of each assertion that holds to a file, to tell where a test crashed or
 * ran out of time. Here it does so every 20 ms at most: loops make millions of them.
 */
void test_mark(const char *file, int line);
#define _mark_point(file, line) test_mark((file), (line))

/* The running test, from its first line to the end of its tear-down. */
extern const char *test_name;

void test_register(struct test_entry *entry);
void test_register_before(void (*before)(void));

#define TEST_REGISTER(id, ...)                                                                     \
	static __attribute__((constructor)) void id(void) {                                        \
		static struct test_entry entry = {__VA_ARGS__};                                    \
		test_register(&entry);                                                             \
	}
#define TEST_JOIN(a, b) a##b
#define TEST_UNIQUE(prefix, line) TEST_JOIN(prefix, line)

/* A test that is run for each `_i` from `first` to `end` - 1. */
#define LOOP_TEST(title, first, end)                                                               \
	static void title(int _i);                                                                 \
	static void run_##title(int _i) {                                                          \
		test_name = #title;                                                                \
		title(_i);                                                                         \
	}                                                                                          \
	TEST_REGISTER(register_##title, .test = {#title, run_##title, __FILE__, __LINE__},         \
		      .from = (int)(first), .to = (int)(end))                                      \
	static void title(int _i __attribute__((unused)))

#define TEST(title) LOOP_TEST(title, 0, 1)

/*
 * Begins a case, or goes on with the one of that name: `CASE(name, .setup = f, .seconds = 300);`.
 * Tests before the first belong to one that has the name of the program.
 */
#define CASE(title, ...)                                                                           \
	TEST_REGISTER(TEST_UNIQUE(register_case_, __LINE__), .test = {.line = __LINE__},           \
		      .settings = {.name = #title, __VA_ARGS__})                                   \
	_Static_assert(1, "a semicolon follows")

/* Work before the first test, in the process that all tests are forked from. */
#define BEFORE_ALL                                                                                 \
	static void before_all(void);                                                              \
	static __attribute__((constructor)) void register_before_all(void) {                       \
		test_register_before(before_all);                                                  \
	}                                                                                          \
	static void before_all(void)

/* The number in an environment variable, or `otherwise`. */
uint64_t test_number(const char *variable, uint64_t otherwise);

/* $SEED, or a fresh one; it is printed, so that a failure can be repeated. */
uint64_t test_seed(void);

#endif
