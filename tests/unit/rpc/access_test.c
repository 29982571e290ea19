/* SPDX-License-Identifier: BSD-3-Clause */
/* Access rules in the calls: what is refused, in which order, and what a caller is shown. */
#include <sys/mman.h>
#include <unistd.h>

#include "access_fixture.h"
#include "log.h"
#include "log_limit.h"

CASE(access, .setup = start, .teardown = stop);

/* --- Which right a call needs -------------------------------------------------------------- */

TEST(a_get_needs_ro) {
	struct session session = session_of(&www);

	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
	ck_assert_int_eq(get(&www, "app/a"), KV_OK);
	ck_assert_int_eq(get(&bob, "app/a"), KV_OK);
	ck_assert_int_eq(get(&any, "app/a"), KV_DENIED);
	ck_assert_int_eq(get(NULL, "app/a"), KV_DENIED);
	ck_assert_int_eq(get(&bob, "app/secret/a"), KV_DENIED);
	ck_assert_int_eq(get(&bob, "log/a"), KV_DENIED);
	ck_assert_int_eq(get(&bob, "elsewhere"), KV_DENIED);
	ck_assert_int_eq(get(&any, "public/a"), KV_NOKEY);
	ck_assert_int_eq(get(&root, "elsewhere"), KV_NOKEY);
}

TEST(the_epoch_comes_before_the_right) {
	ck_assert_int_eq(status_of(get_at(&any, EPOCH + 1, "app/a")), KV_EPOCH);
}

TEST(a_refusal_tells_nothing_of_the_key) {
	struct session session = session_of(&bob);
	static const char *const keys[] = {"app/secret/a", NULL};
	uint32_t xid;

	fill(keys);
	xid = get_at(&bob, EPOCH, "app/secret/a");
	ck_assert_int_eq(status_of(xid), KV_DENIED);
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 1), 0);
	session.seq++;
	xid = put(&session, 77, "app/secret/a", "v");
	ck_assert_int_eq(status_of(xid), KV_DENIED);
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 1), 0);
	xid = txn_next(&session, 0, KV1_AT, "app/secret/a", "", KV1_CHANGE_PUT, "app/secret/a", "v",
		       NULL);
	ck_assert_int_eq(status_of(xid), KV_DENIED);
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 1), 0); /* position */
	ck_assert_uint_eq(word_of(xid, WORD_STATUS + 3), 0);   /* which */
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 4), 0); /* current */
}

TEST(writes_need_rw) {
	struct session session = session_of(&bob);
	static const char *const keys[] = {"app/a", NULL};

	fill(keys);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_DENIED);
	ck_assert_int_eq(put_next(&session, 1, "app/a", ID), KV_DENIED);
	ck_assert_int_eq(append_next(&session, "app/a", false), KV_DENIED);
	ck_assert_int_eq(delete_next(&session, "app/a"), KV_DENIED);
	session = session_of(&www);
	ck_assert_int_eq(append_next(&session, "app/a", true), KV_OK);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
	ck_assert_int_eq(delete_next(&session, "app/a"), KV_OK);
}

TEST(a_stateless_put_needs_rw) {
	struct session none = {.caller = &bob};

	ck_assert_int_eq(status_of(put(&none, 0, "app/x", "v")), KV_DENIED);
	none.caller = &www;
	ck_assert_int_eq(status_of(put(&none, 0, "app/x", "v")), KV_OK);
}

TEST(add_appends_and_reads_nothing) {
	struct session session = session_of(&bob);

	ck_assert_int_eq(append_next(&session, "log/a", false), KV_OK);
	ck_assert_int_eq(append_next(&session, "log/a", true), KV_DENIED);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "log/a", "v"), KV_DENIED);
	ck_assert_int_eq(delete_next(&session, "log/a"), KV_DENIED);
	ck_assert_int_eq(get(&bob, "log/a"), KV_DENIED);
	ck_assert_int_eq(status_of(wait_for(&bob, "log/a", 1)), KV_DENIED);
}

