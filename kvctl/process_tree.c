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
	unsigned long long start; /* since the machine's; with the number it is one process only */
	bool is_alive;
};

/* Returns false if the process is gone. */
static bool read_process(pid_t pid, struct process *process) {
	char path[64];
	char text[STAT_SIZE];
	char state = 0;
	int parent = 0;
	int threads = 0;
	unsigned long long start = 0;

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
				   "%*d %*d %d %*d %llu",
				   &state, &parent, &threads, &start) != 4)
		return false;
	/* The first thread of a process that lives on in others is a zombie, too. */
	*process = (struct process){.pid = pid,
				    .parent = parent,
				    .start = start,
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

/* False: no memory for all of them. */
static bool list(struct processes *processes) {
	DIR *directory = proc_is_ours() ? opendir("/proc") : NULL;
	const struct dirent *entry;
	bool is_whole = true;

	while (directory != NULL && is_whole && (entry = readdir(directory)) != NULL) {
		struct process process;
		char *end = NULL;
		long pid = strtol(entry->d_name, &end, 10);
		if (pid > 0 && *end == '\0' && read_process((pid_t)pid, &process))
			is_whole = add(processes, &process);
	}
	if (directory != NULL)
		(void)closedir(directory);
	if (processes->count > 0)
		qsort(processes->at, processes->count, sizeof(*processes->at), compare);
	return is_whole;
}

static const struct process *find(const struct processes *processes, pid_t pid) {
	const struct process sought = {.pid = pid};

	if (processes->count == 0)
		return NULL;
	return bsearch(&sought, processes->at, processes->count, sizeof(sought), compare);
}

static bool is_among(const struct processes *before, const struct process *process) {
	const struct process *found = find(before, process->pid);

	return found != NULL && found->start == process->start;
}

/*
 * Whether it descends from this process, and neither is nor descends from one of `before` (NULL:
 * there are none). The list is of several moments, so a chain of parents may lead anywhere, but not
 * for ever.
 */
static bool descends(const struct processes *processes, const struct process *process,
		     const struct processes *before) {
	const pid_t self = getpid();

	for (size_t i = 0; process != NULL && i < processes->count; i++) {
		if (before != NULL && is_among(before, process))
			return false;
		if (process->parent == self)
			return true;
		process = find(processes, process->parent);
	}
	return false;
}

bool process_tree_begin(struct process_tree *tree) {
	struct processes all = {.at = NULL};

	*tree = (struct process_tree){.before = {.at = NULL}};
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	bool is_whole = list(&all);
	for (size_t i = 0; i < all.count && is_whole; i++)
		if (descends(&all, &all.at[i], NULL))
			is_whole = add(&tree->before, &all.at[i]);
	free(all.at);
	if (!is_whole)
		process_tree_free(tree);
	return is_whole;
}

/* Without memory for all, those that were listed get it: a call that follows comes to the others.
 */
unsigned process_tree_signal(const struct process_tree *tree, int number) {
	struct processes all = {.at = NULL};
	unsigned count = 0;

	(void)list(&all);
	for (size_t i = 0; i < all.count; i++) {
		const struct process *process = &all.at[i];
		if (process->is_alive && descends(&all, process, &tree->before))
			count += kill(process->pid, number) == 0;
	}
	free(all.at);
	return count;
}

void process_tree_free(struct process_tree *tree) {
	free(tree->before.at);
	tree->before = (struct processes){.at = NULL};
}
