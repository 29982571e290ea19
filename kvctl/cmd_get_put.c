/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_get_put.c - The commands get, put and append, on one key each. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"
#include "value_arg.h"

enum {
	OPTION_VERSION = 256, /* above all letters */
	OPTION_EXPECT,
	OPTION_CREATE,
	OPTION_OLD,
	OPTION_RAW,
	OPTION_TTL,
	OPTION_FENCE,
	OPTION_TICKET,
	OPTION_WAIT,
	REASON_SIZE = 1280,
};

/* What put and append are asked to do. */
struct write {
	struct kv_bytes key;
	struct value_arg value;
	uint64_t expected;
	unsigned ttl_ms;       /* 0: none */
	struct kv_bytes fence; /* name of a lock; size 0: none */
	uint64_t token;
	bool wants_old;
	bool is_raw;
};

static int print_entry(const struct settings *settings, struct kv_bytes key,
		       const struct kv_value *value, bool wants_version, bool is_raw) {
	struct kv_bytes bytes = {value->data, value->size};

	if (settings->format == FORMAT_JSON) {
		json_t *object = json_object();
		bool is_made = output_add_bytes(object, "key", key) &&
			       (wants_version || output_add_bytes(object, "value", bytes)) &&
			       output_add_number(object, "version", value->version);
		if (!is_made) {
			json_decref(object);
			object = NULL;
		}
		return output_json(object);
	}
	if (wants_version)
		return output_text("%llu\n", (unsigned long long)value->version);
	return output_value(bytes, is_raw);
}

/* A handle's time limit covers what its call may wait on the server, and more. */
static unsigned with_wait(unsigned timeout_ms, unsigned wait_ms) {
	return timeout_ms == 0 || timeout_ms > UINT_MAX - wait_ms ? 0 : timeout_ms + wait_ms;
}

static int get_key(const struct settings *settings, struct kv_bytes key, bool wants_version,
		   bool is_raw, const unsigned *wait_ms) {
	struct attempted attempted = {
	    .command = get_command.name, .key = key, .expected = KV_ANY, .waits = wait_ms != NULL};
	struct kv_client *client = NULL;
	struct status_line_wait wait;
	unsigned limit_ms =
	    wait_ms == NULL ? settings->timeout_ms : with_wait(settings->timeout_ms, *wait_ms);
	int code = kvctl_open(settings, attempted.command, limit_ms, &client);
	if (code != CODE_DONE)
		return code;

	char reason[REASON_SIZE] = "";
	struct kv_value value;
	status_line_wait_begin(&wait, settings, client);
	enum kv_status status = wait_ms == NULL ? kv_get(client, key, &value)
						: kv_wait(client, key, 0, *wait_ms, &value);
	status_line_wait_end(&wait);
	kv_last_error(client, reason, sizeof(reason));
	if (status == KV_OK)
		code = print_entry(settings, key, &value, wants_version, is_raw);
	else if (status == KV_TIMEOUT && wait_ms != NULL && reason[0] == '\0')
		code = error_report(CODE_UNREACHED, attempted.command,
				    "the key does not exist after %g s", *wait_ms / 1e3);
	else
		code = error_status(settings, client, &attempted, status);
	if (status == KV_OK)
		kv_value_free(&value);
	kvctl_close(settings, attempted.command, client, status == KV_OK);
	return code;
}

static int get(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"version", no_argument, NULL, OPTION_VERSION},
	    {"raw", no_argument, NULL, OPTION_RAW},
	    {"wait", required_argument, NULL, OPTION_WAIT},
	    {NULL, 0, NULL, 0},
	};
	bool has_wait = false;
	unsigned wait_ms = 0;
	bool wants_version = false;
	bool is_raw = false;
	int option = 0;

	optind = 0;
	while ((option = args_option(settings, argv[0], argc, argv, ":", options)) != -1) {
		switch (option) {
		case OPTION_VERSION:
			wants_version = true;
			break;
		case OPTION_RAW:
			is_raw = true;
			break;
		case OPTION_WAIT:
			if (!args_seconds(argv[0], "--wait", optarg, &wait_ms))
				return CODE_USAGE;
			has_wait = true;
			break;
		case 'h':
			return kvctl_help(&get_command);
		default:
			return CODE_USAGE;
		}
	}
	if (!args_operands(argv[0], argc, argv, 1, "one KEY"))
		return CODE_USAGE;

	struct kv_bytes key;
	int code = args_key(argv[0], argv[optind], &key);
	return code == CODE_DONE
		   ? get_key(settings, key, wants_version, is_raw, has_wait ? &wait_ms : NULL)
		   : code;
}

