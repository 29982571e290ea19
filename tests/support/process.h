/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROCESS_H
#define PROCESS_H

/*
 * process.h - a program started by a test: its descriptors, its end, what it printed.
 *
 * It is killed when the thread that started it ends, so that a dead test leaves none behind. What
 * goes wrong here fails the test.
 */

#include <stdbool.h>
#include <sys/types.h>

struct process {
	pid_t pid; /* 0: none, or it has been waited for */
};

/* How to start a program. */
struct command {
	const char *const *argv; /* with a final NULL; looked up in $PATH */
	int in, out, err;	 /* borrowed descriptors; -1: /dev/null */
	bool is_unprivileged;	 /* as an ordinary user, if the test runs as root */
};

void process_start(struct process *process, const struct command *command);

/*
 * Waits for the end: the exit status, or 128 + the signal that ended it. Fails the test, and kills
 * the process, if it takes longer than `seconds`.
 */
int process_wait(struct process *process, unsigned seconds);

/* Whether it still runs. Does not wait for it. */
bool process_is_alive(const struct process *process);

/* Prints where each of its threads is, in the kernel too: for one that does not do what it should.
 */
void process_describe(const struct process *process);

/* Sends a signal. */
void process_signal(const struct process *process, int signal);

/* A program that ran to its end, with what it printed as strings. */
struct run {
	int status; /* as process_wait() */
	char *out;
	char *err;
};

/* Runs a program with /dev/null as its input. run_free() frees what it printed. */
struct run run_program(const char *const argv[]);
struct run run_program_unprivileged(const char *const argv[]);
void run_free(struct run *run);

/* The whole file as a string, to be freed; empty if there is none. */
char *process_read_file(const char *path);

#endif
