/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories made by hand, good and bad: the verdict, and which calls are shown for it. */
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "kvcheck/made_history.h"
#include "test.h"
#include "text_bytes.h"
#include "text_report.h"

/* --- Good
 * ----------------------------------------------------------------------------------------- */

CASE(verdicts, .setup = setup, .teardown = teardown);

TEST(a_history_of_nothing_is_linearizable) {
	is_good();
}

TEST(calls_one_after_the_other_are_linearizable) {
	add(get_nothing(), 1, 2);
	add(put("a", 0, KV_OK, 1), 3, 4);
	add(put("b", 0, KV_VERSION, 1), 5, 6);
	add(append("c", "a", 2), 7, 8);
	add(put("d", 2, KV_OK, 3), 9, 10);
	add(put("e", 2, KV_VERSION, 3), 11, 12);
	add(get("d", 3), 13, 14);
	is_good();
}

TEST(a_get_beside_a_put_may_see_either_side_of_it) {
	add(put_ok("a", 1), 1, 2);
	add(put_ok("b", 2), 5, 10);
	add(get("a", 1), 6, 7);
	add(get("b", 2), 8, 9);
	is_good();
}

TEST(a_maybe_may_take_effect_long_after_its_return) {
	add(put_ok("a", 1), 1, 2);
	add(put("m", HISTORY_ANY, KV_MAYBE, 0), 3, 4);
	add(get("a", 1), 5, 6);
	add(put_ok("b", 2), 7, 8);
	add(get("m", 3), 9, 10);
	is_good();
}

TEST(a_maybe_may_never_take_effect) {
	add(put_ok("a", 1), 1, 2);
	add(put("m", HISTORY_ANY, KV_MAYBE, 0), 3, 4);
	add(put_ok("b", 2), 7, 8);
	add(get("b", 2), 9, 10);
	is_good();
}

TEST(a_call_without_an_answer_may_take_effect_or_not) {
	add(append("a", NULL, 0), 1, HISTORY_OPEN);
	add(append("b", NULL, 0), 1, HISTORY_OPEN);
	add(get("b", 1), 2, 3);
	is_good();
}

TEST(a_conditional_maybe_whose_version_is_gone_did_nothing) {
	add(put_ok("a", 1), 1, 2);
	add(put("m", 1, KV_MAYBE, 0), 3, 4);
	add(put("b", 1, KV_OK, 2), 5, 6);
	add(get("b", 2), 7, 8);
	is_good();
}

TEST(a_refusal_without_a_trace_says_nothing) {
	static const enum kv_status refusals[] = {KV_TIMEOUT,	  KV_BADSESSION, KV_TOOBIG,
						  KV_FULL,	  KV_DENIED,	 KV_INVALID,
						  KV_UNAVAILABLE, KV_PROTOCOL,	 KV_NOMEM};

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		add(put("x", HISTORY_ANY, refusals[i], 0), 1, 2);
	add(get_nothing(), 3, 4);
	add(put_ok("a", 1), 5, 6);
	is_good();
}

TEST(keys_are_independent) {
	struct history_call other = put_ok("b", 1);

	other.key = bytes("other");
	add(put_ok("a", 1), 1, 2);
	add(other, 3, 4);
	add(get("a", 1), 5, 6);
	is_good();
}

TEST(many_open_writes_that_were_never_seen_are_no_hard_question) {
	char values[40][4];

	for (size_t i = 0; i < 40; i++) {
		(void)snprintf(values[i], sizeof(values[i]), "%zu", i);
		add(put(values[i], HISTORY_ANY, KV_MAYBE, 0), 1, 2);
	}
	for (uint64_t i = 1; i <= 15; i++)
		add(put_ok("x", 2 * i), 10 * i, 10 * i + 1);
	is_good();
}

/* --- Bad
 * ------------------------------------------------------------------------------------------ */

TEST(many_open_appends_of_which_some_happened_are_no_hard_question) {
	static char tokens[200][8];
	static char seen[10][200];
	char value[200] = "";
	uint64_t version = 0;

	/* A tenth of the open calls happened, in pairs, so that nothing is seen in between. */
	for (size_t i = 0; i < 200; i++) {
		(void)snprintf(tokens[i], sizeof(tokens[i]), "%zu;", i);
		add(append_maybe(tokens[i]), 1, 2);
	}
	for (size_t i = 0; i < 10; i++) {
		(void)strcat(value, tokens[20 * i]);
		(void)strcat(value, tokens[20 * i + 1]);
		(void)strcat(value, "x");
		(void)strcpy(seen[i], value);
		version += 3;
		add(append("x", NULL, version), 10 * version, 10 * version + 1);
		add(get(seen[i], version), 10 * version + 2, 10 * version + 3);
	}
	is_good();
}

TEST(a_stale_read_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(put_ok("b", 2), 3, 4);
	add(get("b", 2), 5, 6);
	add(get("a", 1), 7, 8);
	add(get("b", 2), 9, 10);
	is_bad("23", "version 1 was seen after version 2 had been answered");
}

