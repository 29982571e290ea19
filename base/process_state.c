/* SPDX-License-Identifier: BSD-3-Clause */
#include "process_state.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 1 << 20 }; /* closed one by one */

static const char oom_file[] = "/proc/self/oom_score_adj";

void process_open_standard_descriptors(void) {
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd);
}

/* Where close_range() is missing or refused, as in some containers. */
static bool close_each(unsigned first, int kept) {
	struct rlimit limit;
	DIR *names = opendir("/proc/self/fd");
	const struct dirent *name;

	if (names != NULL) {
		while ((name = readdir(names)) != NULL) {
			/* "." and ".." are 0, which is below `first`. */
			int fd = (int)strtol(name->d_name, NULL, 10);

			if (fd >= (int)first && fd != kept && fd != dirfd(names))
				(void)close(fd);
		}
		return closedir(names) == 0;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return false;
	for (unsigned fd = first; fd < limit.rlim_cur && fd < DESCRIPTORS_MAX; fd++)
		if ((int)fd != kept)
			(void)close((int)fd);
	return true;
}

bool process_close_descriptors(int kept) {
	unsigned first = STDERR_FILENO + 1;

	if ((kept <= (int)first || close_range(first, (unsigned)kept - 1, 0) == 0) &&
	    close_range(kept >= (int)first ? (unsigned)kept + 1 : first, ~0U, 0) == 0)
		return true;
	return close_each(first, kept);
}

void process_reset_signals(void) {
	static const int timers[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
	static const struct itimerval stopped;
	const struct sigaction usual = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (unsigned i = 0; i < sizeof(timers) / sizeof(timers[0]); i++)
		(void)setitimer(timers[i], &stopped, NULL);
	/* SIGKILL, SIGSTOP and those of the C library refuse, and have no handler either. */
	for (int number = 1; number <= SIGRTMAX; number++)
		(void)sigaction(number, &usual, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void raise_limit(__rlimit_resource_t resource, unsigned long enough) {
	struct rlimit limit;

	if (getrlimit(resource, &limit) != 0 || limit.rlim_cur >= enough)
		return;
	limit.rlim_cur = limit.rlim_max < enough ? limit.rlim_max : enough;
	(void)setrlimit(resource, &limit);
}

void process_raise_open_files(unsigned long enough) {
	raise_limit(RLIMIT_NOFILE, enough);
}

void process_set_stack_size(unsigned long bytes) {
	pthread_attr_t attributes;

	if (pthread_attr_init(&attributes) == 0) {
		if (pthread_attr_setstacksize(&attributes, bytes) == 0)
			(void)pthread_setattr_default_np(&attributes);
		(void)pthread_attr_destroy(&attributes);
	}
	raise_limit(RLIMIT_STACK, bytes);
}

static int read_oom_score_adj(void) {
	FILE *file = fopen(oom_file, "re");
	char text[16];
	int value = 0;

	if (file == NULL)
		return 0;
	if (fgets(text, sizeof(text), file) != NULL)
		value = (int)strtol(text, NULL, 10);
	(void)fclose(file);
	return value;
}

bool process_reset_priority(int *niceness, int *oom_score_adj) {
	if (getpriority(PRIO_PROCESS, 0) > 0)
		(void)setpriority(PRIO_PROCESS, 0, 0);
	if (read_oom_score_adj() > 0) {
		int fd = open(oom_file, O_WRONLY | O_CLOEXEC);

		if (fd >= 0) {
			(void)!write(fd, "0", 1);
			(void)close(fd);
		}
	}
	*niceness = getpriority(PRIO_PROCESS, 0);
	*oom_score_adj = read_oom_score_adj();
	return *niceness <= 0 && *oom_score_adj <= 0;
}
