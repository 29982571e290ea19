/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: malloc slab_alloc */
/*
 * CHANGES as the ring answers it: docs/PROTOCOL.md, "Changes"; and a copy that is kept by it beside
 * the store itself.
 */
#include "core/fixture.h"
#include "prng.h"
#include "rpc/change_ring.h"
#include "test.h"

static struct world world;
static struct change_ring *ring;
static uint64_t client;
static uint64_t seq;
static unsigned malloc_fails_in; /* 0: never */

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_slab_alloc(struct slabs *slabs, size_t size);
void *__wrap_slab_alloc(struct slabs *slabs, size_t size);

static bool fails_now(void) {
	return malloc_fails_in != 0 && --malloc_fails_in == 0;
}

void *__wrap_malloc(size_t size) {
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_slab_alloc(struct slabs *slabs, size_t size) {
	return fails_now() ? NULL : __real_slab_alloc(slabs, size);
}

static void open_ring(uint32_t changes_max) {
	ring = change_ring_new(world.service, changes_max);
	ck_assert_ptr_nonnull(ring);
	change_ring_set_time(ring, 1);
}

static void start_with(bool records) {
	world_open(&world, usual_limits(), records);
	client = open_session(&world, 1);
	seq = 0;
	open_ring(0);
}

static void start(void) {
	start_with(true);
}

static void stop(void) {
	change_ring_free(ring);
	world_close(&world);
}

static void start_anew(size_t memory_max, uint32_t changes_max) {
	struct service_limits limits = *usual_limits();

	stop();
	limits.memory_max = memory_max;
	world_open(&world, &limits, true);
	client = open_session(&world, 1);
	seq = 0;
	open_ring(changes_max);
}

static uint64_t position(void) {
	return service_position(world.service);
}

static void put(const char *key) {
	const struct operation operation = put_call(client, ++seq, key, "v");

	ck_assert_int_eq(status_of(&world, &operation), KV_OK);
}

static enum kv_status del(const char *key) {
	struct operation operation = put_call(client, ++seq, key, "");

	operation.kind = OPERATION_DELETE;
	return status_of(&world, &operation);
}

static enum kv_status put_all(const char *const *keys, unsigned count) {
	struct change changes[CHANGES_MAX];
	struct txn txn = {.changes = changes, .change_count = count};
	const struct operation operation = {
	    .kind = OPERATION_TXN, .client_id = client, .seq = ++seq, .txn = &txn};

	for (unsigned i = 0; i < count; i++)
		changes[i] = (struct change){.kind = CHANGE_PUT, .key = text(keys[i])};
	txn.hash = txn_hash(&txn);
	return status_of(&world, &operation);
}

static struct reply ask_with(const struct changes_request *request) {
	struct reply reply;

	change_ring_answer(ring, EPOCH, request, &reply);
	return reply;
}

static struct reply ask(const char *prefix, uint64_t since, uint32_t limit) {
	const struct changes_request request = {
	    .prefix = text(prefix), .since = since, .limit = limit, .reply_max = ALL};

	return ask_with(&request);
}

static enum kv_status status(uint64_t since) {
	struct reply reply = ask("", since, 0);

	drop(&world, &reply);
	return reply.status;
}

/* The page as " a@1 -b@2 ... to 9", where - is an end and ... is more. */
static const char *changes(const char *prefix, uint64_t since, uint32_t limit) {
	static char line[4096];
	struct reply reply = ask(prefix, since, limit);
	struct kv_bytes page = view_bytes(reply.value);
	struct changed_key key;
	size_t size = 0;

	ck_assert_int_eq(reply.status, KV_OK);
	line[0] = '\0';
	while (change_ring_next(&page, &key))
		size += (size_t)snprintf(
		    line + size, sizeof(line) - size, " %s%.*s@%llu", key.is_gone ? "-" : "",
		    (int)key.key.size, (const char *)key.key.data, (unsigned long long)key.version);
	(void)snprintf(line + size, sizeof(line) - size, "%s to %llu", reply.more ? " ..." : "",
		       (unsigned long long)reply.current);
	drop(&world, &reply);
	return line;
}

/* Switches the ring on. */
static void watch(void) {
	ck_assert_int_eq(status(position()), KV_OK);
}

CASE(change_ring, .setup = start, .teardown = stop);

TEST(rule_6_6_each_changed_key_is_there_once_with_its_newest_version_and_whether_it_is_gone) {
	watch();
	put("a"); /* 2 */
	put("b"); /* 3 */
	put("a"); /* 4 */
	put("c"); /* 5 */
	ck_assert_int_eq(del("b"), KV_OK);
	ck_assert_str_eq(changes("", 1, 0), " a@2 c@1 -b@2 to 6");
	ck_assert_str_eq(changes("", 4, 0), " c@1 -b@2 to 6");
	ck_assert_str_eq(changes("", 6, 0), " to 6");
	put("b");
	ck_assert_str_eq(changes("", 4, 0), " c@1 b@3 to 7");
}

TEST(the_end_of_a_ttl_is_a_change_and_a_touch_is_none) {
	struct operation operation = put_call(client, ++seq, "t", "v");
	const struct change touch = {.kind = CHANGE_TOUCH, .key = text("t"), .ttl_ms = 100};
	struct txn txn = {.changes = &touch, .change_count = 1};
	const struct operation touched = {
	    .kind = OPERATION_TXN, .client_id = client, .seq = 2, .txn = &txn};

	watch();
	operation.ttl_ms = 10;
	ck_assert_int_eq(status_of(&world, &operation), KV_OK);
	txn.hash = txn_hash(&txn);
	ck_assert_int_eq(status_of(&world, &touched), KV_OK);
	ck_assert_str_eq(changes("", 2, 0), " to 3");
	(void)service_end_ttls(world.service, 9, 1000);
	ck_assert_str_eq(changes("", 2, 0), " -t@2 to 4");
}

TEST(a_prefix_selects_keys_and_the_position_goes_on_without_them) {
	watch();
	put("x/1");
	put("y/1");
	put("x/2");
	put("x");
	put("y/2");
	ck_assert_str_eq(changes("x/", 1, 0), " x/1@1 x/2@1 to 6");
	ck_assert_str_eq(changes("x", 1, 2), " x/1@1 x/2@1 ... to 4");
	ck_assert_str_eq(changes("z", 1, 0), " to 6");
}

/* F4 of the model: a page that ends inside a TXN never tells the rest of it. */
TEST(rule_6_7_a_page_is_cut_between_positions_only) {
	static const char *const three[] = {"b", "c", "d"};

	watch();
	put("a");
	ck_assert_int_eq(put_all(three, 3), KV_OK);
	put("e");
	ck_assert_str_eq(changes("", 1, 1), " a@1 ... to 2");
	ck_assert_str_eq(changes("", 1, 3), " a@1 ... to 2");
	ck_assert_str_eq(changes("", 1, 4), " a@1 b@1 c@1 d@1 ... to 3");
	ck_assert_str_eq(changes("", 2, 1), " b@1 c@1 d@1 ... to 3");
	ck_assert_str_eq(changes("", 3, 1), " e@1 to 4");
}

/*
 * F1 of the model. With more behind it, too: a put at 2 is left out for the put at 4, and if that
 * is lost in a crash, a client that goes on from 3 never hears of a.
 */
TEST(rule_6_9_an_answer_waits_until_all_that_happened_is_durable) {
	struct reply reply;

	watch();
	put("a");
	put("b");
	put("a");
	reply = ask("", 1, 1);
	ck_assert(reply.more);
	ck_assert_uint_eq(reply.current, 3);
	ck_assert_uint_eq(reply.position, 4);
	drop(&world, &reply);
	ck_assert_uint_eq(ask("nothing", 1, 0).position, 4);
}

/* F5 of the model. */
TEST(rule_6_8_what_is_older_than_the_ring_is_compacted) {
	put("a");
	ck_assert_int_eq(status(1), KV_COMPACTED);
	ck_assert_int_eq(status(0), KV_COMPACTED);
	/* From the first question on it remembers, and nothing came after the last change. */
	ck_assert_str_eq(changes("", 2, 0), " to 2");
	open_session(&world, 2);
	put("b");
	ck_assert_str_eq(changes("", 2, 0), " b@1 to 4");
	ck_assert_int_eq(status(1), KV_COMPACTED);
}

/* F6 of the model. */
TEST(rule_6_8_what_is_newer_than_the_store_is_compacted) {
	watch();
	ck_assert_int_eq(status(position()), KV_OK);
	ck_assert_int_eq(status(position() + 1), KV_COMPACTED);
	ck_assert_int_eq(status(UINT64_MAX), KV_COMPACTED);
}

TEST(an_operation_that_changed_no_key_compacts_nothing) {
	put("a");
	open_session(&world, 2);
	open_session(&world, 3);
	ck_assert_str_eq(changes("", 2, 0), " to 4");
}

TEST(bad_arguments_are_refused) {
	struct changes_request request = {.prefix = zeros(KEY_MAX + 1), .reply_max = ALL};
	struct reply reply;

	ck_assert_int_eq(ask_with(&request).status, KV_TOOBIG);
	request.prefix = zeros(KEY_MAX);
	request.since = position();
	ck_assert_int_eq(ask_with(&request).status, KV_OK);
	change_ring_answer(ring, EPOCH + 1, &request, &reply);
	ck_assert_int_eq(reply.status, KV_EPOCH);
	change_ring_answer(ring, 0, &request, &reply);
	ck_assert_int_eq(reply.status, KV_OK);
}

TEST(limits_of_nothing_and_of_all_are_a_thousand_keys) {
	char key[16];

	watch();
	for (int i = 0; i < 1001; i++) {
		(void)snprintf(key, sizeof(key), "%04d", i);
		put(key);
	}
	for (int i = 0; i < 3; i++) {
		struct reply reply = ask("", 1, i == 0 ? 0 : i == 1 ? UINT32_MAX : 1000);
		struct kv_bytes page = view_bytes(reply.value);
		struct changed_key changed;
		unsigned count = 0;

		while (change_ring_next(&page, &changed))
			count++;
		ck_assert_uint_eq(count, 1000);
		ck_assert(reply.more);
		drop(&world, &reply);
	}
}

TEST(a_reply_that_must_be_small_ends_earlier_and_what_cannot_fit_is_too_big) {
	static const char *const two[] = {"b", "c"};
	struct changes_request request = {.since = 1, .reply_max = 2 * (CHANGE_KEY_COST + 1)};
	struct reply reply;

	watch();
	put("a");
	ck_assert_int_eq(put_all(two, 2), KV_OK);
	reply = ask_with(&request);
	ck_assert_int_eq(reply.status, KV_OK);
	ck_assert_uint_eq(reply.current, 2);
	ck_assert(reply.more);
	drop(&world, &reply);
	request.since = 2;
	reply = ask_with(&request);
	ck_assert_uint_eq(reply.current, 3);
	drop(&world, &reply);
	request.reply_max--;
	ck_assert_int_eq(ask_with(&request).status, KV_TOOBIG);
}

/* --- Limits ---------------------------------------------------------------------------------- */

TEST(rule_6_8_nothing_is_remembered_before_the_first_question_and_some_time_after_the_last) {
	struct stats stats = {0};

	put("a");
	change_ring_add_stats(ring, &stats);
	ck_assert_uint_eq(stats_value(&stats, "changes_bytes"), 0);
	watch();
	put("b");
	change_ring_set_time(ring, 1 + CHANGE_RING_IDLE_MS - 1);
	ck_assert_str_eq(changes("", 2, 0), " b@1 to 3");
	change_ring_set_time(ring, 2 * CHANGE_RING_IDLE_MS - 1);
	ck_assert_str_eq(changes("", 2, 0), " b@1 to 3");
	change_ring_set_time(ring, 3 * CHANGE_RING_IDLE_MS - 1);
	stats.count = 0;
	change_ring_add_stats(ring, &stats);
	ck_assert_uint_eq(stats_value(&stats, "changes_bytes"), 0);
	put("c");
	ck_assert_int_eq(status(2), KV_COMPACTED);
	ck_assert_int_eq(status(4), KV_OK);
}

TEST(beyond_the_limit_of_slots_the_oldest_are_forgotten) {
	char key[16];

	start_anew(1 << 30, 10);
	watch();
	for (int i = 0; i < 12; i++) {
		(void)snprintf(key, sizeof(key), "%d", i);
		put(key);
	}
	ck_assert_int_eq(status(2), KV_COMPACTED);
	ck_assert_str_eq(changes("", 3, 0), " 2@1 3@1 4@1 5@1 6@1 7@1 8@1 9@1 10@1 11@1 to 13");
}

TEST(beyond_the_limit_of_bytes_the_oldest_are_forgotten) {
	char key[KEY_MAX + 1];
	struct stats stats = {0};
	uint64_t oldest;

	start_anew(16 << 20, 0);
	watch();
	memset(key, 'k', KEY_MAX);
	key[KEY_MAX] = '\0';
	for (int i = 0; i < 2000; i++) {
		(void)snprintf(key, 5, "%04d", i);
		key[4] = '/';
		put(key);
		stats.count = 0;
		change_ring_add_stats(ring, &stats);
		ck_assert_uint_le(stats_value(&stats, "changes_bytes"), CHANGE_RING_BYTES_MIN);
	}
	ck_assert_uint_eq(stats_value(&stats, "changes_bytes_max"), CHANGE_RING_BYTES_MIN);
	oldest = position() - stats_value(&stats, "changes_kept");
	ck_assert_uint_gt(stats_value(&stats, "changes_kept"), 500);
	ck_assert_int_eq(status(oldest), KV_OK);
	ck_assert_int_eq(status(oldest - 1), KV_COMPACTED);
}

TEST(keys_that_change_often_push_out_no_others_memory) {
	start_anew(1 << 30, 10);
	watch();
	put("rare");
	for (int i = 0; i < 100; i++)
		put("often");
	ck_assert_str_eq(changes("", 1, 0), " rare@1 often@100 to 102");
	/* Two of them leave empty slots behind, and those go first without being missed. */
	for (int i = 0; i < 100; i++)
		put(i % 2 == 0 ? "one" : "two");
	ck_assert_int_eq(status(1), KV_COMPACTED);
	ck_assert_str_eq(changes("", 102, 0), " one@50 two@50 to 202");
}

TEST(an_answer_looks_at_so_many_slots_at_most) {
	char key[16];

	watch();
	for (int i = 0; i < CHANGE_RING_LOOKS_MAX + 1; i++) {
		(void)snprintf(key, sizeof(key), "other %d", i);
		put(key);
	}
	put("mine");
	ck_assert_str_eq(changes("mine", 1, 0), " ... to 4097");
	ck_assert_str_eq(changes("mine", 4097, 0), " mine@1 to 4099");
}

TEST(without_memory_all_is_forgotten_rather_than_a_change_left_out) {
	unsigned forgotten = 0;
	char key[600 + 1] = "";
	char both[640];

	memset(key, 'b', sizeof(key) - 1);
	(void)snprintf(both, sizeof(both), " a@1 %s@1 to 3", key);
	for (unsigned fail_in = 1; fail_in < 40; fail_in++) {
		stop();
		start_with(false);
		watch();
		put("a");
		malloc_fails_in = fail_in;
		const struct operation operation = put_call(client, ++seq, key, "v");
		enum kv_status written = status_of(&world, &operation);
		malloc_fails_in = 0;
		if (written == KV_OK && status(1) == KV_COMPACTED)
			forgotten++;
		else
			ck_assert_str_eq(changes("", 1, 0), written == KV_OK ? both : " a@1 to 2");
		ck_assert_int_eq(status(position()), KV_OK);
	}
	ck_assert_uint_gt(forgotten, 0);
	stop();
	start_with(false);
	malloc_fails_in = 2;
	ck_assert_int_eq(status(1), KV_FULL);
	malloc_fails_in = 0;
	ck_assert_int_eq(status(1), KV_OK);
}

/* --- A copy that is kept ------------------------------------------------------------------- */

enum { KEYS = 12, STEPS = 20000 };

/* Versions by key; 0: it is not in the copy. */
struct copy {
	uint64_t versions[KEYS];
	uint64_t since;
};

static unsigned number_of(struct kv_bytes key) {
	return (unsigned)(((const char *)key.data)[0] - 'a');
}

static const char *name_of(unsigned number) {
	static const char names[KEYS][2] = {"a", "b", "c", "d", "e", "f",
					    "g", "h", "i", "j", "k", "l"};

	return names[number];
}

static void list_all(struct copy *copy, struct prng *seed) {
	struct list_request request = {.reply_max = ALL};
	bool more = true;
	bool is_first = true;

	memset(copy, 0, sizeof(*copy));
	while (more) {
		struct list_key key;
		struct reply reply;

		request.limit = 1 + (uint32_t)(prng_below(seed, KEYS));
		service_list(world.service, EPOCH, &request, &reply);
		struct kv_bytes page = view_bytes(reply.value);
		while (list_page_next(&page, &key)) {
			copy->versions[number_of(key.key)] = key.version;
			request.after = text(name_of(number_of(key.key)));
		}
		if (is_first)
			copy->since = reply.current;
		is_first = false;
		more = reply.more;
		drop(&world, &reply);
		put(name_of((unsigned)(prng_below(seed, KEYS))));
		(void)del(name_of((unsigned)(prng_below(seed, KEYS))));
	}
}

/* Asks once. True: the copy must be that of the store now. */
static bool follow(struct copy *copy, struct prng *seed) {
	struct reply reply = ask("", copy->since, 1 + (uint32_t)(prng_below(seed, 5)));
	struct kv_bytes page = view_bytes(reply.value);
	struct changed_key key;
	bool seen[KEYS] = {false};

	if (reply.status == KV_COMPACTED) {
		list_all(copy, seed);
		return false;
	}
	ck_assert_int_eq(reply.status, KV_OK);
	while (change_ring_next(&page, &key)) {
		unsigned number = number_of(key.key);

		ck_assert(!seen[number]);
		seen[number] = true;
		if (key.version > copy->versions[number])
			copy->versions[number] = key.is_gone ? 0 : key.version;
	}
	copy->since = reply.current;
	drop(&world, &reply);
	return !reply.more;
}

static void assert_is_copy(const struct copy *copy) {
	for (unsigned i = 0; i < KEYS; i++) {
		struct reply reply;

		service_get(world.service, EPOCH, text(name_of(i)), ALL, &reply);
		ck_assert_uint_eq(copy->versions[i], reply.current);
		drop(&world, &reply);
	}
}

/* F2 and F5 among the steps: writes come between the pages of a list, and the ring is small. */
TEST(a_copy_that_follows_the_changes_is_the_store) {
	struct prng seed = {test_seed()};
	struct copy copy;
	unsigned level = 0;

	start_anew(1 << 30, 30);
	list_all(&copy, &seed);
	for (int step = 0; step < STEPS; step++) {
		const char *three[3];
		unsigned first = (unsigned)(prng_below(&seed, KEYS - 2));

		switch (prng_below(&seed, 8)) {
		case 0:
		case 1:
			put(name_of(first));
			break;
		case 2:
			(void)del(name_of(first));
			break;
		case 3:
			for (unsigned i = 0; i < 3; i++)
				three[i] = name_of(first + i);
			ck_assert_int_eq(put_all(three, 3), KV_OK);
			break;
		default:
			if (follow(&copy, &seed)) {
				assert_is_copy(&copy);
				level++;
			}
			break;
		}
	}
	ck_assert_uint_gt(level, STEPS / 20);
}