/* LOCK:TOKEN; a name may hold colons itself. */
static bool read_fence(const char *command, char *text, struct write *write) {
	char *colon = strrchr(text, ':');

	if (colon == NULL || colon == text) {
		(void)error_usage(command, "--fence takes LOCK:TOKEN, not \"%s\"", text);
		return false;
	}
	*colon = '\0';
	return args_key(command, text, &write->fence) == CODE_DONE &&
	       args_number(command, "the token of --fence", colon + 1, 1, UINT64_MAX - 1,
			   &write->token);
}

/*
 * Reads the operands KEY and VALUE and the options among `options` into *write. CODE_DONE; else
 * the exit code, with *is_over set: help was printed, or the mistake reported.
 */
static int read_write(struct settings *settings, const struct command *command,
		      const struct option *options, int argc, char **argv, struct write *write,
		      bool *is_over) {
	bool has_expected = false;
	bool has_create = false;
	int option = 0;

	*is_over = true;
	write->expected = KV_ANY;
	optind = 0;
	while ((option = args_option(settings, argv[0], argc, argv, ":", options)) != -1) {
		switch (option) {
		case OPTION_EXPECT:
			if (!args_version(argv[0], "--expect", optarg, &write->expected))
				return CODE_USAGE;
			has_expected = true;
			break;
		case OPTION_CREATE:
			has_create = true;
			break;
		case OPTION_OLD:
			write->wants_old = true;
			break;
		case OPTION_RAW:
			write->is_raw = true;
			break;
		case OPTION_TTL:
			if (!args_seconds(argv[0], "--ttl", optarg, &write->ttl_ms))
				return CODE_USAGE;
			break;
		case OPTION_FENCE:
			if (!read_fence(argv[0], optarg, write))
				return CODE_USAGE;
			break;
		case OPTION_TICKET:
			settings->ticket = optarg;
			break;
		case 'h':
			return kvctl_help(command);
		default:
			return CODE_USAGE;
		}
	}
	if (has_expected && has_create)
		return error_usage(argv[0], "--create is --expect 0: give one of them");
	if (has_create)
		write->expected = 0;
	if (!args_operands(argv[0], argc, argv, 2, "KEY and VALUE"))
		return CODE_USAGE;

	int code = args_key(argv[0], argv[optind], &write->key);
	if (code == CODE_DONE)
		code = value_arg_read(settings, argv[0], argv[optind + 1], &write->value);
	*is_over = code != CODE_DONE;
	return code;
}

/* False, with errno set: it could not be printed. */
static bool print_written(const struct settings *settings, const struct write *write,
			  uint64_t version, const struct kv_value *old) {
	struct kv_bytes bytes = {old->data, old->size};

	if (settings->is_quiet && !write->wants_old)
		return true;
	if (settings->format == FORMAT_JSON) {
		json_t *object = json_object();
		bool is_made =
		    output_add_bytes(object, "key", write->key) &&
		    output_add_number(object, "version", version) &&
		    (!write->wants_old || (output_add_bytes(object, "old", bytes) &&
					   output_add_number(object, "old_version", old->version)));
		if (!is_made) {
			json_decref(object);
			object = NULL;
		}
		return output_try_json(object);
	}
	if (write->wants_old)
		return output_try_value(bytes, write->is_raw);
	return output_try_text("%llu\n", (unsigned long long)version);
}

/*
 * A script takes exit code 1 for a refusal and may write again, so this is not it: a caller that
 * has only the code must read the key first, as after any write whose outcome is unknown.
 */
