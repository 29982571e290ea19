/* SPDX-License-Identifier: BSD-3-Clause */
/* DELETE, TXN and LIST: what each changes, refuses, returns and remembers. */
#include "txn_fixture.h"

/* --- DELETE: SEMANTICS 2 ------------------------------------------------------------------- */

CASE(delete, .setup = start, .teardown = stop);

TEST(rule_2_1_a_delete_spends_a_version_and_the_key_begins_again_above_it) {
	struct operation operation = delete_call(3, "k", VERSION_ANY);

	ck_assert_uint_eq(put(1, "k", "a"), 1);
	ck_assert_uint_eq(put(2, "k", "b"), 2);
	struct reply reply = call(&operation);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_eq(reply.current, 3);
	assert_missing(&world, "k");
	ck_assert_uint_eq(put(4, "k", "c"), 4);
	/* The floor is that of the store: another key begins above it, too. */
	ck_assert_uint_eq(put(5, "other", "d"), 4);
}

TEST(rule_2_a_delete_follows_the_version_table) {
	static const struct {
		uint64_t expected;
		enum kv_status existing, missing;
	} rows[] = {
	    {VERSION_ANY, KV_OK, KV_NOKEY},
	    {0, KV_VERSION, KV_NOKEY},
	    {1, KV_OK, KV_NOKEY},
	    {2, KV_VERSION, KV_NOKEY},
	};
	uint64_t seq = 1;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct operation operation = delete_call(seq++, "missing", rows[i].expected);

		ck_assert_int_eq(status_of(&world, &operation), rows[i].missing);
		stop();
		start();
		put(seq++, "k", "a");
		operation = delete_call(seq++, "k", rows[i].expected);
		ck_assert_int_eq(status_of(&world, &operation), rows[i].existing);
	}
}

TEST(a_copy_of_a_delete_is_answered_alike_though_the_key_was_made_again) {
	struct operation operation = delete_call(2, "k", VERSION_ANY);

	put(1, "k", "a");
	operation.slot = 1;
	struct reply first = call(&operation);
	put(3, "k", "b");
	struct reply copy = call(&operation);
	ck_assert_int_eq(copy.status, first.status);
	ck_assert_uint_eq(copy.current, first.current);
	assert_holds(&world, "k", "b", 3);
}

TEST(rule_2_2_a_missing_key_waits_for_the_delete_that_made_it_so) {
	struct operation operation = delete_call(2, "k", VERSION_ANY);
	struct reply reply;

	put(1, "k", "a");
	ck_assert_int_eq(status_of(&world, &operation), KV_OK);
	service_get(world.service, EPOCH, text("k"), ALL, &reply);
	ck_assert_uint_eq(reply.position, world.tape.count);
	service_get(world.service, EPOCH, text("never"), ALL, &reply);
	ck_assert_uint_eq(reply.position, 0);
}

/* An empty page shows what is gone as well. */
TEST(rule_2_5_a_page_leaves_when_all_that_happened_is_durable) {
	const struct list_request request = {.prefix = text("k"), .reply_max = ALL};
	struct operation operation = delete_call(2, "k", VERSION_ANY);
	struct reply reply;

	put(1, "k", "a");
	ck_assert_int_eq(status_of(&world, &operation), KV_OK);
	put(3, "other", "b");
	service_list(world.service, EPOCH, &request, &reply);
	ck_assert_uint_eq(reply.current, world.tape.count);
	ck_assert_uint_eq(reply.position, world.tape.count);
	drop(&world, &reply);
}

TEST(rule_2_6_a_stateless_delete_names_its_version) {
	struct operation operation = delete_call(0, "k", VERSION_ANY);

	operation.client_id = 0;
	set(&world, "k", text("a"));
	ck_assert_int_eq(status_of(&world, &operation), KV_INVALID);
	operation.expected = 0;
	ck_assert_int_eq(status_of(&world, &operation), KV_INVALID);
	operation.expected = 1;
	ck_assert_int_eq(status_of(&world, &operation), KV_OK);
}

