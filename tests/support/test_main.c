/* SPDX-License-Identifier: BSD-3-Clause */
#include "test.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CASES_MAX = 16, TREE_FILES = 16, BASE_MAX = 30, MARK_NS = 20 * 1000 * 1000 };

const char *test_name = "";
static struct test_entry *entries;
static void (*before_all)(void);

void test_mark(const char *file, int line) {
	static _Atomic uint64_t next_ns;
	struct timespec now = {0};

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	uint64_t now_ns = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
	if (now_ns < next_ns)
		return;
	next_ns = now_ns + MARK_NS;
	(_mark_point)(file, line);
}

void test_register(struct test_entry *entry) {
	struct test_entry **at = &entries;

	/* By lines, because constructors run in an order of the compiler's choice. */
	while (*at != NULL && (*at)->test.line < entry->test.line)
		at = &(*at)->next;
	entry->next = *at;
	*at = entry;
}

void test_register_before(void (*before)(void)) {
	before_all = before;
}

uint64_t test_number(const char *variable, uint64_t otherwise) {
	const char *text = getenv(variable);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

uint64_t test_seed(void) {
	uint64_t seed = test_number("SEED", (uint64_t)time(NULL));

	(void)printf("SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

static TCase *case_new(Suite *suite, const struct test_case *settings) {
	TCase *tests = tcase_create(settings->name);

	if (settings->setup != NULL || settings->teardown != NULL)
		tcase_add_checked_fixture(tests, settings->setup, settings->teardown);
	if (settings->seconds > 0)
		tcase_set_timeout(tests, settings->seconds);
	suite_add_tcase(suite, tests);
	return tests;
}

/* The case of these settings, or that which has their name already. */
static TCase *case_enter(Suite *suite, const struct test_case *settings) {
	static struct {
		const char *name;
		TCase *tests;
	} cases[CASES_MAX];
	size_t i = 0;

	while (cases[i].name != NULL && strcmp(cases[i].name, settings->name) != 0)
		i++;
	if (cases[i].name == NULL) {
		if (i == CASES_MAX - 1) {
			(void)fprintf(stderr, "more than %d cases (CASES_MAX)\n", CASES_MAX - 1);
			exit(EXIT_FAILURE);
		}
		cases[i].name = settings->name;
		cases[i].tests = case_new(suite, settings);
	}
	return cases[i].tests;
}

static Suite *make_suite(const char *name) {
	Suite *suite = suite_create(name);
	TCase *tests = NULL;

	for (struct test_entry *entry = entries; entry != NULL; entry = entry->next) {
		if (entry->test.fn == NULL) {
			tests = case_enter(suite, &entry->settings);
			continue;
		}
		if (tests == NULL)
			tests = case_enter(suite, &(struct test_case){.name = name});
		tcase_add_loop_test(tests, &entry->test, entry->from, entry->to);
	}
	return suite;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *where) {
	(void)stat;
	(void)type;
	(void)where;
	/* One that is left behind is seen in the directory above it. */
	(void)remove(path);
	return 0;
}

/*
 * $TMPDIR names a fresh directory while the tests run, and is removed after them, whatever became
 * of them.
 */
int main(int argc, char **argv) {
	const char *base = getenv("TMPDIR");
	char dir[64];

	/* The path of a local socket must fit in sockaddr_un below it. */
	(void)snprintf(dir, sizeof dir, "%s/kv-test-XXXXXX",
		       base != NULL && strlen(base) <= BASE_MAX ? base : "/tmp");
	/* A test is a fork of this process: what stdio still held would be printed twice. */
	if (setvbuf(stdout, NULL, _IONBF, 0) != 0 || mkdtemp(dir) == NULL ||
	    chmod(dir, 0755) != 0 || setenv("TMPDIR", dir, 1) != 0 ||
	    (argc > 1 && setenv("SEED", argv[1], 1) != 0) ||
	    setenv("CK_DEFAULT_TIMEOUT", TEST_SECONDS, 0) != 0) {
		perror(dir);
		return EXIT_FAILURE;
	}
	if (before_all != NULL)
		before_all();

	SRunner *runner = srunner_create(make_suite(program_invocation_short_name));
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);

	if (nftw(dir, remove_one, TREE_FILES, FTW_DEPTH | FTW_PHYS) != 0) {
		perror(dir);
		return EXIT_FAILURE;
	}
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
