/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_lock.c - The command lock: a command run while a lock is held; locks broken, shown, checked.
 */
#include <kv/lock.h>

#include "args.h"
#include "errors.h"
#include "kvctl.h"
#include "lock_holder.h"
#include "lock_list.h"
#include "lock_options.h"
#include "status_line.h"

static int break_lock(const struct settings *settings, const struct lock_request *request) {
	struct attempted attempted = {
	    .command = lock_command.name, .key = request->key, .expected = KV_ANY};
	struct kv_client *client = NULL;
	struct status_line_wait wait;
	int code = kvctl_open(settings, attempted.command, settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;

	status_line_wait_begin(&wait, settings, client);
	enum kv_status status = kv_lock_break(client, request->key);
	status_line_wait_end(&wait);
	if (status != KV_OK)
		code = error_status(settings, client, &attempted, status);
	else
		notice(settings, attempted.command, "the lock is free");
	kvctl_close(settings, attempted.command, client, status == KV_OK);
	return code;
}

/* `lock --list [PREFIX]`, with its options read. */
static int list(struct settings *settings, struct lock_options *options, int argc, char **argv) {
	struct kv_bytes prefix = {"", 0};
	int code = CODE_DONE;

	if (argc > 0 && argv[0][0] != '\0')
		code = args_key("lock", argv[0], &prefix);
	if (code == CODE_DONE)
		code = lock_options_end(options, settings, argc > 0 ? argv + 1 : argv);
	return code == CODE_DONE ? lock_list_print(settings, prefix) : code;
}

/* `lock --check NAME TOKEN`, with its options read; TOKEN is at argv. */
static int check(struct settings *settings, struct lock_options *options, char **argv) {
	uint64_t token = 0;

	if (argv[0] == NULL)
		return error_usage("lock", "--check needs the TOKEN behind NAME");
	if (!args_number("lock", "TOKEN", argv[0], 1, KV_ANY - 1, &token))
		return CODE_USAGE;
	int code = lock_options_end(options, settings, argv + 1);
	return code == CODE_DONE ? lock_list_check(settings, options->request.key, token) : code;
}

static int run(struct settings *settings, int argc, char **argv) {
	struct lock_options options;
	struct lock_request *request = &options.request;
	bool is_over = false;

	lock_options_begin(&options, &lock_command);
	int code = lock_options_read(&options, settings, &argc, &argv, &is_over);
	if (is_over)
		return code;
	if (options.action == LOCK_LIST)
		return list(settings, &options, argc, argv);
	if (argc == 0)
		return error_usage("lock", "expected the NAME of a lock");
	request->name = argv[0];
	code = lock_options_read(&options, settings, &argc, &argv, &is_over);
	if (is_over)
		return code;
	code = args_key("lock", request->name, &request->key);
	bool is_too_long = code == CODE_LIMIT;
	if (code == CODE_DONE && options.action == LOCK_CHECK)
		return check(settings, &options, argv);
	if (code == CODE_DONE && options.action == LOCK_LIST)
		return error_usage("lock", "--list comes before PREFIX");
	if (code == CODE_DONE)
		code = lock_options_end(&options, settings, argv);
	if (code != CODE_DONE)
		return is_too_long && options.action == LOCK_RUN ? CODE_FAILED : code;
	return options.action == LOCK_BREAK ? break_lock(settings, request)
					    : lock_holder_run(settings, request);
}

const struct command lock_command = {
    .name = "lock",
    .operands =
	"NAME [OPTION]... -- COMMAND...   |   lock NAME --break   |   lock --list [PREFIX]\n"
	"       kvctl [OPTION]... lock --check NAME TOKEN",
    .summary = "run a command while holding a lock",
    .details =
	"Waits for the lock NAME, first come first served, runs COMMAND while holding it, then\n"
	"releases it. COMMAND has KV_LOCK_NAME and KV_LOCK_TOKEN (the fencing token: greater for\n"
	"each holder) in its environment, and KV_SERVER as -s has it; signals that kvctl is sent\n"
	"are passed on to it. COMMAND dies when kvctl does. The lock has a lease, which is "
	"renewed\n"
	"while COMMAND runs; when it cannot be, COMMAND and all that it started is ended before\n"
	"another can hold the lock.\n"
	"\n"
	"      --wait SECS  wait no longer than this, also for a server (0: try once; default:\n"
	"                   forever for the lock, -t for a server)\n"
	"      --ttl SECS   how long the lock stays taken if kvctl or its machine dies (15)\n"
	"      --no-ttl     no lease: until it is broken\n"
	"      --kill-after SECS   how long before the end of a lease that cannot be renewed\n"
	"                   COMMAND gets TERM; at the end it gets KILL (a fifth of --ttl)\n"
	"      --shared     share the lock with others that do: readers, beside a writer that "
	"does\n"
	"                   not\n"
	"      --note TEXT  what --list shows of the holder, up to 512 bytes (host, process, "
	"user,\n"
	"                   program, start)\n"
	"      --fence-env VARIABLE   set it to LOCK:TOKEN for COMMAND, as kvctl put --fence takes "
	"it\n"
	"      --release-timeout SECS   how long the release is tried (600; 0: forever)\n"
	"      --break      free the lock, no matter which process holds it: for a holder that\n"
	"                   died\n"
	"      --list       print the locks that are held and begin with PREFIX, one a line, with\n"
	"                   tabs: name, token, seconds of lease left (- without one), how many\n"
	"                   wait, the holder's id, its note, since when (UTC)\n"
	"      --check      exit with 0 if the lock is still held with TOKEN, with 4 if not\n"
	"  -h, --help       print this\n"
	"\n"
	"Example: kvctl lock backup --wait 60 -- sh -c 'echo holding $KV_LOCK_NAME; sleep 5'\n"
	"\n"
	"Exit codes: COMMAND's own (128+n for signal n), 121 the release was not confirmed, 123\n"
	"the lock was lost while COMMAND ran, 124 time was up, 125 kvctl failed, 126 COMMAND\n"
	"cannot be run, 127 COMMAND was not found, 2 usage. A signal that ends the wait: 128+n.\n"
	"With --break: 0 free, 3 no such lock, 4 it changed hands meanwhile, 5 outcome unknown,\n"
	"6 server not reached, 1, 7 or 8 refused.\n",
    .run = run,
    .takes_process = true,
};