TEST(a_full_store_that_is_emptied_serves_again_and_gives_its_memory_back) {
	struct service_limits limits = *usual_limits();
	char key[32];
	uint64_t seq = 1;
	int made = 0;

	stop();
	limits.memory_max = 1 << 20;
	world_open(&world, &limits, true);
	client = open_session(&world, 1);
	size_t before = used(&world);
	for (;; made++) {
		(void)snprintf(key, sizeof(key), "key %d", made);
		const struct operation operation = put_call(client, seq++, key, "some value");
		if (status_of(&world, &operation) != KV_OK)
			break;
	}
	ck_assert_int_gt(made, 1000);
	for (int i = 0; i < made; i++) {
		(void)snprintf(key, sizeof(key), "key %d", i);
		const struct operation operation = delete_call(seq++, key, VERSION_ANY);
		ck_assert_int_eq(status_of(&world, &operation), KV_OK);
	}
	ck_assert_uint_lt(used(&world), before + 16384);
	put(seq, "again", "value");
}

/* --- TXN: SEMANTICS 3 ---------------------------------------------------------------------- */

CASE(txn, .setup = start, .teardown = stop);

TEST(rule_3_1_a_txn_does_all_of_its_changes_in_one_record) {
	struct sample sample = {.changes = {change(CHANGE_PUT, "a", "1", 0),
					    change(CHANGE_APPEND, "b", "2", 0),
					    change(CHANGE_DELETE, "c", "", 0)}};

	put(1, "b", "x");
	put(2, "c", "y");
	size_t records = world.tape.count;
	struct reply reply = run_txn(&sample, 3);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_eq(world.tape.count, records + 1);
	ck_assert_uint_eq(reply.current, world.tape.count);
	ck_assert_uint_eq(version_in(&reply, 0), 1);
	ck_assert_uint_eq(version_in(&reply, 1), 2);
	ck_assert_uint_eq(version_in(&reply, 2), 2);
	drop(&world, &reply);
	assert_holds(&world, "a", "1", 1);
	assert_holds(&world, "b", "x2", 2);
	assert_missing(&world, "c");
}

TEST(each_condition_is_tested) {
	static const struct {
		enum condition_test test;
		const char *key, *value;
		uint64_t version;
		bool holds;
	} rows[] = {
	    {CONDITION_AT, "k", "", 1, true},	    {CONDITION_AT, "k", "", 2, false},
	    {CONDITION_AT, "k", "", 0, false},	    {CONDITION_AT, "no", "", 0, true},
	    {CONDITION_AT, "no", "", 1, false},	    {CONDITION_EXISTS, "k", "", 0, true},
	    {CONDITION_EXISTS, "no", "", 0, false}, {CONDITION_HOLDS, "k", "v", 0, true},
	    {CONDITION_HOLDS, "k", "w", 0, false},  {CONDITION_HOLDS, "no", "", 0, false},
	    {CONDITION_FREE, "k", "v", 0, true},    {CONDITION_FREE, "k", "", 0, false},
	    {CONDITION_FREE, "no", "x", 0, true},
	};

	put(1, "k", "v");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sample sample = {.conditions = {{CONDITION_AT, 1, text("k"), text("")},
						       {rows[i].test, rows[i].version,
							text(rows[i].key), text(rows[i].value)}},
					.changes = {change(CHANGE_PUT, "out", "x", 0)}};
		struct reply reply = run_txn(&sample, 2 + i);

		ck_assert_int_eq(reply.status, rows[i].holds ? KV_OK : KV_UNMET);
		if (!rows[i].holds) {
			ck_assert_uint_eq(reply.which, 1);
			ck_assert_uint_eq(reply.current, rows[i].key[0] == 'k' ? 1 : 0);
		}
		drop(&world, &reply);
	}
}

