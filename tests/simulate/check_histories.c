/* SPDX-License-Identifier: BSD-3-Clause */
#include "check_histories.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "sim.h"
#include "text_report.h"

/* Several times what a world has ever needed (seed 1467: more than 3 million). */
enum { STEPS_MAX = 30000000, MEMORY_MAX = 512 << 20 };

static bool is_answered(const struct op *op) {
	return !op->is_open && (op->status == KV_OK || op->status == KV_NOKEY ||
				op->status == KV_VERSION || op->status == KV_UNMET);
}

static bool is_in_doubt(const struct op *op) {
	return op->kind != OP_GET && op->kind != OP_CHECK &&
	       (op->is_open || op->status == KV_MAYBE);
}

/* Whether it belongs into the history of the store that this generation served. */
static bool is_of(const struct op *op, uint64_t generation) {
	if (is_answered(op))
		return op->heard_generation == generation;
	return is_in_doubt(op) && op->first_generation <= generation &&
	       generation <= op->last_generation;
}

static enum history_op op_of(enum op_kind kind) {
	switch (kind) {
	case OP_GET:
		return HISTORY_GET;
	case OP_PUT:
		return HISTORY_PUT;
	case OP_APPEND:
		return HISTORY_APPEND;
	case OP_DELETE:
		return HISTORY_DELETE;
	case OP_TOUCH:
		return HISTORY_TOUCH;
	case OP_CHECK:
		return HISTORY_CHECK;
	}
	return HISTORY_GET;
}

static bool add(struct history *history, const struct op *op) {
	struct history_call call = {
	    .client = op->worker,
	    .op = op_of(op->kind),
	    .part = op->part,
	    .test = op->test,
	    .ttl_ms = op->ttl_ms,
	    .key = {op->key, strlen(op->key)},
	    .value = {op->value, op->value_size},
	    .expected = op->expected == KV_ANY ? HISTORY_ANY : op->expected,
	    .call_ns = op->called,
	    .return_ns = HISTORY_OPEN,
	};

	if (!op->is_open) {
		call.status = op->status;
		call.version = op->version;
		call.return_ns = op->returned;
	}
	if (!op->is_open && op->status == KV_OK && op->seen != NULL) {
		call.has_got = true;
		call.got = (struct kv_bytes){op->seen, op->seen_size};
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
			sim_log("%s", line);
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
		/* A lease that may have ended, and takes in doubt, have too many orders: the lock
		 * has an oracle of its own. */
		if (report.key.size == 2 && memcmp(report.key.data, "l2", 2) == 0) {
			sim()->figures.undecided++;
			break;
		}
		/* Of a world that cannot be judged nothing is known. */
		sim_fail("%.*s: undecided whether it is linearizable: %s", (int)report.key.size,
			 (const char *)report.key.data, report.reason);
		break;
	case CHECKER_NOT:
		tell(history, &report);
		sim_fail("%.*s is not linearizable: %s", (int)report.key.size,
			 (const char *)report.key.data, report.reason);
		break;
	}
	checker_report_free(&report);
}

static void check_store(const struct op_log *op_log, uint64_t generation) {
	struct history *history = history_new();
	bool added = history != NULL;

	for (size_t i = 0; i < op_log_count(op_log) && added; i++) {
		const struct op *op = op_log_at(op_log, i);

		if (generation == 0 ? is_answered(op) || is_in_doubt(op) : is_of(op, generation))
			added = add(history, op);
	}
	if (added)
		check(history);
	else
		sim_fail("no memory for a history");
	if (added)
		sim()->figures.judged += history_count(history);
	history_free(history);
}

/* An answer of no generation would be in no history, and would not be checked. */
static void check_generations(const struct op_log *op_log, uint64_t generations) {
	for (size_t i = 0; i < op_log_count(op_log); i++) {
		const struct op *op = op_log_at(op_log, i);

		if (is_answered(op) &&
		    (op->heard_generation == 0 || op->heard_generation > generations))
			sim_fail("worker %u: an answer of %s came from no server", op->worker,
				 op->key);
	}
}

void check_histories(const struct op_log *op_log, bool is_durable, uint64_t generations) {
	check_generations(op_log, generations);
	if (is_durable) {
		check_store(op_log, 0);
		return;
	}
	for (uint64_t generation = 1; generation <= generations && !sim_has_failed(); generation++)
		check_store(op_log, generation);
}
