/* SPDX-License-Identifier: BSD-3-Clause */
/* snapshot.c - the subcommand snapshot: asks for one, and waits until it is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "args.h"
#include "errors.h"
#include "kvctl.h"
#include "output.h"

enum { LOOK_FIRST_MS = 5, LOOK_MS = 250, FOR_EVER = UINT32_MAX };

/* What the server's counters say of snapshots. */
struct progress {
	uint64_t published;
	uint64_t position; /* of the last one published */
	uint64_t bytes;
	uint64_t ms;
	uint64_t under_way; /* this one, or the one before it */
	uint64_t error;
	uint64_t writing;  /* bytes so far */
	uint64_t expected; /* about how many in all */
	uint64_t memory;   /* what the server holds: no snapshot is much larger */
};

static struct progress read_progress(const struct kv_stats *stats) {
	struct progress progress = {.published = 0};
	const struct {
		const char *name;
		uint64_t *value;
	} wanted[] = {
	    {"snapshots", &progress.published},		 {"snapshot_position", &progress.position},
	    {"snapshot_bytes", &progress.bytes},	 {"snapshot_ms", &progress.ms},
	    {"snapshot_under_way", &progress.under_way}, {"snapshot_error", &progress.error},
	    {"snapshot_writing", &progress.writing},	 {"snapshot_expected", &progress.expected},
	    {"memory_used", &progress.memory},
	};

	for (size_t i = 0; i < stats->counter_count; i++)
		for (size_t j = 0; j < sizeof(wanted) / sizeof(wanted[0]); j++)
			if (strcmp(stats->counters[i].name, wanted[j].name) == 0)
				*wanted[j].value = stats->counters[i].value;
	return progress;
}

/* --- What a person sees on a terminal -------------------------------------------------------- */

static bool shows_progress(const struct settings *settings) {
	return !settings->is_quiet && isatty(STDERR_FILENO);
}

static void show(const struct progress *progress) {
	if (progress->writing == 0)
		(void)fprintf(stderr, "\rkvctl: snapshot: waiting\033[K");
	else
		(void)fprintf(stderr,
			      "\rkvctl: snapshot: %" PRIu64 " of about %" PRIu64 " MiB\033[K",
			      progress->writing >> 20, progress->expected >> 20);
}

/* The line is given back, for whatever is printed next. */
static void hide(const struct settings *settings) {
	if (shows_progress(settings))
		(void)fprintf(stderr, "\r\033[K");
}

/* --- Waiting --------------------------------------------------------------------------------- */

static int print_done(const struct settings *settings, const struct progress *progress) {
	if (settings->format == FORMAT_JSON)
		return output_json(json_pack(
		    "{s:I, s:I, s:I}", "position", (json_int_t)progress->position, "bytes",
		    (json_int_t)progress->bytes, "ms", (json_int_t)progress->ms));
	return settings->is_quiet ? CODE_DONE : output_text("%" PRIu64 "\n", progress->position);
}

static int tell_given_up(const char *name, const struct progress *progress) {
	if (progress->error == KV_FULL)
		return error_report(CODE_LIMIT, name,
				    "the server's disk has no room for it (make room: it may "
				    "take %" PRIu64 " MiB; what was stored is safe)",
				    (progress->memory >> 20) + 1);
	return error_report(CODE_REFUSED, name,
			    "the server gave it up (its log says why; what was stored is safe)");
}

static void pause_ms(unsigned ms) {
	struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		continue;
}

enum look { LOOK_WAIT, LOOK_DONE, LOOK_FAILED };

