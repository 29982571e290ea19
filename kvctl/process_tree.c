/* SPDX-License-Identifier: BSD-3-Clause */
#include "process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { STAT_SIZE = 1024, PROCESSES_FIRST = 256 };

struct process {
	pid_t pid;
	pid_t parent;
	bool is_alive;
};

struct processes {
	struct process *at;
	size_t count;
	size_t room;
};

void process_tree_adopt(void) {
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* Returns false if the process is gone. */
static bool read_process(pid_t pid, struct process *process) {
	char path[64];
	char text[STAT_SIZE];
	char state = 0;
	int parent = 0;
	int threads = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return false;
	ssize_t size = read(file, text, sizeof(text) - 1);
	(void)close(file);
	text[size > 0 ? size : 0] = '\0';
	/* The name before may hold anything, a ")" too. */
	const char *rest = strrchr(text, ')');
	if (rest == NULL || sscanf(rest,
				   ") %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d "
				   "%*d %*d %d",
				   &state, &parent, &threads) != 3)
		return false;
	/* The first thread of a process that lives on in others is a zombie, too. */
	*process = (struct process){.pid = pid,
				    .parent = parent,
				    .is_alive = (state != 'Z' && state != 'X') || threads > 1};
	return true;
}

/* False: no memory. */
static bool add(struct processes *processes, const struct process *process) {
	if (processes->count == processes->room) {
		size_t room = processes->room > 0 ? 2 * processes->room : PROCESSES_FIRST;
		struct process *grown = realloc(processes->at, room * sizeof(*grown));
		if (grown == NULL)
			return false;
		processes->at = grown;
		processes->room = room;
	}
	processes->at[processes->count++] = *process;
	return true;
}

static int compare(const void *a, const void *b) {
	pid_t left = ((const struct process *)a)->pid;
	pid_t right = ((const struct process *)b)->pid;
	return (left > right) - (left < right);
}

/* Its numbers mean nothing here if it is that of another PID namespace. */
static bool proc_is_ours(void) {
	char self[32];
	ssize_t size = readlink("/proc/self", self, sizeof(self) - 1);

	self[size > 0 ? size : 0] = '\0';
	return strtol(self, NULL, 10) == getpid();
}

static void list(struct processes *processes) {
	DIR *directory = proc_is_ours() ? opendir("/proc") : NULL;
	const struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		struct process process;
		char *end = NULL;
		long pid = strtol(entry->d_name, &end, 10);
		if (pid > 0 && *end == '\0' && read_process((pid_t)pid, &process) &&
		    !add(processes, &process))
			break;
	}
	if (directory != NULL)
		(void)closedir(directory);
	if (processes->count > 0)
		qsort(processes->at, processes->count, sizeof(*processes->at), compare);
}

/* The list is of several moments, so a chain of parents may lead anywhere, but not for ever. */
static bool descends_from(const struct processes *processes, const struct process *process,
			  pid_t ancestor) {
	for (size_t i = 0; process != NULL && i < processes->count; i++) {
		if (process->parent == ancestor)
			return true;
		struct process parent = {.pid = process->parent};
		process =
		    bsearch(&parent, processes->at, processes->count, sizeof(parent), compare);
	}
	return false;
}

unsigned process_tree_signal(int number) {
	struct processes processes = {.at = NULL};
	pid_t self = getpid();
	unsigned count = 0;

	list(&processes);
	for (size_t i = 0; i < processes.count; i++) {
		const struct process *process = &processes.at[i];
		if (process->is_alive && descends_from(&processes, process, self))
			count += kill(process->pid, number) == 0;
	}
	free(processes.at);
	return count;
}
