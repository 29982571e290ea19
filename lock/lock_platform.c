/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_platform.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { NS_IN_MS = 1000 * 1000, MS_IN_S = 1000 };

static uint64_t time_ms(clockid_t clock) {
	struct timespec now = {0};

	/* Both clocks are there on every Linux; the call has no other way to fail. */
	(void)clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * MS_IN_S + (uint64_t)now.tv_nsec / NS_IN_MS;
}

uint64_t lock_platform_now_ms(void) {
	return time_ms(CLOCK_MONOTONIC);
}

uint64_t lock_platform_boot_ms(void) {
	return time_ms(CLOCK_BOOTTIME);
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

size_t lock_platform_describe(char *text, size_t size) {
	char host[64] = "", time_text[32] = "", entries[1024];
	const struct passwd *user = NULL;
	struct passwd entry;
	const time_t now = time(NULL);
	struct tm utc;
	int length;

	/* What is not known, and what does not fit, is left out. */
	(void)gethostname(host, sizeof(host) - 1);
	if (gmtime_r(&now, &utc) != NULL)
		(void)strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	(void)getpwuid_r(geteuid(), &entry, entries, sizeof(entries), (struct passwd **)&user);
	length =
	    snprintf(text, size, "%s pid %ld user %s program %s start %s", host, (long)getpid(),
		     user != NULL ? user->pw_name : "?", program_invocation_short_name, time_text);
	if (length < 0)
		return 0;
	if ((size_t)length >= size)
		length = (int)size - 1;
	for (int i = 0; i < length; i++)
		if ((unsigned char)text[i] < ' ')
			text[i] = '?';
	return (size_t)length;
}