TEST(lock_takes_and_ends_shares_and_no_other_keys_below_a_lock) {
	struct session session = session_of(&bob);
	const char *share = "locks/s/__share/" ID;

	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_FREE, "locks/other", "__unlocked",
					    KV1_CHANGE_PUT, share, ID, NULL)),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_FREE, "locks/s", "__unlocked",
					    KV1_CHANGE_PUT, share, "data", NULL)),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_FREE, "locks/s", "__unlocked",
					    KV1_CHANGE_PUT, "locks/s/__share/" ID "0", ID, NULL)),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_FREE, "locks/s", "__unlocked",
					    KV1_CHANGE_PUT, share, ID, NULL)),
			 KV_OK);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_EXISTS, share, "", KV1_CHANGE_DELETE,
					    share, "", NULL)),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_HOLDS, share, ID, KV1_CHANGE_DELETE,
					    share, "", NULL)),
			 KV_OK);
}

TEST(lock_takes_and_breaks_locks_and_stores_nothing_else) {
	struct session session = session_of(&bob);

	ck_assert_int_eq(put_next(&session, 0, "locks/p", ID), KV_OK);
	ck_assert_int_eq(put_next(&session, 1, "locks/p", "__unlocked"), KV_OK);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "locks/p", "__unlocked"), KV_DENIED);
	ck_assert_int_eq(put_next(&session, 2, "locks/p", "other"), KV_DENIED);
	ck_assert_int_eq(put_next(&session, 2, "locks/p", ID "0"), KV_DENIED);
	ck_assert_int_eq(delete_next(&session, "locks/p"), KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_FREE, "locks/a", "__unlocked",
					    KV1_CHANGE_PUT, "locks/a", ID, ID " a note")),
			 KV_OK);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_HOLDS, "locks/a", ID, KV1_CHANGE_TOUCH,
					    "locks/a", "", NULL)),
			 KV_OK);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_HOLDS, "locks/a", ID, KV1_CHANGE_PUT,
					    "locks/a", "data", NULL)),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_HOLDS, "locks/a", ID, KV1_CHANGE_PUT,
					    "locks/a", ID, "no note")),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_HOLDS, "locks/p", ID, KV1_CHANGE_PUT,
					    "locks/p", ID, ID " of another")),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_EXISTS, "locks/a", "", KV1_CHANGE_PUT,
					    "locks/a", ID, NULL)),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_HOLDS, "locks/a", ID,
					    KV1_CHANGE_DELETE, "locks/a", "", NULL)),
			 KV_DENIED);
}

TEST(a_txn_needs_its_right_to_every_key) {
	struct session session = session_of(&www);

	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_FREE, "app/a", "", KV1_CHANGE_PUT,
					    "app/a", "v", NULL)),
			 KV_OK);
	/* A condition would tell what the key holds. */
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_FREE, "log/a", "", KV1_CHANGE_PUT,
					    "app/a", "v", NULL)),
			 KV_DENIED);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_EXISTS, "app/a", "", KV1_CHANGE_APPEND,
					    "log/a", "v", NULL)),
			 KV_DENIED);
	session = session_of(&bob);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_EXISTS, "app/a", "", KV1_CHANGE_APPEND,
					    "log/a", "v", NULL)),
			 KV_OK);
	ck_assert_int_eq(status_of(txn_next(&session, 0, KV1_EXISTS, "app/a", "", KV1_CHANGE_TOUCH,
					    "app/a", "", NULL)),
			 KV_DENIED);
}

TEST(a_session_is_for_those_that_may_write) {
	ck_assert_int_eq(status_of(open_as(&any)), KV_DENIED);
	ck_assert_int_eq(status_of(open_as(&bob)), KV_OK);
	set_rules("* any(ro)");
	ck_assert_int_eq(status_of(open_as(&bob)), KV_DENIED);
}

TEST(others_need_admin_or_an_identity) {
	ck_assert_int_eq(plain(&any, KVPROC_HELLO), KV_OK);
	ck_assert_int_eq(plain(&any, KVPROC_STATUS), KV_DENIED);
	ck_assert_int_eq(plain(&bob, KVPROC_STATUS), KV_OK);
	ck_assert_int_eq(plain(&bob, KVPROC_SNAPSHOT), KV_DENIED);
	ck_assert_int_eq(plain(&root, KVPROC_SNAPSHOT), KV_UNAVAILABLE);
	ck_assert_int_eq(plain(&bob, KVPROC_BACKUP), KV_DENIED);
	ck_assert_int_eq(plain(&root, KVPROC_BACKUP), KV_UNAVAILABLE);
}

