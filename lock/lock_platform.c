/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_platform.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { NS_IN_MS = 1000 * 1000, MS_IN_S = 1000 };
enum { HOST_SIZE = 128, USER_SIZE = 64, PROGRAM_MAX = 128, TIME_SIZE = 32, ENTRY_SIZE = 1024 };

static uint64_t time_ms(clockid_t clock) {
	struct timespec now = {0};

	/* The clocks are there on every Linux; the call has no other way to fail. */
	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * MS_IN_S + (uint64_t)now.tv_nsec / NS_IN_MS;
}

uint64_t lock_platform_now_ms(void) {
	return time_ms(CLOCK_MONOTONIC);
}

uint64_t lock_platform_boot_ms(void) {
	return time_ms(CLOCK_BOOTTIME);
}

uint64_t lock_platform_calendar_ms(void) {
	return time_ms(CLOCK_REALTIME);
}

void lock_platform_sleep_ms(uint64_t pause_ms) {
	uint64_t until_ms = lock_platform_now_ms() + pause_ms;
	struct timespec until = {.tv_sec = (time_t)(until_ms / MS_IN_S),
				 .tv_nsec = (long)(until_ms % MS_IN_S) * NS_IN_MS};

	/* To a moment, not for a while: a pause that a signal cuts goes on where it was. */
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		continue;
}

bool lock_platform_random(void *data, size_t size) {
	ssize_t got;

	/* Up to 256 bytes come whole (getrandom(2)); a signal can cut it at early boot only. */
	do
		got = getrandom(data, size, 0);
	while (got < 0 && errno == EINTR);
	return got == (ssize_t)size;
}

static void name_user(char *text, size_t size) {
	char entries[ENTRY_SIZE];
	struct passwd entry;
	struct passwd *user = NULL;

	(void)getpwuid_r(geteuid(), &entry, entries, sizeof(entries), &user);
	if (user != NULL)
		(void)snprintf(text, size, "%s", user->pw_name);
	else
		(void)snprintf(text, size, "%u", (unsigned)geteuid());
}

size_t lock_platform_describe(const char *program, char *text, size_t size) {
	char host[HOST_SIZE] = "?";
	char user[USER_SIZE];
	char start[TIME_SIZE] = "?";
	const time_t now = time(NULL);
	struct tm utc;
	int length;

	if (program == NULL)
		program = program_invocation_short_name;
	else if (strrchr(program, '/') != NULL)
		program = strrchr(program, '/') + 1;
	(void)gethostname(host, sizeof(host) - 1);
	name_user(user, sizeof(user));
	if (gmtime_r(&now, &utc) != NULL)
		(void)strftime(start, sizeof(start), "%Y-%m-%dT%H:%M:%SZ", &utc);
	length = snprintf(text, size, "%s pid %ld user %s program %.*s start %s", host,
			  (long)getpid(), user, PROGRAM_MAX, program, start);
	if (length < 0)
		return 0;
	if ((size_t)length >= size)
		length = (int)size - 1;
	for (int i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ')
			text[i] = '?';
	return (size_t)length;
}
