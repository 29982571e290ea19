/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories of deletes, ttls and transactions, made by hand: the verdict. */
#include "kvcheck/made_history.h"

static struct history_call del(uint64_t expected, enum kv_status status, uint64_t version) {
	return (struct history_call){
	    .op = HISTORY_DELETE, .expected = expected, .status = status, .version = version};
}

static struct history_call put_for(const char *value, uint64_t ttl_ms, uint64_t version) {
	struct history_call call = put_ok(value, version);

	call.ttl_ms = ttl_ms;
	return call;
}

/* A part of a transaction, on a key of one letter. */
static struct history_call part(struct history_call call, unsigned number, const char *key,
				uint64_t position) {
	call.part = number;
	call.key = bytes(key);
	call.position = position;
	return call;
}

static struct history_call check(enum history_test test, const char *value, uint64_t expected,
				 enum kv_status status, uint64_t version) {
	return (struct history_call){.op = HISTORY_CHECK,
				     .test = test,
				     .part = 1,
				     .value = bytes(value),
				     .expected = expected,
				     .status = status,
				     .version = version};
}

static struct history_call touch(uint64_t ttl_ms, enum kv_status status, uint64_t version) {
	return (struct history_call){.op = HISTORY_TOUCH,
				     .part = 1,
				     .expected = HISTORY_ANY,
				     .ttl_ms = ttl_ms,
				     .status = status,
				     .version = version};
}

enum { MS = 1000000 };

CASE(ends, .setup = setup, .teardown = teardown);

TEST(a_key_that_was_deleted_begins_above_the_version_that_the_delete_spent) {
	add(put_ok("a", 1), 1, 2);
	add(del(1, KV_OK, 2), 3, 4);
	add(get_nothing(), 5, 6);
	add(put("b", 0, KV_OK, 9), 7, 8);
	add(append("c", "b", 10), 9, 10);
	add(del(HISTORY_ANY, KV_OK, 11), 11, 12);
	add(del(HISTORY_ANY, KV_NOKEY, 0), 13, 14);
	is_good();
}

TEST(a_key_that_was_deleted_is_not_seen_again) {
	add(put_ok("a", 1), 1, 2);
	add(del(1, KV_OK, 2), 3, 4);
	add(get("a", 1), 5, 6);
	is_bad("12", "version 1 was seen after version 2 had been answered");
}

TEST(a_delete_needs_a_key) {
	add(put_ok("a", 1), 1, 2);
	add(del(HISTORY_ANY, KV_OK, 2), 3, 4);
	add(del(HISTORY_ANY, KV_OK, 3), 5, 6);
	is_bad("2", "no order explains this call");
}

TEST(a_delete_of_another_version_is_refused) {
	add(put_ok("a", 1), 1, 2);
	add(put_ok("b", 2), 3, 4);
	add(del(1, KV_OK, 3), 5, 6);
	is_bad("2", "a write that expected version 1 made version 3");
}

TEST(a_key_does_not_vanish_without_a_delete) {
	struct history_call other = put_for("x", 1, 1);
	other.key = bytes("other");
	add(other, 1, 2);
	add(put_ok("a", 1), 3, 4);
	add(get_nothing(), 100 * MS, 101 * MS);
	is_bad("12", "the key was missing after it had been at version 1");
}

TEST(versions_do_not_begin_anew) {
	add(put_ok("a", 1), 1, 2);
	add(put_ok("b", 2), 3, 4);
	add(del(2, KV_OK, 3), 5, 6);
	add(put("c", 0, KV_OK, 1), 7, 8);
	is_bad("23", "version 1 was made after version 3 had been answered");
}

TEST(a_key_begins_above_what_was_deleted_of_other_keys) {
	struct history_call other = put_ok("x", 1);
	struct history_call gone = del(1, KV_OK, 2);

	other.key = gone.key = bytes("other");
	add(other, 1, 2);
	add(gone, 3, 4);
	add(put("a", 0, KV_OK, 2), 5, 6);
	struct checker_report report;
	checker_run(made.history, NULL, &report);
	ck_assert_int_eq(report.verdict, CHECKER_NOT);
	ck_assert_str_eq(report.reason,
			 "a key began at version 2 after a delete had spent version 2");
	ck_assert_uint_eq(report.call_count, 2);
	checker_report_free(&report);
}

