/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_watch.c - The command watch: changes of keys, a line each. */
#include <stdio.h>

#include "args.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "output.h"
#include "watch_key.h"

enum {
	OPTION_PREFIX = 256, /* above all letters */
	OPTION_COUNT,
	OPTION_FROM,
	WAIT_MS = 60000, /* of one call; then the next one follows */
};

static json_t *json_change(const struct kv_watched *change) {
	json_t *object = json_object();

	if (output_add_bytes(object, "key", change->key) &&
	    (change->version == 0 || output_add_number(object, "version", change->version)) &&
	    json_object_set_new(object, "gone", json_boolean(change->is_gone)) == 0)
		return object;
	json_decref(object);
	return NULL;
}

/* Each line is written at once. */
static int print_change(const struct settings *settings, const struct kv_watched *change) {
	char name[4 * KV_KEY_MAX + 1];
	char version[24] = "-";

	if (settings->format == FORMAT_JSON)
		return output_json(json_change(change));
	if (change->version > 0)
		(void)snprintf(version, sizeof(version), "%llu",
			       (unsigned long long)change->version);
	(void)escape_bytes(change->key, ESCAPE_WORD, name, sizeof(name));
	return output_text("%s %s %s\n", change->is_gone ? "gone" : "put", version, name);
}

/* `count` 0: without end. */
static int print_changes(const struct settings *settings, struct kv_client *client,
			 struct kv_watch *watch, const struct attempted *attempted,
			 uint64_t count) {
	for (uint64_t printed = 0; count == 0 || printed < count;) {
		struct kv_watched change;
		enum kv_status status = kv_watch_next(watch, WAIT_MS, &change);

		if (status == KV_UNMET)
			continue;
		if (status != KV_OK)
			return error_status(settings, client, attempted, status);
		int code = print_change(settings, &change);
		if (code != CODE_DONE)
			return code;
		printed++;
	}
	return CODE_DONE;
}

static int watch_prefix(const struct settings *settings, struct kv_bytes prefix, uint64_t count) {
	struct attempted attempted = {
	    .command = watch_command.name, .key = prefix, .expected = KV_ANY};
	struct kv_client *client = NULL;
	struct kv_watch *watch = NULL;
	/* A server that was there is waited for, unless -t says for how long. */
	int code = kvctl_open(settings, watch_command.name,
			      settings->waits ? settings->timeout_ms : 0, &client);
	if (code != CODE_DONE)
		return code;

	enum kv_status status = kv_watch_open(client, prefix, &watch);
	code = status == KV_OK ? print_changes(settings, client, watch, &attempted, count)
			       : error_status(settings, client, &attempted, status);
	kv_watch_close(watch);
	kvctl_close(settings, watch_command.name, client, code == CODE_DONE);
	return code;
}

static int watch(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"prefix", required_argument, NULL, OPTION_PREFIX},
	    {"count", required_argument, NULL, OPTION_COUNT},
	    {"from", required_argument, NULL, OPTION_FROM},
	    {NULL, 0, NULL, 0},
	};
	struct kv_bytes prefix = {"", 0};
	struct watch_key one = {.count = 0};
	bool has_prefix = false;
	uint64_t count = 0;
	int code = CODE_DONE;
	int option = 0;

	optind = 0;
	while ((option = args_option(settings, argv[0], argc, argv, ":", options)) != -1) {
		switch (option) {
		case OPTION_PREFIX:
			has_prefix = true;
			if (optarg[0] != '\0')
				code = args_key(argv[0], optarg, &prefix);
			if (code != CODE_DONE)
				return code;
			break;
		case OPTION_COUNT:
			if (!args_number(argv[0], "--count", optarg, 1, UINT64_MAX, &count))
				return CODE_USAGE;
			break;
		case OPTION_FROM:
			if (!args_version(argv[0], "--from", optarg, &one.seen))
				return CODE_USAGE;
			one.has_from = true;
			break;
		case 'h':
			return kvctl_help(&watch_command);
		default:
			return CODE_USAGE;
		}
	}
	if (has_prefix && one.has_from)
		return error_usage(argv[0], "--from is for one KEY, not for a --prefix");
	if (!args_operands(argv[0], argc, argv, has_prefix ? 0 : 1,
			   has_prefix ? "no operands" : "one KEY, or --prefix PREFIX"))
		return CODE_USAGE;
	if (!has_prefix) {
		one.count = count;
		code = args_key(argv[0], argv[optind], &one.key);
		return code == CODE_DONE ? watch_key_run(settings, &one) : code;
	}
	return watch_prefix(settings, prefix, count);
}

const struct command watch_command = {
    .name = "watch",
    .operands = "KEY [--from VERSION] [--count N]   |   watch --prefix PREFIX [--count N]",
    .summary = "print which keys are there, then each change",
    .details =
	"Prints a line for each key that begins with PREFIX (\"\" for all), then one for each "
	"that\n"
	"changes: \"put VERSION KEY\", or \"gone VERSION KEY\" when it ended (VERSION - if it is "
	"not\n"
	"known). Of changes in quick succession only the newest is printed; get the value "
	"yourself.\n"
	"Goes on through restarts of the server.\n"
	"\n"
	"With KEY: prints the version of each new state of that key, 0 when it is gone; with\n"
	"-o json the value, too.\n"
	"\n"
	"      --from VERSION   begin with what is not this version (0: missing); default: the\n"
	"                       version at the start\n"
	"      --prefix PREFIX  which keys\n"
	"      --count N        end after N lines\n"
	"  -h, --help           print this\n"
	"\n"
	"Example: kvctl watch --prefix config/\n"
	"\n"
	"Exit codes: 0 N lines were printed, 2 usage, 6 server not reached (without -t: not even\n"
	"at first), 1 another store is served now, or refused; 7 or 8 refused.\n",
    .run = watch,
};
