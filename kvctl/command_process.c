/* SPDX-License-Identifier: BSD-3-Clause */
#include "command_process.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errors.h"

/* The actions that INT and QUIT had before. */
struct actions {
	struct sigaction interrupt, quit;
};

static void ignore(struct actions *before) {
	struct sigaction action = {.sa_handler = SIG_IGN};

	(void)sigaction(SIGINT, &action, &before->interrupt);
	(void)sigaction(SIGQUIT, &action, &before->quit);
}

static void restore(const struct actions *before) {
	(void)sigaction(SIGINT, &before->interrupt, NULL);
	(void)sigaction(SIGQUIT, &before->quit, NULL);
}

/* As exec(3) does: what was ignored stays so, a handler of the shell is not the command's. */
static void reset(const struct actions *before) {
	if (before->interrupt.sa_handler != SIG_IGN)
		(void)signal(SIGINT, SIG_DFL);
	if (before->quit.sa_handler != SIG_IGN)
		(void)signal(SIGQUIT, SIG_DFL);
}

int command_process_run(const struct command *command, struct settings *settings, int argc,
			char **argv) {
	struct actions before;
	pid_t parent = getpid();
	int status = 0;

	ignore(&before);
	pid_t child = fork();
	if (child == 0) {
		reset(&before);
		if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) != 0 || getppid() != parent)
			_exit(CODE_REFUSED);
		_exit(command->run(settings, argc, argv));
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		continue;
	restore(&before);
	if (child < 0)
		return error_report(CODE_REFUSED, command->name, "cannot make a process: %s",
				    strerror(errno));
	return WIFSIGNALED(status) ? CODE_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}