TEST(without_rules_every_caller_may_everything) {
	struct session session;

	dispatch_set_acl(dispatch, NULL);
	session = session_of(&any);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
	ck_assert_int_eq(get(&any, "app/a"), KV_OK);
	ck_assert_int_eq(plain(NULL, KVPROC_STATUS), KV_OK);
	ck_assert_int_eq(plain(NULL, KVPROC_SNAPSHOT), KV_UNAVAILABLE);
	ck_assert_int_eq(plain(NULL, KVPROC_BACKUP), KV_DENIED);
}

TEST(whoami_shows_the_principal_and_its_rights) {
	struct message message = begin(KVPROC_WHOAMI);
	uint32_t xid = run(&bob, &message);

	ck_assert_int_eq(status_of(xid), KV_OK);
	ck_assert_uint_eq(word_of(xid, 7), 8);
	ck_assert_mem_eq(&got[xid].words[8], "uid:1000", 8);
	ck_assert_uint_eq(word_of(xid, 10), TRUE);  /* has_rules */
	ck_assert_uint_eq(word_of(xid, 11), FALSE); /* tls */
	ck_assert_uint_eq(word_of(xid, 12), 0);	    /* library */
	ck_assert_uint_eq(word_of(xid, 13), FALSE); /* more */
	ck_assert_uint_eq(word_of(xid, 14), 4);	    /* app/, locks/, log/, public/ */
	ck_assert_uint_eq(word_of(xid, 15), 4);
	ck_assert_mem_eq(&got[xid].words[16], "app/", 4);
	ck_assert_uint_eq(word_of(xid, 17), KV1_RIGHT_READ);
	message = begin(KVPROC_WHOAMI);
	xid = run(&root, &message);
	ck_assert_uint_eq(word_of(xid, 14), 1);
	ck_assert_uint_eq(word_of(xid, 15), 0);
	ck_assert_uint_eq(word_of(xid, 16), ACL_ALL);
}

TEST(whoami_shows_as_many_grants_as_a_reply_may_have) {
	char text[KV1_GRANTS_MAX * 20 + 100], *to = text;
	struct message message = begin(KVPROC_WHOAMI);
	uint32_t xid;

	for (unsigned i = 0; i < KV1_GRANTS_MAX; i++)
		to += sprintf(to, "%u/ any(ro)\n", i);
	set_rules(text);
	xid = run(&any, &message);
	ck_assert_uint_eq(word_of(xid, 12), FALSE);
	ck_assert_uint_eq(word_of(xid, 13), KV1_GRANTS_MAX);
	(void)strcpy(to, "x/ any(ro)\n");
	set_rules(text);
	message = begin(KVPROC_WHOAMI);
	xid = run(&any, &message);
	ck_assert_uint_eq(word_of(xid, 12), TRUE);
	ck_assert_uint_eq(word_of(xid, 13), KV1_GRANTS_MAX);
}

/* --- Slots --------------------------------------------------------------------------------- */

static const char *const all_denied = "* uid:0(admin)\napp/ uid:33(ro) uid:1000(rw)\n";

TEST(a_copy_of_an_answered_call_gets_its_reply_although_the_right_was_revoked) {
	struct session session = session_of(&www);
	uint32_t xid;

	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
	set_rules(all_denied);
	xid = put(&session, KV1_ANY, "app/a", "v");
	ck_assert_int_eq(status_of(xid), KV_OK);
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 1), 1);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_DENIED);
}

TEST(denied_takes_the_slot) {
	struct session session = session_of(&www);

	set_rules(all_denied);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_DENIED);
	set_rules("app/ uid:33(rw)\n");
	/* The copy was told that it did not happen. */
	ck_assert_int_eq(status_of(put(&session, KV1_ANY, "app/a", "v")), KV_DENIED);
	ck_assert_int_eq(status_of(put(&session, KV1_ANY, "app/a", "w")), KV_FALSE_RETRY);
	ck_assert_int_eq(get(&www, "app/a"), KV_NOKEY);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
}

TEST(the_slot_comes_before_the_right) {
	struct session session = session_of(&www);

	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
	set_rules(all_denied);
	session.seq = 1;
	ck_assert_int_eq(status_of(put(&session, KV1_ANY, "app/a", "v")), KV_STALE);
	session.client_id++;
	ck_assert_int_eq(status_of(put(&session, KV1_ANY, "app/a", "v")), KV_BADSESSION);
}

