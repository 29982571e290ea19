/* SPDX-License-Identifier: BSD-3-Clause */
/* kvcheck.c - the program: options, files, the verdict as a line and as an exit code. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format_call.h"
#include "text_report.h"

/* Promised to scripts; kvcheck(1) lists them. */
enum code {
	CODE_LINEARIZABLE = 0,
	CODE_NOT = 1,
	CODE_USAGE = 2, /* or something that cannot be read or written */
	CODE_UNDECIDED = 3,
};

enum {
	OPTION_HTML = 256, /* above all letters */
	OPTION_STEPS,
	OPTION_MEMORY,
	OPTION_VERSION,
	OPTION_BOOT,
	OPTION_LENIENT,
	PATH_SIZE = 4096,
	MESSAGE_SIZE = 2 * PATH_SIZE,
	LEFT_OUT_SHOWN = 10, /* lines */
};

struct settings {
	struct checker_limits limits;
	const char *page; /* NULL: none is wanted */
	uint64_t boot;	  /* judge this one only; 0: there is but one */
	bool is_lenient;
	uint64_t left_out; /* lines */
	uint64_t skipped;  /* and those of them that may be complete calls */
	bool is_quiet;
	bool shows_progress;
};

static const char help_text[] =
    "usage: kvcheck [-aq] [--boot N] [--lenient] [--html PAGE] [--steps N] [--memory MIB]\n"
    "               [FILE|DIRECTORY]...\n"
    "\n"
    "Says whether the calls in the files, taken together, are linearizable: whether one order\n"
    "of them explains all answers. Without a file, or with -, standard input is read. A file\n"
    "is what kvctl --history writes, one JSON object a line.\n"
    "\n"
    "  -a, --any-start    the store may have held anything when the history began\n"
    "      --boot N       judge the calls of the N-th clock only, if there are several\n"
    "      --lenient      leave out lines that are no calls\n"
    "      --html PAGE    write what was found as a page with a timeline\n"
    "      --steps N      give up a key after so many tried orders (20000000)\n"
    "      --memory MIB   or when they need more than this (1024)\n"
    "  -q, --quiet        only the exit code\n"
    "  -h, --help         print this\n"
    "      --version      print kvcheck's version\n"
    "\n"
    "Exit codes: 0 linearizable, 1 not, 2 usage or a file that cannot be read, 3 undecided.\n";

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...) {
	va_list arguments;
	char text[MESSAGE_SIZE];
	char shown[MESSAGE_SIZE];

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	/* A file's name and its text are of others. */
	describe_text(text, shown, sizeof(shown));
	(void)fprintf(stderr, "kvcheck: %s\n", shown);
}

/* --- Progress, on a terminal only
 * ----------------------------------------------------------------- */

static void show_reading(void *context, uint64_t bytes) {
	const struct settings *settings = context;

	if (settings->shows_progress)
		(void)fprintf(stderr, "\rkvcheck: %.1f MB read ", (double)bytes / 1e6);
}

static void show_judging(void *context, size_t calls) {
	const struct settings *settings = context;

	if (settings->shows_progress)
		(void)fprintf(stderr, "\rkvcheck: %zu calls judged ", calls);
}

static void end_progress(const struct settings *settings) {
	if (settings->shows_progress)
		(void)fputs("\r\033[K", stderr);
}

/* --- Files
 * ---------------------------------------------------------------------------------------- */

static void show_left_out(void *context, const char *text) {
	struct settings *settings = context;

	if (++settings->left_out > LEFT_OUT_SHOWN || settings->is_quiet)
		return;
	end_progress(settings);
	complain("%s", text);
}

static bool read_stream(struct history *history, struct settings *settings, FILE *file,
			const char *name) {
	struct history_input input = {.file = file,
				      .name = name,
				      .progress = show_reading,
				      .left_out = show_left_out,
				      .context = settings,
				      .is_lenient = settings->is_lenient};
	char error[HISTORY_ERROR_MAX];
	enum history_answer answer = history_read(history, &input, error);

	end_progress(settings);
	if (answer == HISTORY_WRONG)
		complain("%s%s", error,
			 settings->is_lenient ? "" : " (--lenient leaves such a line out)");
	settings->skipped += input.skipped;
	return answer != HISTORY_WRONG;
}