static int print_result(const struct settings *settings, const struct attempted *attempted,
			const struct write *write, const struct kv_value *old) {
	if (print_written(settings, write, attempted->current, old))
		return CODE_DONE;
	int error = errno;
	char key[ESCAPE_WORD_SIZE];
	escape_word(attempted->key, key);
	return error_report(CODE_MAYBE, attempted->command,
			    "%s: written (version %llu), but printing %s failed: %s. %s", key,
			    (unsigned long long)attempted->current,
			    write->wants_old ? "the old value" : "the result", strerror(error),
			    settings->ticket != NULL ? "The same command again prints it"
						     : "Do not retry");
}

/*
 * A Put with a ttl or a fence is a transaction of one change. KV_UNMET: the fence does not hold,
 * and *version is that of the lock.
 */
static enum kv_status put_in_txn(struct kv_client *client, const struct write *write,
				 uint64_t *version) {
	struct kv_condition conditions[2];
	struct kv_change put = {.kind = KV_CHANGE_PUT,
				.key = write->key,
				.value = write->value.bytes,
				.ttl_ms = write->ttl_ms};
	struct kv_txn txn = {.conditions = conditions, .changes = &put, .change_count = 1};

	if (write->fence.size > 0)
		conditions[txn.condition_count++] = (struct kv_condition){
		    .test = KV_AT, .key = write->fence, .version = write->token};
	if (write->expected != KV_ANY)
		conditions[txn.condition_count++] = (struct kv_condition){
		    .test = KV_AT, .key = write->key, .version = write->expected};
	enum kv_status status = kv_txn(client, &txn);

	*version = status == KV_OK ? put.version : txn.current;
	if (status != KV_UNMET || (write->fence.size > 0 && txn.which == 0))
		return status;
	return txn.current == 0 ? KV_NOKEY : KV_VERSION;
}

static int report_fence(const struct write *write, uint64_t version) {
	char name[ESCAPE_WORD_SIZE];

	escape_word(write->fence, name);
	return error_report(
	    CODE_VERSION, put_command.name,
	    "the fence does not hold: lock %s is at version %llu, not at token %llu; "
	    "nothing was written (the lock was lost)",
	    name, (unsigned long long)version, (unsigned long long)write->token);
}

static enum kv_status do_write(struct kv_client *client, const struct command *command,
			       const struct write *write, struct kv_value *old, uint64_t *version) {
	if (command == &append_command)
		return kv_append(client, write->key, write->value.bytes, write->expected,
				 write->wants_old ? old : NULL, version);
	if (write->ttl_ms > 0 || write->fence.size > 0)
		return put_in_txn(client, write, version);
	return kv_put(client, write->key, write->value.bytes, write->expected, version);
}

static int run_write(const struct settings *settings, const struct command *command,
		     const struct write *write) {
	struct attempted attempted = {.command = command->name,
				      .key = write->key,
				      .value_size = write->value.bytes.size,
				      .expected = write->expected,
				      .appends = command == &append_command};
	struct kv_client *client = NULL;
	struct status_line_wait wait;
	int code = kvctl_open(settings, attempted.command, settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;

	struct kv_value old = {.data = NULL};
	uint64_t version = 0;
	status_line_wait_begin(&wait, settings, client);
	enum kv_status status = do_write(client, command, write, &old, &version);
	status_line_wait_end(&wait);
	attempted.current = version;
	if (status == KV_OK)
		code = print_result(settings, &attempted, write, &old);
	else if (status == KV_UNMET)
		code = report_fence(write, version);
	else
		code = error_status(settings, client, &attempted, status);
	kv_value_free(&old);
	kvctl_close(settings, attempted.command, client, status == KV_OK);
	return code;
}

static int put(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"expect", required_argument, NULL, OPTION_EXPECT},
	    {"create", no_argument, NULL, OPTION_CREATE},
	    {"ttl", required_argument, NULL, OPTION_TTL},
	    {"fence", required_argument, NULL, OPTION_FENCE},
	    {"ticket", required_argument, NULL, OPTION_TICKET},
	    {NULL, 0, NULL, 0},
	};
	struct write write = {.expected = KV_ANY};
	bool is_over = false;
	int code = read_write(settings, &put_command, options, argc, argv, &write, &is_over);
	if (!is_over)
		code = run_write(settings, &put_command, &write);
	value_arg_free(&write.value);
	return code;
}

