/* SPDX-License-Identifier: BSD-3-Clause */
#include "histories.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "text_report.h"
#include "world.h"

/* Far more than a world has ever needed. */
enum { STEPS_MAX = 3000000, MEMORY_MAX = 256 << 20 };

static bool is_answered(const struct deed *deed) {
	return !deed->is_open &&
	       (deed->status == KV_OK || deed->status == KV_NOKEY || deed->status == KV_VERSION);
}

static bool is_in_doubt(const struct deed *deed) {
	return deed->kind != DEED_GET && (deed->is_open || deed->status == KV_MAYBE);
}

/* Whether it belongs into the history of the store that this life served. */
static bool is_of(const struct deed *deed, uint64_t life) {
	if (is_answered(deed))
		return deed->heard_life == life;
	return is_in_doubt(deed) && deed->first_life <= life && life <= deed->last_life;
}

static enum history_op op_of(enum deed_kind kind) {
	switch (kind) {
	case DEED_GET:
		return HISTORY_GET;
	case DEED_PUT:
		return HISTORY_PUT;
	case DEED_APPEND:
		return HISTORY_APPEND;
	}
	return HISTORY_GET;
}

static bool add(struct history *history, const struct deed *deed) {
	struct history_call call = {
	    .client = deed->worker,
	    .op = op_of(deed->kind),
	    .key = {deed->key, strlen(deed->key)},
	    .value = {deed->value, deed->value_size},
	    .expected = deed->expected == KV_ANY ? HISTORY_ANY : deed->expected,
	    .call_ns = deed->called,
	    .return_ns = HISTORY_OPEN,
	};

	if (!deed->is_open) {
		call.status = deed->status;
		call.version = deed->version;
		call.return_ns = deed->returned;
	}
	if (!deed->is_open && deed->status == KV_OK && deed->kind != DEED_PUT) {
		call.has_got = true;
		call.got = (struct kv_bytes){deed->seen, deed->seen_size};
	}
	return history_add(history, &call);
}

/* The whole report, line by line. */
static void tell(const struct history *history, const struct checker_report *report) {
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	if (file == NULL)
		return;
	report_print(file, history, report);
	if (fclose(file) == 0)
		for (char *rest = NULL, *line = strtok_r(text, "\n", &rest); line != NULL;
		     line = strtok_r(NULL, "\n", &rest))
			world_say("%s", line);
	free(text);
}

static void check(const struct history *history) {
	const struct checker_limits limits = {.steps_max = STEPS_MAX, .memory_max = MEMORY_MAX};
	struct checker_report report;

	checker_run(history, &limits, &report);
	switch (report.verdict) {
	case CHECKER_LINEARIZABLE:
		break;
	case CHECKER_UNDECIDED:
		/* Of a world that cannot be judged nothing is known. */
		world_fail("%.*s: nobody can tell whether it is linearizable: %s",
			   (int)report.key.size, (const char *)report.key.data, report.reason);
		break;
	case CHECKER_NOT:
		tell(history, &report);
		world_fail("%.*s is not linearizable: %s", (int)report.key.size,
			   (const char *)report.key.data, report.reason);
		break;
	}
	checker_report_free(&report);
}

static void judge_store(const struct deeds *deeds, uint64_t life) {
	struct history *history = history_new();
	bool added = history != NULL;

	for (size_t i = 0; i < deeds_count(deeds) && added; i++) {
		const struct deed *deed = deeds_at(deeds, i);

		if (life == 0 ? is_answered(deed) || is_in_doubt(deed) : is_of(deed, life))
			added = add(history, deed);
	}
	if (added)
		check(history);
	else
		world_fail("no memory for a history");
	if (added)
		world()->figures.judged += history_count(history);
	history_free(history);
}

/* An answer of no life would be in no history, and would be judged by nobody. */
static void check_lives(const struct deeds *deeds, uint64_t lives) {
	for (size_t i = 0; i < deeds_count(deeds); i++) {
		const struct deed *deed = deeds_at(deeds, i);

		if (is_answered(deed) && (deed->heard_life == 0 || deed->heard_life > lives))
			world_fail("worker %u: an answer of %s came from no server", deed->worker,
				   deed->key);
	}
}

void judge_histories(const struct deeds *deeds, bool is_durable, uint64_t lives) {
	check_lives(deeds, lives);
	if (is_durable) {
		judge_store(deeds, 0);
		return;
	}
	for (uint64_t life = 1; life <= lives && !world_has_failed(); life++)
		judge_store(deeds, life);
}
