/* SPDX-License-Identifier: BSD-3-Clause */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "suite.h"

enum { UNPRIVILEGED_UID = 65534, RUN_SECONDS = 100 };

/* Between fork and exec: no way to report but the exit status, and 127 is what a shell says. */
static void become(const struct command *command, pid_t parent) {
	int in = command->in < 0 ? open("/dev/null", O_RDONLY | O_CLOEXEC) : command->in;
	int out = command->out < 0 ? open("/dev/null", O_WRONLY | O_CLOEXEC) : command->out;
	int err = command->err < 0 ? open("/dev/null", O_WRONLY | O_CLOEXEC) : command->err;

	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0) {
		_exit(127);
	}
	if (command->is_unprivileged && geteuid() == 0 &&
	    (setgroups(0, NULL) != 0 || setgid(UNPRIVILEGED_UID) != 0 ||
	     setuid(UNPRIVILEGED_UID) != 0)) {
		_exit(127);
	}
	/* After setuid(), which clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
		_exit(127);
	}
	(void)execvp(command->argv[0], (char *const *)command->argv);
	_exit(127);
}

void process_start(struct process *process, const struct command *command) {
	pid_t parent = getpid();
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		become(command, parent);
	}
	process->pid = pid;
}

int process_wait(struct process *process, unsigned seconds) {
	uint64_t deadline = suite_now_ms() + (uint64_t)seconds * 1000;
	int status;
	pid_t ended;

	while ((ended = waitpid(process->pid, &status, WNOHANG)) == 0 &&
	       suite_now_ms() < deadline) {
		suite_pause_ms(2);
	}
	if (ended == 0) {
		(void)kill(process->pid, SIGKILL);
		ck_abort_msg("process %d did not end within %u s", (int)process->pid, seconds);
	}
	ck_assert_int_eq(ended, process->pid);
	process->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool process_is_alive(const struct process *process) {
	siginfo_t info = {0};

	if (process->pid == 0 ||
	    waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0) {
		return false;
	}
	return info.si_pid == 0;
}

void process_signal(const struct process *process, int signal) {
	ck_assert_int_gt(process->pid, 0);
	ck_assert_int_eq(kill(process->pid, signal), 0);
}

char *process_read_file(const char *path) {
	FILE *file = fopen(path, "re");
	char *text = calloc(1, 1);
	size_t size = 0;

	ck_assert_ptr_nonnull(text);
	if (file == NULL) {
		return text;
	}
	for (;;) {
		text = realloc(text, size + 4096 + 1);
		ck_assert_ptr_nonnull(text);
		size_t got = fread(text + size, 1, 4096, file);
		size += got;
		text[size] = '\0';
		if (got == 0) {
			break;
		}
	}
	ck_assert_int_eq(fclose(file), 0);
	return text;
}

void process_describe(const struct process *process) {
	static const char *const files[] = {"comm", "wchan", "syscall", "stack", "stat", "io"};
	char path[300];
	(void)snprintf(path, sizeof path, "/proc/%d/task", (int)process->pid);
	DIR *tasks = opendir(path);
	const struct dirent *task;

	while (tasks != NULL && (task = readdir(tasks)) != NULL) {
		for (size_t i = 0; task->d_name[0] != '.' && i < sizeof files / sizeof files[0];
		     i++) {
			(void)snprintf(path, sizeof path, "/proc/%d/task/%.20s/%s",
				       (int)process->pid, task->d_name, files[i]);
			char *text = process_read_file(path);
			(void)fprintf(stderr, "thread %s: %s: %s\n", task->d_name, files[i], text);
			free(text);
		}
	}
	if (tasks != NULL)
		(void)closedir(tasks);
	char *load = process_read_file("/proc/loadavg");
	(void)fprintf(stderr, "load: %s", load);
	free(load);
}

static struct run run_as(const char *const argv[], bool is_unprivileged) {
	char dir[64];
	char out_path[80];
	char err_path[80];

	suite_directory(dir);
	(void)snprintf(out_path, sizeof out_path, "%s/out", dir);
	(void)snprintf(err_path, sizeof err_path, "%s/err", dir);
	int out = open(out_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int err = open(err_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(out, 0);
	ck_assert_int_ge(err, 0);

	struct command command = {
	    .argv = argv, .in = -1, .out = out, .err = err, .is_unprivileged = is_unprivileged};
	struct process process;
	process_start(&process, &command);
	struct run run = {.status = process_wait(&process, RUN_SECONDS)};
	ck_assert_int_eq(close(out), 0);
	ck_assert_int_eq(close(err), 0);
	run.out = process_read_file(out_path);
	run.err = process_read_file(err_path);
	return run;
}

struct run run_program(const char *const argv[]) {
	return run_as(argv, false);
}

struct run run_program_unprivileged(const char *const argv[]) {
	return run_as(argv, true);
}

void run_free(struct run *run) {
	free(run->out);
	free(run->err);
	*run = (struct run){0};
}
