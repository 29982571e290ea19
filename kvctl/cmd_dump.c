/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_dump.c - The command dump: keys with their values as lines of JSON, for the command load. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "errors.h"
#include "json_bytes.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"
#include "timing.h"

enum {
	RANGE_BYTES = 8 << 20, /* of the values that are held together, and one value more */
	FLUSH_BYTES = 1 << 18, /* written at once */
	NUMBERS_SIZE = 96,     /* braces, version and ttl of a line */
	PROGRESS_MS = 500,
};

struct dump {
	const struct settings *settings;
	struct kv_client *client;
	struct kv_bytes prefix;
	struct kv_bytes keys[KV_PAGE_MAX]; /* of a range */
	struct kv_value values[KV_PAGE_MAX];
	enum kv_status statuses[KV_PAGE_MAX];
	bool is_terminal;
	char *text; /* not written yet */
	size_t text_size, text_capacity;
	uint64_t keys_written;
	double shown_ms;
};

static int no_memory(void) {
	return error_report(CODE_REFUSED, dump_command.name, "no memory");
}

/* --- Lines ----------------------------------------------------------------------------------- */

static int flush(struct dump *dump) {
	int code = output_bytes((struct kv_bytes){dump->text, dump->text_size});

	dump->text_size = 0;
	return code;
}

/* Control characters of others do not reach a terminal. */
static int write_to_terminal(const struct kv_key *key, const struct kv_value *value) {
	struct kv_bytes bytes = {value->data, value->size};
	json_t *object = json_object();

	if (!output_add_bytes(object, "key", key->key) ||
	    !output_add_bytes(object, "value", bytes) ||
	    !output_add_number(object, "version", value->version) ||
	    (key->ttl_left_ms > 0 && !output_add_number(object, "ttl_ms", key->ttl_left_ms))) {
		json_decref(object);
		object = NULL;
	}
	return output_json(object);
}

static int write_line(struct dump *dump, const struct kv_key *key, const struct kv_value *value) {
	struct kv_bytes bytes = {value->data != NULL ? value->data : "", value->size};
	size_t size = json_bytes_size(key->key) + json_bytes_size(bytes) + NUMBERS_SIZE;

	if (dump->is_terminal)
		return write_to_terminal(key, value);
	if (dump->text_capacity - dump->text_size < size) {
		size_t capacity = dump->text_size + size + FLUSH_BYTES;
		char *larger = realloc(dump->text, capacity);

		if (larger == NULL)
			return no_memory();
		dump->text = larger;
		dump->text_capacity = capacity;
	}
	char *at = dump->text + dump->text_size;
	*at++ = '{';
	at = json_bytes_put(at, "key", key->key);
	*at++ = ',';
	at = json_bytes_put(at, "value", bytes);
	at += sprintf(at, ",\"version\":%llu", (unsigned long long)value->version);
	if (key->ttl_left_ms > 0)
		at += sprintf(at, ",\"ttl_ms\":%llu", (unsigned long long)key->ttl_left_ms);
	at += sprintf(at, "}\n");
	dump->text_size = (size_t)(at - dump->text);
	return dump->text_size >= FLUSH_BYTES ? flush(dump) : CODE_DONE;
}

static void show_progress(struct dump *dump) {
	double now_ms = timing_now_ms();

	if (dump->is_terminal || now_ms - dump->shown_ms < PROGRESS_MS)
		return;
	dump->shown_ms = now_ms;
	status_line_show(dump->settings, "kvctl: dump: %llu keys",
			 (unsigned long long)dump->keys_written);
}

static int write_range(struct dump *dump, const struct kv_key *keys, size_t count) {
	int code = CODE_DONE;

	for (size_t i = 0; code == CODE_DONE && i < count; i++) {
		struct attempted attempted = {
		    .command = dump_command.name, .key = keys[i].key, .expected = KV_ANY};

		if (dump->statuses[i] == KV_NOKEY)
			continue; /* it went since the page was listed */
		if (dump->statuses[i] != KV_OK)
			return error_status(dump->settings, dump->client, &attempted,
					    dump->statuses[i]);
		code = write_line(dump, &keys[i], &dump->values[i]);
		dump->keys_written++;
	}
	show_progress(dump);
	return code;
}

