/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_mget.c - The command mget: the values of many keys. */
#include <stdlib.h>
#include <unistd.h>

#include "args.h"
#include "colour.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"

/* Keys that are read at once: their values are in memory together. */
enum { CHUNK = 64 };

/* Keys that are read together, with what came of it. */
struct chunk {
	struct kv_bytes keys[CHUNK];
	struct kv_value values[CHUNK];
	enum kv_status statuses[CHUNK];
	size_t count;
};

/* JSON: a missing key has the value null. */
static int print_object(struct kv_bytes key, const struct kv_value *value) {
	struct kv_bytes bytes = {value->data, value->size};
	json_t *object = json_object();
	bool is_made = output_add_bytes(object, "key", key) &&
		       (value->version == 0 ? json_object_set_new(object, "value", json_null()) == 0
					    : output_add_bytes(object, "value", bytes)) &&
		       output_add_number(object, "version", value->version);

	if (!is_made) {
		json_decref(object);
		object = NULL;
	}
	return output_json(object);
}

/* Each byte becomes at most an escape of four. */
static int print_line(struct kv_bytes key, const struct kv_value *value) {
	char name[4 * KV_KEY_MAX + ESCAPE_SIZE_MIN];
	char *text = malloc(4 * value->size + ESCAPE_SIZE_MIN);
	int code;

	if (text == NULL)
		return error_report(CODE_REFUSED, mget_command.name, "no memory");
	(void)escape_bytes(key, ESCAPE_WORD, name, sizeof(name));
	(void)escape_bytes((struct kv_bytes){value->data, value->size}, ESCAPE_WORD, text,
			   4 * value->size + ESCAPE_SIZE_MIN);
	code = output_text("%s%s%s\t%s\n", colour_begin(STDOUT_FILENO, COLOUR_KEY), name,
			   colour_end(STDOUT_FILENO), text);
	free(text);
	return code;
}

/* CODE_NOKEY if one of the keys is missing, which is reported. */
static int print_chunk(const struct settings *settings, struct kv_client *client,
		       const struct chunk *chunk) {
	int code = CODE_DONE;

	for (size_t i = 0; i < chunk->count; i++) {
		struct attempted attempted = {
		    .command = mget_command.name, .key = chunk->keys[i], .expected = KV_ANY};
		bool is_missing = chunk->statuses[i] == KV_NOKEY;
		int printed = CODE_DONE;

		if (settings->format == FORMAT_JSON)
			printed = print_object(chunk->keys[i], &chunk->values[i]);
		else if (!is_missing)
			printed = print_line(chunk->keys[i], &chunk->values[i]);
		else
			(void)error_status(settings, client, &attempted, KV_NOKEY);
		if (printed != CODE_DONE)
			return printed;
		if (is_missing)
			code = CODE_NOKEY;
	}
	return code;
}

/* A status that is no reply about a key, at the key that has it. */
static int report(const struct settings *settings, struct kv_client *client,
		  const struct chunk *chunk, enum kv_status status) {
	struct attempted attempted = {.command = mget_command.name, .expected = KV_ANY};

	for (size_t i = 0; i < chunk->count && attempted.key.size == 0; i++)
		if (chunk->statuses[i] == status)
			attempted.key = chunk->keys[i];
	return error_status(settings, client, &attempted, status);
}

static int read_chunk(const struct settings *settings, struct kv_client *client,
		      struct chunk *chunk) {
	struct status_line_wait wait;
	int code;

	status_line_wait_begin(&wait, settings, client);
	enum kv_status status =
	    kv_get_many(client, chunk->keys, chunk->count, chunk->values, chunk->statuses);
	status_line_wait_end(&wait);
	code = status == KV_OK ? print_chunk(settings, client, chunk)
			       : report(settings, client, chunk, status);
	for (size_t i = 0; i < chunk->count; i++)
		kv_value_free(&chunk->values[i]);
	return code;
}

static int mget(struct settings *settings, int argc, char **argv) {
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	struct chunk chunk = {.count = 0};
	struct kv_client *client = NULL;
	int code = CODE_DONE;

	optind = 0;
	int option = args_option(settings, argv[0], argc, argv, ":", none);
	if (option != -1)
		return option == 'h' ? kvctl_help(&mget_command) : CODE_USAGE;
	if (optind == argc)
		return error_usage(argv[0], "expected KEYs, got none");
	for (int i = optind; i < argc && code == CODE_DONE; i++)
		code = args_key(argv[0], argv[i], &chunk.keys[0]);
	if (code == CODE_DONE)
		code = kvctl_open(settings, argv[0], settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;

	/* A missing key ends nothing. */
	for (int i = optind; i < argc && (code == CODE_DONE || code == CODE_NOKEY);) {
		int got;

		for (chunk.count = 0; i < argc && chunk.count < CHUNK; i++)
			(void)args_key(argv[0], argv[i], &chunk.keys[chunk.count++]);
		got = read_chunk(settings, client, &chunk);
		code = got != CODE_DONE ? got : code;
	}
	kvctl_close(settings, argv[0], client, code == CODE_DONE || code == CODE_NOKEY);
	return code;
}

const struct command mget_command = {
    .name = "mget",
    .operands = "KEY...",
    .summary = "print the values of many keys",
    .details =
	"Prints a line for each KEY that exists, in the order given: the key, a tab, the\n"
	"value, with control characters and backslashes escaped. A key that is missing is\n"
	"reported, and the others are printed. With -o json each key has an object; that of\n"
	"a missing one has the value null and the version 0. The keys are read with many\n"
	"calls under way; they are not one point in time (kvctl txn compares).\n"
	"\n"
	"  -h, --help      print this\n"
	"\n"
	"Example: kvctl mget host port user\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 3 a key does not exist, 6 server not reached, 1 or 7\n"
	"refused, 8 too big for a datagram.\n",
    .run = mget,
};
