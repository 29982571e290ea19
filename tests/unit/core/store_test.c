/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries and versions: the version table, and writes in two steps. */
#include "core/store.h"
#include "fixture.h"
#include "test.h"

static struct mem_account memory;
static struct store store;

static void start(void) {
	memory = (struct mem_account){.limit = SIZE_MAX};
	ck_assert(store_init(&store, &memory, 5));
}

static void nothing_is_left(void) {
	store_destroy(&store);
	ck_assert_uint_eq(memory.used, 0);
}

static struct operation call(enum operation_kind kind, const char *key, const char *value,
			     uint64_t expected) {
	return (struct operation){
	    .kind = kind,
	    .expected = expected,
	    .key = text(key),
	    .value = text(value),
	    .want_old = true,
	};
}

static bool prepare(struct entry *entry, const struct operation *operation,
		    struct write_plan *plan) {
	store_plan(&store, entry, operation, plan);
	return store_prepare(&store, operation, plan);
}

/* As the service does it; the caller drops reply->value. */
static enum kv_status do_write(const struct operation *operation, struct reply *reply) {
	struct entry *entry = store_find(&store, operation->key);
	struct write_plan plan;

	*reply = (struct reply){.status = store_check(entry, operation->expected)};
	if (reply->status != KV_OK)
		return reply->status;
	ck_assert(prepare(entry, operation, &plan));
	store_commit(&store, &plan, operation, 33, 0, reply);
	return reply->status;
}

static enum kv_status put(const char *key, const char *value, uint64_t expected) {
	struct operation operation = call(OPERATION_PUT, key, value, expected);
	struct reply reply;

	enum kv_status status = do_write(&operation, &reply);
	reply_drop(&memory, &reply);
	return status;
}

static enum kv_status append(const char *key, const char *value, uint64_t expected) {
	struct operation operation = call(OPERATION_APPEND, key, value, expected);
	struct reply reply;

	enum kv_status status = do_write(&operation, &reply);
	reply_drop(&memory, &reply);
	return status;
}

static void holds(const char *key, const char *value, uint64_t version) {
	struct entry *entry = store_find(&store, text(key));

	ck_assert_ptr_nonnull(entry);
	ck_assert(is_text(view_all(&entry->value), value));
	ck_assert_uint_eq(entry->version, version);
	ck_assert_uint_eq(entry->position, 33);
}

/* --- The version table --------------------------------------------------------------------- */

CASE(store, .setup = start, .teardown = nothing_is_left);

static const struct {
	uint64_t version; /* of the key; 0: it is missing */
	uint64_t expected;
	enum kv_status status;
} version_table[] = {
    {0, VERSION_ANY, KV_OK}, {0, 0, KV_OK},
    {0, 1, KV_NOKEY},	     {0, VERSION_ANY - 1, KV_NOKEY},
    {2, VERSION_ANY, KV_OK}, {2, 0, KV_VERSION},
    {2, 1, KV_VERSION},	     {2, 2, KV_OK},
    {2, 3, KV_VERSION},	     {2, VERSION_ANY - 1, KV_VERSION},
};

/* Each row for Put and for Append. */
LOOP_TEST(a_write_goes_by_the_version_table, 0,
	  2 * sizeof(version_table) / sizeof(version_table[0])) {
	uint64_t version = version_table[_i / 2].version;
	enum kv_status status = version_table[_i / 2].status;
	bool appends = _i % 2 != 0;

	for (uint64_t i = 0; i < version; i++)
		ck_assert_int_eq(put("k", "a", i), KV_OK);
	ck_assert_int_eq((appends ? append : put)("k", "b", version_table[_i / 2].expected),
			 status);
	if (status == KV_OK)
		holds("k", appends && version > 0 ? "ab" : "b", version + 1);
	else if (version > 0)
		holds("k", "a", version);
	else
		ck_assert_ptr_null(store_find(&store, text("k")));
}

/* --- Values and keys ----------------------------------------------------------------------- */

TEST(append_answers_the_old_value_and_its_version) {
	struct operation operation = call(OPERATION_APPEND, "k", "abc", VERSION_ANY);
	struct reply reply;

	ck_assert_int_eq(do_write(&operation, &reply), KV_OK);
	ck_assert(is_text(reply.value, ""));
	ck_assert_uint_eq(reply.old_version, 0);
	ck_assert_uint_eq(reply.current, 1);

	ck_assert_int_eq(do_write(&operation, &reply), KV_OK);
	ck_assert(is_text(reply.value, "abc"));
	ck_assert_uint_eq(reply.old_version, 1);
	ck_assert_uint_eq(reply.current, 2);
	reply_drop(&memory, &reply);
}

