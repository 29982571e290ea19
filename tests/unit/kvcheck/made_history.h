/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MADE_HISTORY_H
#define MADE_HISTORY_H

/* made_history.h - histories made by hand, call by call, and what the checker says of them. */

#include <string.h>

#include "checker.h"
#include "test.h"
#include "text_bytes.h"

enum { SHOWN_MAX = 16 };

/* The answer of one call; written by the functions below. */
struct made {
	struct history *history;
	uint64_t client;
};

static struct made made;

static inline void setup(void) {
	made = (struct made){.history = history_new()};
	ck_assert_ptr_nonnull(made.history);
}

static inline void teardown(void) {
	history_free(made.history);
}

/* Each call has a client of its own, the number of the call from 0. */
static inline void add(struct history_call call, uint64_t call_ns, uint64_t return_ns) {
	if (call.key.size == 0)
		call.key = bytes("k");
	call.client = made.client++;
	call.call_ns = call_ns;
	call.return_ns = return_ns;
	ck_assert(history_add(made.history, &call));
}

static inline struct history_call get(const char *value, uint64_t version) {
	return (struct history_call){.op = HISTORY_GET,
				     .status = KV_OK,
				     .version = version,
				     .has_got = true,
				     .got = bytes(value)};
}

static inline struct history_call get_nothing(void) {
	return (struct history_call){.op = HISTORY_GET, .status = KV_NOKEY};
}

static inline struct history_call put(const char *value, uint64_t expected, enum kv_status status,
				      uint64_t version) {
	return (struct history_call){.op = HISTORY_PUT,
				     .value = bytes(value),
				     .expected = expected,
				     .status = status,
				     .version = version};
}

static inline struct history_call put_ok(const char *value, uint64_t version) {
	return put(value, HISTORY_ANY, KV_OK, version);
}

static inline struct history_call append(const char *value, const char *old, uint64_t version) {
	struct history_call call = {.op = HISTORY_APPEND,
				    .value = bytes(value),
				    .expected = HISTORY_ANY,
				    .status = KV_OK,
				    .version = version};

	call.has_got = old != NULL;
	if (old != NULL)
		call.got = bytes(old);
	return call;
}

static inline struct history_call append_maybe(const char *value) {
	return (struct history_call){.op = HISTORY_APPEND,
				     .value = bytes(value),
				     .expected = HISTORY_ANY,
				     .status = KV_MAYBE};
}

static inline void is_good(void) {
	struct checker_report report;

	checker_run(made.history, NULL, &report);
	ck_assert_msg(report.verdict == CHECKER_LINEARIZABLE, "%s", report.reason);
	ck_assert_uint_eq(report.call_count, 0);
	checker_report_free(&report);
}

/* `shown`: the clients of the calls that the report has, e.g. "13". */
static inline void is_bad(const char *shown, const char *reason) {
	struct checker_report report;
	char clients[SHOWN_MAX] = "";

	checker_run(made.history, NULL, &report);
	ck_assert_int_eq(report.verdict, CHECKER_NOT);
	for (size_t i = 0; i < report.call_count && i + 1 < SHOWN_MAX; i++)
		clients[i] = (char)('0' + history_at(made.history, report.calls[i])->client);
	ck_assert_str_eq(clients, shown);
	ck_assert_str_eq(report.reason, reason);
	ck_assert(report.is_shortest);
	checker_report_free(&report);
}

#endif
