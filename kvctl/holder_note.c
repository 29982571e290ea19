/* SPDX-License-Identifier: BSD-3-Clause */
#include "holder_note.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HOST_SIZE = 128, USER_SIZE = 64, PROGRAM_MAX = 128, TIME_SIZE = 32 };

struct kv_bytes holder_note(const char *program, char text[HOLDER_NOTE_SIZE]) {
	char host[HOST_SIZE] = "?";
	char user[USER_SIZE];
	char since[TIME_SIZE] = "?";
	time_t now = time(NULL);
	struct tm parts;
	const struct passwd *entry = getpwuid(geteuid());
	const char *slash = strrchr(program, '/');

	(void)gethostname(host, sizeof(host) - 1);
	if (entry != NULL)
		(void)snprintf(user, sizeof(user), "%s", entry->pw_name);
	else
		(void)snprintf(user, sizeof(user), "%u", (unsigned)geteuid());
	if (gmtime_r(&now, &parts) != NULL)
		(void)strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &parts);
	(void)snprintf(text, HOLDER_NOTE_SIZE, "%s pid %ld user %s program %.*s start %s", host,
		       (long)getpid(), user, PROGRAM_MAX, slash != NULL ? slash + 1 : program,
		       since);
	return (struct kv_bytes){text, strlen(text)};
}
