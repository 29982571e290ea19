/* SPDX-License-Identifier: BSD-3-Clause */
#include "metrics_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum metric_type { COUNTER, GAUGE, HISTOGRAM };

/*
 * A row is a family. A counter is shown as its value divided by `unit`. Without a label `name` is
 * the counter's; with one it begins the names of several counters, and the rest is the label's
 * value. A histogram has counters NAME[LABEL_]le_BOUND, upwards, the last of them le_inf, and
 * NAME[LABEL_]sum behind them.
 */
static const struct row {
	const char *name;
	const char *metric;
	enum metric_type type;
	unsigned unit;
	const char *label; /* NULL: none */
	const char *help;
} rows[] = {
    {"uptime_ms", "uptime_seconds", GAUGE, 1000, NULL, "Since the start."},
    {"keys", "keys", GAUGE, 1, NULL, "Keys."},
    {"keys_with_ttl", "keys_with_ttl", GAUGE, 1, NULL, "Keys that end by themselves."},
    {"ttls_ended", "ttls_ended_total", COUNTER, 1, NULL, "Keys that ended by themselves."},
    {"memory_used", "memory_used_bytes", GAUGE, 1, NULL, "Keys, values, sessions, replies."},
    {"memory_max", "memory_max_bytes", GAUGE, 1, NULL, "The limit --max-memory."},
    {"value_max", "value_max_bytes", GAUGE, 1, NULL, "The limit --max-value."},
    {"sessions", "sessions", GAUGE, 1, NULL, "Sessions."},
    {"sessions_max", "sessions_max", GAUGE, 1, NULL, "The limit --max-sessions."},
    {"sessions_each", "sessions_each_max", GAUGE, 1, NULL, "The limit --max-sessions-each."},
    {"sessions_opened", "sessions_opened_total", COUNTER, 1, NULL, "Sessions opened."},
    {"sessions_expired", "sessions_expired_total", COUNTER, 1, NULL,
     "Sessions ended by their lease, or to make room."},
    {"sessions_memory_reserved", "sessions_memory_reserved_bytes", GAUGE, 1, NULL,
     "What sessions take if each uses all its slots."},
    {"sessions_memory_max", "sessions_memory_max_bytes", GAUGE, 1, NULL, "The limit of that."},
    {"calls_of_", "calls_total", COUNTER, 1, "procedure", "Calls that got a reply."},
    {"latency_", "call_duration_seconds", HISTOGRAM, 1000000, "procedure",
     "From the turn that received a call to its reply, without waiting for a key."},
    {"reads_served", "reads_total", COUNTER, 1, NULL, "Reads that found their key, and lists."},
    {"reads_missed", "reads_missed_total", COUNTER, 1, NULL, "Reads that found no key."},
    {"writes_applied", "writes_total", COUNTER, 1, NULL, "Writes that happened."},
    {"calls_replayed", "calls_replayed_total", COUNTER, 1, NULL, "Copies of answered calls."},
    {"calls_refused", "calls_refused_total", COUNTER, 1, NULL, "Writes that did not happen."},
    {"calls_denied", "calls_denied_total", COUNTER, 1, NULL, "Calls that the rules refused."},
    {"calls_waiting", "calls_waiting", GAUGE, 1, NULL, "Calls that wait for a change."},
    {"calls_waiting_max", "calls_waiting_max", GAUGE, 1, NULL, "The limit --max-waiting."},
    {"calls_waiting_bytes", "calls_waiting_bytes", GAUGE, 1, NULL, "What these take."},
    {"calls_waiting_bytes_max", "calls_waiting_bytes_max", GAUGE, 1, NULL, "The limit of that."},
    {"waits_begun", "waits_begun_total", COUNTER, 1, NULL, "Calls that began to wait."},
    {"waits_woken", "waits_woken_total", COUNTER, 1, NULL, "Calls that a change woke."},
    {"waits_timed_out", "waits_timed_out_total", COUNTER, 1, NULL, "Calls whose time was up."},
    {"waits_refused", "waits_refused_total", COUNTER, 1, NULL, "Waits refused for a limit."},
    {"waits_disconnected", "waits_disconnected_total", COUNTER, 1, NULL,
     "Copies of calls that waited, whose connection ended."},
    {"replies_waiting", "replies_waiting", GAUGE, 1, NULL, "Replies that wait for the journal."},
    {"replies_waiting_bytes", "replies_waiting_bytes", GAUGE, 1, NULL, "What these take."},
    {"replies_waiting_bytes_max", "replies_waiting_bytes_max", GAUGE, 1, NULL,
     "Above this no more calls are read."},
    {"changes_kept", "changes", GAUGE, 1, NULL, "Changes that are remembered for watches."},
    {"changes_max", "changes_max", GAUGE, 1, NULL, "The limit --max-changes."},
    {"changes_bytes", "changes_bytes", GAUGE, 1, NULL, "What these take."},
    {"changes_bytes_max", "changes_bytes_max", GAUGE, 1, NULL, "The limit of that."},
    {"connections", "connections", GAUGE, 1, NULL, "Connections."},
    {"connections_max", "connections_max", GAUGE, 1, NULL, "The limit --max-connections."},
    {"connections_each", "connections_each_max", GAUGE, 1, NULL,
     "The limit --max-connections-each."},
    {"peers", "peers", GAUGE, 1, NULL, "Addresses and local users that have connections."},
    {"connections_made", "connections_made_total", COUNTER, 1, NULL, "Connections taken."},
    {"connections_refused", "connections_refused_total", COUNTER, 1, NULL,
     "Connections above --max-connections."},
    {"connections_dropped", "connections_dropped_total", COUNTER, 1, NULL,
     "Connections that sent no RPC, stalled or held too much."},
    {"tls_connections_made", "tls_connections_made_total", COUNTER, 1, NULL,
     "Connections that were encrypted."},
    {"tls_handshakes", "tls_handshakes", GAUGE, 1, NULL, "Handshakes under way."},
    {"tls_refused", "tls_refused_total", COUNTER, 1, NULL, "Handshakes refused."},
    {"receive_buffer_bytes", "receive_buffer_bytes", GAUGE, 1, NULL,
     "Unfinished records and unsent replies."},
    {"send_queue_bytes", "send_queue_bytes", GAUGE, 1, NULL, "Unsent replies with their values."},
    {"bytes_received", "received_bytes_total", COUNTER, 1, NULL, "Of calls over connections."},
    {"bytes_sent", "sent_bytes_total", COUNTER, 1, NULL, "Of replies over connections."},
    {"datagram_bytes_received", "datagrams_received_bytes_total", COUNTER, 1, NULL, "Of calls."},
    {"datagram_bytes_sent", "datagrams_sent_bytes_total", COUNTER, 1, NULL, "Of replies."},
    {"datagrams", "datagrams_total", COUNTER, 1, NULL, "Datagrams received."},
    {"datagrams_malformed", "datagrams_malformed_total", COUNTER, 1, NULL, "Those without a call."},
    {"datagrams_unsent", "datagrams_unsent_total", COUNTER, 1, NULL, "Replies not taken."},
    {"journal_batches", "journal_batches_total", COUNTER, 1, NULL, "Batches written and synced."},
    {"journal_bytes", "journal_written_bytes_total", COUNTER, 1, NULL, "Bytes of them."},
    {"journal_sync_", "journal_sync_duration_seconds", HISTOGRAM, 1000000, NULL,
     "To write and sync a batch."},
    {"journal_batch_", "journal_batch_operations", HISTOGRAM, 1, NULL, "Operations of a batch."},
    {"journal_unsynced_bytes", "journal_unsynced_bytes", GAUGE, 1, NULL, "Not durable yet."},
    {"disk_full", "disk_full", GAUGE, 1, NULL, "1: there is no room for the next segment."},
    {"snapshots", "snapshots_total", COUNTER, 1, NULL, "Snapshots published."},
    {"snapshots_failed", "snapshots_failed_total", COUNTER, 1, NULL, "Snapshots given up."},
    {"snapshot_position", "snapshot_position", GAUGE, 1, NULL, "Last operation of the last one."},
    {"snapshot_bytes", "snapshot_size_bytes", GAUGE, 1, NULL, "Size of the last one."},
    {"snapshot_ms", "snapshot_duration_seconds", GAUGE, 1000, NULL, "Of the last one."},
    {"snapshot_pause_us", "snapshot_pause_seconds", GAUGE, 1000000, NULL,
     "For which the last one stopped the event loop."},
    {"snapshot_error", "snapshot_error", GAUGE, 1, NULL, "Status of the last one; 0: published."},
    {"snapshot_under_way", "snapshot_under_way", GAUGE, 1, NULL, "1: one is; 2: one more waits."},
    {"snapshot_writing", "snapshot_writing_bytes", GAUGE, 1, NULL, "Written of the one under way."},
    {"snapshot_expected", "snapshot_expected_bytes", GAUGE, 1, NULL, "About what it will have."},
    {"backups_read", "backups", GAUGE, 1, NULL, "Snapshots that backups hold open."},
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

struct writer {
	FILE *out;
	const struct metrics_value *values;
	size_t count;
	bool *is_written; /* of each value */
};

/* What may stand in a name or, as it is, in a label. */
static void print_word(FILE *out, const char *word, size_t size) {
	for (size_t i = 0; i < size; i++)
		(void)putc(isalnum((unsigned char)word[i]) ? word[i] : '_', out);
}

static void print_head(FILE *out, const struct row *row) {
	static const char *const types[] = {
	    [COUNTER] = "counter", [GAUGE] = "gauge", [HISTOGRAM] = "histogram"};

	(void)fprintf(out, "# HELP kvd_%s %s\n# TYPE kvd_%s %s\n", row->metric, row->help,
		      row->metric, types[row->type]);
}

static void print_number(FILE *out, const struct row *row, uint64_t value) {
	if (row->unit == 1)
		(void)fprintf(out, " %llu\n", (unsigned long long)value);
	else
		(void)fprintf(out, " %.9g\n", (double)value / row->unit);
}

/* kvd_METRIC_SUFFIX{LABEL="VALUE",le="BOUND"}; no bound: NULL. */
static void print_name(FILE *out, const struct row *row, const char *suffix, const char *label,
		       size_t label_size, const char *bound) {
	(void)fprintf(out, "kvd_%s%s", row->metric, suffix);
	if (row->label == NULL && bound == NULL)
		return;
	(void)putc('{', out);
	if (row->label != NULL) {
		(void)fprintf(out, "%s=\"", row->label);
		print_word(out, label, label_size);
		(void)fprintf(out, "\"%s", bound != NULL ? "," : "");
	}
	if (bound != NULL && strcmp(bound, "inf") == 0)
		(void)fputs("le=\"+Inf\"", out);
	else if (bound != NULL)
		(void)fprintf(out, "le=\"%.9g\"", strtod(bound, NULL) / row->unit);
	(void)putc('}', out);
}

/* Where the parts of NAME[LABEL_]le_BOUND or NAME[LABEL_]sum are. */
struct histogram_name {
	const char *label;
	size_t label_size;
	const char *bound; /* NULL: the sum */
};

static bool parse_histogram_name(const struct row *row, const char *name,
				 struct histogram_name *parts) {
	const char *rest = name + strlen(row->name);
	const char *bound = strstr(rest, "le_");
	const char *end = bound != NULL ? bound : strstr(rest, "sum");

	if (end == NULL || (row->label == NULL) != (end == rest))
		return false;
	*parts = (struct histogram_name){rest, end > rest ? (size_t)(end - rest) - 1 : 0,
					 bound != NULL ? bound + 3 : NULL};
	return true;
}

static bool print_bucket(FILE *out, const struct row *row, const struct metrics_value *value,
			 uint64_t *below) {
	struct histogram_name parts;

	if (!parse_histogram_name(row, value->name, &parts))
		return false;
	if (parts.bound == NULL) {
		print_name(out, row, "_sum", parts.label, parts.label_size, NULL);
		print_number(out, row, value->value);
		*below = 0;
		return true;
	}
	*below += value->value;
	print_name(out, row, "_bucket", parts.label, parts.label_size, parts.bound);
	(void)fprintf(out, " %llu\n", (unsigned long long)*below);
	if (strcmp(parts.bound, "inf") == 0) {
		print_name(out, row, "_count", parts.label, parts.label_size, NULL);
		(void)fprintf(out, " %llu\n", (unsigned long long)*below);
	}
	return true;
}

static bool is_of(const struct row *row, const char *name) {
	return row->label == NULL && row->type != HISTOGRAM
		   ? strcmp(name, row->name) == 0
		   : strncmp(name, row->name, strlen(row->name)) == 0;
}

static void write_family(struct writer *writer, const struct row *row) {
	bool has_head = false;
	uint64_t below = 0;

	for (size_t i = 0; i < writer->count; i++) {
		const struct metrics_value *value = &writer->values[i];

		if (writer->is_written[i] || !is_of(row, value->name))
			continue;
		if (!has_head)
			print_head(writer->out, row);
		has_head = true;
		writer->is_written[i] = true;
		if (row->type == HISTOGRAM) {
			writer->is_written[i] = print_bucket(writer->out, row, value, &below);
			continue;
		}
		print_name(writer->out, row, "", value->name + strlen(row->name),
			   strlen(value->name) - (row->label == NULL ? 0 : strlen(row->name)),
			   NULL);
		print_number(writer->out, row, value->value);
	}
}

static void write_unknown(FILE *out, const struct metrics_value *value) {
	(void)fputs("# TYPE kvd_", out);
	print_word(out, value->name, strlen(value->name));
	(void)fputs(" untyped\nkvd_", out);
	print_word(out, value->name, strlen(value->name));
	(void)fprintf(out, " %llu\n", (unsigned long long)value->value);
}

bool metrics_text_write(FILE *out, const char *software, const struct metrics_value *values,
			size_t count) {
	struct writer writer = {out, values, count, calloc(count + 1, sizeof(bool))};

	if (writer.is_written == NULL)
		return false;
	(void)fputs("# HELP kvd_build_info The software.\n# TYPE kvd_build_info gauge\n"
		    "kvd_build_info{version=\"",
		    out);
	for (const char *at = software; *at != '\0'; at++)
		(void)putc(isprint((unsigned char)*at) && strchr("\"\\", *at) == NULL ? *at : '_',
			   out);
	(void)fputs("\"} 1\n", out);
	for (size_t i = 0; i < ROWS; i++)
		write_family(&writer, &rows[i]);
	for (size_t i = 0; i < count; i++)
		if (!writer.is_written[i])
			write_unknown(out, &values[i]);
	free(writer.is_written);
	return ferror(out) == 0;
}