TEST(a_session_is_unknown_to_all_but_its_owner) {
	struct session session = session_of(&www);
	struct message message;

	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
	/* The copy, the next call, and the end, by administrators too. */
	session.caller = &root;
	ck_assert_int_eq(status_of(put(&session, KV1_ANY, "app/a", "v")), KV_BADSESSION);
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "w"), KV_BADSESSION);
	message = begin(KVPROC_CLOSE);
	add64(&message, EPOCH);
	add64(&message, session.client_id);
	ck_assert_int_eq(status_of(run(&root, &message)), KV_BADSESSION);
	session.caller = &www;
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "w"), KV_OK);
}

TEST(the_nonce_of_another_opens_nothing) {
	static const uint64_t nonce = 0x1234;
	struct message message = begin(KVPROC_OPEN);
	uint32_t first = 0, again;

	for (int i = 0; i < 3; i++) {
		message = begin(KVPROC_OPEN);
		add64(&message, EPOCH);
		add64(&message, nonce);
		add64(&message, nonce);
		add(&message, 4);
		if (i == 1) {
			ck_assert_int_eq(status_of(run(&bob, &message)), KV_DENIED);
			continue;
		}
		again = run(&www, &message);
		ck_assert_int_eq(status_of(again), KV_OK);
		if (i == 0)
			first = again;
		else
			ck_assert_uint_eq(number_of(again, WORD_STATUS + 1),
					  number_of(first, WORD_STATUS + 1));
	}
}

TEST(a_parked_call_of_another_session_is_left_alone) {
	static const char *const keys[] = {"app/l", NULL};
	struct session session = session_of(&www);
	uint32_t xid;

	fill(keys);
	xid = txn_next(&session, WAIT_MS, KV1_FREE, "app/l", "free", KV1_CHANGE_PUT, "app/l",
		       "mine", NULL);
	ck_assert(!has_reply(xid));
	session.caller = &root;
	/* A later call on the slot would have it refused. */
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_BADSESSION);
	ck_assert(!has_reply(xid));
}

TEST(without_rules_a_session_is_for_all_that_know_its_id) {
	struct session session;

	dispatch_set_acl(dispatch, NULL);
	session = session_of(&www);
	session.caller = &any;
	ck_assert_int_eq(put_next(&session, KV1_ANY, "app/a", "v"), KV_OK);
}

/* --- Calls that wait ----------------------------------------------------------------------- */

TEST(a_wait_needs_ro_when_it_is_parked) {
	ck_assert_int_eq(status_of(wait_for(&any, "app/a", 0)), KV_DENIED);
	ck_assert(!has_reply(wait_for(&bob, "app/a", 0)));
}

TEST(a_reload_refuses_the_waits_that_it_denies) {
	uint32_t denied = wait_for(&bob, "app/a", 0);
	uint32_t allowed = wait_for(&www, "app/a", 0);

	set_rules("* uid:0(admin)\napp/ uid:33(rw)\n");
	dispatch_end_turn(dispatch);
	ck_assert_int_eq(status_of(denied), KV_DENIED);
	ck_assert(!has_reply(allowed));
}

TEST(a_wait_that_is_woken_is_checked_again) {
	static const char *const keys[] = {"app/a", NULL};
	uint32_t xid = wait_for(&bob, "app/a", 0);

	set_rules("* uid:0(admin)\napp/ uid:33(rw)\n");
	fill(keys);
	ck_assert_int_eq(status_of(xid), KV_DENIED);
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 1), 0);
}

static uint32_t wait_to_take(struct session *session) {
	return txn_next(session, WAIT_MS, KV1_FREE, "app/l", "free", KV1_CHANGE_PUT, "app/l",
			"mine", NULL);
}

TEST(a_txn_that_is_denied_is_not_parked) {
	static const char *const keys[] = {"app/l", NULL};
	struct session session = session_of(&bob);

	fill(keys);
	ck_assert_int_eq(status_of(wait_to_take(&session)), KV_DENIED);
}

TEST(a_reload_refuses_the_txns_that_it_denies_and_they_take_their_slots) {
	static const char *const keys[] = {"app/l", NULL};
	struct session session = session_of(&www);
	uint32_t xid;

	fill(keys);
	xid = wait_to_take(&session);
	ck_assert(!has_reply(xid));
	set_rules(all_denied);
	dispatch_end_turn(dispatch);
	ck_assert_int_eq(status_of(xid), KV_DENIED);
	set_rules("app/ uid:33(rw)\n");
	session.seq--;
	ck_assert_int_eq(status_of(wait_to_take(&session)), KV_DENIED);
}

