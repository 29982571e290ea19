/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_status.c - The command status: what a server reports of itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "metrics_text.h"
#include "output.h"
#include "status_line.h"

/* Two digits a byte, and the NUL. */
enum { STORE_TEXT_SIZE = 2 * 16 + 1, EPOCH_TEXT_SIZE = 2 * 8 + 1 };

static void format_store(const struct kv_stats *stats, char text[STORE_TEXT_SIZE]) {
	for (size_t i = 0; i < sizeof(stats->store); i++)
		(void)sprintf(text + 2 * i, "%02x", (unsigned)stats->store[i]);
}

static struct kv_bytes bytes_of(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

static json_t *make_counters(const struct kv_stats *stats) {
	json_t *counters = json_object();
	for (size_t i = 0; i < stats->counter_count; i++) {
		/* A peer chose the names: what is not UTF-8 is shown as on a terminal. */
		char name[ESCAPE_WORD_SIZE];
		escape_word(bytes_of(stats->counters[i].name), name);
		if (!output_add_number(counters, name, stats->counters[i].value)) {
			json_decref(counters);
			return NULL;
		}
	}
	return counters;
}

static int print_json(const struct kv_stats *stats, const char *store, const char *epoch) {
	json_t *object = json_object();
	bool is_made = output_add_bytes(object, "server", bytes_of(stats->server)) &&
		       output_add_bytes(object, "software", bytes_of(stats->software)) &&
		       output_add_bytes(object, "store", bytes_of(store)) &&
		       output_add_bytes(object, "epoch", bytes_of(epoch)) &&
		       json_object_set_new(object, "counters", make_counters(stats)) == 0;
	if (!is_made) {
		json_decref(object);
		object = NULL;
	}
	return output_json(object);
}

static int print_simple(const struct kv_stats *stats, const char *store, const char *epoch) {
	char text[ESCAPE_WORD_SIZE];
	int width = (int)strlen("software");
	for (size_t i = 0; i < stats->counter_count; i++) {
		escape_word(bytes_of(stats->counters[i].name), text);
		int size = (int)strlen(text);
		width = size > width ? size : width;
	}

	escape_word(bytes_of(stats->server), text);
	int code = output_text("%-*s  %s\n", width, "server", text);
	escape_word(bytes_of(stats->software), text);
	if (code == CODE_DONE)
		code = output_text("%-*s  %s\n", width, "software", text);
	if (code == CODE_DONE)
		code = output_text("%-*s  %s\n", width, "store", store);
	if (code == CODE_DONE)
		code = output_text("%-*s  %s\n", width, "epoch", epoch);
	for (size_t i = 0; code == CODE_DONE && i < stats->counter_count; i++) {
		escape_word(bytes_of(stats->counters[i].name), text);
		code = output_text("%-*s  %llu\n", width, text,
				   (unsigned long long)stats->counters[i].value);
	}
	return code;
}

/* As a scrape of kvd --metrics has it. */
static int print_prometheus(const struct kv_stats *stats) {
	struct metrics_value *values = calloc(stats->counter_count + 1, sizeof(*values));
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	bool is_made = values != NULL && out != NULL;
	for (size_t i = 0; is_made && i < stats->counter_count; i++)
		values[i] =
		    (struct metrics_value){stats->counters[i].name, stats->counters[i].value};
	is_made = is_made && metrics_text_write(out, stats->software, values, stats->counter_count);
	is_made = out != NULL && fclose(out) == 0 && is_made;
	free(values);
	int code =
	    is_made ? output_text("%s", text) : error_report(CODE_REFUSED, "status", "no memory");
	free(text);
	return code;
}

static int print_stats(const struct settings *settings, const struct kv_stats *stats) {
	char store[STORE_TEXT_SIZE];
	char epoch[EPOCH_TEXT_SIZE];
	format_store(stats, store);
	if (settings->format == FORMAT_PROMETHEUS)
		return print_prometheus(stats);
	(void)snprintf(epoch, sizeof(epoch), "%016llx", (unsigned long long)stats->epoch);
	return settings->format == FORMAT_JSON ? print_json(stats, store, epoch)
					       : print_simple(stats, store, epoch);
}

static int run(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {NULL, 0, NULL, 0},
	};
	struct attempted attempted = {.command = argv[0], .expected = KV_ANY};

	optind = 0;
	int option = args_option(settings, argv[0], argc, argv, ":", options);
	if (option == 'h')
		return kvctl_help(&status_command);
	if (option != -1)
		return CODE_USAGE;
	if (!args_operands(argv[0], argc, argv, 0, ""))
		return CODE_USAGE;

	struct kv_client *client = NULL;
	struct status_line_wait wait;
	int code = kvctl_open(settings, argv[0], settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;
	struct kv_stats stats;
	status_line_wait_begin(&wait, settings, client);
	enum kv_status status = kv_stats(client, &stats);
	status_line_wait_end(&wait);
	code = status == KV_OK ? print_stats(settings, &stats)
			       : error_status(settings, client, &attempted, status);
	if (status == KV_OK)
		kv_stats_free(&stats);
	kvctl_close(settings, argv[0], client, status == KV_OK);
	return code;
}

const struct command status_command = {
    .name = "status",
    .operands = "",
    .summary = "print the server's counters",
    .details =
	"Prints which server answered (address, software, store id, epoch) and the server's\n"
	"counters, a name and a value a line; with -o prometheus as metrics, in its text format.\n"
	"\n"
	"  -h, --help      print this\n"
	"\n"
	"Example: kvctl -o json status\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 6 server not reached, 1 or 7 refused.\n",
    .run = run,
};
