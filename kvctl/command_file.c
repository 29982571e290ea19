/* SPDX-License-Identifier: BSD-3-Clause */
#include "command_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command_process.h"
#include "commands.h"
#include "errors.h"
#include "line_reader.h"
#include "words.h"

enum { PLACE_SIZE = 512, PROBE_TIMEOUT_MS = 1000 };

/* A file that is being run. */
struct run {
	struct settings settings; /* for each command a copy */
	struct line_reader reader;
	struct words words;
	const char *name; /* of the file, in the error lines */
	unsigned long long commands;
	int code; /* of the first command that failed */
};

/*
 * The commands keep standard input for themselves: what they start reads nothing there, instead of
 * lines that were not run yet.
 */
static bool take_input(struct run *run) {
	int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);

	run->name = "standard input";
	run->settings.input_has_commands = true;
	run->reader.descriptor = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	return run->reader.descriptor >= 0 && nothing >= 0 && dup2(nothing, STDIN_FILENO) >= 0 &&
	       close(nothing) == 0;
}

static bool open_file(struct run *run, const char *file) {
	if (file == NULL || strcmp(file, "-") == 0)
		return take_input(run);
	run->name = file;
	run->reader.descriptor = open(file, O_RDONLY | O_CLOEXEC);
	return run->reader.descriptor >= 0;
}

static int run_words(struct run *run, char **argv, int argc) {
	const struct command *command = commands_find(argv[0]);
	struct settings settings = run->settings;

	run->commands++;
	if (command == NULL)
		return commands_report_unknown(argv[0]);
	if (command->takes_process)
		return command_process_run(command, &settings, argc, argv);
	return command->run(&settings, argc, argv);
}

/* The exit code of the line; an empty one is done. */
static int run_line(struct run *run, struct kv_bytes line) {
	const char *error = words_split(&run->words, line);

	if (error != NULL)
		return error_usage(NULL, "%s", error);
	return run->words.count > 0 ? run_words(run, run->words.word, run->words.count) : CODE_DONE;
}

/*
 * A wait that found nothing has the same exit code, so the server is asked: without it each command
 * that is left would wait for it in vain.
 */
static bool has_lost_server(const struct run *run, int code) {
	const struct shared_handle *shared = run->settings.shared;
	struct kv_client *view = NULL;
	enum kv_status status;

	if (code != CODE_UNREACHED || shared->client == NULL ||
	    kv_with_timeout(shared->client, PROBE_TIMEOUT_MS, &view) != KV_OK)
		return false;
	status = kv_ping(view);
	kv_close(view);
	return status == KV_TIMEOUT;
}

/* True: this was the last line that is run. */
static bool note_end(struct run *run, int code, bool stops) {
	if (code == CODE_DONE)
		return false;
	if (run->code == CODE_DONE)
		run->code = code;
	if (stops || code == CODE_SIGNAL + SIGINT) /* a user's Ctrl-C means all of it */
		return true;
	if (!has_lost_server(run, code))
		return false;
	(void)error_report(code, NULL,
			   "the server is not reached: the lines behind this one are "
			   "left out");
	return true;
}

static void run_lines(struct run *run, bool stops) {
	char place[PLACE_SIZE];
	bool is_over = false;

	while (!is_over) {
		struct kv_bytes line;
		int code = CODE_DONE;
		enum line read = line_reader_next(&run->reader, &line);

		if (read == LINE_END)
			return;
		(void)snprintf(place, sizeof(place), "%s:%llu", run->name, run->reader.line);
		errors_set_place(place);
		if (read == LINE_READ)
			code = run_line(run, line);
		else if (read == LINE_TOO_LONG)
			code = error_report(CODE_LIMIT, NULL,
					    "the line has more than %d bytes (a large value comes "
					    "from @FILE)",
					    LINE_READER_MAX);
		else
			code = error_report(CODE_REFUSED, NULL, "cannot read on: %s",
					    read == LINE_FAILED ? strerror(errno) : "no memory");
		is_over =
		    note_end(run, code, stops) || read == LINE_FAILED || read == LINE_NO_MEMORY;
		errors_set_place(NULL);
	}
}

int command_file_run(const struct settings *settings, const struct command_file *file) {
	struct shared_handle shared = {.settings = *settings};
	struct run run = {.settings = *settings, .code = CODE_DONE};

	run.settings.shared = &shared;
	if (!open_file(&run, file->file))
		return error_report(CODE_REFUSED, NULL, "cannot read %s: %s", run.name,
				    strerror(errno));
	run_lines(&run, file->stops);
	kv_close(shared.client);
	words_free(&run.words);
	line_reader_free(&run.reader);
	(void)close(run.reader.descriptor);
	/* A script whose COMMAND is empty by mistake is told. */
	if (file->file == NULL && run.commands == 0 && run.code == CODE_DONE)
		return error_usage(NULL, "a command is missing");
	return run.code;
}