TEST(rule_3_3_a_txn_that_is_refused_changes_nothing_and_takes_its_slot) {
	struct sample sample = {
	    .conditions = {{CONDITION_AT, 7, text("a"), text("")}},
	    .changes = {change(CHANGE_PUT, "a", "1", 0), change(CHANGE_DELETE, "b", "", 0)}};

	put(1, "b", "x");
	ck_assert_int_eq(txn_status(&sample, 2), KV_UNMET);
	assert_missing(&world, "a");
	assert_holds(&world, "b", "x", 1);
	put(3, "z", "");
	ck_assert_int_eq(txn_status(&sample, 2), KV_STALE);
}

TEST(rule_3_3_a_refusal_waits_for_what_it_shows) {
	struct sample sample = {.conditions = {{CONDITION_AT, 1, text("lock"), text("")}},
				.changes = {change(CHANGE_PUT, "data", "x", 0)}};

	put(1, "lock", "other");
	put(2, "lock", "another");
	struct reply reply = run_txn(&sample, 3);
	ck_assert_int_eq(reply.status, KV_UNMET);
	ck_assert_uint_eq(reply.position, world.tape.count);
	drop(&world, &reply);
}

TEST(rule_3_4_a_late_writer_is_refused_from_the_release_on) {
	struct sample fenced = {.conditions = {{CONDITION_AT, 1, text("lock"), text("")}},
				.changes = {change(CHANGE_APPEND, "data", "x", 0)}};

	put(1, "lock", "holder");
	ck_assert_int_eq(txn_status(&fenced, 2), KV_OK);
	put(3, "lock", "__unlocked");
	struct reply reply = run_txn(&fenced, 4);
	ck_assert_int_eq(reply.status, KV_UNMET);
	ck_assert_uint_eq(reply.which, 0);
	ck_assert_uint_eq(reply.current, 2);
	drop(&world, &reply);
	/* A token of the future is refused as well. */
	fenced.conditions[0].version = 9;
	ck_assert_int_eq(txn_status(&fenced, 5), KV_UNMET);
	assert_holds(&world, "data", "x", 1);
}

TEST(rule_3_5_a_txn_needs_a_session) {
	struct sample sample = {.changes = {change(CHANGE_PUT, "a", "1", 0)}};

	client = 0;
	ck_assert_int_eq(txn_status(&sample, 1), KV_INVALID);
	assert_missing(&world, "a");
}

TEST(rule_3_1_a_copy_of_a_txn_gets_the_same_versions_and_one_of_a_refusal_the_same_refusal) {
	struct sample done = {.changes = {change(CHANGE_APPEND, "a", "1", 0)}};
	struct sample refused = {.conditions = {{CONDITION_AT, 0, text("a"), text("")},
						{CONDITION_EXISTS, 0, text("no"), text("")}},
				 .changes = {change(CHANGE_PUT, "b", "1", 0)}};
	const struct operation operation = txn_call(&done, 1);
	struct reply first = run(&world, &operation);
	struct reply copy = run(&world, &operation);

	ck_assert_int_eq(copy.status, KV_OK);
	ck_assert_uint_eq(copy.current, first.current);
	ck_assert_uint_eq(version_in(&copy, 0), version_in(&first, 0));
	drop(&world, &first);
	drop(&world, &copy);
	assert_holds(&world, "a", "1", 1);

	struct reply refusal = run_txn(&refused, 2);
	struct operation delete = delete_call(3, "a", VERSION_ANY);
	delete.slot = 1;
	ck_assert_int_eq(status_of(&world, &delete), KV_OK);
	copy = run_txn(&refused, 2);
	ck_assert_int_eq(copy.status, KV_UNMET);
	ck_assert_uint_eq(copy.which, refusal.which);
	ck_assert_uint_eq(copy.current, refusal.current);
}

TEST(another_txn_with_the_same_seq_is_a_false_retry) {
	struct sample one = {.changes = {change(CHANGE_PUT, "a", "1", 5000)}};
	struct sample other = {.changes = {change(CHANGE_PUT, "a", "1", 5001)}};

	ck_assert_int_eq(txn_status(&one, 1), KV_OK);
	ck_assert_int_eq(txn_status(&other, 1), KV_FALSE_RETRY);
	ck_assert_int_eq(txn_status(&one, 1), KV_OK);
}

