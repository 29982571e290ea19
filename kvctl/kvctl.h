/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KVCTL_H
#define KVCTL_H

/* kvctl.h - what the subcommands of kvctl share: the global options, the exit codes, the table. */

#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

/* Promised to scripts; kvctl(1) lists them. */
enum code {
	CODE_DONE = 0,
	CODE_REFUSED = 1, /* any refusal that has no code of its own */
	CODE_USAGE = 2,
	CODE_NOKEY = 3,
	CODE_VERSION = 4,
	CODE_MAYBE = 5,
	CODE_UNREACHED = 6,
	CODE_DENIED = 7,
	CODE_LIMIT = 8,

	/* "lock NAME -- COMMAND", as timeout(1) and the shells have them. */
	CODE_WAITED = 124,
	CODE_FAILED = 125,
	CODE_CANNOT_RUN = 126,
	CODE_NOT_FOUND = 127,
	CODE_SIGNAL = 128, /* and the signal's number */
};

enum format { FORMAT_SIMPLE, FORMAT_JSON };

/* The options that stand before the subcommand. */
struct settings {
	const char *server; /* NULL: the library chooses */
	unsigned timeout_ms;
	uint32_t program;    /* 0: the default */
	const char *history; /* NULL: none is wanted */
	enum format format;
	bool is_quiet;
	bool is_verbose;
};

struct command {
	const char *name;
	const char *operands; /* for the usage line */
	const char *summary;  /* one line for kvctl --help */
	const char *details;  /* the rest of kvctl NAME --help */

	/* argv[0] is the subcommand's name. Answers the exit code; every failure has been told. */
	int (*run)(const struct settings *settings, int argc, char **argv);
};

extern const struct command values_get;
extern const struct command values_put;
extern const struct command values_append;
extern const struct command lock_command;
extern const struct command status_command;
extern const struct command snapshot_command;
extern const struct command ping_command;
extern const struct command bench_command;

/* Prints what "kvctl NAME --help" shows and answers the exit code. */
int kvctl_help(const struct command *command);

/*
 * Opens a handle on the server chosen, with a time limit for each call (0 = for ever), to be
 * closed with kvctl_close(). False after an error line.
 */
bool kvctl_open(const struct settings *settings, const char *name, unsigned timeout_ms,
		struct kv_client **client);

/* Closes the handle. With -v it first tells which server answered, if one did. */
void kvctl_close(const struct settings *settings, const char *name, struct kv_client *client,
		 bool has_answered);

/* Milliseconds since some fixed moment, as a fraction too; never goes back. */
double kvctl_now_ms(void);

#endif