TEST(append_answers_no_old_value_to_one_who_does_not_want_it) {
	struct operation operation = call(OPERATION_APPEND, "k", "abc", VERSION_ANY);
	struct reply reply;

	ck_assert_int_eq(put("k", "x", 0), KV_OK);
	operation.want_old = false;
	ck_assert_int_eq(do_write(&operation, &reply), KV_OK);
	ck_assert_ptr_null(reply.value.buffer);
	ck_assert_uint_eq(reply.old_version, 1);
}

TEST(an_old_value_outlives_puts_and_appends_to_its_key) {
	struct operation operation = call(OPERATION_APPEND, "k", "def", VERSION_ANY);
	struct reply first;
	struct reply second;

	ck_assert_int_eq(put("k", "abc", 0), KV_OK);
	ck_assert_int_eq(do_write(&operation, &first), KV_OK);
	ck_assert_int_eq(do_write(&operation, &second), KV_OK);
	ck_assert_int_eq(append("k", "0123456789012345678901234567890123456789", VERSION_ANY),
			 KV_OK);
	ck_assert_int_eq(put("k", "something else", VERSION_ANY), KV_OK);
	ck_assert_int_eq(append("k", "more", VERSION_ANY), KV_OK);
	ck_assert(is_text(first.value, "abc"));
	ck_assert(is_text(second.value, "abcdef"));
	holds("k", "something elsemore", 6);
	reply_drop(&memory, &first);
	reply_drop(&memory, &second);
}

TEST(a_put_changes_nothing_that_others_see_whether_it_fits_in_place_or_not) {
	struct view seen[3];

	ck_assert_int_eq(put("k", "one", 0), KV_OK);
	seen[0] = view_ref(view_all(&store_find(&store, text("k"))->value));
	ck_assert_int_eq(put("k", "two", 1), KV_OK);
	size_t before = memory.used;
	ck_assert_int_eq(put("k", "six", 2), KV_OK);
	ck_assert_uint_eq(memory.used, before);
	seen[1] = view_ref(view_all(&store_find(&store, text("k"))->value));
	ck_assert_int_eq(put("k", "a longer value that needs another block than before", 3), KV_OK);
	seen[2] = view_ref(view_all(&store_find(&store, text("k"))->value));
	ck_assert_int_eq(put("k", "", 4), KV_OK);
	holds("k", "", 5);
	ck_assert(is_text(seen[0], "one"));
	ck_assert(is_text(seen[1], "six"));
	ck_assert(is_text(seen[2], "a longer value that needs another block than before"));
	for (int i = 0; i < 3; i++)
		view_unref(&memory, &seen[i]);
}

TEST(keys_are_bytes_of_which_each_counts) {
	const char *keys[] = {"a", "b", "aa", "ab", "a\001", "\377"};
	const struct kv_bytes with_zero = {.data = "a\0b", .size = 3};

	for (size_t i = 0; i < 6; i++)
		ck_assert_int_eq(put(keys[i], keys[i], 0), KV_OK);
	for (size_t i = 0; i < 6; i++)
		holds(keys[i], keys[i], 1);
	ck_assert_ptr_null(store_find(&store, with_zero));
}

TEST(an_empty_value_is_a_value) {
	ck_assert_int_eq(put("k", "", 0), KV_OK);
	holds("k", "", 1);
	ck_assert_int_eq(append("k", "", 1), KV_OK);
	holds("k", "", 2);
	ck_assert_int_eq(append("k", "abc", 2), KV_OK);
	holds("k", "abc", 3);
	ck_assert_int_eq(put("k", "", 3), KV_OK);
	holds("k", "", 4);
}

/* --- Two steps, and their memory ----------------------------------------------------------- */

TEST(a_prepared_write_needs_no_memory_to_be_done) {
	char key[32];
	struct reply reply;
	struct write_plan plan;

	for (int i = 0; i < 20000; i++) {
		(void)snprintf(key, sizeof(key), "key %d", i % 5000);
		enum operation_kind kind = i % 3 == 0 ? OPERATION_APPEND : OPERATION_PUT;
		struct operation operation = call(kind, key, "some value", VERSION_ANY);
		struct entry *entry = store_find(&store, operation.key);
		ck_assert(prepare(entry, &operation, &plan));
		memory.fail_in = 1;
		store_commit(&store, &plan, &operation, 33, 0, &reply);
		ck_assert_uint_eq(memory.fail_in, 1);
		memory.fail_in = 0;
		reply_drop(&memory, &reply);
	}
}

