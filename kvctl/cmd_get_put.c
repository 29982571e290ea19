/* SPDX-License-Identifier: BSD-3-Clause */
/* values.c - the subcommands get, put and append: one key each. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "errors.h"
#include "value_arg.h"
#include "kvctl.h"
#include "output.h"

enum {
	OPTION_VERSION = 256, /* above all letters */
	OPTION_EXPECT,
	OPTION_CREATE,
	OPTION_OLD,
};

/* What put and append are asked to do. */
struct write {
	struct kv_bytes key;
	struct input value;
	uint64_t expected;
	bool wants_old;
};

static int print_entry(const struct settings *settings, struct kv_bytes key,
		       const struct kv_value *value, bool wants_version) {
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
	return output_value(bytes);
}

static int get_key(const struct settings *settings, struct kv_bytes key, bool wants_version) {
	struct action action = {.command = values_get.name, .key = key, .expected = KV_ANY};
	struct kv_client *client = NULL;
	if (!kvctl_open(settings, action.command, settings->timeout_ms, &client))
		return CODE_REFUSED;

	struct kv_value value;
	enum kv_status status = kv_get(client, key, &value);
	int code = status == KV_OK ? print_entry(settings, key, &value, wants_version)
				   : error_status(settings, client, &action, status);
	if (status == KV_OK)
		kv_value_free(&value);
	kvctl_close(settings, action.command, client, status == KV_OK);
	return code;
}

static int get(const struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"version", no_argument, NULL, OPTION_VERSION},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	bool wants_version = false;
	int option = 0;

	optind = 0;
	while ((option = arguments_option(argv[0], argc, argv, ":h", options)) != -1) {
		switch (option) {
		case OPTION_VERSION:
			wants_version = true;
			break;
		case 'h':
			return kvctl_help(&values_get);
		default:
			return CODE_USAGE;
		}
	}
	if (argc - optind != 1)
		return error_usage(argv[0], "one KEY is wanted, and %d were given",
				     argc - optind);

	struct kv_bytes key;
	int code = arguments_key(argv[0], argv[optind], &key);
	return code == CODE_DONE ? get_key(settings, key, wants_version) : code;
}

/*
 * Reads the operands KEY and VALUE and the options among `options` into *write. CODE_DONE; else
 * the exit code, with *is_over set: help was printed, or the mistake told.
 */
static int read_write(const struct command *command, const struct option *options, int argc,
		      char **argv, struct write *write, bool *is_over) {
	bool has_expected = false;
	bool has_create = false;
	int option = 0;

	*is_over = true;
	write->expected = KV_ANY;
	optind = 0;
	while ((option = arguments_option(argv[0], argc, argv, ":h", options)) != -1) {
		switch (option) {
		case OPTION_EXPECT:
			if (!arguments_version(argv[0], optarg, &write->expected))
				return CODE_USAGE;
			has_expected = true;
			break;
		case OPTION_CREATE:
			has_create = true;
			break;
		case OPTION_OLD:
			write->wants_old = true;
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
	if (argc - optind != 2)
		return error_usage(argv[0],
				     "KEY and VALUE are wanted, and %d operands were given "
				     "(quote a value that has spaces)",
				     argc - optind);

	int code = arguments_key(argv[0], argv[optind], &write->key);
	if (code == CODE_DONE)
		code = input_read(argv[0], argv[optind + 1], &write->value);
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
		return output_try_value(bytes);
	return output_try_text("%llu\n", (unsigned long long)version);
}

/*
 * A script takes exit code 1 for a refusal and may write again, so this is not it: whoever hears
 * only the code must look at the key first, as after any write whose outcome is unknown.
 */
static int tell_written(const struct settings *settings, const struct action *action,
			const struct write *write, const struct kv_value *old) {
	if (print_written(settings, write, action->current, old))
		return CODE_DONE;
	int error = errno;
	char key[FAILURE_TEXT_MAX];
	printable(action->key, key);
	return error_report(CODE_MAYBE, action->command,
			    "%s: the write is done, and made version %llu, but %s: cannot write to "
			    "standard output: %s (do not write it again)",
			    key, (unsigned long long)action->current,
			    write->wants_old ? "the old value is not printed"
					     : "that is not printed",
			    strerror(error));
}

static int run_write(const struct settings *settings, const struct command *command,
		     const struct write *write) {
	struct action action = {
	    .command = command->name, .key = write->key, .expected = write->expected};
	struct kv_client *client = NULL;
	if (!kvctl_open(settings, action.command, settings->timeout_ms, &client))
		return CODE_REFUSED;

	struct kv_value old = {.data = NULL};
	uint64_t version = 0;
	enum kv_status status =
	    command == &values_put
		? kv_put(client, write->key, write->value.bytes, write->expected, &version)
		: kv_append(client, write->key, write->value.bytes, write->expected,
			    write->wants_old ? &old : NULL, &version);
	action.current = version;
	int code = status == KV_OK ? tell_written(settings, &action, write, &old)
				   : error_status(settings, client, &action, status);
	kv_value_free(&old);
	kvctl_close(settings, action.command, client, status == KV_OK);
	return code;
}

static int put(const struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"expect", required_argument, NULL, OPTION_EXPECT},
	    {"create", no_argument, NULL, OPTION_CREATE},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	struct write write = {.expected = KV_ANY};
	bool is_over = false;
	int code = read_write(&values_put, options, argc, argv, &write, &is_over);
	if (!is_over)
		code = run_write(settings, &values_put, &write);
	input_free(&write.value);
	return code;
}

static int append(const struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"expect", required_argument, NULL, OPTION_EXPECT},
	    {"old", no_argument, NULL, OPTION_OLD},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	struct write write = {.expected = KV_ANY};
	bool is_over = false;
	int code = read_write(&values_append, options, argc, argv, &write, &is_over);
	if (!is_over)
		code = run_write(settings, &values_append, &write);
	input_free(&write.value);
	return code;
}

