/* SPDX-License-Identifier: BSD-3-Clause */
/* kvctl.c - the shell tool: the global options and the table of subcommands. */
#include "kvctl.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "errors.h"
#include "output.h"

enum {
	TIMEOUT_DEFAULT_MS = 10000,
	VERBOSE_TIMEOUT_MS = 1000,
	OPTION_VERSION = 256, /* above all letters */
	OPTION_HISTORY,
};

static const struct command *const commands[] = {
    &values_get,     &values_put,	&values_append, &lock_command,
    &status_command, &snapshot_command, &ping_command,	&bench_command,
};
enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static const char usage_line[] =
    "usage: kvctl [-s SERVER] [-t SECS] [-o simple|json] [-q] [-v] COMMAND ...\n";

static const char options_text[] =
    "\n"
    "  -s, --server SERVER   local:/PATH, tcp:HOST[:PORT], HOST, udp:HOST[:PORT], or several\n"
    "                        with commas; default $KV_SERVER, else the kvd of this machine\n"
    "  -t, --timeout SECS    time for each call, retries included (10; 0: for ever)\n"
    "  -o, --output FORMAT   simple or json (one object a line)\n"
    "  -P, --program N       RPC program number, if kvd has another one\n"
    "      --history FILE    add each get, put and append to FILE, for kvcheck\n"
    "  -q, --quiet           no notices, and no versions from put and append\n"
    "  -v, --verbose         say which server answered, and how fast\n"
    "  -h, --help            print this\n"
    "      --version         print kvctl's version\n"
    "\n"
    "kvctl COMMAND --help tells more. Exit codes: 0 done, 1 refused, 2 usage, 3 no such key,\n"
    "4 version mismatch, 5 outcome unknown, 6 no answer, 7 denied, 8 limit reached;\n"
    "lock exits as its COMMAND did, or with 124 to 127 (kvctl lock --help).\n";

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

double kvctl_now_ms(void) {
	struct timespec now;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

bool kvctl_open(const struct settings *settings, const char *name, unsigned timeout_ms,
		struct kv_client **client) {
	struct kv_options options = {
	    .server = settings->server,
	    .timeout_ms = timeout_ms,
	    .program = settings->program,
	    .history = settings->history,
	};
	errno = 0;
	enum kv_status status = kv_open(&options, client);
	if (status == KV_OK)
		return true;
	if (settings->history != NULL && status == KV_INVALID && errno != 0) {
		(void)error_report(CODE_REFUSED, name, "cannot open the history %s: %s",
				   settings->history, strerror(errno));
		return false;
	}
	(void)error_report(CODE_REFUSED, name, "%s", kv_status_text(status));
	return false;
}

/* Asks the server who it is: the library has no cheaper way to tell which address answered. */
static void tell_server(const struct settings *settings, const char *name,
			struct kv_client *client) {
	struct kv_client *view = NULL;
	if (kv_within(client, VERBOSE_TIMEOUT_MS, &view) != KV_OK)
		return;

	struct kv_stats stats;
	char reason[FAILURE_TEXT_MAX] = "";
	double start_ms = kvctl_now_ms();
	if (kv_stats(view, &stats) == KV_OK) {
		notice(settings, name, "answered by %s (%s), which is %.3f ms away",
			       stats.server, stats.software, kvctl_now_ms() - start_ms);
		kv_stats_free(&stats);
	}
	kv_reason(view, reason, sizeof(reason));
	if (reason[0] != '\0')
		notice(settings, name, "the last attempt that failed: %s", reason);
	kv_close(view);
}

void kvctl_close(const struct settings *settings, const char *name, struct kv_client *client,
		 bool has_answered) {
	if (settings->is_verbose && has_answered)
		tell_server(settings, name, client);
	if (has_answered && kv_history_error(client) != 0)
		notice(settings, name, "the history %s is not whole: %s", settings->history,
			       strerror(kv_history_error(client)));
	kv_close(client);
}

/* A mistake in the address is told here, before anything is done. */
static bool check_server(struct settings *settings) {
	const char *source = "-s";
	const char *server = settings->server;
	if (server == NULL) {
		source = "$KV_SERVER";
		server = getenv("KV_SERVER");
		if (server == NULL || server[0] == '\0')
			return true;
		settings->server = server;
	}
	const char *error = kv_address_error(server);
	if (error != NULL)
		(void)error_usage(NULL, "%s \"%s\": %s", source, server, error);
	return error == NULL;
}

static bool read_format(const char *text, enum format *format) {
	if (strcmp(text, "simple") == 0)
		*format = FORMAT_SIMPLE;
	else if (strcmp(text, "json") == 0)
		*format = FORMAT_JSON;
	else {
		(void)error_usage(NULL, "-o is simple or json, not \"%s\"", text);
		return false;
	}
	return true;
}

/* True: optind is where the subcommand should be. False: it is over, with *code. */
static bool read_settings(struct settings *settings, int argc, char **argv, int *code) {
	static const struct option options[] = {
	    {"server", required_argument, NULL, 's'},
	    {"timeout", required_argument, NULL, 't'},
	    {"output", required_argument, NULL, 'o'},
	    {"quiet", no_argument, NULL, 'q'},
	    {"verbose", no_argument, NULL, 'v'},
	    {"program", required_argument, NULL, 'P'},
	    {"history", required_argument, NULL, OPTION_HISTORY},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, OPTION_VERSION},
	    {NULL, 0, NULL, 0},
	};
	bool is_right = true;
	int option = 0;

	*code = CODE_USAGE;
	while (is_right &&
	       (option = arguments_option(NULL, argc, argv, "+:s:t:o:qvP:h", options)) != -1) {
		switch (option) {
		case 's':
			settings->server = optarg;
			break;
		case 't':
			is_right = arguments_seconds(NULL, "-t", optarg, &settings->timeout_ms);
			break;
		case 'o':
			is_right = read_format(optarg, &settings->format);
			break;
		case 'q':
			settings->is_quiet = true;
			break;
		case 'v':
			settings->is_verbose = true;
			break;
		case 'P':
			is_right = arguments_program(NULL, optarg, &settings->program);
			break;
		case OPTION_HISTORY:
			settings->history = optarg;
			break;
		case 'h':
			*code = print_help();
			return false;
		case OPTION_VERSION:
			*code = output_text("kvctl %s\n", KV_RELEASE);
			return false;
		default:
			return false;
		}
	}
	return is_right;
}

static const struct command *find_command(const char *name) {
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

/*
 * A descriptor from 0 to 2 that the caller closed would be given to the first socket, and output
 * written to the server. Opened the wrong way round, so that using it is still an error.
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
	(void)setlocale(LC_CTYPE, ""); /* which characters of a key can be printed */
	if (!read_settings(&settings, argc, argv, &code))
		return code;
	if (optind >= argc)
		return error_usage(NULL, "a command is missing");

	int first = optind;
	const struct command *command = find_command(argv[first]);
	if (command == NULL)
		return error_usage(NULL, "there is no command \"%s\"", argv[first]);
	if (!check_server(&settings))
		return CODE_USAGE;
	return command->run(&settings, argc - first, argv + first);
}
