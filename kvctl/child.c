/* SPDX-License-Identifier: BSD-3-Clause */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "errors.h"
#include "kvctl.h"
#include "process_tree.h"

enum { KILL_PAUSE_MS = 10 };

struct child {
	pid_t pid;
	bool has_ended;
	int status;   /* once it has */
	bool is_told; /* SIGTERM was sent */
	struct process_tree tree;
};

/* The child: gets the signal mask that kvctl was started with. Returns only if it cannot run. */
static void become(char *const argv[], const struct signals *signals, pid_t kvctl) {
	/* kvctl may have died before the kernel was asked. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 && getppid() != kvctl)
		_exit(CODE_FAILED);
	(void)sigprocmask(SIG_SETMASK, &signals->before, NULL);
	(void)execvp(argv[0], argv);
}

/* 0 or an error number. */
static int spawn(char *const argv[], const struct signals *signals, pid_t *child) {
	int failed[2]; /* the child writes why it cannot run; exec closes it */
	int error = 0;
	pid_t kvctl = getpid();

	if (pipe2(failed, O_CLOEXEC) != 0)
		return errno;
	*child = fork();
	if (*child == 0) {
		become(argv, signals, kvctl);
		error = errno;
		(void)!write(failed[1], &error, sizeof(error));
		_exit(CODE_FAILED);
	}
	if (*child < 0)
		error = errno;
	(void)close(failed[1]);
	while (*child > 0 && read(failed[0], &error, sizeof(error)) < 0 && errno == EINTR)
		;
	(void)close(failed[0]);
	if (*child > 0 && error != 0)
		(void)waitpid(*child, NULL, 0);
	return error;
}

static int exit_code(int status) {
	return WIFSIGNALED(status) ? CODE_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

/* One that left for a group of its own gets none of what the terminal sends to ours. */
static bool is_in_our_group(pid_t child) {
	return getpgid(child) == getpgrp();
}

/* Takes in which children have ended: COMMAND, or others that came to kvctl when theirs ended. */
static void reap(struct child *child) {
	int status = 0;
	pid_t ended;

	while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
		if (ended != child->pid)
			continue;
		child->has_ended = true;
		child->status = status;
	}
}

/* To COMMAND and its descendants. Returns how many are left. */
static unsigned signal_all(const struct child *child, int number) {
	unsigned count = process_tree_signal(&child->tree, number);
	/* Without /proc it is COMMAND alone. */
	if (count == 0 && !child->has_ended)
		count = kill(child->pid, number) == 0;
	return count;
}

/* Ends all for a lease that comes to its end. Returns how many are left. */
static unsigned end_all(struct child *child, enum lease_state state) {
	if (state == LEASE_OVER)
		return signal_all(child, SIGKILL);
	if (child->is_told)
		return signal_all(child, 0);
	child->is_told = true;
	unsigned count = signal_all(child, SIGTERM);
	(void)signal_all(child, SIGCONT); /* one that is stopped gets it, too */
	return count;
}

static int report_absent(const char *command, const char *program, int error) {
	bool may_be_builtin = error == ENOENT && strchr(program, '/') == NULL;
	return error_report(error == ENOENT ? CODE_NOT_FOUND : CODE_CANNOT_RUN, command,
			    "cannot run %s: %s%s", program, strerror(error),
			    may_be_builtin ? " (if the shell has it: sh -c '...')" : "");
}

/* COMMAND runs. Returns its exit code once it, and for a lease that ended all of its tree, is gone.
 */
static int await(struct child *child, const struct signals *signals, struct lease *lease) {
	for (;;) {
		enum lease_state state = lease != NULL ? lease_look(lease) : LEASE_HELD;
		reap(child);
		unsigned left = state != LEASE_HELD ? end_all(child, state) : 0;
		if (child->has_ended && left == 0)
			return exit_code(child->status);

		bool from_terminal = false;
		int number = signals_wait(
		    signals, state == LEASE_OVER && left > 0 ? KILL_PAUSE_MS : -1, &from_terminal);
		if (lease != NULL && lease_look(lease) == LEASE_OVER)
			continue;
		/* Not waited for yet, so the number is still the child's. */
		if (number != 0 && number != SIGCHLD && !child->has_ended &&
		    !(from_terminal && is_in_our_group(child->pid)))
			(void)kill(child->pid, number);
		signals_stop(number);
	}
}

int child_run(const char *command, char *const argv[], const struct signals *signals,
	      struct lease *lease) {
	struct child child = {.has_ended = false};
	if (lease != NULL && !process_tree_begin(&child.tree))
		return error_report(CODE_FAILED, command, "no memory");
	int error = spawn(argv, signals, &child.pid);
	int code =
	    error != 0 ? report_absent(command, argv[0], error) : await(&child, signals, lease);
	process_tree_free(&child.tree);
	return code;
}
