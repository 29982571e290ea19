/* SPDX-License-Identifier: BSD-3-Clause */
#include "suite.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif

#if defined(__SANITIZE_THREAD__) || HAS_FEATURE(thread_sanitizer)
/* Asked for by the sanitizer: libtirpc decodes padding, which is never read, into one static word.
 */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void) {
	return "race:libtirpc.so\n";
}
#endif

void suite_directory(char path[64]) {
	const char *base = getenv("TMPDIR");
	int length = snprintf(path, 64, "%s/XXXXXX", base != NULL ? base : "/tmp");

	ck_assert_int_lt(length, 64);
	ck_assert_msg(mkdtemp(path) != NULL, "no directory %s", path);
	ck_assert_int_eq(chmod(path, 0755), 0);
}

/* One write for each line, so that lines of programs run side by side do not mix. */
__attribute__((format(printf, 2, 0))) static void print_line(const char *label, const char *format,
							     va_list arguments) {
	char line[512];
	int start = snprintf(line, sizeof line, "%s: ", label);

	(void)vsnprintf(line + start, sizeof line - (size_t)start, format, arguments);
	(void)printf("%s\n", line);
}

void suite_figure(const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	print_line("figure", format, arguments);
	va_end(arguments);
}

void suite_skip(const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	print_line("skip", format, arguments);
	va_end(arguments);
}

bool suite_is_instrumented(void) {
	const char *wrapper = getenv("KVD_WRAPPER");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||                               \
    HAS_FEATURE(address_sanitizer) || HAS_FEATURE(thread_sanitizer)
	return true;
#endif
	return wrapper != NULL && wrapper[0] != '\0';
}

uint64_t suite_now_us(void) {
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t suite_now_ms(void) {
	return suite_now_us() / 1000;
}

void suite_pause_ms(unsigned ms) {
	struct timespec rest = {ms / 1000, (long)(ms % 1000) * 1000000};

	while (nanosleep(&rest, &rest) != 0) {
		/* Interrupted: sleep for the rest. */
	}
}

unsigned suite_raise_files(unsigned wanted) {
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < wanted) {
		limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	}
	return limit.rlim_cur > UINT32_MAX ? UINT32_MAX : (unsigned)limit.rlim_cur;
}
