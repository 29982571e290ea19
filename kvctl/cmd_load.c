/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_load.c - The command load: lines of JSON, as dump prints them, into the store. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "args.h"
#include "errors.h"
#include "kvctl.h"
#include "load_pool.h"
#include "output.h"
#include "status_line.h"
#include "timing.h"

enum {
	OPTION_CREATE = 256, /* above all letters */
	OPTION_OVERWRITE,
	READ_BYTES = 1 << 18, /* at once */
	PROGRESS_MS = 500,
	NAME_SIZE = 48,
};

struct load {
	const struct settings *settings;
	const char *file; /* NULL: standard input */
	int fd;
	int signals; /* a descriptor of those that end the load */
	off_t file_size;
	char *text; /* read, and not taken yet: from text_at on */
	size_t text_at, text_size, text_capacity;
	bool is_at_end;
	uint64_t line, bytes;
	double shown_ms;
	struct load_pool *pool;
};

/* What ended the reading. */
enum end { END_ALL, END_FAILED, END_STOPPED, END_INTERRUPTED };

static int fail(const struct load *load, int code, const char *why) {
	char name[NAME_SIZE];

	status_line_clear(load->settings);
	(void)snprintf(name, sizeof(name), "load: line %llu", (unsigned long long)load->line);
	return error_report(code, name, "%s", why);
}

/* --- Reading --------------------------------------------------------------------------------- */

static bool make_room(struct load *load) {
	if (load->text_at > 0) {
		memmove(load->text, load->text + load->text_at, load->text_size - load->text_at);
		load->text_size -= load->text_at;
		load->text_at = 0;
	}
	if (load->text_capacity - load->text_size >= READ_BYTES)
		return true;
	size_t capacity = 2 * load->text_capacity + READ_BYTES;
	char *larger = realloc(load->text, capacity);
	if (larger == NULL)
		return false;
	load->text = larger;
	load->text_capacity = capacity;
	return true;
}

/* Reads more of the file, unless a signal comes first. */
static enum end read_more(struct load *load, int *code) {
	struct pollfd ready[] = {{.fd = load->signals, .events = POLLIN},
				 {.fd = load->fd, .events = POLLIN}};

	if (!make_room(load)) {
		*code = fail(load, CODE_REFUSED, "no memory");
		return END_FAILED;
	}
	if (poll(ready, 2, -1) < 0 && errno != EINTR)
		ready[0].revents = 0;
	if (ready[0].revents != 0)
		return END_INTERRUPTED;
	ssize_t got = read(load->fd, load->text + load->text_size, READ_BYTES);
	if (got < 0 && errno != EINTR && errno != EAGAIN) {
		*code = error_report(CODE_REFUSED, load_command.name, "cannot read %s: %s",
				     load->file != NULL ? load->file : "standard input",
				     strerror(errno));
		return END_FAILED;
	}
	load->is_at_end = got == 0;
	load->text_size += got > 0 ? (size_t)got : 0;
	return END_ALL;
}

/*
 * The next line, without its newline; size 0 at the end, or if it is empty. END_ALL, or why there
 * is none.
 */
static enum end next_line(struct load *load, struct kv_bytes *line, int *code) {
	size_t looked = 0;

	load->line++;
	for (;;) {
		char *text = load->text + load->text_at;
		size_t size = load->text_size - load->text_at;
		char *newline = size > looked ? memchr(text + looked, '\n', size - looked) : NULL;

		if (newline != NULL || (load->is_at_end && size > 0)) {
			line->data = text;
			line->size = newline != NULL ? (size_t)(newline - text) : size;
			load->text_at += line->size + (newline != NULL);
			load->bytes += line->size + 1;
			size = line->size;
		}
		if (size > LOAD_LINE_MAX) {
			char why[96];
			(void)snprintf(why, sizeof(why), "more than %d bytes, which no line has",
				       LOAD_LINE_MAX);
			*code = fail(load, CODE_LIMIT, why);
			return END_FAILED;
		}
		if (newline != NULL || load->is_at_end)
			return END_ALL;
		looked = size;
		enum end end = read_more(load, code);
		if (end != END_ALL)
			return end;
	}
}

static bool is_blank(struct kv_bytes line) {
	const char *text = line.data;

	for (size_t i = 0; i < line.size; i++)
		if (strchr(" \t\r", text[i]) == NULL || text[i] == '\0')
			return false;
	return true;
}

static void show_progress(struct load *load) {
	double now_ms = timing_now_ms();
	unsigned long long written = load_pool_written(load->pool);

	if (now_ms - load->shown_ms < PROGRESS_MS)
		return;
	load->shown_ms = now_ms;
	if (load->file_size > 0)
		status_line_show(load->settings, "kvctl: load: %d %%, %llu keys written",
				 (int)(100 * load->bytes / (uint64_t)load->file_size), written);
	else
		status_line_show(load->settings, "kvctl: load: line %llu, %llu keys written",
				 (unsigned long long)load->line, written);
}

static enum end read_all(struct load *load, int *code) {
	for (;;) {
		struct kv_bytes line = {NULL, 0};
		struct load_entry entry;
		char error[LOAD_ERROR_MAX];
		enum end end = next_line(load, &line, code);

		if (end != END_ALL)
			return end;
		if (line.data == NULL)
			return END_ALL;
		if (is_blank(line))
			continue;
		if (!load_line_parse(line, &entry, error)) {
			*code = fail(load, CODE_REFUSED, error);
			return END_FAILED;
		}
		if (!load_pool_add(load->pool, &entry, load->line))
			return END_STOPPED;
		if ((load->line & 0x3ff) == 0)
			show_progress(load);
	}
}