static int append(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"expect", required_argument, NULL, OPTION_EXPECT},
	    {"old", no_argument, NULL, OPTION_OLD},
	    {"ticket", required_argument, NULL, OPTION_TICKET},
	    {"raw", no_argument, NULL, OPTION_RAW},
	    {NULL, 0, NULL, 0},
	};
	struct write write = {.expected = KV_ANY};
	bool is_over = false;
	int code = read_write(settings, &append_command, options, argc, argv, &write, &is_over);
	if (!is_over)
		code = run_write(settings, &append_command, &write);
	value_arg_free(&write.value);
	return code;
}

const struct command get_command = {
    .name = "get",
    .operands = "KEY [--version] [--raw] [--wait SECS]",
    .summary = "print a value",
    .details = "Prints the value of KEY byte for byte. On a terminal control characters are\n"
	       "escaped, and a newline follows.\n"
	       "\n"
	       "      --version   print the version instead\n"
	       "      --raw       escape nothing, on a terminal either\n"
	       "      --wait SECS if the key is missing, wait so long until it exists\n"
	       "  -h, --help      print this\n"
	       "\n"
	       "Example: kvctl get greeting\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 3 no such key, 6 server not reached or --wait is\n"
	       "over, 1 or 7 refused, 8 too big for a datagram.\n",
    .run = get,
};

const struct command put_command = {
    .name = "put",
    .operands = "KEY VALUE [--expect N] [--create] [--ttl SECS]\n"
		"                 [--fence LOCK:TOKEN] [--ticket FILE]",
    .summary = "write a value, perhaps only over a known version",
    .details =
	"Writes VALUE and prints the new version. VALUE is taken as it is, - is standard\n"
	"input, @FILE a file. What begins with - comes after --; what begins with @ comes\n"
	"from standard input.\n"
	"\n"
	"      --expect N  only if the key is at version N (0: does not exist)\n"
	"      --create    only if the key does not exist\n"
	"      --ttl SECS  the key ends by itself SECS from now\n"
	"      --fence LOCK:TOKEN  only while LOCK is held with that token (KV_LOCK_TOKEN)\n"
	"      --ticket FILE  run it again as often as you like, after a kill, a reboot or a\n"
	"                  time-out: it happens once (kvctl(1), TICKETS)\n"
	"  -h, --help      print this\n"
	"\n"
	"Examples: kvctl put greeting hello\n"
	"          kvctl put photo @photo.jpg --create\n"
	"          kvctl put balance --expect 7 -- -12\n"
	"          kvctl put deployed v42 --ticket deploy.ticket\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 3 no such key (with --expect), 4 another version,\n"
	"5 outcome unknown, or written and the answer could not be printed, 6 server not\n"
	"reached and nothing written, 8 too big or no space, 1 or 7 refused.\n",
    .run = put,
};

const struct command append_command = {
    .name = "append",
    .operands = "KEY VALUE [--expect N] [--old] [--raw] [--ticket FILE]",
    .summary = "add to the end of a value, exactly once",
    .details =
	"Adds VALUE to the end of the value, creating the key if it does not exist, and\n"
	"prints the new version. VALUE is taken as it is, - is standard input, @FILE a\n"
	"file. What begins with - comes after --.\n"
	"\n"
	"      --expect N  only if the key is at version N (0: does not exist)\n"
	"      --old       print the value as it was before, instead of the version\n"
	"      --raw       escape nothing of it, on a terminal either\n"
	"      --ticket FILE  run it again as often as you like, after a kill, a reboot or a\n"
	"                  time-out: it happens once (kvctl(1), TICKETS)\n"
	"  -h, --help      print this\n"
	"\n"
	"Example: date | kvctl append visits -\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 3 no such key (with --expect), 4 another version,\n"
	"5 outcome unknown, or written and the answer could not be printed, 6 server not\n"
	"reached and nothing written, 8 too big or no space, 1 or 7 refused.\n",
    .run = append,
};
