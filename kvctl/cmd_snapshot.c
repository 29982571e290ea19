/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_snapshot.c - The command snapshot: asks for one, and waits until it is published. */
#include <inttypes.h>

#include "args.h"
#include "kvctl.h"
#include "output.h"
#include "snapshot_wait.h"

static int print_done(const struct settings *settings, const struct snapshot_progress *progress) {
	if (settings->format == FORMAT_JSON)
		return output_json(json_pack(
		    "{s:I, s:I, s:I}", "position", (json_int_t)progress->position, "bytes",
		    (json_int_t)progress->bytes, "ms", (json_int_t)progress->ms));
	return settings->is_quiet ? CODE_DONE : output_text("%" PRIu64 "\n", progress->position);
}

static int ask(const struct settings *settings, const char *name, unsigned wait_ms) {
	struct snapshot_progress progress;
	struct kv_client *client = NULL;
	bool has_answered;
	int code = kvctl_open(settings, name, settings->timeout_ms, &client);

	if (code != CODE_DONE)
		return code;
	code = snapshot_take(settings, name, client, wait_ms, &progress, &has_answered);
	if (code == CODE_DONE && wait_ms > 0)
		code = print_done(settings, &progress);
	kvctl_close(settings, name, client, has_answered);
	return code;
}

static int run(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"wait", required_argument, NULL, 'w'},
	    {NULL, 0, NULL, 0},
	};
	unsigned wait_ms = SNAPSHOT_FOREVER;
	int option;

	optind = 0;
	while ((option = args_option(settings, argv[0], argc, argv, ":w:", options)) != -1) {
		if (option == 'h')
			return kvctl_help(&snapshot_command);
		if (option != 'w' || !args_seconds(argv[0], "--wait", optarg, &wait_ms))
			return CODE_USAGE;
	}
	if (!args_operands(argv[0], argc, argv, 0, ""))
		return CODE_USAGE;
	return ask(settings, argv[0], wait_ms);
}

const struct command snapshot_command = {
    .name = "snapshot",
    .operands = "[--wait SECS]",
    .summary = "have the server write a snapshot of its store",
    .details =
	"Asks a kvd that was started with -d to write a snapshot of its whole store, waits\n"
	"until it is there, and prints the number of the last operation in it. Older parts\n"
	"of the journal are removed then, and kvd's next start is quicker. The server goes\n"
	"on serving meanwhile; it takes snapshots automatically, too. With -q prints nothing.\n"
	"\n"
	"  -w, --wait SECS   wait no longer than this; 0: not at all (forever)\n"
	"  -h, --help        print this\n"
	"\n"
	"Example: kvctl snapshot\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 5 not done in time, 6 server not reached, 8 no space on the\n"
	"server's disk, 1 or 7 refused.\n",
    .run = run,
};