TEST(a_txn_that_is_woken_is_checked_again) {
	static const char *const keys[] = {"app/l", NULL};
	struct session session = session_of(&www), other;
	uint32_t xid;

	fill(keys);
	xid = wait_to_take(&session);
	set_rules(all_denied);
	other = session_of(&root);
	ck_assert_int_eq(put_next(&other, KV1_ANY, "app/l", "free"), KV_OK);
	ck_assert_int_eq(status_of(xid), KV_DENIED);
	ck_assert_int_eq(get(&root, "app/l"), KV_OK);
}

/* --- What is shown ------------------------------------------------------------------------- */

static const char *const shown[] = {
    "a", "app/a", "app/b", "app/secret/a", "app/secret/b", "app/t", "log/a", "public/x", "z", NULL};

TEST(list_shows_readable_keys_only) {
	fill(shown);
	ck_assert_str_eq(list(&bob, "", "", 0), "app/a app/b app/t public/x");
	ck_assert_str_eq(list(&www, "", "", 0),
			 "app/a app/b app/secret/a app/secret/b app/t public/x");
	ck_assert_str_eq(list(&any, "", "", 0), "public/x");
	ck_assert_str_eq(list(&bob, "app/", "app/a", 0), "app/b app/t");
	ck_assert_str_eq(list(&bob, "app/", "app/secret/a", 0), "app/t");
	ck_assert_str_eq(list(&bob, "app/s", "", 0), "");
	ck_assert_str_eq(list(&root, "", "", 0),
			 "a app/a app/b app/secret/a app/secret/b app/t log/a public/x z");
}

TEST(more_of_a_list_counts_readable_keys_only) {
	fill(shown);
	ck_assert_str_eq(list(&bob, "", "", 2), "app/a app/b+");
	ck_assert_str_eq(list(&bob, "", "app/b", 2), "app/t public/x");
	ck_assert_str_eq(list(&bob, "app/", "", 3), "app/a app/b app/t");
	ck_assert_str_eq(list(&any, "", "", 1), "public/x");
}

TEST(a_list_without_a_readable_key_is_denied) {
	fill(shown);
	ck_assert_int_eq(status_of(list_at(&bob, "log/", "", 0)), KV_DENIED);
	ck_assert_int_eq(status_of(list_at(&bob, "app/secret/", "", 0)), KV_DENIED);
	/* Part of it may be read. */
	ck_assert_int_eq(status_of(list_at(&any, "p", "", 0)), KV_OK);
	set_rules("app/ uid:33(rw)");
	ck_assert_int_eq(status_of(list_at(&any, "", "", 0)), KV_DENIED);
}

TEST(changes_show_readable_keys_only) {
	uint64_t since;
	uint32_t xid;

	ck_assert_int_eq(status_of(changes_since(&root, "", 0)), KV_OK);
	fill(shown);
	xid = changes_since(&bob, "", 0);
	ck_assert_str_eq(keys_of(xid, 3), "app/a app/b app/t public/x");
	since = number_of(xid, WORD_STATUS + 1);
	ck_assert_str_eq(keys_of(changes_since(&bob, "app/", 0), 3), "app/a app/b app/t");
	ck_assert_int_eq(status_of(changes_since(&bob, "log/", 0)), KV_DENIED);
	/* Positions tell of no other keys. */
	fill((const char *const[]){"app/secret/a", "z", "log/a", NULL});
	xid = changes_since(&bob, "", since);
	ck_assert_str_eq(keys_of(xid, 3), "");
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 1), since);
	xid = list_at(&bob, "", "", 0);
	ck_assert_uint_eq(number_of(xid, WORD_STATUS + 1), since);
	fill((const char *const[]){"app/a", NULL});
	xid = changes_since(&bob, "", since);
	ck_assert_str_eq(keys_of(xid, 3), "app/a");
	ck_assert_uint_gt(number_of(xid, WORD_STATUS + 1), since);
}