TEST(an_open_delete_may_have_happened_or_not) {
	add(put_ok("a", 1), 1, 2);
	add(del(HISTORY_ANY, KV_MAYBE, 0), 3, 4);
	add(get("a", 1), 5, 6);
	add(get_nothing(), 7, 8);
	add(put("b", 0, KV_OK, 3), 9, 10);
	is_good();
}

TEST(an_open_put_may_have_made_a_key_that_was_then_deleted) {
	add(put_ok("a", 1), 1, 2);
	add(del(1, KV_OK, 2), 3, 4);
	add(put("m", 0, KV_MAYBE, 0), 5, 6);
	add(del(HISTORY_ANY, KV_OK, 5), 7, 8);
	add(get_nothing(), 9, 10);
	is_good();
}

TEST(an_open_write_may_have_made_the_version_that_an_open_delete_expected) {
	add(put_ok("a", 1), 1, 2);
	add(put("m", 1, KV_MAYBE, 0), 3, 4);
	add(del(2, KV_MAYBE, 0), 5, 6);
	add(get_nothing(), 7, 8);
	is_good();
}

TEST(an_open_delete_of_a_version_that_nothing_made_did_not_happen) {
	add(put_ok("a", 1), 1, 2);
	add(put("m", 2, KV_MAYBE, 0), 3, 4);
	add(del(2, KV_MAYBE, 0), 5, 6);
	add(get_nothing(), 7, 8);
	is_bad("023", "no order of these 3 calls explains them");
}

TEST(a_ttl_that_is_over_may_end_a_key_at_any_time_after) {
	add(put_for("a", 80, 1), 1, 2);
	add(get("a", 1), 500 * MS, 501 * MS);
	add(get_nothing(), 502 * MS, 503 * MS);
	add(put("b", 0, KV_OK, 3), 504 * MS, 505 * MS);
	is_good();
}

TEST(a_ttl_is_not_over_early) {
	add(put_for("a", 80, 1), 1, 2);
	add(get_nothing(), 60 * MS, 69 * MS);
	is_bad("01", "the key was missing after it had been at version 1");
}

TEST(a_touch_moves_the_end) {
	add(put_for("a", 80, 1), 1, 2);
	add(touch(80, KV_OK, 1), 60 * MS, 61 * MS);
	add(get_nothing(), 100 * MS, 120 * MS);
	is_bad("12", "the key was missing after it had been at version 1");
}

TEST(a_touch_does_not_shorten) {
	add(put_for("a", 800, 1), 1, 2);
	add(touch(1, KV_OK, 1), 3, 4);
	add(get_nothing(), 100 * MS, 120 * MS);
	is_bad("02", "the key was missing after it had been at version 1");
}

TEST(an_open_touch_may_have_given_a_ttl) {
	add(put_ok("a", 1), 1, 2);
	add(touch(8, KV_MAYBE, 0), 3, 4);
	add(get_nothing(), 100 * MS, 120 * MS);
	is_good();
}

TEST(a_put_takes_the_ttl_away_and_an_append_keeps_it) {
	add(put_for("a", 8, 1), 1, 2);
	add(append("b", "a", 2), 3, 4);
	add(get_nothing(), 100 * MS, 120 * MS);
	is_good();
	add(put_for("a", 8, 6), 130 * MS, 131 * MS);
	add(put_ok("b", 7), 132 * MS, 133 * MS);
	add(get_nothing(), 200 * MS, 220 * MS);
	is_bad("45", "no order of these 2 calls explains them");
}

CASE(transactions, .setup = setup, .teardown = teardown);

/* All parts have one client and one time. */
static void add_parts(const struct history_call *parts, size_t count, uint64_t call_ns,
		      uint64_t return_ns) {
	for (size_t i = 0; i < count; i++) {
		add(parts[i], call_ns, return_ns);
		made.client--;
	}
	made.client++;
}

static void is_bad_store(const char *reason) {
	struct checker_report report;

	checker_run(made.history, NULL, &report);
	ck_assert_int_eq(report.verdict, CHECKER_NOT);
	ck_assert_str_eq(report.reason, reason);
	ck_assert(report.is_of_keys);
	ck_assert_uint_gt(report.call_count, 1);
	checker_report_free(&report);
}

static const char no_moment[] = "no order of the keys' versions, the transactions and the times "
				"puts each call at one moment";

