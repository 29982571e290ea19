/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_keys.c - The commands del, ls and touch. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"

enum {
	OPTION_EXPECT = 256, /* above all letters */
	OPTION_LIMIT,
	OPTION_TTL,
	OPTION_TICKET,
};

/* What the options of these commands say. */
struct key_options {
	uint64_t expected;
	uint64_t limit;
	unsigned ttl_ms;
	bool has_ttl;
	bool is_long;
	bool ends_with_nul;
};

/*
 * Reads the options; optind is at the first operand then. CODE_DONE; else the exit code, with
 * *is_over set: help was printed, or the mistake reported.
 */
static int read_options(struct settings *settings, const struct command *command,
			const char *letters, const struct option *options, int argc, char **argv,
			struct key_options *read, bool *is_over) {
	int option = 0;

	*is_over = true;
	*read = (struct key_options){.expected = KV_ANY};
	optind = 0;
	while ((option = args_option(settings, argv[0], argc, argv, letters, options)) != -1) {
		switch (option) {
		case OPTION_EXPECT:
			if (!args_version(argv[0], "--expect", optarg, &read->expected))
				return CODE_USAGE;
			break;
		case OPTION_LIMIT:
			if (!args_number(argv[0], "--limit", optarg, 1, UINT64_MAX, &read->limit))
				return CODE_USAGE;
			break;
		case OPTION_TTL:
			if (!args_seconds(argv[0], "--ttl", optarg, &read->ttl_ms))
				return CODE_USAGE;
			read->has_ttl = true;
			break;
		case OPTION_TICKET:
			settings->ticket = optarg;
			break;
		case 'l':
			read->is_long = true;
			break;
		case '0':
			read->ends_with_nul = true;
			break;
		case 'h':
			return kvctl_help(command);
		default:
			return CODE_USAGE;
		}
	}
	*is_over = false;
	return CODE_DONE;
}

/* --- del and touch --------------------------------------------------------------------------- */

static int print_version(const struct settings *settings, struct kv_bytes key, uint64_t version) {
	if (settings->is_quiet)
		return CODE_DONE;
	if (settings->format == FORMAT_SIMPLE)
		return output_text("%llu\n", (unsigned long long)version);
	json_t *object = json_object();
	if (!output_add_bytes(object, "key", key) ||
	    !output_add_number(object, "version", version)) {
		json_decref(object);
		object = NULL;
	}
	return output_json(object);
}

static int change_key(const struct settings *settings, const struct command *command,
		      struct kv_bytes key, const struct key_options *options) {
	struct attempted attempted = {
	    .command = command->name, .key = key, .expected = options->expected};
	struct kv_client *client = NULL;
	struct status_line_wait wait;
	uint64_t version = 0;
	int code = kvctl_open(settings, command->name, settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;

	status_line_wait_begin(&wait, settings, client);
	enum kv_status status = command == &del_command
				    ? kv_delete(client, key, options->expected, &version)
				    : kv_touch(client, key, options->expected, options->ttl_ms);
	status_line_wait_end(&wait);
	if (status == KV_OK) {
		/* The version that is gone is the one before that which the delete spent. */
		code =
		    command == &del_command ? print_version(settings, key, version - 1) : CODE_DONE;
		if (code != CODE_DONE)
			code = CODE_MAYBE;
	} else {
		attempted.current = version;
		code = error_status(settings, client, &attempted, status);
	}
	kvctl_close(settings, command->name, client, status == KV_OK);
	return code;
}

static int del(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"expect", required_argument, NULL, OPTION_EXPECT},
	    {"ticket", required_argument, NULL, OPTION_TICKET},
	    {NULL, 0, NULL, 0},
	};
	struct key_options read;
	struct kv_bytes key;
	bool is_over = false;
	int code = read_options(settings, &del_command, ":", options, argc, argv, &read, &is_over);
	if (is_over)
		return code;
	if (!args_operands(argv[0], argc, argv, 1, "one KEY"))
		return CODE_USAGE;
	code = args_key(argv[0], argv[optind], &key);
	return code == CODE_DONE ? change_key(settings, &del_command, key, &read) : code;
}

static int touch(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"expect", required_argument, NULL, OPTION_EXPECT},
	    {"ttl", required_argument, NULL, OPTION_TTL},
	    {NULL, 0, NULL, 0},
	};
	struct key_options read;
	struct kv_bytes key;
	bool is_over = false;
	int code =
	    read_options(settings, &touch_command, ":", options, argc, argv, &read, &is_over);
	if (is_over)
		return code;
	if (!args_operands(argv[0], argc, argv, 1, "one KEY"))
		return CODE_USAGE;
	if (!read.has_ttl || read.ttl_ms == 0)
		return error_usage(argv[0], "--ttl SECS is required, and more than 0");
	code = args_key(argv[0], argv[optind], &key);
	return code == CODE_DONE ? change_key(settings, &touch_command, key, &read) : code;
}

/* --- ls -------------------------------------------------------------------------------------- */

struct listing {
	const struct settings *settings;
	const struct key_options *options;
	uint64_t left; /* keys that may be printed; 0: as many as there are */
	int code;
};

static json_t *json_key(const struct kv_key *key) {
	json_t *object = json_object();

	if (output_add_bytes(object, "key", key->key) &&
	    output_add_number(object, "version", key->version) &&
	    output_add_number(object, "size", key->size) &&
	    (key->ttl_left_ms == 0 || output_add_number(object, "ttl_left_ms", key->ttl_left_ms)) &&
	    output_add_number(object, "waiting", key->waiting))
		return object;
	json_decref(object);
	return NULL;
}

