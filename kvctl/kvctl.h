/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KVCTL_H
#define KVCTL_H

/* kvctl.h - What the commands of kvctl share: the global options, the exit codes, the handle. */

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

	/* Of lock and elect; 124 to 128 as timeout(1) and the shells have them. */
	CODE_NOT_RELEASED = 121, /* the release was not confirmed */
	CODE_LOCK_LOST = 123,	 /* before the release */
	CODE_WAITED = 124,
	CODE_FAILED = 125,
	CODE_CANNOT_RUN = 126,
	CODE_NOT_FOUND = 127,
	CODE_SIGNAL = 128, /* and the signal's number */
};

struct shared_handle;

enum format { FORMAT_SIMPLE, FORMAT_JSON, FORMAT_PROMETHEUS /* status only */ };

/* The global options. */
struct settings {
	const char *server; /* NULL: the library chooses */
	unsigned timeout_ms;
	bool waits;	     /* -t was given: for a server that is not there, too */
	uint32_t program;    /* 0: the default */
	const char *history; /* NULL: none is written */
	const char *ticket;  /* of a write; NULL: none */
	const char *tls_ca, *tls_cert, *tls_key, *tls_name; /* NULL: as libkv has it */
	enum format format;
	bool is_quiet;
	bool is_verbose;
	bool input_has_commands;      /* standard input is none of the command's */
	struct shared_handle *shared; /* of the commands of a file; NULL: each has its own */
};

/* A handle that the commands of one process share, opened by the first of them. */
struct shared_handle {
	struct settings settings; /* of the process: its handle is for commands that keep them */
	struct kv_client *client; /* NULL: not opened yet */
};

struct command {
	const char *name;
	const char *operands; /* for the usage line */
	const char *summary;  /* one line for kvctl --help */
	const char *details;  /* the rest of kvctl NAME --help */

	/*
	 * Runs the command: argv[0] is its name, and global options may stand among its own.
	 * Returns the exit code; every failure has been reported.
	 */
	int (*run)(struct settings *settings, int argc, char **argv);

	bool takes_process; /* its process cannot run another command afterwards */
};

extern const struct command get_command;
extern const struct command mget_command;
extern const struct command put_command;
extern const struct command append_command;
extern const struct command del_command;
extern const struct command ls_command;
extern const struct command touch_command;
extern const struct command txn_command;
extern const struct command watch_command;
extern const struct command dump_command;
extern const struct command load_command;
extern const struct command watch_command;
extern const struct command lock_command;
extern const struct command elect_command;
extern const struct command status_command;
extern const struct command snapshot_command;
extern const struct command backup_command;
extern const struct command whoami_command;
extern const struct command ping_command;
extern const struct command bench_command;

/* Prints what "kvctl NAME --help" shows and returns the exit code. */
int kvctl_help(const struct command *command);

/*
 * Opens a handle on the server chosen, with a time limit for each call (0 = forever), to be closed
 * with kvctl_close(). CODE_DONE, or an exit code after an error line.
 */
int kvctl_open(const struct settings *settings, const char *name, unsigned timeout_ms,
	       struct kv_client **client);

/* Closes the handle. With -v it first reports which server answered, if one did. */
void kvctl_close(const struct settings *settings, const char *name, struct kv_client *client,
		 bool has_answered);

#endif