TEST(a_write_given_up_leaves_no_trace) {
	struct operation operation = call(OPERATION_PUT, "k", "abc", VERSION_ANY);
	struct write_plan plan;
	size_t before = memory.used;

	ck_assert(prepare(NULL, &operation, &plan));
	store_cancel(&store, &plan);
	ck_assert_ptr_null(store_find(&store, text("k")));
	ck_assert_uint_eq(memory.used, before);

	ck_assert_int_eq(put("k", "x", 0), KV_OK);
	before = memory.used;
	ck_assert(prepare(store_find(&store, text("k")), &operation, &plan));
	store_cancel(&store, &plan);
	holds("k", "x", 1);
	ck_assert_uint_eq(memory.used, before);

	operation.kind = OPERATION_APPEND;
	ck_assert(prepare(store_find(&store, text("k")), &operation, &plan));
	store_cancel(&store, &plan);
	holds("k", "x", 1);
}

TEST(without_memory_nothing_is_prepared) {
	struct operation operation = call(OPERATION_PUT, "k", "abc", VERSION_ANY);
	struct write_plan plan;
	size_t before = memory.used;

	memory.fail_in = 1;
	ck_assert(!prepare(NULL, &operation, &plan));
	ck_assert_uint_eq(memory.used, before);
	ck_assert_int_eq(put("k", "x", 0), KV_OK);
	before = memory.used;
	operation.value = zeros(100);
	memory.fail_in = 1;
	ck_assert(!prepare(store_find(&store, text("k")), &operation, &plan));
	operation.kind = OPERATION_APPEND;
	memory.fail_in = 1;
	ck_assert(!prepare(store_find(&store, text("k")), &operation, &plan));
	holds("k", "x", 1);
	ck_assert_uint_eq(memory.used, before);
}

TEST(without_memory_for_the_table_nothing_is_prepared) {
	unsigned failures = 0;
	char key[32];

	for (int i = 0; i < 3000; i++) {
		(void)snprintf(key, sizeof(key), "key %d", i);
		struct operation operation = call(OPERATION_PUT, key, "some value", 0);
		size_t before = memory.used;
		bool grows = hash_table_reserve_cost(&store.entries) > 0;
		struct write_plan plan;

		memory.fail_in = 1;
		ck_assert(!prepare(NULL, &operation, &plan));
		ck_assert_uint_eq(memory.used, before);
		failures += grows;
		memory.fail_in = 0;
		ck_assert_int_eq(put(key, "some value", 0), KV_OK);
	}
	ck_assert_uint_gt(failures, 10);
}

/* Bytes that a full leaf of the index may take until its separators are made. */
enum { INDEX_SPLIT_MAX = 8192 };

/* The least memory.limit under which a write is allowed. */
static size_t least_limit(struct entry *entry, const struct operation *operation) {
	size_t refused = 0;
	size_t allowed = SIZE_MAX / 2;
	struct write_plan plan;

	store_plan(&store, entry, operation, &plan);
	while (allowed - refused > 1) {
		memory.limit = refused + (allowed - refused) / 2;
		if (store_has_memory_for(&store, &plan))
			allowed = memory.limit;
		else
			refused = memory.limit;
	}
	memory.limit = SIZE_MAX;
	return allowed;
}

/*
 * Or it needs no limit, if it does not take more than there was. A new key may give a line of the
 * table back that another took.
 */
static void assert_fits_what_it_takes(const struct operation *operation) {
	size_t before = memory.used;
	size_t limit = least_limit(store_find(&store, operation->key), operation);
	struct reply reply;

	ck_assert_int_eq(do_write(operation, &reply), KV_OK);
	reply_drop(&memory, &reply);
	if (reply.current == 1 && limit > memory.used)
		ck_assert_uint_le(limit, memory.used + mem_account_cost(64) + INDEX_SPLIT_MAX);
	else
		ck_assert_uint_eq(limit, memory.used > before ? memory.used : 1);
}

TEST(what_fits_is_what_the_write_takes) {
	static const size_t sizes[] = {0, 1, 20, 1000, 5000, 100, 70000, 3};
	struct operation operation = call(OPERATION_PUT, "k", "", VERSION_ANY);

	for (size_t i = 0; i < 64; i++) {
		operation.kind = i % 3 == 1 ? OPERATION_APPEND : OPERATION_PUT;
		operation.value = zeros(sizes[i % 8]);
		assert_fits_what_it_takes(&operation);
	}
}

