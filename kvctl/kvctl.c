/* SPDX-License-Identifier: BSD-3-Clause */
/* kvctl.c - The shell tool: what is to be run, and the handle on the server. */
#include "kvctl.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "command_file.h"
#include "commands.h"
#include "errors.h"
#include "output.h"
#include "shell.h"
#include "signals.h"
#include "timing.h"

enum { TIMEOUT_DEFAULT_MS = 10000, VERBOSE_TIMEOUT_MS = 1000, REASON_SIZE = 1280 };

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

/*
 * A command with a ticket, or with options of its own that say where the server is and whether it
 * is waited for, has a handle of its own; so has a process that a command was given.
 */
static bool shared_serves(const struct settings *settings) {
	const struct shared_handle *shared = settings->shared;
	const struct settings *by;

	if (shared == NULL || settings->ticket != NULL)
		return false;
	by = &shared->settings;
	return settings->server == by->server && settings->program == by->program &&
	       settings->history == by->history && settings->tls_ca == by->tls_ca &&
	       settings->tls_cert == by->tls_cert && settings->tls_key == by->tls_key &&
	       settings->tls_name == by->tls_name && settings->waits == by->waits &&
	       (shared->client == NULL || kv_is_owner(shared->client));
}

static int open_view(const struct settings *settings, const char *name, unsigned timeout_ms,
		     struct kv_client **client) {
	struct shared_handle *shared = settings->shared;
	struct settings alone = shared->settings;
	enum kv_status status;

	alone.shared = NULL;
	if (shared->client == NULL) {
		int code = kvctl_open(&alone, name, alone.timeout_ms, &shared->client);
		if (code != CODE_DONE)
			return code;
	}
	status = kv_with_timeout(shared->client, timeout_ms, client);
	return status == KV_OK ? CODE_DONE
			       : error_report(CODE_REFUSED, name, "%s", kv_status_text(status));
}

int kvctl_open(const struct settings *settings, const char *name, unsigned timeout_ms,
	       struct kv_client **client) {
	struct kv_options options = {
	    .timeout_ms = timeout_ms,
	    .fail_fast = !settings->waits,
	    .program = settings->program,
	    .history = settings->history,
	    .ticket = settings->ticket,
	    .tls_ca = settings->tls_ca,
	    .tls_cert = settings->tls_cert,
	    .tls_key = settings->tls_key,
	    .tls_name = settings->tls_name,
	};
	if (settings->format == FORMAT_PROMETHEUS && strcmp(name, status_command.name) != 0)
		return error_usage(name, "-o prometheus is for status");
	if (settings->ticket != NULL && settings->history != NULL)
		return error_usage(name, "--ticket and --history exclude each other");
	if (shared_serves(settings))
		return open_view(settings, name, timeout_ms, client);
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

/* --- main ------------------------------------------------------------------------------------ */

/* True: optind is where the command should be. False: it is over, with *code. */
static bool read_settings(struct settings *settings, struct command_file *file, int argc,
			  char **argv, int *code) {
	static const struct option options[] = {
	    {"version", no_argument, NULL, ARGS_VERSION},
	    {"file", required_argument, NULL, 'f'},
	    {"stop", no_argument, NULL, 'e'},
	    {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = args_option(settings, NULL, argc, argv, "+:f:e", options)) == 'f' ||
	       option == 'e') {
		if (option == 'f')
			file->file = optarg;
		else
			file->stops = true;
	}
	*code = CODE_USAGE;
	if (option == 'h')
		*code = commands_print_help();
	else if (option == ARGS_VERSION)
		*code = commands_print_version();
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
	struct command_file file = {.file = NULL};
	int code = CODE_DONE;

	occupy_standard_descriptors();
	signals_write_errors();
	(void)setlocale(LC_CTYPE, ""); /* which characters of a key can be printed */
	if (!args_environment(&settings))
		return CODE_USAGE;
	if (!read_settings(&settings, &file, argc, argv, &code))
		return code;
	if (optind >= argc && file.file == NULL && shell_is_wanted())
		return shell_run(&settings);
	if (optind >= argc)
		return command_file_run(&settings, &file);
	if (file.file != NULL || file.stops)
		return error_usage(NULL,
				   "-f and -e are for commands from a file, and \"%s\" is one",
				   argv[optind]);

	int first = optind;
	const struct command *command = commands_find(argv[first]);
	if (command == NULL)
		return commands_report_unknown(argv[first]);
	return command->run(&settings, argc - first, argv + first);
}
