/* SPDX-License-Identifier: BSD-3-Clause */
/* Holders of locks in a history: two at once are found. */
#include <stdio.h>
#include <stdlib.h>

#include "made_history.h"
#include "text_report.h"

static struct history_call hold(uint64_t token) {
	return (struct history_call){.op = HISTORY_HOLD, .expected = token, .status = KV_OK};
}

CASE(holds, .setup = setup, .teardown = teardown);

TEST(one_holder_after_the_other_is_good) {
	add(hold(2), 10, 20);
	add(hold(4), 20, 30);
	add(hold(9), 50, 60);
	is_good();
}

TEST(locks_of_two_names_are_two) {
	struct history_call other = hold(1);

	add(hold(2), 10, 30);
	other.key = bytes("other");
	add(other, 20, 40);
	is_good();
}

TEST(two_holders_at_once_are_told_of) {
	add(hold(4), 19, 30);
	add(hold(2), 10, 20);
	is_bad("10", "client 1 held the lock with token 2 when client 0 held it with token 4");
}

TEST(one_that_lasts_beyond_the_next_overlaps_the_one_after) {
	add(hold(2), 10, 100);
	add(hold(4), 100, 110);
	add(hold(6), 105, 120);
	is_bad("12", "client 1 held the lock with token 4 when client 2 held it with token 6");
}

TEST(a_token_that_does_not_grow_is_told_of) {
	add(hold(5), 10, 20);
	add(hold(5), 30, 40);
	is_bad("01",
	       "client 0 held the lock with token 5 before client 1 held it with token 5, and "
	       "tokens grow");
}

#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "fedcba9876543210fedcba9876543210"

static struct history_call share(const char *key, uint64_t token) {
	struct history_call call = hold(token);

	call.key = bytes(key);
	return call;
}

TEST(shares_of_a_lock_are_held_together) {
	add(share("k/__share/" ID_A, 7), 10, 30);
	add(share("k/__share/" ID_B, 5), 20, 40);
	add(hold(9), 40, 50);
	add(share("k/__share/" ID_B, 11), 50, 60);
	is_good();
}

TEST(a_share_beside_one_that_excludes_it_is_told_of) {
	add(share("k/__share/" ID_A, 7), 10, 30);
	add(share("k/__share/" ID_B, 5), 15, 20);
	add(hold(9), 29, 50);
	is_bad("02", "client 0 held a share of the lock with token 7 when client 2 held the lock "
		     "with token 9");
}

TEST(one_that_excludes_shares_beside_a_later_share_is_told_of) {
	add(hold(9), 29, 50);
	add(share("k/__share/" ID_A, 11), 49, 60);
	is_bad("01", "client 0 held the lock with token 9 when client 1 held a share of the lock "
		     "with token 11");
}

TEST(shares_of_another_lock_are_apart) {
	add(hold(9), 29, 50);
	add(share("kk/__share/" ID_A, 11), 30, 60);
	add(share("/__share/" ID_A, 12), 30, 60);
	add(share("k/__share/these are 32 bytes, but no id...", 13), 30, 60);
	is_good();
}

TEST(a_holder_of_one_share_twice_is_told_of) {
	add(share("k/__share/" ID_A, 7), 10, 30);
	add(share("k/__share/" ID_A, 8), 20, 40);
	is_bad("01", "client 0 held a share of the lock with token 7 when client 1 held it with "
		     "token 8");
}

/* Its holder died: nothing is known but that it began. */
TEST(a_hold_without_an_end_is_judged_by_its_beginning) {
	add(hold(2), 10, HISTORY_OPEN);
	add(hold(4), 15, 30);
	is_good();
	add(hold(6), 20, HISTORY_OPEN);
	is_bad("12", "client 1 held the lock with token 4 when client 2 held it with token 6");
}

TEST(holds_show_nothing_of_the_key) {
	add(put_ok("id", 1), 1, 2);
	add(hold(1), 3, 9);
	add(get("id", 1), 5, 6);
	is_good();
}

TEST(the_report_shows_both_holders) {
	struct checker_report report;
	char *text = NULL;
	size_t size = 0;
	FILE *file;

	add(hold(2), 10, 20);
	add(hold(4), 15, HISTORY_OPEN);
	checker_run(made.history, NULL, &report);
	file = open_memstream(&text, &size);
	report_print(file, made.history, &report);
	(void)fclose(file);
	ck_assert_ptr_nonnull(strstr(text, "hold the lock with token 2: until then"));
	ck_assert_ptr_nonnull(
	    strstr(text, "hold the lock with token 4: it is not known until when"));
	free(text);
	checker_report_free(&report);
}