TEST(rule_3_3_deletes_and_touches_need_their_key_and_the_refusal_says_which) {
	struct sample sample = {
	    .changes = {change(CHANGE_PUT, "a", "1", 0), change(CHANGE_TOUCH, "no", "", 1000)}};
	struct reply reply = run_txn(&sample, 1);

	ck_assert_int_eq(reply.status, KV_NOKEY);
	ck_assert_uint_eq(reply.which, 1);
	sample.changes[1].kind = CHANGE_DELETE;
	ck_assert_int_eq(txn_status(&sample, 2), KV_NOKEY);
	assert_missing(&world, "a");
}

TEST(rule_3_2_txns_that_make_no_sense_are_invalid) {
	struct sample none = {.conditions = {{CONDITION_AT, 0, text("a"), text("")}}};
	struct sample twice = {
	    .changes = {change(CHANGE_PUT, "a", "1", 0), change(CHANGE_PUT, "a", "2", 0)}};
	struct sample no_ttl = {.changes = {change(CHANGE_TOUCH, "a", "", 0)}};
	struct sample long_ttl = {.changes = {change(CHANGE_PUT, "a", "", TTL_MAX_MS + 1)}};
	struct sample no_kind = {.changes = {change((enum change_kind)9, "a", "", 0)}};
	struct sample no_test = {.conditions = {{(enum condition_test)9, 0, text("a"), text("")}},
				 .changes = {change(CHANGE_PUT, "a", "", 0)}};

	ck_assert_int_eq(txn_status(&none, 1), KV_INVALID);
	ck_assert_int_eq(txn_status(&twice, 2), KV_INVALID);
	ck_assert_int_eq(txn_status(&no_ttl, 3), KV_INVALID);
	ck_assert_int_eq(txn_status(&long_ttl, 4), KV_INVALID);
	ck_assert_int_eq(txn_status(&no_kind, 5), KV_INVALID);
	ck_assert_int_eq(txn_status(&no_test, 6), KV_INVALID);
}

TEST(a_txn_of_64_changes_is_done_and_one_of_65_is_invalid) {
	static char names[CHANGES_MAX + 1][16];
	static struct change changes[CHANGES_MAX + 1];
	struct txn txn = {.changes = changes, .change_count = CHANGES_MAX + 1};
	struct operation operation = {
	    .kind = OPERATION_TXN, .client_id = client, .seq = 1, .txn = &txn};

	for (int i = 0; i <= CHANGES_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "key %02d", i);
		changes[i] = change(CHANGE_PUT, names[i], "v", 60000);
	}
	ck_assert_int_eq(status_of(&world, &operation), KV_INVALID);
	txn.change_count = CHANGES_MAX;
	operation.seq = 2;
	ck_assert_int_eq(status_of(&world, &operation), KV_OK);
	assert_holds(&world, "key 63", "v", 1);
}

TEST(rule_3_2_a_txn_that_finds_no_memory_changes_nothing) {
	unsigned refused = 0;

	put(1, "b", "x");
	size_t before = used(&world);
	for (unsigned i = 1; i < 40; i++) {
		struct sample sample = {
		    .changes = {change(CHANGE_PUT, "a", "1", 1000),
				change(CHANGE_APPEND, "b", "yyyyyyyyyyyyyyyyyyyy", 0),
				change(CHANGE_PUT, "c", "3", 0)}};

		service_memory(world.service)->fail_in = i;
		enum kv_status status = txn_status(&sample, 1 + i);
		service_memory(world.service)->fail_in = 0;
		if (status == KV_OK)
			break;
		refused++;
		assert_missing(&world, "a");
		assert_holds(&world, "b", "x", 1);
		ck_assert_str_eq(keys("", "", 9), " b");
		ck_assert_uint_lt(used(&world), before + 8192);
	}
	ck_assert_uint_gt(refused, 2);
	ck_assert_str_eq(keys("", "", 9), " a b c");
}

