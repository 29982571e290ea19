/* SPDX-License-Identifier: BSD-3-Clause */
/* What a history holds of a delete and of a transaction, done and refused. */
#include <string.h>

#include "history_notes.h"
#include "test.h"

static struct history_notes notes;
static const struct kv_condition conditions[] = {
    {.test = KV_AT, .key = {"lock", 4}, .version = 7},
    {.test = KV_FREE, .key = {"k", 1}, .value = {"old", 3}},
    {.test = KV_EXISTS, .key = {"other", 5}},
};
static struct kv_change changes[] = {
    {.kind = KV_CHANGE_PUT, .key = {"k", 1}, .value = {"new", 3}, .ttl_ms = 5},
    {.kind = KV_CHANGE_TOUCH, .key = {"lock", 4}, .ttl_ms = 6},
};
static const struct kv_txn txn = {
    .conditions = conditions, .condition_count = 3, .changes = changes, .change_count = 2};
static const struct request transact = {.kind = REQUEST_TXN, .txn = &txn};

static void made(void) {
	history_notes_make(&notes, &transact);
}

static void is_answered(size_t part, enum kv_status status, uint64_t version) {
	ck_assert_int_eq(notes.calls[part - 1].status, status);
	ck_assert_uint_eq(notes.calls[part - 1].version, version);
}

CASE(transactions, .setup = made);

TEST(a_transaction_has_a_part_for_each_condition_and_change) {
	ck_assert_uint_eq(notes.count, 5);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_uint_eq(notes.calls[i].part, i + 1);
	ck_assert_int_eq(notes.calls[0].op, HISTORY_CHECK);
	ck_assert_int_eq(notes.calls[0].test, HISTORY_AT);
	ck_assert_uint_eq(notes.calls[0].expected, 7);
	ck_assert_int_eq(notes.calls[1].test, HISTORY_FREE);
	ck_assert_uint_eq(notes.calls[1].value.size, 3);
	ck_assert_int_eq(notes.calls[3].op, HISTORY_PUT);
	ck_assert_uint_eq(notes.calls[3].expected, HISTORY_ANY);
	ck_assert_uint_eq(notes.calls[3].ttl_ms, 5);
	ck_assert_int_eq(notes.calls[4].op, HISTORY_TOUCH);
	/* The condition on its key. */
	ck_assert_uint_eq(notes.calls[4].expected, 7);
}

TEST(a_transaction_that_was_done_tells_versions_and_its_position) {
	uint64_t versions[] = {4, 7};
	struct response response = {.versions = versions, .current = 99};

	history_notes_reply(&notes, &transact, KV_OK, &response);
	is_answered(1, KV_OK, 7);
	/* Found at the version before the one that was made, or missing. */
	is_answered(2, KV_OK, 3);
	is_answered(3, KV_OK, 0);
	is_answered(4, KV_OK, 4);
	is_answered(5, KV_OK, 7);
	ck_assert_uint_eq(notes.calls[4].position, 99);
}

TEST(the_condition_that_refused_tells_the_version_of_its_key) {
	struct response response = {.which = 1, .current = 8};

	history_notes_reply(&notes, &transact, KV_UNMET, &response);
	is_answered(1, KV_UNMET, 0);
	is_answered(2, KV_UNMET, 8);
	is_answered(4, KV_UNMET, 0);
	response.current = 0;
	made();
	history_notes_reply(&notes, &transact, KV_UNMET, &response);
	is_answered(2, KV_NOKEY, 0);
}

TEST(the_change_that_refused_tells_that_its_key_is_missing) {
	struct response response = {.which = 1};

	history_notes_reply(&notes, &transact, KV_NOKEY, &response);
	is_answered(1, KV_UNMET, 0);
	is_answered(4, KV_UNMET, 0);
	is_answered(5, KV_NOKEY, 0);
}

TEST(a_transaction_in_doubt_is_so_in_each_part) {
	struct response response = {0};

	history_notes_reply(&notes, &transact, KV_MAYBE, &response);
	for (size_t i = 1; i <= 5; i++)
		is_answered(i, KV_MAYBE, 0);
}

TEST(a_delete_is_a_call_with_the_version_that_it_spent) {
	const struct request request = {.kind = REQUEST_DELETE, .key = {"k", 1}, .expected = 3};
	struct response response = {.current = 4};

	history_notes_make(&notes, &request);
	ck_assert_uint_eq(notes.count, 1);
	ck_assert_int_eq(notes.calls[0].op, HISTORY_DELETE);
	ck_assert_uint_eq(notes.calls[0].part, 0);
	ck_assert_uint_eq(notes.calls[0].expected, 3);
	history_notes_reply(&notes, &request, KV_OK, &response);
	is_answered(1, KV_OK, 4);
}