static bool read_file(struct history *history, struct settings *settings, const char *path) {
	FILE *file = fopen(path, "re");
	bool is_read;

	if (file == NULL) {
		complain("%s: %s", path, strerror(errno));
		return false;
	}
	is_read = read_stream(history, settings, file, path);
	(void)fclose(file);
	return is_read;
}

static int is_visible(const struct dirent *entry) {
	return entry->d_name[0] != '.';
}

/* All files of a directory, but not those of directories in it. */
static bool read_directory(struct history *history, struct settings *settings, const char *path) {
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, is_visible, alphasort);
	bool is_read = count >= 0;

	if (!is_read)
		complain("%s: %s", path, strerror(errno));
	for (int i = 0; i < count; i++) {
		char name[PATH_SIZE];
		struct stat found;
		int length = snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (is_read && length >= PATH_SIZE) {
			complain("%s/%s: the path is too long", path, entries[i]->d_name);
			is_read = false;
		}
		if (is_read && (stat(name, &found) != 0 || S_ISREG(found.st_mode)))
			is_read = read_file(history, settings, name);
		free(entries[i]);
	}
	free(entries);
	return is_read;
}

static bool read_path(struct history *history, struct settings *settings, const char *path) {
	struct stat found;

	if (strcmp(path, "-") == 0)
		return read_stream(history, settings, stdin, "standard input");
	if (stat(path, &found) == 0 && S_ISDIR(found.st_mode))
		return read_directory(history, settings, path);
	return read_file(history, settings, path);
}

static bool write_page(const struct settings *settings, const struct history *history,
		       const struct checker_report *report) {
	FILE *file = fopen(settings->page, "we");
	bool is_written = file != NULL && report_html(file, history, report);

	if (file != NULL)
		is_written = fclose(file) == 0 && is_written;
	if (!is_written)
		complain("%s: %s", settings->page, strerror(errno));
	return is_written;
}

/* --- The verdict
 * ---------------------------------------------------------------------------------- */

static int code_of(enum checker_verdict verdict) {
	switch (verdict) {
	case CHECKER_LINEARIZABLE:
		return CODE_LINEARIZABLE;
	case CHECKER_NOT:
		return CODE_NOT;
	case CHECKER_UNDECIDED:
		break;
	}
	return CODE_UNDECIDED;
}

/* Times of two clocks cannot be compared: the calls of one of them, or a complaint. */
static bool choose_boot(const struct settings *settings, struct history **history) {
	size_t count = 0;
	struct history *part;

	while (history_boot(*history, count) != 0)
		count++;
	if (settings->boot > count && settings->boot > 1) {
		complain("--boot %" PRIu64 ": there are calls of %zu clocks", settings->boot,
			 count);
		return false;
	}
	if (count < 2)
		return true;
	if (settings->boot == 0) {
		complain("the times are of %zu clocks, since the machine was booted again, or of "
			 "several machines; such times cannot be compared (judge each by itself: "
			 "--boot 1, then --boot 2 --any-start, ...)",
			 count);
		return false;
	}
	part = history_of_boot(*history, history_boot(*history, settings->boot - 1));
	if (part == NULL) {
		complain("no memory");
		return false;
	}
	history_free(*history);
	*history = part;
	return true;
}

/* A mistake that is easily made: the store was not empty. */
static void hint_at_start(const struct settings *settings, const struct history *history) {
	struct checker_limits limits = settings->limits;
	struct checker_report report;

	limits.any_start = true;
	checker_run(history, &limits, &report);
	end_progress(settings);
	if (report.verdict == CHECKER_LINEARIZABLE)
		complain("from a store that was not empty it is linearizable: see --any-start");
	checker_report_free(&report);
}