TEST(rule_3_2_a_txn_that_finds_no_room_in_the_journal_changes_nothing) {
	struct sample sample = {
	    .changes = {change(CHANGE_PUT, "a", "1", 0), change(CHANGE_PUT, "b", "2", 0)}};

	world.tape.is_full = true;
	ck_assert_int_eq(txn_status(&sample, 1), KV_FULL);
	ck_assert_str_eq(keys("", "", 9), "");
}

/* --- LIST: SEMANTICS 2.3 to 2.5 ------------------------------------------------------------ */

CASE(list, .setup = start, .teardown = stop);

TEST(rule_2_3_a_page_has_the_keys_of_the_prefix_in_byte_order) {
	static const char *const names[] = {"b", "a/2", "a/10", "a", "a0", "c/1", "a/"};

	for (size_t i = 0; i < 7; i++)
		put(1 + i, names[i], "");
	ck_assert_str_eq(keys("", "", 0), " a a/ a/10 a/2 a0 b c/1");
	ck_assert_str_eq(keys("a/", "", 0), " a/ a/10 a/2");
	ck_assert_str_eq(keys("a/", "a/", 0), " a/10 a/2");
	ck_assert_str_eq(keys("a/", "a/1", 1), " a/10 ...");
	ck_assert_str_eq(keys("a/", "a/2", 9), "");
	ck_assert_str_eq(keys("a/", "zzz", 9), "");
	ck_assert_str_eq(keys("a/", "A", 2), " a/ a/10 ...");
	ck_assert_str_eq(keys("d", "", 2), "");
}

TEST(rule_2_4_pages_one_after_the_other_have_each_key_once) {
	char key[32], after[32] = "";
	const char *page;
	unsigned seen = 0;

	for (unsigned i = 0; i < 2500; i++) {
		(void)snprintf(key, sizeof(key), "k%04u", i * 7919 % 2500);
		put(1 + i, key, "");
	}
	for (;;) {
		page = keys("k", after, 100);
		for (const char *at = page; sscanf(at, " k%4s", key) == 1 && at[1] == 'k';
		     at += 6) {
			ck_assert_uint_eq((unsigned)atoi(key), seen);
			seen++;
		}
		if (strstr(page, "...") == NULL)
			break;
		(void)snprintf(after, sizeof(after), "k%04u", seen - 1);
	}
	ck_assert_uint_eq(seen, 2500);
}

TEST(a_limit_above_the_largest_page_is_that_of_the_page) {
	struct list_request request = {.limit = UINT32_MAX, .reply_max = ALL};
	char key[32];
	struct reply reply;
	struct list_key listed;
	unsigned count = 0;

	for (unsigned i = 0; i < LIST_PAGE_MAX + 1; i++) {
		(void)snprintf(key, sizeof(key), "k%04u", i);
		put(1 + i, key, "");
	}
	service_list(world.service, EPOCH, &request, &reply);
	ck_assert(reply.more);
	ck_assert_uint_eq(reply.current, world.tape.count);
	ck_assert_uint_eq(reply.position, world.tape.count);
	struct kv_bytes page = view_bytes(reply.value);
	while (list_page_next(&page, &listed))
		count++;
	ck_assert_uint_eq(count, LIST_PAGE_MAX);
	drop(&world, &reply);
	request.reply_max = 100;
	service_list(world.service, EPOCH, &request, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert(reply.more);
	drop(&world, &reply);
	request.reply_max = 10;
	service_list(world.service, EPOCH, &request, &reply);
	ck_assert_int_eq(reply.status, KV_TOOBIG);
	request.prefix = zeros(KEY_MAX + 1);
	service_list(world.service, EPOCH, &request, &reply);
	ck_assert_int_eq(reply.status, KV_TOOBIG);
	service_list(world.service, EPOCH + 1, &request, &reply);
	ck_assert_int_eq(reply.status, KV_EPOCH);
}