/* In ranges whose values fit the memory. */
static int write_page(struct dump *dump, const struct kv_list *list) {
	int code = CODE_DONE;

	for (size_t from = 0, to = 0; code == CODE_DONE && from < list->count; from = to) {
		size_t bytes = 0;

		for (; to < list->count && (to == from || bytes < RANGE_BYTES); to++) {
			dump->keys[to - from] = list->keys[to].key;
			bytes += list->keys[to].size;
		}
		(void)kv_get_many(dump->client, dump->keys, to - from, dump->values,
				  dump->statuses);
		code = write_range(dump, list->keys + from, to - from);
		for (size_t i = 0; i < to - from; i++)
			kv_value_free(&dump->values[i]);
	}
	return code;
}

static int write_all(struct dump *dump) {
	struct attempted attempted = {
	    .command = dump_command.name, .key = dump->prefix, .expected = KV_ANY};
	char last[KV_KEY_MAX];
	struct kv_bytes after = {last, 0};
	bool more = true;
	int code = CODE_DONE;

	while (code == CODE_DONE && more) {
		struct kv_list list;
		enum kv_status status = kv_list(dump->client, dump->prefix, after, 0, &list);

		if (status != KV_OK) {
			status_line_clear(dump->settings);
			return error_status(dump->settings, dump->client, &attempted, status);
		}
		code = write_page(dump, &list);
		more = list.more && list.count > 0;
		if (more) {
			after.size = list.keys[list.count - 1].key.size;
			memcpy(last, list.keys[list.count - 1].key.data, after.size);
		}
		kv_list_free(&list);
	}
	status_line_clear(dump->settings);
	return code == CODE_DONE ? flush(dump) : code;
}

static int dump_keys(const struct settings *settings, struct kv_bytes prefix) {
	struct dump *dump = calloc(1, sizeof(*dump));
	int code;

	if (dump == NULL)
		return no_memory();
	dump->settings = settings;
	dump->prefix = prefix;
	dump->is_terminal = isatty(STDOUT_FILENO) == 1;
	code = kvctl_open(settings, dump_command.name, settings->timeout_ms, &dump->client);
	if (code == CODE_DONE) {
		code = write_all(dump);
		kvctl_close(settings, dump_command.name, dump->client, code == CODE_DONE);
	}
	free(dump->text);
	free(dump);
	return code;
}

static int dump(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {{NULL, 0, NULL, 0}};
	struct kv_bytes prefix = {"", 0};
	int code = CODE_DONE;

	optind = 0;
	int option = args_option(settings, argv[0], argc, argv, ":", options);
	if (option != -1)
		return option == 'h' ? kvctl_help(&dump_command) : CODE_USAGE;
	if (argc - optind > 1)
		return error_usage(argv[0], "expected one PREFIX at most, got %d arguments",
				   argc - optind);
	if (optind < argc && argv[optind][0] != '\0')
		code = args_key(argv[0], argv[optind], &prefix);
	return code == CODE_DONE ? dump_keys(settings, prefix) : code;
}

const struct command dump_command = {
    .name = "dump",
    .operands = "[PREFIX]",
    .summary = "print keys and values as lines of JSON, for load",
    .details = "Prints the keys that begin with PREFIX (all without one), in the order of their\n"
	       "bytes, as one JSON object a line: key, value, version and, of one that ends by\n"
	       "itself, ttl_ms. What is not UTF-8 is base64, as key_base64 or value_base64. Keys\n"
	       "that change meanwhile are dumped as they were at some moment of the dump.\n"
	       "\n"
	       "  -h, --help      print this\n"
	       "\n"
	       "Example: kvctl dump config/ > config.json\n"
	       "\n"
	       "Exit codes: 0 done, 2 usage, 6 server not reached, 1 or 7 refused, or the output\n"
	       "could not be written.\n",
    .run = dump,
};