static int judge(struct settings *settings, const struct history *history) {
	struct checker_report report;
	int code;

	settings->limits.progress = show_judging;
	settings->limits.context = settings;
	checker_run(history, &settings->limits, &report);
	end_progress(settings);
	code = code_of(report.verdict);
	if (!settings->is_quiet) {
		report_print(stdout, history, &report);
		if (report.verdict == CHECKER_NOT && !settings->limits.any_start)
			hint_at_start(settings, history);
		if (report.verdict == CHECKER_NOT && settings->skipped > 0)
			complain("%" PRIu64 " lines were left out: if one is of a write, that may "
				 "be why",
				 settings->skipped);
	}
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain("cannot write to standard output: %s", strerror(errno));
		code = CODE_USAGE;
	}
	if (settings->page != NULL && !write_page(settings, history, &report))
		code = CODE_USAGE;
	checker_report_free(&report);
	return code;
}

/* --- The command line
 * ----------------------------------------------------------------------------- */

static bool read_number(const char *name, const char *text, uint64_t most, uint64_t *number) {
	char *end = NULL;

	errno = 0;
	*number = strtoull(text, &end, 10);
	if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *number > 0 &&
	    *number <= most)
		return true;
	complain("%s is a number from 1 to %" PRIu64 ", not \"%s\"", name, most, text);
	return false;
}

static int usage(void) {
	complain("see kvcheck --help");
	return CODE_USAGE;
}

/* -1: the files are to be read. Else the exit code. */
static int read_settings(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"any-start", no_argument, NULL, 'a'},
	    {"boot", required_argument, NULL, OPTION_BOOT},
	    {"lenient", no_argument, NULL, OPTION_LENIENT},
	    {"html", required_argument, NULL, OPTION_HTML},
	    {"steps", required_argument, NULL, OPTION_STEPS},
	    {"memory", required_argument, NULL, OPTION_MEMORY},
	    {"quiet", no_argument, NULL, 'q'},
	    {"help", no_argument, NULL, 'h'},
	    {"version", no_argument, NULL, OPTION_VERSION},
	    {NULL, 0, NULL, 0},
	};
	uint64_t number = 0;
	int option;

	while ((option = getopt_long(argc, argv, "aqh", options, NULL)) != -1) {
		switch (option) {
		case 'a':
			settings->limits.any_start = true;
			break;
		case 'q':
			settings->is_quiet = true;
			break;
		case OPTION_BOOT:
			if (!read_number("--boot", optarg, HISTORY_BOOTS_MAX, &settings->boot))
				return usage();
			break;
		case OPTION_LENIENT:
			settings->is_lenient = true;
			break;
		case OPTION_HTML:
			settings->page = optarg;
			break;
		case OPTION_STEPS:
			if (!read_number("--steps", optarg, UINT64_MAX / 2,
					 &settings->limits.steps_max))
				return usage();
			break;
		case OPTION_MEMORY:
			if (!read_number("--memory", optarg, 1 << 20, &number))
				return usage();
			settings->limits.memory_max = (size_t)number << 20;
			break;
		case 'h':
			return fputs(help_text, stdout) < 0 || fflush(stdout) != 0;
		case OPTION_VERSION:
			return printf("kvcheck %s\n", KV_RELEASE) < 0 || fflush(stdout) != 0;
		default:
			return usage();
		}
	}
	return -1;
}

int main(int argc, char **argv) {
	struct settings settings = {.page = NULL};
	static char standard_input[] = "-";
	int code = read_settings(&settings, argc, argv);
	struct history *history;
	bool is_read = true;

	if (code != -1)
		return code;
	settings.shows_progress = !settings.is_quiet && isatty(STDERR_FILENO);
	history = history_new();
	if (history == NULL) {
		complain("no memory");
		return CODE_UNDECIDED;
	}
	if (optind == argc)
		is_read = read_path(history, &settings, standard_input);
	for (int i = optind; is_read && i < argc; i++)
		is_read = read_path(history, &settings, argv[i]);
	if (settings.left_out > LEFT_OUT_SHOWN && !settings.is_quiet)
		complain("and %" PRIu64 " more lines left out", settings.left_out - LEFT_OUT_SHOWN);
	is_read = is_read && choose_boot(&settings, &history);
	if (is_read && history_count(history) == 0 && !settings.is_quiet)
		complain("there is no call in it, so nothing was judged");
	code = is_read ? judge(&settings, history) : CODE_USAGE;
	history_free(history);
	return code;
}