TEST(a_version_that_goes_back_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(put_ok("b", 2), 3, 20);
	add(get("b", 2), 5, 6);
	add(get("a", 1), 7, 8);
	is_bad("23", "version 1 was seen after version 2 had been answered");
}

TEST(a_lost_update_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(put("b", 1, KV_OK, 2), 3, 6);
	add(put("c", 1, KV_OK, 2), 4, 5);
	is_bad("12", "two calls were told that they made version 2");
}

TEST(an_append_that_happened_twice_is_found) {
	add(append("a", "", 1), 1, 2);
	add(append("b", "a", 2), 3, 4);
	add(get("abb", 2), 5, 6);
	is_bad("12", "the two calls tell of different values");
}

TEST(an_append_that_made_two_versions_is_found) {
	add(append("a", "", 1), 1, 2);
	add(append("b", "a", 2), 3, 4);
	add(get("abb", 3), 5, 6);
	is_bad("2", "version 3 was there, and no call can have made it");
}

TEST(a_wrong_old_value_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(put_ok("b", 2), 3, 4);
	add(append("c", "a", 3), 5, 6);
	is_bad("12", "the two calls tell of different values");
}

TEST(an_ok_at_another_version_than_expected_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(put_ok("b", 2), 3, 4);
	add(put("c", 1, KV_OK, 3), 5, 6);
	is_bad("2", "a write that expected version 1 made version 3");
}

TEST(a_refusal_at_the_expected_version_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(put("b", 1, KV_VERSION, 1), 3, 4);
	is_bad("1", "a write was refused at the very version that it expected, 1");
}

TEST(a_key_missing_after_it_was_made_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(get_nothing(), 3, 4);
	is_bad("01", "the key was missing after it had been at version 1");
}

TEST(a_version_seen_before_its_write_began_is_found) {
	add(get("a", 1), 1, 2);
	add(put_ok("a", 1), 3, 4);
	is_bad("01", "version 1 was seen before the call that made it began");
}

TEST(a_maybe_that_took_effect_twice_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(append_maybe("m"), 3, 4);
	add(get("am", 2), 5, 6);
	add(get("amm", 3), 7, 8);
	is_bad("13", "no order of the 1 open calls explains what was seen from version 2 on");
}

TEST(a_write_that_was_refused_and_happened_all_the_same_is_found) {
	add(put_ok("a", 1), 1, 2);
	add(put("m", HISTORY_ANY, KV_TIMEOUT, 0), 3, 4);
	add(get("m", 2), 5, 6);
	is_bad("2", "version 2 was there, and no call can have made it");
}

TEST(an_open_call_does_not_explain_what_came_before_it) {
	add(get("m", 1), 1, 2);
	add(put("m", HISTORY_ANY, KV_MAYBE, 0), 3, 4);
	is_bad("0", "version 1 was there, and no call can have made it");
}

TEST(writes_in_the_wrong_order_are_found) {
	add(put_ok("a", 2), 1, 2);
	add(put_ok("b", 1), 3, 4);
	is_bad("01", "version 1 was made after version 2 had been answered");
}

TEST(without_versions_a_stale_read_is_found_too) {
	add(put_ok("a", 0), 1, 2);
	add(put_ok("b", 0), 3, 4);
	add(get("a", 0), 5, 6);
	add(get("b", 0), 7, 8);
	is_bad("012", "no order of these 3 calls explains them");
}

/* --- Beginnings, limits
 * --------------------------------------------------------------------------- */

TEST(a_store_that_was_not_empty_is_believed_if_asked_for) {
	struct checker_limits limits = {.any_start = true};
	struct checker_report report;

	add(get("before", 7), 1, 2);
	add(append("+", "before", 8), 3, 4);
	add(get("before+", 8), 5, 6);
	checker_run(made.history, &limits, &report);
	ck_assert_int_eq(report.verdict, CHECKER_LINEARIZABLE);
	checker_report_free(&report);
	is_bad("0", "version 7 was there, and no call can have made it");
}

TEST(what_stood_there_before_must_fit_all_that_was_seen) {
	struct checker_limits limits = {.any_start = true};
	struct checker_report report;

	add(append("+", NULL, 8), 1, 2);
	add(get("before-", 8), 3, 4);
	checker_run(made.history, &limits, &report);
	ck_assert_int_eq(report.verdict, CHECKER_NOT);
	ck_assert_uint_eq(report.call_count, 2);
	checker_report_free(&report);
}

TEST(what_was_appended_to_an_unknown_value_is_not_forgotten) {
	struct checker_limits limits = {.any_start = true};
	struct checker_report report;

	add(append("a", NULL, 8), 1, 2);
	add(append_maybe(""), 1, 2);
	add(get("b", 9), 3, 4);
	checker_run(made.history, &limits, &report);
	ck_assert_int_eq(report.verdict, CHECKER_NOT);
	checker_report_free(&report);
}