/* --- The result ------------------------------------------------------------------------------ */

static int report_failure(const struct load *load, struct kv_client *client,
			  const struct load_failure *failure) {
	char name[NAME_SIZE];
	struct attempted attempted = {.command = name,
				      .key = {failure->key, failure->key_size},
				      .value_size = failure->value_size,
				      .expected = KV_ANY};

	status_line_clear(load->settings);
	(void)snprintf(name, sizeof(name), "load: line %llu", (unsigned long long)failure->line);
	if (failure->status != KV_VERSION)
		return error_status(load->settings, client, &attempted, failure->status);
	return error_report(CODE_VERSION, name,
			    "the key exists with another value, at version %llu (--create keeps "
			    "what exists, --overwrite replaces it)",
			    (unsigned long long)failure->current);
}

static int print_result(const struct load *load) {
	unsigned long long written = load_pool_written(load->pool);
	unsigned long long kept = load_pool_kept(load->pool);

	if (load->settings->format == FORMAT_JSON)
		return output_json(json_pack("{s:I, s:I}", "written", (json_int_t)written, "kept",
					     (json_int_t)kept));
	if (load->settings->is_quiet)
		return CODE_DONE;
	return output_text("%llu written, %llu there already\n", written, kept);
}

static int run(struct load *load, struct kv_client *client) {
	struct load_failure failure;
	int code = CODE_DONE;
	enum end end = read_all(load, &code);
	bool is_right = load_pool_end(load->pool, end == END_ALL || end == END_FAILED, &failure);

	status_line_clear(load->settings);
	if (!is_right) {
		int written = report_failure(load, client, &failure);
		code = code == CODE_DONE ? written : code;
	}
	if (end == END_ALL && is_right)
		return print_result(load);
	return error_report(code, load_command.name,
			    "%s: %llu keys were written and %llu were there already; the same load "
			    "again goes on",
			    end == END_INTERRUPTED ? "interrupted" : "stopped",
			    (unsigned long long)load_pool_written(load->pool),
			    (unsigned long long)load_pool_kept(load->pool));
}

static int load_file(const struct settings *settings, const char *file, enum load_mode mode) {
	struct load load = {.settings = settings, .file = file, .fd = STDIN_FILENO};
	struct kv_client *client = NULL;
	struct stat info;
	sigset_t ending, before;

	if (file != NULL)
		load.fd = open(file, O_RDONLY | O_CLOEXEC);
	if (load.fd < 0)
		return error_report(CODE_REFUSED, load_command.name, "cannot read %s: %s", file,
				    strerror(errno));
	if (fstat(load.fd, &info) == 0 && S_ISREG(info.st_mode))
		load.file_size = info.st_size;
	int code = kvctl_open(settings, load_command.name, settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;

	/* What is queued meanwhile is not written, and what was done is said. */
	(void)sigemptyset(&ending);
	(void)sigaddset(&ending, SIGINT);
	(void)sigaddset(&ending, SIGTERM);
	(void)sigaddset(&ending, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &ending, &before);
	load.signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
	load.pool = load_pool_new(client, mode);
	if (load.pool == NULL || load.signals < 0)
		code = error_report(CODE_REFUSED, load_command.name, "no memory");
	else
		code = run(&load, client);
	load_pool_free(load.pool);
	free(load.text);
	kvctl_close(settings, load_command.name, client, code == CODE_DONE);
	/* A signal that came ends the process now. */
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return code;
}

static int load(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"create", no_argument, NULL, OPTION_CREATE},
	    {"overwrite", no_argument, NULL, OPTION_OVERWRITE},
	    {NULL, 0, NULL, 0},
	};
	enum load_mode mode = LOAD_COMPARE;
	int option = 0;

	optind = 0;
	while ((option = args_option(settings, argv[0], argc, argv, ":", options)) != -1) {
		enum load_mode wanted = option == OPTION_CREATE ? LOAD_CREATE : LOAD_OVERWRITE;

		if (option == 'h')
			return kvctl_help(&load_command);
		if (option != OPTION_CREATE && option != OPTION_OVERWRITE)
			return CODE_USAGE;
		if (mode != LOAD_COMPARE && mode != wanted)
			return error_usage(argv[0], "--create and --overwrite exclude each other");
		mode = wanted;
	}
	if (argc - optind > 1)
		return error_usage(argv[0], "expected one FILE at most, got %d arguments",
				   argc - optind);
	const char *file = optind < argc && strcmp(argv[optind], "-") != 0 ? argv[optind] : NULL;
	if (file == NULL && !args_may_read_input(settings, argv[0]))
		return CODE_USAGE;
	return load_file(settings, file, mode);
}

const struct command load_command = {
    .name = "load",
    .operands = "[FILE] [--create] [--overwrite]",
    .summary = "write the keys and values of a dump",
    .details = "Writes the keys of FILE (standard input without one, or with -), lines of JSON as\n"
	       "dump prints them: key or key_base64, value or value_base64, and perhaps ttl_ms.\n"
	       "Versions are not carried over: those of a store mean nothing in another. A key\n"
	       "that has the value already is left as it is, so a load that was stopped goes on\n"
	       "when it is run again; one that has another value ends the load.\n"
	       "\n"
	       "      --create     keep every key that exists, whatever it has\n"
	       "      --overwrite  write over every key that exists\n"
	       "  -h, --help       print this\n"
	       "\n"
	       "Example: kvctl -s old dump | kvctl -s new load\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 4 a key has another value, 5 outcome unknown (run it\n"
	       "again), 6 server not reached, 8 a line is too long or no space, 1 or 7 refused.\n",
    .run = load,
};