TEST(a_position_that_only_other_keys_have_reached_is_as_one_to_come) {
	uint64_t last;

	/* While no client watches, LIST has no position. */
	fill((const char *const[]){"z", "app/a", NULL});
	ck_assert_uint_eq(number_of(list_at(&bob, "", "", 0), WORD_STATUS + 1), 0);
	ck_assert_int_eq(status_of(changes_since(&bob, "", 0)), KV_COMPACTED);
	last = number_of(list_at(&bob, "", "", 0), WORD_STATUS + 1);
	ck_assert_int_eq(status_of(changes_since(&bob, "", last)), KV_OK);
	fill((const char *const[]){"z", "log/a", NULL});
	ck_assert_int_eq(status_of(changes_since(&root, "", last + 1)), KV_OK);
	for (uint64_t since = last + 1; since < last + 10; since++)
		ck_assert_int_eq(status_of(changes_since(&bob, "", since)), KV_COMPACTED);
	ck_assert_int_eq(status_of(changes_since(&bob, "", last)), KV_OK);
	fill((const char *const[]){"app/a", NULL});
	last = number_of(changes_since(&bob, "", last), WORD_STATUS + 1);
	ck_assert_int_eq(status_of(changes_since(&bob, "", last)), KV_OK);
	ck_assert_int_eq(status_of(changes_since(&bob, "", last + 1)), KV_COMPACTED);
}

TEST(changes_wait_only_where_all_keys_are_shown) {
	uint64_t since = number_of(changes_since(&root, "", 0), WORD_STATUS + 1);
	uint32_t waiting = await_changes(&root, "app/", since, WAIT_MS);
	uint32_t filtered = await_changes(&bob, "app/", since, WAIT_MS);

	ck_assert(!has_reply(waiting));
	ck_assert_str_eq(keys_of(filtered, 3), "");
	fill((const char *const[]){"app/secret/a", NULL});
	ck_assert_str_eq(keys_of(waiting, 3), "app/secret/a");
}

TEST(a_reload_ends_changes_that_wait_and_no_position_tells_of_other_keys) {
	uint64_t since = number_of(changes_since(&root, "", 0), WORD_STATUS + 1);
	uint32_t restricted = await_changes(&root, "app/", since, WAIT_MS);
	uint32_t denied = await_changes(&root, "public/", since, WAIT_MS);

	fill((const char *const[]){"z", NULL});
	set_rules("app/ uid:0(ro)\npublic/ uid:33(rw)\n");
	dispatch_end_turn(dispatch);
	ck_assert_str_eq(keys_of(restricted, 3), "");
	ck_assert_uint_eq(number_of(restricted, WORD_STATUS + 1), since);
	ck_assert_int_eq(status_of(denied), KV_DENIED);
}

/* --- The log --------------------------------------------------------------------------------- */

/* How often the log has `text`. */
static unsigned logged(int fd, const char *text) {
	static char all[16384];
	ssize_t size = pread(fd, all, sizeof(all) - 1, 0);
	unsigned count = 0;

	ck_assert_int_ge(size, 0);
	all[size] = '\0';
	for (const char *found = strstr(all, text); found != NULL; found = strstr(found + 1, text))
		count++;
	return count;
}

TEST(of_each_caller_and_procedure_one_refusal_is_logged_and_then_how_many_more) {
	int fd = memfd_create("log", MFD_CLOEXEC);

	log_open("access_test", 0);
	ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
	dispatch_set_time(dispatch, LOG_LIMIT_PERIOD_MS);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(get(&bob, "log/a"), KV_DENIED);
	ck_assert_int_eq(get(&any, "log/a"), KV_DENIED);
	ck_assert_int_eq(status_of(wait_for(&bob, "log/a", 1)), KV_DENIED);
	ck_assert_uint_eq(logged(fd, "denied: uid:1000: GET \"log/a\": ro is needed"), 1);
	ck_assert_uint_eq(logged(fd, "denied: any: GET \"log/a\": ro is needed"), 1);
	ck_assert_uint_eq(logged(fd, "denied: uid:1000: WAIT \"log/a\": ro is needed"), 1);
	ck_assert_uint_eq(logged(fd, "denied: "), 3);
	dispatch_set_time(dispatch, (uint64_t)2 * LOG_LIMIT_PERIOD_MS);
	ck_assert_int_eq(get(&bob, "log/a"), KV_DENIED);
	ck_assert_uint_eq(logged(fd, "(and 19 more like it)"), 1);
	(void)close(fd);
}
