/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_elect.c - The command elect: a command run while its value leads, and the leaders as they
 * come. */
#include <string.h>

#include <kv/lock.h>

#include "args.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "lock_holder.h"
#include "lock_options.h"
#include "output.h"
#include "status_line.h"

enum {
	WAIT_MS = 3600 * 1000, /* of one call; then the next one follows */
	VALUE_TEXT_SIZE = 4 * KV_LOCK_NOTE_MAX + ESCAPE_SIZE_MIN,
};

/* --- The leaders ------------------------------------------------------------------------------ */

struct observation {
	const struct settings *settings;
	struct kv_client *client;
	struct kv_bytes name;
	uint64_t token; /* of the leader printed last; 0: none led */
	bool cannot_wait;
};

/* One line: the leader's value; empty if there is no leader. */
static int print_leader(const struct observation *observation, const struct kv_lock_info *info) {
	struct kv_bytes value = {info->note, info->note_size};
	char text[VALUE_TEXT_SIZE];

	if (observation->settings->format == FORMAT_SIMPLE) {
		(void)escape_bytes(value, ESCAPE_WORD, text, sizeof(text));
		return output_text("%s\n", text);
	}
	json_t *object = json_object();
	if (!output_add_bytes(object, "name", observation->name) ||
	    (value.size > 0 && (!output_add_bytes(object, "leader", value) ||
				!output_add_number(object, "token", info->token)))) {
		json_decref(object);
		object = NULL;
	}
	return output_json(object);
}

/*
 * Waits until the lock is at another version than *seen, and inspects it then. KV_VERSION: it
 * changes too fast to be seen.
 */
static enum kv_status await_leader(struct observation *observation, uint64_t *seen,
				   struct kv_lock_info *info) {
	struct kv_value value;
	enum kv_status status;

	kv_set_timeout(observation->client, 0);
	do
		status = kv_wait(observation->client, observation->name, *seen, WAIT_MS, &value);
	while (status == KV_TIMEOUT);
	observation->cannot_wait = status == KV_INVALID;
	if (status != KV_OK && status != KV_NOKEY)
		return status;
	*seen = value.version;
	kv_value_free(&value);
	status = kv_lock_inspect(observation->client, observation->name, info);
	return status == KV_NOKEY ? KV_OK : status;
}

static int observe(const struct settings *settings, const struct lock_options *options) {
	struct observation observation = {.settings = settings, .name = options->request.key};
	struct attempted attempted = {
	    .command = elect_command.name, .key = observation.name, .expected = KV_ANY};
	uint64_t seen = KV_ANY - 1; /* no key is at it: the first state is shown at once */
	uint64_t printed = 0;
	enum kv_status status = KV_OK;
	int code =
	    kvctl_open(settings, elect_command.name, settings->timeout_ms, &observation.client);

	/* A server that goes away later is waited for, as one that never answers is not. */
	if (code == CODE_DONE)
		status = kv_ping(observation.client);
	while (status == KV_OK && code == CODE_DONE &&
	       (options->count == 0 || printed < options->count)) {
		struct kv_lock_info info;

		status = await_leader(&observation, &seen, &info);
		if (status == KV_VERSION) {
			status = KV_OK;
			continue;
		}
		if (status != KV_OK)
			break;
		uint64_t token = info.note_size > 0 ? info.token : 0;
		if (printed > 0 && token == observation.token)
			continue;
		observation.token = token;
		code = print_leader(&observation, &info);
		printed++;
	}
	if (observation.cannot_wait)
		code = error_report(CODE_REFUSED, elect_command.name,
				    "--observe needs tcp or a local socket, and no --history");
	else if (status != KV_OK)
		code = error_status(settings, observation.client, &attempted, status);
	if (observation.client != NULL)
		kvctl_close(settings, elect_command.name, observation.client, status == KV_OK);
	return code;
}

/* --- The campaign ----------------------------------------------------------------------------- */

static int read_value(struct lock_request *request, const char *value) {
	request->note = (struct kv_bytes){value, strlen(value)};
	request->needs_note = true;
	if (request->note.size == 0)
		return error_usage("elect", "VALUE is empty");
	if (request->note.size > KV_LOCK_NOTE_MAX)
		return error_report(CODE_FAILED, "elect", "VALUE has %zu bytes: at most %d",
				    request->note.size, KV_LOCK_NOTE_MAX);
	return CODE_DONE;
}

static int run(struct settings *settings, int argc, char **argv) {
	struct lock_options options;
	struct lock_request *request = &options.request;
	bool is_over = false;

	lock_options_begin(&options, &elect_command);
	int code = lock_options_read(&options, settings, &argc, &argv, &is_over);
	if (is_over)
		return code;
	if (argc == 0)
		return error_usage("elect", "expected the NAME of an election");
	request->name = argv[0];
	code = lock_options_read(&options, settings, &argc, &argv, &is_over);
	if (is_over)
		return code;
	code = args_key("elect", request->name, &request->key);
	if (code == CODE_DONE && options.action == ELECT_RUN) {
		if (argc == 0)
			return error_usage("elect", "expected the VALUE to publish behind NAME");
		code = read_value(request, argv[0]);
		if (code == CODE_DONE)
			code = lock_options_read(&options, settings, &argc, &argv, &is_over);
		if (is_over)
			return code;
	} else if (code == CODE_LIMIT && options.action == ELECT_RUN) {
		code = CODE_FAILED;
	}
	if (code == CODE_DONE)
		code = lock_options_end(&options, settings, argv);
	if (code != CODE_DONE)
		return code;
	return options.action == ELECT_OBSERVE ? observe(settings, &options)
					       : lock_holder_run(settings, request);
}

const struct command elect_command = {
    .name = "elect",
    .operands = "NAME VALUE [OPTION]... -- COMMAND...   |   elect --observe NAME [--count N]",
    .summary = "run a command while leading, or print the leaders",
    .details =
	"Waits until there is no leader under NAME, publishes VALUE (1 to 512 bytes) as the "
	"leader's,\n"
	"runs COMMAND while leading, then gives the lead up. It is the lock NAME with VALUE as "
	"its\n"
	"note: see kvctl lock --help for the options, the lease, what COMMAND gets, and the exit\n"
	"codes.\n"
	"\n"
	"      --wait SECS  wait no longer than this\n"
	"      --ttl SECS   how long VALUE leads on if kvctl or its machine dies (15)\n"
	"      --kill-after SECS   how long before the end of a lease that cannot be renewed\n"
	"                   COMMAND gets TERM (a fifth of --ttl)\n"
	"      --fence-env VARIABLE   set it to LOCK:TOKEN for COMMAND\n"
	"      --release-timeout SECS   how long giving up is tried (600; 0: forever)\n"
	"      --observe    print the leader's value, and then each one that follows, one a line;\n"
	"                   an empty line when there is no leader. Of changes in quick succession "
	"only\n"
	"                   the newest is printed\n"
	"      --count N    end after N lines\n"
	"  -h, --help       print this\n"
	"\n"
	"Example: kvctl elect scheduler \"$(hostname)\" -- run-scheduler\n"
	"\n"
	"Exit codes: as lock; with --observe 0 N lines were printed, 2 usage, 6 server not\n"
	"reached, 1, 7 or 8 refused.\n",
    .run = run,
    .takes_process = true,
};