TEST(the_changes_of_a_transaction_are_seen_together) {
	const struct history_call both[] = {part(put_ok("x", 1), 1, "a", 1),
					    part(put_ok("x", 1), 2, "b", 1)};

	add_parts(both, 2, 1, 20);
	add(part(get("x", 1), 0, "b", 0), 3, 4);
	add(part(get("x", 1), 0, "a", 0), 5, 6);
	is_good();
}

TEST(half_of_a_transaction_is_never_seen) {
	const struct history_call first[] = {part(put_ok("x", 1), 1, "a", 1),
					     part(put_ok("x", 1), 2, "b", 1)};
	const struct history_call second[] = {part(put_ok("y", 2), 1, "a", 2),
					      part(put_ok("y", 2), 2, "b", 2)};

	add_parts(first, 2, 1, 2);
	add_parts(second, 2, 3, 20);
	add(part(get("y", 2), 0, "b", 0), 5, 6);
	add(part(get("x", 1), 0, "a", 0), 7, 8);
	is_bad_store(no_moment);
}

TEST(the_positions_of_transactions_agree_with_versions_and_time) {
	add(part(put_ok("x", 1), 1, "a", 7), 1, 2);
	add(part(put_ok("x", 1), 1, "b", 6), 3, 4);
	is_bad_store(no_moment);
}

TEST(a_condition_holds_when_the_changes_happen) {
	const struct history_call fenced[] = {part(check(HISTORY_AT, "", 1, KV_OK, 1), 1, "l", 3),
					      part(put_ok("x", 1), 2, "a", 3)};

	add(part(put_ok("A", 1), 0, "l", 0), 1, 2);
	add_parts(fenced, 2, 3, 20);
	add(part(put_ok("B", 2), 0, "l", 0), 5, 6);
	add(part(get_nothing(), 0, "a", 0), 7, 8);
	/* It may have come before; but not after a write that saw the key without it. */
	add(part(append("y", "", 1), 0, "a", 0), 9, 10);
	is_bad("14", "two calls were told that they made version 1");
}

TEST(a_change_of_the_key_of_its_own_condition_is_no_cycle) {
	const struct history_call renew[] = {part(check(HISTORY_AT, "", 1, KV_OK, 1), 1, "l", 3),
					     part(put_ok("B", 2), 2, "l", 3),
					     part(put_ok("x", 1), 3, "a", 3)};

	add(part(put_ok("A", 1), 0, "l", 0), 1, 2);
	add_parts(renew, 3, 3, 4);
	is_good();
}

TEST(a_condition_that_is_refused_did_not_hold) {
	add(put_ok("a", 1), 1, 2);
	add(check(HISTORY_AT, "", 3, KV_UNMET, 1), 3, 4);
	add(check(HISTORY_AT, "", 3, KV_UNMET, 0), 3, 4);
	add(check(HISTORY_HOLDS, "b", HISTORY_ANY, KV_UNMET, 1), 5, 6);
	add(check(HISTORY_FREE, "b", HISTORY_ANY, KV_UNMET, 1), 5, 6);
	is_good();
	add(check(HISTORY_AT, "", 1, KV_UNMET, 1), 7, 8);
	is_bad("5", "no order explains this call");
}

TEST(a_key_that_holds_or_is_free_does_not_refuse) {
	add(put_ok("a", 1), 1, 2);
	add(check(HISTORY_HOLDS, "a", HISTORY_ANY, KV_UNMET, 1), 5, 6);
	is_bad("01", "the two calls tell of different values");
}

TEST(a_free_key_is_missing_or_has_the_value) {
	add(check(HISTORY_FREE, "a", HISTORY_ANY, KV_OK, 0), 1, 2);
	add(put_ok("a", 1), 3, 4);
	add(check(HISTORY_FREE, "a", HISTORY_ANY, KV_OK, 1), 5, 6);
	add(put_ok("b", 2), 7, 8);
	is_good();
	add(check(HISTORY_FREE, "a", HISTORY_ANY, KV_OK, 2), 9, 10);
	is_bad("14", "no order of these 2 calls explains them");
}

TEST(parts_that_did_not_refuse_a_transaction_tell_nothing) {
	add(check(HISTORY_AT, "", 9, KV_UNMET, 0), 1, 2);
	add(part(put("x", HISTORY_ANY, KV_UNMET, 0), 1, "k", 0), 1, 2);
	add(get_nothing(), 3, 4);
	is_good();
}
