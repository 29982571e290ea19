/* SPDX-License-Identifier: BSD-3-Clause */
#include "snapshot_wait.h"

#include <inttypes.h>
#include <string.h>

#include "errors.h"
#include "status_line.h"
#include "timing.h"

enum { POLL_FIRST_MS = 5, POLL_MS = 250 };

static struct snapshot_progress read_progress(const struct kv_stats *stats) {
	struct snapshot_progress progress = {.published = 0};
	const struct {
		const char *name;
		uint64_t *value;
	} wanted[] = {
	    {"snapshots", &progress.published},		 {"snapshot_position", &progress.position},
	    {"snapshot_bytes", &progress.bytes},	 {"snapshot_ms", &progress.ms},
	    {"snapshot_under_way", &progress.under_way}, {"snapshot_error", &progress.error},
	    {"snapshot_writing", &progress.writing},	 {"snapshot_expected", &progress.expected},
	    {"memory_used", &progress.memory},
	};

	for (size_t i = 0; i < stats->counter_count; i++)
		for (size_t j = 0; j < sizeof(wanted) / sizeof(wanted[0]); j++)
			if (strcmp(stats->counters[i].name, wanted[j].name) == 0)
				*wanted[j].value = stats->counters[i].value;
	return progress;
}

static int report_failed(const char *name, const struct snapshot_progress *progress) {
	if (progress->error == KV_FULL)
		return error_report(CODE_LIMIT, name,
				    "the server's disk has no space for it (free space: it may "
				    "take %" PRIu64 " MiB; what was stored is safe)",
				    (progress->memory >> 20) + 1);
	return error_report(CODE_REFUSED, name,
			    "the server gave it up (its log says why; what was stored is safe)");
}

enum poll_result { POLL_WAIT, POLL_DONE, POLL_FAILED };

/* Asks how far it is. *code is set if it is over. */
static enum poll_result poll_server(const struct settings *settings, const char *name,
				    struct kv_client *client, const struct kv_snapshot *wanted,
				    struct snapshot_progress *progress, int *code) {
	struct attempted attempted = {.command = name, .expected = KV_ANY};
	struct kv_stats stats;
	enum kv_status status = kv_stats(client, &stats);

	if (status != KV_OK) {
		status_line_clear(settings);
		*code = error_status(settings, client, &attempted, status);
		return POLL_FAILED;
	}
	*progress = read_progress(&stats);
	uint64_t epoch = stats.epoch;
	kv_stats_free(&stats);
	if (epoch != wanted->epoch) {
		status_line_clear(settings);
		*code = error_report(CODE_REFUSED, name,
				     "the server was restarted meanwhile (ask again)");
		return POLL_FAILED;
	}
	if (progress->published > 0 && progress->position >= wanted->position)
		return POLL_DONE;
	if (progress->under_way > 0)
		return POLL_WAIT;
	status_line_clear(settings);
	*code = report_failed(name, progress);
	return POLL_FAILED;
}

static int wait_for(const struct settings *settings, const char *name, struct kv_client *client,
		    const struct kv_snapshot *wanted, unsigned wait_ms,
		    struct snapshot_progress *progress) {
	double end_ms = timing_now_ms() + wait_ms;
	unsigned poll_ms = POLL_FIRST_MS;
	int code = CODE_DONE;

	for (;;) {
		switch (poll_server(settings, name, client, wanted, progress, &code)) {
		case POLL_DONE:
			status_line_clear(settings);
			return CODE_DONE;
		case POLL_FAILED:
			return code;
		case POLL_WAIT:
			break;
		}
		if (wait_ms != SNAPSHOT_FOREVER && timing_now_ms() >= end_ms) {
			status_line_clear(settings);
			return error_report(CODE_MAYBE, name,
					    "not done in %g s (the server continues; "
					    "kvctl status shows how far it is)",
					    wait_ms / 1000.0);
		}
		if (progress->writing == 0)
			status_line_show(settings, "kvctl: %s: waiting for a snapshot", name);
		else
			status_line_show(
			    settings, "kvctl: %s: snapshot: %" PRIu64 " of about %" PRIu64 " MiB",
			    name, progress->writing >> 20, progress->expected >> 20);
		timing_sleep_ms(poll_ms);
		poll_ms = 2 * poll_ms < POLL_MS ? 2 * poll_ms : POLL_MS;
	}
}

int snapshot_take(const struct settings *settings, const char *name, struct kv_client *client,
		  unsigned wait_ms, struct snapshot_progress *progress, bool *has_answered) {
	struct attempted attempted = {.command = name, .expected = KV_ANY};
	struct kv_snapshot wanted;
	struct status_line_wait wait;

	*progress = (struct snapshot_progress){0};
	status_line_wait_begin(&wait, settings, client);
	enum kv_status status = kv_snapshot(client, &wanted);
	status_line_wait_end(&wait);
	*has_answered = status == KV_OK;
	if (status == KV_UNAVAILABLE)
		return error_report(CODE_REFUSED, name,
				    "this kvd takes no snapshots: it keeps its store in memory "
				    "only (start it with -d), or is older than kvctl");
	if (status != KV_OK)
		return error_status(settings, client, &attempted, status);
	return wait_ms > 0 ? wait_for(settings, name, client, &wanted, wait_ms, progress)
			   : CODE_DONE;
}