/* Asks how far it is. *code is set if it is over. */
static enum look look(const struct settings *settings, const char *name, struct kv_client *client,
		      const struct kv_snapshot *wanted, struct progress *progress, int *code) {
	struct action action = {.command = name, .expected = KV_ANY};
	struct kv_stats stats;
	enum kv_status status = kv_stats(client, &stats);

	if (status != KV_OK) {
		hide(settings);
		*code = error_status(settings, client, &action, status);
		return LOOK_FAILED;
	}
	*progress = read_progress(&stats);
	uint64_t epoch = stats.epoch;
	kv_stats_free(&stats);
	if (epoch != wanted->epoch) {
		hide(settings);
		*code = error_report(CODE_REFUSED, name,
				     "the server was started anew meanwhile (ask again)");
		return LOOK_FAILED;
	}
	if (progress->published > 0 && progress->position >= wanted->position)
		return LOOK_DONE;
	if (progress->under_way > 0)
		return LOOK_WAIT;
	hide(settings);
	*code = tell_given_up(name, progress);
	return LOOK_FAILED;
}

static int wait_for(const struct settings *settings, const char *name, struct kv_client *client,
		    const struct kv_snapshot *wanted, unsigned wait_ms) {
	double end_ms = kvctl_now_ms() + wait_ms;
	unsigned look_ms = LOOK_FIRST_MS;
	struct progress progress;
	int code = CODE_DONE;

	for (;;) {
		switch (look(settings, name, client, wanted, &progress, &code)) {
		case LOOK_DONE:
			hide(settings);
			return print_done(settings, &progress);
		case LOOK_FAILED:
			return code;
		case LOOK_WAIT:
			break;
		}
		if (wait_ms != FOR_EVER && kvctl_now_ms() >= end_ms) {
			hide(settings);
			return error_report(CODE_MAYBE, name,
					    "not done in %g s (the server goes on with it; "
					    "kvctl status tells how far it is)",
					    wait_ms / 1000.0);
		}
		if (shows_progress(settings))
			show(&progress);
		pause_ms(look_ms);
		look_ms = 2 * look_ms < LOOK_MS ? 2 * look_ms : LOOK_MS;
	}
}

static int ask(const struct settings *settings, const char *name, unsigned wait_ms) {
	struct action action = {.command = name, .expected = KV_ANY};
	struct kv_snapshot wanted;
	struct kv_client *client = NULL;
	int code = CODE_DONE;

	if (!kvctl_open(settings, name, settings->timeout_ms, &client))
		return CODE_REFUSED;
	enum kv_status status = kv_snapshot(client, &wanted);
	if (status == KV_UNAVAILABLE)
		code = error_report(CODE_REFUSED, name,
				    "this kvd takes no snapshots: it keeps its store in memory "
				    "only (start it with -d), or is older than kvctl");
	else if (status != KV_OK)
		code = error_status(settings, client, &action, status);
	else if (wait_ms > 0)
		code = wait_for(settings, name, client, &wanted, wait_ms);
	kvctl_close(settings, name, client, status == KV_OK);
	return code;
}

static int run(const struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"wait", required_argument, NULL, 'w'},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	unsigned wait_ms = FOR_EVER;
	int option;

	optind = 0;
	while ((option = arguments_option(argv[0], argc, argv, ":w:h", options)) != -1) {
		if (option == 'h')
			return kvctl_help(&snapshot_command);
		if (option != 'w' || !arguments_seconds(argv[0], "--wait", optarg, &wait_ms))
			return CODE_USAGE;
	}
	if (optind < argc)
		return error_usage(argv[0], "nothing is wanted after it, not \"%s\"",
				     argv[optind]);
	return ask(settings, argv[0], wait_ms);
}

const struct command snapshot_command = {
    .name = "snapshot",
    .operands = "[--wait SECS]",
    .summary = "have the server write a snapshot of its store",
    .details = "Asks a kvd that was started with -d to write a snapshot of its whole store, waits\n"
	       "until it is there, and prints the number of the last operation in it. Older parts\n"
	       "of the journal are removed then, and kvd's next start is quicker. The server goes\n"
	       "on serving meanwhile; it takes snapshots by itself, too. With -q prints nothing.\n"
	       "\n"
	       "  -w, --wait SECS   wait no longer than this; 0: not at all (for ever)\n"
	       "  -h, --help        print this\n"
	       "\n"
	       "Example: kvctl snapshot\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 5 not done in time, 6 no answer, 8 no room on the\n"
	       "server's disk, 1 or 7 refused.\n",
    .run = run,
};
