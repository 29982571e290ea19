/* SPDX-License-Identifier: BSD-3-Clause */
#include "freeze.h"

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"

static bool has_file(pid_t pid, const char *part) {
	const struct dirent *name;
	char folder[32];
	bool found = false;
	DIR *files;

	(void)snprintf(folder, sizeof folder, "/proc/%d/fd", (int)pid);
	files = opendir(folder);
	while (files != NULL && !found && (name = readdir(files)) != NULL) {
		char link[300];
		char path[512];
		ssize_t length;

		(void)snprintf(link, sizeof link, "%s/%s", folder, name->d_name);
		length = readlink(link, path, sizeof path - 1);
		if (length <= 0)
			continue;
		path[length] = '\0';
		found = strstr(path, part) != NULL;
	}
	if (files != NULL)
		(void)closedir(files);
	return found;
}

bool freeze_with_file(const struct process *process, const char *part) {
	while (process_is_alive(process)) {
		if (has_file(process->pid, part)) {
			process_signal(process, SIGSTOP);
			return true;
		}
	}
	return false;
}

/* The state letter of a process with this parent; 0: there is none. */
static char child_of(pid_t parent, pid_t *child) {
	DIR *processes = opendir("/proc");
	const struct dirent *name;
	char found = 0;

	ck_assert_ptr_nonnull(processes);
	while (found == 0 && (name = readdir(processes)) != NULL) {
		char path[300];
		char state = 0;
		int ppid = 0;

		if (!isdigit((unsigned char)name->d_name[0]))
			continue;
		(void)snprintf(path, sizeof path, "/proc/%s/stat", name->d_name);
		char *stat = process_read_file(path);
		/* The name is in brackets, and may be anything. */
		const char *end = strrchr(stat, ')');
		if (end != NULL && sscanf(end, ") %c %d", &state, &ppid) == 2 && ppid == parent) {
			found = state;
			*child = (pid_t)strtol(name->d_name, NULL, 10);
		}
		free(stat);
	}
	(void)closedir(processes);
	return found;
}

bool freeze_child(pid_t parent, const char *part, pid_t *child) {
	pid_t now = 0;
	char state;

	if (child_of(parent, child) == 0 || !has_file(*child, part) || kill(*child, SIGSTOP) != 0)
		return false;
	do {
		state = child_of(parent, &now);
		if (now != *child)
			return false;
	} while (state != 'T' && state != 'Z');
	return state == 'T';
}

void freeze_continue(pid_t pid) {
	ck_assert_int_eq(kill(pid, SIGCONT), 0);
}