const struct command values_get = {
    .name = "get",
    .operands = "KEY [--version]",
    .summary = "print a value",
    .details = "Prints the value of KEY byte for byte; on a terminal a newline follows.\n"
	       "\n"
	       "      --version   print the version instead\n"
	       "  -h, --help      print this\n"
	       "\n"
	       "Example: kvctl get greeting\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 3 no such key, 6 no answer, 1 or 7 refused,\n"
	       "8 too big for a datagram.\n",
    .run = get,
};

const struct command values_put = {
    .name = "put",
    .operands = "KEY VALUE [--expect N] [--create]",
    .summary = "write a value, perhaps only over a known version",
    .details = "Writes VALUE and prints the new version. VALUE is taken as it is, - is standard\n"
	       "input, @FILE a file. What begins with - comes after --; what begins with @ comes\n"
	       "from standard input.\n"
	       "\n"
	       "      --expect N  only if the key is at version N (0: does not exist)\n"
	       "      --create    only if the key does not exist\n"
	       "  -h, --help      print this\n"
	       "\n"
	       "Examples: kvctl put greeting hello\n"
	       "          kvctl put photo @photo.jpg --create\n"
	       "          kvctl put balance --expect 7 -- -12\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 3 no such key (with --expect), 4 another version,\n"
	       "5 outcome unknown, or written and the answer could not be printed, 6 no answer\n"
	       "and nothing written, 8 too big or no room, 1 or 7 refused.\n",
    .run = put,
};

const struct command values_append = {
    .name = "append",
    .operands = "KEY VALUE [--expect N] [--old]",
    .summary = "add to the end of a value, exactly once",
    .details = "Adds VALUE to the end of the value, creating the key if it does not exist, and\n"
	       "prints the new version. VALUE is taken as it is, - is standard input, @FILE a\n"
	       "file. What begins with - comes after --.\n"
	       "\n"
	       "      --expect N  only if the key is at version N (0: does not exist)\n"
	       "      --old       print the value as it was before, instead of the version\n"
	       "  -h, --help      print this\n"
	       "\n"
	       "Example: date | kvctl append visits -\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 3 no such key (with --expect), 4 another version,\n"
	       "5 outcome unknown, or written and the answer could not be printed, 6 no answer\n"
	       "and nothing written, 8 too big or no room, 1 or 7 refused.\n",
    .run = append,
};