static int print_name(const struct listing *listing, struct kv_bytes key) {
	char end = listing->options->ends_with_nul ? '\0' : '\n';
	char name[4 * KV_KEY_MAX + 1];

	if (listing->options->ends_with_nul) {
		memcpy(name, key.data, key.size);
		name[key.size] = end;
		if (output_write(1, (struct kv_bytes){name, key.size + 1}))
			return CODE_DONE;
		return error_report(CODE_REFUSED, ls_command.name,
				    "cannot write to standard output");
	}
	(void)escape_bytes(key, ESCAPE_WORD, name, sizeof(name));
	return output_text("%s\n", name);
}

static int print_key(const struct listing *listing, const struct kv_key *key) {
	char ttl[24] = "-";

	if (listing->settings->format == FORMAT_JSON)
		return output_json(json_key(key));
	if (listing->options->is_long) {
		if (key->ttl_left_ms > 0)
			(void)snprintf(ttl, sizeof(ttl), "%.1f", (double)key->ttl_left_ms / 1000);
		int code = output_text("%llu %u %s %u ", (unsigned long long)key->version,
				       key->size, ttl, key->waiting);
		if (code != CODE_DONE)
			return code;
	}
	return print_name(listing, key->key);
}

static bool show_key(void *context, const struct kv_key *key) {
	struct listing *listing = context;

	listing->code = print_key(listing, key);
	return listing->code == CODE_DONE && (listing->left == 0 || --listing->left > 0);
}

static int list_keys(const struct settings *settings, struct kv_bytes prefix,
		     const struct key_options *options) {
	struct attempted attempted = {
	    .command = ls_command.name, .key = prefix, .expected = KV_ANY};
	struct listing listing = {
	    .settings = settings, .options = options, .left = options->limit, .code = CODE_DONE};
	struct kv_client *client = NULL;
	int code = kvctl_open(settings, ls_command.name, settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;

	enum kv_status status = kv_list_each(client, prefix, show_key, &listing);
	code = status == KV_OK ? listing.code : error_status(settings, client, &attempted, status);
	kvctl_close(settings, ls_command.name, client, status == KV_OK);
	return code;
}

static int ls(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"limit", required_argument, NULL, OPTION_LIMIT},
	    {"long", no_argument, NULL, 'l'},
	    {"null", no_argument, NULL, '0'},
	    {NULL, 0, NULL, 0},
	};
	struct key_options read;
	struct kv_bytes prefix = {"", 0};
	bool is_over = false;
	int code = read_options(settings, &ls_command, ":l0", options, argc, argv, &read, &is_over);
	if (is_over)
		return code;
	if (argc - optind > 1)
		return error_usage(argv[0], "expected one PREFIX at most, got %d arguments",
				   argc - optind);
	if (optind < argc && argv[optind][0] != '\0')
		code = args_key(argv[0], argv[optind], &prefix);
	return code == CODE_DONE ? list_keys(settings, prefix, &read) : code;
}

const struct command del_command = {
    .name = "del",
    .operands = "KEY [--expect N] [--ticket FILE]",
    .summary = "remove a key, perhaps only at a known version",
    .details =
	"Removes KEY and prints the version that is gone. A key that is made again has a\n"
	"higher version than it ever had.\n"
	"\n"
	"      --expect N  only if the key is at version N\n"
	"      --ticket FILE  run it again as often as you like, after a kill, a reboot or a\n"
	"                  time-out: it happens once (kvctl(1), TICKETS)\n"
	"  -h, --help      print this\n"
	"\n"
	"Example: kvctl del greeting --expect 7\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 3 no such key, 4 another version, 5 outcome unknown,\n"
	"6 server not reached and nothing removed, 1 or 7 refused.\n",
    .run = del,
};

const struct command touch_command = {
    .name = "touch",
    .operands = "KEY --ttl SECS [--expect N]",
    .summary = "let a key with a ttl live longer",
    .details = "Moves the end of KEY to SECS from now, if that is later, or gives it a ttl. Its\n"
	       "version stays.\n"
	       "\n"
	       "      --ttl SECS  seconds, with a fraction if you like; up to ten years\n"
	       "      --expect N  only if the key is at version N\n"
	       "  -h, --help      print this\n"
	       "\n"
	       "Example: kvctl touch workers/7 --ttl 30\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 3 no such key, 4 another version, 5 outcome unknown,\n"
	       "6 server not reached, 1 or 7 refused.\n",
    .run = touch,
};

const struct command ls_command = {
    .name = "ls",
    .operands = "[PREFIX] [-l] [-0] [--limit N]",
    .summary = "list keys, in the order of their bytes",
    .details =
	"Prints the keys that begin with PREFIX (all without one), one a line, with control\n"
	"characters escaped. Each 1000 keys are one point in time.\n"
	"\n"
	"  -l, --long      version, size, seconds of ttl left (- without one), how many calls\n"
	"                  wait for it, and the key\n"
	"  -0, --null      end each key with a NUL, and escape nothing\n"
	"      --limit N   at most N keys\n"
	"  -h, --help      print this\n"
	"\n"
	"Example: kvctl ls jobs/ -l\n"
	"\n"
	"Exit codes: 0 done (also if there is no such key), 2 usage, 6 server not reached,\n"
	"1 or 7 refused.\n",
    .run = ls,
};