/* Values seen in an order that nothing but a long search could explain. */
static void add_hard_question(void) {
	static char names[24][4];

	for (size_t i = 0; i < 24; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%zu", i);
		add(put_ok(names[i], 0), 1, 100);
	}
	add(get("none of them", 0), 50, 60);
}

TEST(a_limit_of_steps_ends_in_undecided) {
	struct checker_limits limits = {.steps_max = 10000};
	struct checker_report report;

	add_hard_question();
	checker_run(made.history, &limits, &report);
	ck_assert_int_eq(report.verdict, CHECKER_UNDECIDED);
	ck_assert_str_eq(report.reason, "more orders to try than the limit of steps allows");
	checker_report_free(&report);
}

TEST(a_limit_of_memory_ends_in_undecided) {
	struct checker_limits limits = {.memory_max = 100000};
	struct checker_report report;

	add_hard_question();
	checker_run(made.history, &limits, &report);
	ck_assert_int_eq(report.verdict, CHECKER_UNDECIDED);
	ck_assert_str_eq(report.reason, "more orders at a time than the memory allowed holds");
	checker_report_free(&report);
}

TEST(a_violation_counts_more_than_an_undecided_key) {
	struct checker_limits limits = {.steps_max = 10000};
	struct checker_report report;
	struct history_call other = put("x", 5, KV_OK, 9);

	add_hard_question();
	other.key = bytes("z");
	add(other, 1, 2);
	checker_run(made.history, &limits, &report);
	ck_assert_int_eq(report.verdict, CHECKER_NOT);
	ck_assert_mem_eq(report.key.data, "z", 1);
	checker_report_free(&report);
}

TEST(versions_out_of_this_world_are_no_hard_question) {
	add(put_ok("a", 1), 1, 2);
	add(get("x", UINT64_MAX - 1), 3, 4);
	add(put_ok("b", UINT64_MAX / 3), 3, 4);
	add(put("c", UINT64_MAX - 1, KV_MAYBE, 0), 3, 4);
	is_bad("2", "version 6148914691236517204 was there, and no call can have made it");
}

/* --- Replies that tell no version ----------------------------------------------------------- */

TEST(a_refusal_that_was_right_at_another_version_is_not_to_blame) {
	add(put("a", 0, KV_OK, 1), 1, 2);
	add(put("b", 1, KV_OK, 2), 3, 4);
	add(put("x", 1, KV_VERSION, 0), 5, 6);
	add(put("c", 2, KV_OK, 3), 7, 8);
	add(put("y", 2, KV_VERSION, 0), 9, 10);
	add(get("b", 2), 11, 12);
	is_bad("35", "version 2 was seen after version 3 had been answered");
}

TEST(nor_is_a_value_that_was_right_then) {
	add(put("a", 0, KV_OK, 1), 1, 2);
	add(put("b", 1, KV_OK, 2), 3, 4);
	add(get("b", 0), 5, 6);
	add(put("c", 2, KV_OK, 3), 7, 8);
	add(get("b", 2), 9, 10);
	is_bad("34", "version 2 was seen after version 3 had been answered");
}

TEST(but_a_refusal_that_is_right_at_no_version_is) {
	add(put("a", 0, KV_OK, 1), 1, 2);
	add(put("b", 1, KV_OK, 2), 3, 4);
	add(put("x", 2, KV_VERSION, 0), 5, 6);
	add(put("c", 2, KV_OK, 3), 7, 8);
	add(get("c", 3), 9, 10);
	is_bad("123", "no order of these 3 calls explains them");
}

TEST(a_refusal_says_whether_the_key_is_there) {
	add(put("x", 3, KV_VERSION, 0), 1, 2);
	is_bad("0", "no order explains this call");
}

TEST(a_refusal_tells_a_version_that_is_there) {
	add(put("a", 0, KV_OK, 1), 1, 2);
	add(put("x", 0, KV_VERSION, 5), 3, 4);
	is_bad("1", "version 5 was there, and no call can have made it");
}

TEST(an_old_value_without_a_version_is_that_of_some_moment) {
	add(put_ok("a", 1), 1, 2);
	add(append("b", "x", 0), 3, 4);
	is_bad("01", "no order of these 2 calls explains them");
}

TEST(times_are_compared_in_all_their_digits) {
	add(put("a", 0, KV_OK, 1), 1, 2);
	add(put("b", 1, KV_OK, 2), 1000, 1001);
	/* By the lowest 11 bits alone this would be before "b". */
	add(get("b", 2), 1 + 2048 + 3, 1 + 2048 + 4);
	is_good();
}

TEST(a_conditional_write_without_an_answer_may_have_made_the_version_after_its_own) {
	add(put("a", 0, KV_OK, 1), 1, 2);
	add(put("b", 1, KV_MAYBE, 0), 3, 4);
	add(get("b", 2), 5, 6);
	is_good();
}
