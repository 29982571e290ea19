/* SPDX-License-Identifier: BSD-3-Clause */
/* kvctl.c - The shell tool: the table of commands, and the handle on the server. */
#include "kvctl.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "closest_word.h"
#include "errors.h"
#include "output.h"
#include "signals.h"
#include "timing.h"

enum { TIMEOUT_DEFAULT_MS = 10000, VERBOSE_TIMEOUT_MS = 1000, REASON_SIZE = 1280 };

static const struct command help_command;
static const struct command version_command;
static const struct command *const commands[] = {
    &get_command,    &put_command,   &append_command, &del_command,	 &ls_command,
    &touch_command,  &txn_command,   &watch_command,  &dump_command,	 &load_command,
    &lock_command,   &elect_command, &status_command, &snapshot_command, &backup_command,
    &whoami_command, &ping_command,  &bench_command,  &help_command,	 &version_command,
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const char usage_line[] = "usage: kvctl [OPTION]... COMMAND [ARGUMENT]...\n";

static const char options_text[] =
    "\n"
    "  -s, --server SERVER   local:/PATH, tcp:HOST[:PORT], HOST, udp:HOST[:PORT], or several\n"
    "                        with commas; default $KV_SERVER, else the kvd of this machine\n"
    "  -t, --timeout SECS    time for each call, retries included (10; 0: forever); waits for\n"
    "                        a server that is not there, too\n"
    "  -o, --output FORMAT   simple or json (one object a line)\n"
    "  -P, --program N       RPC program number, if kvd has another one; default $KV_PROGRAM\n"
    "      --history FILE    add each call on keys to FILE, for kvcheck\n"
    "  -q, --quiet           no notices, and no versions from put and append\n"
    "  -v, --verbose         say which server answered, and how fast\n"
    "  -h, --help            print this\n"
    "      --version         print kvctl's version\n"
    "\n"
    "They may stand before or after COMMAND; -- ends the options. kvctl COMMAND --help explains\n"
    "one command. Exit codes: 0 done, 1 refused, 2 usage, 3 no such key, 4 version mismatch,\n"
    "5 outcome unknown, 6 server not reached, 7 denied, 8 limit reached; lock and elect exit as\n"
    "their COMMAND did, or with 121 to 127 (kvctl lock --help).\n";

int kvctl_help(const struct command *command) {
	return output_text("usage: kvctl [OPTION]... %s %s\n\n%s", command->name, command->operands,
			   command->details);
}

static int print_help(void) {
	int code = output_text("%s\nCommands:\n", usage_line);
	for (size_t i = 0; code == CODE_DONE && i < COMMAND_COUNT; i++)
		code = output_text("  %-10s%s\n", commands[i]->name, commands[i]->summary);
	return code == CODE_DONE ? output_text("%s", options_text) : code;
}

/* $KV_SERVER counts if there is no -s. */
static int choose_server(const struct settings *settings, const char *name, const char **server) {
	*server = settings->server;
	if (*server != NULL)
		return CODE_DONE;
	const char *variable = getenv("KV_SERVER");
	if (variable == NULL || variable[0] == '\0')
		return CODE_DONE;
	const char *error = kv_address_error(variable);
	if (error != NULL)
		return error_usage(name, "$KV_SERVER \"%s\": %s", variable, error);
	*server = variable;
	return CODE_DONE;
}

int kvctl_open(const struct settings *settings, const char *name, unsigned timeout_ms,
	       struct kv_client **client) {
	struct kv_options options = {
	    .timeout_ms = timeout_ms,
	    .fail_fast = !settings->waits,
	    .program = settings->program,
	    .history = settings->history,
	    .ticket = settings->ticket,
	};
	if (settings->ticket != NULL && settings->history != NULL)
		return error_usage(name, "--ticket and --history exclude each other");
	int code = choose_server(settings, name, &options.server);
	if (code != CODE_DONE)
		return code;
	errno = 0;
	enum kv_status status = kv_open(&options, client);
	if (status == KV_OK)
		return CODE_DONE;
	if (settings->history != NULL && status == KV_INVALID && errno != 0)
		return error_report(CODE_REFUSED, name, "cannot open the history %s: %s",
				    settings->history, strerror(errno));
	return error_report(CODE_REFUSED, name, "%s", kv_status_text(status));
}

/* Asks the server for its name: the library has no cheaper way to report which address answered. */
static void report_server(const struct settings *settings, const char *name,
			  struct kv_client *client) {
	struct kv_client *view = NULL;
	if (kv_with_timeout(client, VERBOSE_TIMEOUT_MS, &view) != KV_OK)
		return;

	struct kv_stats stats;
	char reason[REASON_SIZE] = "";
	double start_ms = timing_now_ms();
	if (kv_stats(view, &stats) == KV_OK) {
		notice(settings, name, "server %s (%s), round trip %.3f ms", stats.server,
		       stats.software, timing_now_ms() - start_ms);
		kv_stats_free(&stats);
	}
	kv_last_error(view, reason, sizeof(reason));
	if (reason[0] != '\0')
		notice(settings, name, "last failed attempt: %s", reason);
	kv_close(view);
}

void kvctl_close(const struct settings *settings, const char *name, struct kv_client *client,
		 bool has_answered) {
	if (settings->is_verbose && has_answered)
		report_server(settings, name, client);
	if (has_answered && kv_history_error(client) != 0)
		notice(settings, name, "the history %s is incomplete: %s", settings->history,
		       strerror(kv_history_error(client)));
	kv_close(client);
}

/* --- Choosing a command ---------------------------------------------------------------------- */

static const struct command *find_command(const char *name) {
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

static int report_unknown(const char *name) {
	const char *names[COMMAND_COUNT];
	char list[256] = "";
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		size_t size = strlen(list);
		names[i] = commands[i]->name;
		(void)snprintf(list + size, sizeof(list) - size, "%s%s", i > 0 ? ", " : "",
			       commands[i]->name);
	}
	const char *nearest = closest_word(name, names, COMMAND_COUNT);
	return error_usage(NULL, "unknown command \"%s\"%s%s%s; commands: %s", name,
			   nearest != NULL ? ", did you mean \"" : "",
			   nearest != NULL ? nearest : "", nearest != NULL ? "\"?" : "", list);
}

static int run_help(struct settings *settings, int argc, char **argv) {
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	optind = 0;
	int option = args_option(settings, argv[0], argc, argv, ":", none);
	if (option != -1)
		return option == 'h' ? kvctl_help(&help_command) : CODE_USAGE;
	if (optind == argc)
		return print_help();
	const struct command *command = find_command(argv[optind]);
	return command != NULL ? kvctl_help(command) : report_unknown(argv[optind]);
}

static int run_version(struct settings *settings, int argc, char **argv) {
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	optind = 0;
	int option = args_option(settings, argv[0], argc, argv, ":", none);
	if (option != -1)
		return option == 'h' ? kvctl_help(&version_command) : CODE_USAGE;
	if (!args_operands(argv[0], argc, argv, 0, ""))
		return CODE_USAGE;
	return output_text("kvctl %s\n", KV_RELEASE);
}

static const struct command help_command = {
    .name = "help",
    .operands = "[COMMAND]",
    .summary = "print the list of commands, or explain one",
    .details = "As kvctl --help, or kvctl COMMAND --help.\n",
    .run = run_help,
};

static const struct command version_command = {
    .name = "version",
    .operands = "",
    .summary = "print kvctl's version",
    .details = "As kvctl --version. The server's is in kvctl status.\n",
    .run = run_version,
};

/* True: optind is where the command should be. False: it is over, with *code. */
static bool read_settings(struct settings *settings, int argc, char **argv, int *code) {
	static const struct option options[] = {
	    {"version", no_argument, NULL, ARGS_VERSION},
	    {NULL, 0, NULL, 0},
	};
	int option = args_option(settings, NULL, argc, argv, "+:", options);

	*code = CODE_USAGE;
	if (option == 'h')
		*code = print_help();
	else if (option == ARGS_VERSION)
		*code = output_text("kvctl %s\n", KV_RELEASE);
	return option == -1;
}

/*
 * A descriptor from 0 to 2 that the caller closed would be given to the first socket, and output
 * written to the server. Opened in the wrong direction, so that using it is still an error.
 */
static void occupy_standard_descriptors(void) {
	for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
		if (fcntl(descriptor, F_GETFD) < 0)
			(void)open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
	}
}

int main(int argc, char **argv) {
	struct settings settings = {.timeout_ms = TIMEOUT_DEFAULT_MS};
	int code = CODE_DONE;

	occupy_standard_descriptors();
	signals_write_errors();
	(void)setlocale(LC_CTYPE, ""); /* which characters of a key can be printed */
	if (!args_environment(&settings))
		return CODE_USAGE;
	if (!read_settings(&settings, argc, argv, &code))
		return code;
	if (optind >= argc)
		return error_usage(NULL, "a command is missing");

	int first = optind;
	const struct command *command = find_command(argv[first]);
	if (command == NULL)
		return report_unknown(argv[first]);
	return command->run(&settings, argc - first, argv + first);
}
