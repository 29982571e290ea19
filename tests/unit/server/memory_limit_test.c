/* SPDX-License-Identifier: BSD-3-Clause */
/* The memory that a process may use, read from files that stand for /proc/self and the cgroups. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory_limit.h"
#include "test.h"

static char root[] = "/tmp/kv-memory-XXXXXX";

static void setup(void) {
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void teardown(void) {
	char command[64];

	(void)snprintf(command, sizeof(command), "rm -rf %s", root);
	ck_assert_int_eq(system(command), 0);
}

/* Writes a file below the root, and the folders on the way. `%` in the text stands for the root. */
static void put(const char *name, const char *text) {
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		(void)mkdir(path, 0755);
		*at = '/';
	}
	FILE *file = fopen(path, "we");
	ck_assert_ptr_nonnull(file);
	for (; *text != '\0'; text++)
		(void)(*text == '%' ? fputs(root, file) : fputc(*text, file));
	ck_assert_int_eq(fclose(file), 0);
}

static struct memory_limit get(void) {
	struct memory_limit limit;

	memory_limit_get(&limit, root);
	return limit;
}

CASE(limits, .setup = setup, .teardown = teardown);

TEST(without_cgroups_the_machines_memory_is_the_limit) {
	struct memory_limit limit = get();

	ck_assert_uint_eq(limit.bytes,
			  (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
	ck_assert_str_eq(limit.source, "the machine");
}

TEST(a_cgroup_of_version_2_limits_it) {
	put("cgroup", "0::/a/b\n");
	put("mountinfo", "22 1 0:5 / /proc rw - proc proc rw\n"
			 "30 22 0:26 / %/fs rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
	put("fs/a/b/memory.max", "300000000\n");
	put("fs/a/memory.max", "max\n");
	struct memory_limit limit = get();
	ck_assert_uint_eq(limit.bytes, 300000000);
	ck_assert_ptr_nonnull(strstr(limit.source, "/fs/a/b/memory.max"));
}

TEST(the_smallest_of_the_ancestors_limits_counts) {
	put("cgroup", "0::/a/b/c\n");
	put("mountinfo", "30 22 0:26 / %/fs rw - cgroup2 cgroup2 rw\n");
	put("fs/a/b/c/memory.max", "300000000\n");
	put("fs/a/b/memory.max", "max\n");
	put("fs/a/memory.max", "200000000\n");
	put("fs/memory.max", "400000000\n");
	ck_assert_uint_eq(get().bytes, 200000000);
	put("fs/memory.max", "100000000\n");
	ck_assert_uint_eq(get().bytes, 100000000);
}

TEST(a_limit_above_which_the_kernel_throttles_counts_too) {
	put("cgroup", "0::/a\n");
	put("mountinfo", "30 22 0:26 / %/fs rw - cgroup2 cgroup2 rw\n");
	put("fs/a/memory.max", "300000000\n");
	put("fs/a/memory.high", "250000000\n");
	ck_assert_uint_eq(get().bytes, 250000000);
}

TEST(a_cgroup_of_version_1_limits_it) {
	put("cgroup", "5:cpu,cpuacct:/\n4:hugetlb,memory:/job/1\n0::/\n");
	put("mountinfo", "31 22 0:27 / %/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
			 "32 22 0:28 / %/mem rw - cgroup cgroup rw,memory,hugetlb\n"
			 "33 22 0:29 / %/uni rw - cgroup2 cgroup2 rw\n");
	put("cpu/job/1/memory.limit_in_bytes", "1\n");
	put("mem/job/1/memory.limit_in_bytes", "9223372036854771712\n");
	put("mem/job/memory.limit_in_bytes", "300000000\n");
	ck_assert_uint_eq(get().bytes, 300000000);
}

TEST(in_a_container_the_path_is_that_of_the_host) {
	put("cgroup", "4:memory:/docker/abc/kv\n");
	put("mountinfo", "32 22 0:28 /docker/abc %/mem rw - cgroup cgroup rw,memory\n");
	put("mem/memory.limit_in_bytes", "300000000\n");
	put("mem/kv/memory.limit_in_bytes", "200000000\n");
	ck_assert_uint_eq(get().bytes, 200000000);
	/* Or a path outside of what is mounted. */
	put("cgroup", "4:memory:/../other\n");
	ck_assert_uint_eq(get().bytes, 300000000);
}

TEST(files_that_say_nothing_limit_nothing) {
	static const char *const texts[] = {"", "\n", "max", "-1\n", "x\n"};

	put("mountinfo", "30 22 0:26 / %/fs rw - cgroup2 cgroup2 rw\nshort\n - cgroup2\n");
	put("cgroup", "0:\n:\nnothing\n0::/a\n");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put("fs/a/memory.max", texts[i]);
		ck_assert_str_eq(get().source, "the machine");
	}
}

TEST(a_resource_limit_limits_it) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	(void)puts("skip: a resource limit: a sanitizer needs more");
	return;
#endif
	struct rlimit limit = {.rlim_cur = (rlim_t)1 << 30, .rlim_max = RLIM_INFINITY};

	ck_assert_int_eq(setrlimit(RLIMIT_DATA, &limit), 0);
	ck_assert_uint_eq(get().bytes, (uint64_t)1 << 30);
	ck_assert_str_eq(get().source, "ulimit -d");
}