/* A Put whose value may stay in the block in which it came. */
static struct operation put_in(struct owned_block *block, const char *key, size_t size, char fill) {
	struct operation operation = call(OPERATION_PUT, key, "", VERSION_ANY);

	*block = (struct owned_block){.data = malloc(size + 40), .size = size + 40};
	ck_assert_ptr_nonnull(block->data);
	memset(block->data, fill, block->size);
	operation.value = (struct kv_bytes){(char *)block->data + 40, size};
	operation.block = block;
	return operation;
}

TEST(a_large_value_stays_where_it_came_and_fits_as_it_is) {
	static const size_t sizes[] = {20000, 1 << 20, 20000, 20000, 20020, 70000};
	struct owned_block block;

	for (size_t i = 0; i < 24; i++) {
		const char *key = i % 4 == 0 ? "other" : "k";
		size_t size = sizes[i % 6];
		struct operation operation = put_in(&block, key, size, (char)('a' + i));
		struct view view;

		assert_fits_what_it_takes(&operation);
		ck_assert_ptr_null(block.data);
		view = view_all(&store_find(&store, text(key))->value);
		ck_assert_uint_eq(view.size, size);
		ck_assert(view_bytes(view).data == operation.value.data);
		ck_assert_int_eq(((const char *)view_bytes(view).data)[size - 1], (char)('a' + i));
		/* And after it, writes that find it there. */
		operation = call(i % 2 == 0 ? OPERATION_APPEND : OPERATION_PUT, "k", "", 0);
		operation.expected = VERSION_ANY;
		operation.value = zeros(i % 3 == 0 ? size : i);
		assert_fits_what_it_takes(&operation);
	}
}

TEST(the_block_goes_with_a_write_given_up_and_stays_without_memory_or_for_an_append) {
	struct owned_block block;
	struct operation operation = put_in(&block, "k", 20000, 'a');
	size_t before = memory.used;
	struct write_plan plan;
	struct reply reply;

	memory.fail_in = 1;
	ck_assert(!prepare(NULL, &operation, &plan));
	ck_assert_ptr_nonnull(block.data);
	memory.fail_in = 0;
	operation.kind = OPERATION_APPEND;
	ck_assert(prepare(NULL, &operation, &plan));
	ck_assert_ptr_nonnull(block.data);
	store_cancel(&store, &plan);
	operation.kind = OPERATION_PUT;
	ck_assert(prepare(NULL, &operation, &plan));
	ck_assert_ptr_null(block.data);
	store_cancel(&store, &plan);
	ck_assert_uint_eq(memory.used, before);

	operation = put_in(&block, "k", 20000, 'b');
	ck_assert_int_eq(do_write(&operation, &reply), KV_OK);
	ck_assert_ptr_null(block.data);
}

TEST(what_fits_is_what_a_new_key_takes_with_its_share_of_the_table) {
	char key[32];

	for (int i = 0; i < 20000; i++) {
		(void)snprintf(key, sizeof(key), "key %d", i);
		struct operation operation = call(OPERATION_PUT, key, "value", 0);
		assert_fits_what_it_takes(&operation);
	}
}

/* How many bytes a key takes beside key and value, of values from `least` to `most` bytes. */
static size_t overhead(size_t least, size_t most) {
	enum { KEYS = 100000 };
	char key[32];
	size_t before = memory.used;
	size_t bytes = 0;

	for (int i = 0; i < KEYS; i++) {
		(void)snprintf(key, sizeof(key), "%09zu%07x", most, i);
		struct operation operation = call(OPERATION_PUT, key, "", 0);
		struct reply reply;
		operation.value = zeros(least + (size_t)i % (most + 1 - least));
		ck_assert_int_eq(do_write(&operation, &reply), KV_OK);
		bytes += operation.key.size + operation.value.size;
	}
	return (memory.used - before - bytes) / KEYS;
}

TEST(a_key_takes_52_bytes_at_most_beside_its_own) {
	size_t usual = overhead(100, 100);
	size_t mixed = overhead(1, 200);

	printf("figure: %zu bytes a key beside key and value, %zu with values of mixed sizes\n",
	       usual, mixed);
	ck_assert_uint_le(usual, 52);
	ck_assert_uint_le(mixed, 52);
}
