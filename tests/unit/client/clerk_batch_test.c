/* SPDX-License-Identifier: BSD-3-Clause */
/* Gets that are sent together: what one attempt does not answer is asked for by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clerk.h"
#include "fake_transport.h"
#include "test.h"

enum { COUNT = 5, MANY = 2 * CLERK_GETS_MAX + 3 };

static struct kv_client *client;
static struct kv_bytes keys[MANY];
static char names[MANY][8];
static struct kv_value values[MANY];
static enum kv_status statuses[MANY];
static bool loses[MANY]; /* the batch does not answer this key */
static unsigned batches;
static size_t largest;

/* The value of a key is its name; "missing" ones begin with m. */
static void answer(const struct request *request, struct response *response) {
	const char *name = request->key.data;

	if (name[0] == 'm') {
		response->status = KV_NOKEY;
		return;
	}
	response->status = KV_OK;
	response->current = 7;
	response->value = (struct kv_value){strndup(name, request->key.size), request->key.size, 7};
}

static void get_batch(struct conn *conn, const struct request *requests, size_t count,
		      uint64_t deadline_ms, struct response *responses, bool *answered) {
	(void)conn;
	ck_assert_uint_gt(deadline_ms, fake.now_ms);
	batches++;
	largest = count > largest ? count : largest;
	for (size_t i = 0; i < count; i++) {
		ck_assert_uint_eq(requests[i].xid, (uint32_t)(requests[0].xid + i));
		ck_assert_uint_eq(requests[i].epoch, fake.servers[0].epoch);
		answered[i] = !loses[(size_t)atoi((const char *)requests[i].key.data + 1)];
		if (answered[i])
			answer(&requests[i], &responses[i]);
	}
}

static void begin(void) {
	fake_reset();
	fake.table.get_batch = get_batch;
	memset(loses, 0, sizeof(loses));
	batches = 0;
	largest = 0;
	for (int i = 0; i < MANY; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%c%d", i % 3 == 2 ? 'm' : 'k', i);
		keys[i] = (struct kv_bytes){names[i], strlen(names[i])};
	}
}

static void check_value(size_t i) {
	if (i % 3 == 2) {
		ck_assert_int_eq(statuses[i], KV_NOKEY);
		ck_assert_ptr_null(values[i].data);
		return;
	}
	ck_assert_int_eq(statuses[i], KV_OK);
	ck_assert_uint_eq(values[i].size, keys[i].size);
	ck_assert_mem_eq(values[i].data, names[i], keys[i].size);
	ck_assert_uint_eq(values[i].version, 7);
	kv_value_free(&values[i]);
}

CASE(clerk_batch, .setup = begin);

TEST(many_gets_are_sent_in_parts) {
	client = fake_open(0);
	ck_assert_int_eq(kv_get_many(client, keys, MANY, values, statuses), KV_OK);
	for (size_t i = 0; i < MANY; i++)
		check_value(i);
	ck_assert_uint_eq(batches, 3);
	ck_assert_uint_eq(largest, CLERK_GETS_MAX);
	ck_assert_uint_eq(fake_count(REQUEST_GET), 0);
	ck_assert_int_eq(kv_get_many(client, keys, 0, values, statuses), KV_OK);
	fake_close(client);
}

TEST(what_was_not_answered_is_asked_for_by_itself) {
	client = fake_open(0);
	loses[1] = loses[3] = true;
	fake_answers(REQUEST_GET, KV_OK, 9);
	fake_answers(REQUEST_GET, KV_TOOBIG, 0);
	ck_assert_int_eq(kv_get_many(client, keys, COUNT, values, statuses), KV_TOOBIG);
	check_value(0);
	check_value(2);
	check_value(4);
	ck_assert_int_eq(statuses[1], KV_OK);
	ck_assert_uint_eq(values[1].version, 9);
	ck_assert_int_eq(statuses[3], KV_TOOBIG);
	ck_assert_uint_eq(fake_count(REQUEST_GET), 2);
	fake_close(client);
}

TEST(over_datagrams_each_is_sent_by_itself) {
	fake.servers[0].is_datagram = true;
	client = fake_open(0);
	ck_assert_int_eq(kv_get_many(client, keys, COUNT, values, statuses), KV_OK);
	ck_assert_uint_eq(batches, 0);
	ck_assert_uint_eq(fake_count(REQUEST_GET), COUNT);
	fake_close(client);
}

TEST(a_key_that_is_none_is_refused_and_the_others_are_read) {
	client = fake_open(0);
	keys[1].size = 0;
	ck_assert_int_eq(kv_get_many(client, keys, COUNT, values, statuses), KV_INVALID);
	ck_assert_int_eq(statuses[1], KV_INVALID);
	ck_assert_int_eq(statuses[0], KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_GET), COUNT - 1);
	fake_close(client);
}

TEST(a_handle_that_saw_a_store_in_a_batch_is_told_that_it_is_gone) {
	client = fake_open(0);
	ck_assert_int_eq(kv_get_many(client, keys, 2, values, statuses), KV_OK);
	check_value(0);
	check_value(1);
	fake.servers[0].store++;
	fake.servers[0].epoch++;
	fake_breaks(REQUEST_PING);
	ck_assert_int_eq(kv_ping(client), KV_BADSESSION);
	ck_assert_int_eq(kv_get_many(client, keys, 2, values, statuses), KV_OK);
	check_value(0);
	check_value(1);
	fake_close(client);
}
