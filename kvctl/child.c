/* SPDX-License-Identifier: BSD-3-Clause */
#include "child.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errors.h"
#include "kvctl.h"

/* The child gets the signal mask that kvctl was started with. 0 or an error number. */
static int spawn(char *const argv[], const struct signals *signals, pid_t *child) {
	posix_spawnattr_t attributes;
	int error = posix_spawnattr_init(&attributes);
	if (error != 0)
		return error;
	error = posix_spawnattr_setsigmask(&attributes, &signals->before);
	if (error == 0)
		error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
	if (error == 0)
		error = posix_spawnp(child, argv[0], NULL, &attributes, argv, environ);
	(void)posix_spawnattr_destroy(&attributes);
	return error;
}

static int exit_code(int status) {
	return WIFSIGNALED(status) ? CODE_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

int child_run(const char *command, char *const argv[], const struct signals *signals) {
	pid_t child = 0;
	int error = spawn(argv, signals, &child);
	if (error != 0)
		return error_report(error == ENOENT ? CODE_NOT_FOUND : CODE_CANNOT_RUN, command,
				    "cannot run %s: %s", argv[0], strerror(error));

	for (;;) {
		int status = 0;
		pid_t ended = waitpid(child, &status, WNOHANG);
		if (ended == child)
			return exit_code(status);
		if (ended < 0)
			return error_report(CODE_FAILED, command, "cannot wait for %s: %s", argv[0],
					    strerror(errno));

		bool is_shared = false;
		int number = signals_wait(signals, -1, &is_shared);
		/* Not waited for yet, so the number is still the child's. */
		if (number != 0 && number != SIGCHLD && !is_shared)
			(void)kill(child, number);
	}
}
