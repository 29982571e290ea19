/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages that are sent as one, and their replies, on a link that others may share. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "conn_peer.h"
#include "record_marking.h"
#include "test.h"

#define FIRST_XID (UINT32_MAX - 1) /* the numbers begin again behind it */

enum { COUNT = 5, BODY = 40, OTHERS = 4, ROUNDS = 100 };

struct batch {
	struct rpc_batch batch;
	struct rpc_reply replies[COUNT];
	uint32_t first_xid;
	unsigned timeout_ms;
	enum attempt outcome;
	pthread_t thread;
};

static void *batch_run(void *argument) {
	struct batch *batch = argument;
	uint8_t sent[COUNT * (RECORD_MARK_SIZE + BODY)] = {0};

	for (uint32_t i = 0; i < COUNT; i++) {
		uint8_t *at = sent + i * (RECORD_MARK_SIZE + BODY);
		uint32_t xid = htonl(batch->first_xid + i);

		record_mark(at, BODY);
		memcpy(at + RECORD_MARK_SIZE, &xid, sizeof(xid));
	}
	memset(batch->replies, 0, sizeof(batch->replies));
	batch->batch = (struct rpc_batch){
	    .first_xid = batch->first_xid, .count = COUNT, .replies = batch->replies};
	batch->outcome = conn_call_batch(conn_under_test, (struct kv_bytes){sent, sizeof(sent)},
					 clock_ms() + batch->timeout_ms, &batch->batch);
	return NULL;
}

static void batch_start(struct batch *batch, uint32_t first_xid, unsigned timeout_ms) {
	*batch = (struct batch){.first_xid = first_xid, .timeout_ms = timeout_ms};
	ck_assert_int_eq(pthread_create(&batch->thread, NULL, batch_run, batch), 0);
}

static void batch_finish(struct batch *batch) {
	ck_assert_int_eq(pthread_join(batch->thread, NULL), 0);
}

static void read_batch(uint32_t first_xid) {
	for (uint32_t i = 0; i < COUNT; i++)
		ck_assert_uint_eq(read_call(), (uint32_t)(first_xid + i));
}

/* The reply is the text behind its xid; it is freed. NULL: there is none. */
static void check_reply(struct batch *batch, uint32_t i, const char *text) {
	struct rpc_reply *reply = &batch->replies[i];

	ck_assert_int_eq(reply->data != NULL, text != NULL);
	if (text == NULL)
		return;
	ck_assert_uint_eq(reply->size, 4 + strlen(text));
	ck_assert_mem_eq(reply->data + 4, text, strlen(text));
	free(reply->data);
}

CASE(batch, .setup = open_stream, .teardown = close_all);

TEST(replies_come_in_any_order_over_the_end_of_the_numbers) {
	static const uint32_t order[COUNT] = {3, 0, 4, 1, 2};
	struct batch batch;

	batch_start(&batch, FIRST_XID, LONG_MS);
	read_batch(FIRST_XID);
	for (int i = 0; i < COUNT; i++) {
		char text[8];

		(void)snprintf(text, sizeof(text), "r%u", (unsigned)order[i]);
		write_answer(FIRST_XID + order[i], text);
	}
	batch_finish(&batch);
	ck_assert_int_eq(batch.outcome, ATTEMPT_ANSWERED);
	for (uint32_t i = 0; i < COUNT; i++) {
		char text[8];

		(void)snprintf(text, sizeof(text), "r%u", (unsigned)i);
		check_reply(&batch, i, text);
	}
	ck_assert(conn_is_usable(conn_under_test));
}

TEST(a_reply_that_comes_twice_and_one_of_no_call_are_dropped) {
	struct batch batch;

	batch_start(&batch, 10, LONG_MS);
	read_batch(10);
	write_answer(10, "a");
	write_answer(10, "again");
	write_answer(9, "none");
	write_answer(10 + COUNT, "none");
	for (uint32_t i = 1; i < COUNT; i++)
		write_answer(10 + i, "b");
	batch_finish(&batch);
	ck_assert_int_eq(batch.outcome, ATTEMPT_ANSWERED);
	check_reply(&batch, 0, "a");
	for (uint32_t i = 1; i < COUNT; i++)
		check_reply(&batch, i, "b");
}

TEST(what_came_before_the_deadline_is_there_and_the_link_stays) {
	struct batch batch;
	struct call call = call_new(1000, 40, LONG_MS);

	batch_start(&batch, 10, SOON_MS);
	read_batch(10);
	write_answer(12, "two");
	batch_finish(&batch);
	ck_assert_int_eq(batch.outcome, ATTEMPT_UNANSWERED);
	for (uint32_t i = 0; i < COUNT; i++)
		check_reply(&batch, i, i == 2 ? "two" : NULL);
	/* A late one is nothing to the next call. */
	call_start(&call);
	ck_assert_uint_eq(read_call(), 1000);
	write_answer(13, "late");
	write_answer(1000, "yes");
	call_finish(&call);
	call_check_answered(&call, "yes");
}

TEST(what_came_before_a_hang_up_is_there) {
	struct batch batch;

	batch_start(&batch, 10, LONG_MS);
	read_batch(10);
	write_answer(14, "last");
	hang_up();
	batch_finish(&batch);
	ck_assert_int_eq(batch.outcome, ATTEMPT_UNANSWERED);
	for (uint32_t i = 0; i < COUNT; i++)
		check_reply(&batch, i, i == 4 ? "last" : NULL);
	ck_assert(!conn_is_usable(conn_under_test));
}

/* --- Beside calls of other threads ----------------------------------------------------------- */

static void *echo(void *argument) {
	(void)argument;
	for (int i = 0; i < ROUNDS * (COUNT + OTHERS); i++) {
		uint32_t xid = read_call();
		char text[16];

		(void)snprintf(text, sizeof(text), "%u", (unsigned)xid);
		write_answer(xid, text);
	}
	return NULL;
}

static void *call_often(void *argument) {
	const uint32_t first = *(uint32_t *)argument;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct call call = call_new(first + i, 40, LONG_MS);
		char text[16];

		(void)call_run(&call);
		(void)snprintf(text, sizeof(text), "%u", (unsigned)call.xid);
		call_check_answered(&call, text);
	}
	return NULL;
}

TEST(a_batch_and_calls_of_other_threads_share_a_link) {
	pthread_t server;
	pthread_t threads[OTHERS];
	uint32_t firsts[OTHERS];

	ck_assert_int_eq(pthread_create(&server, NULL, echo, NULL), 0);
	for (uint32_t i = 0; i < OTHERS; i++) {
		firsts[i] = (i + 1) * 10000;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &firsts[i]), 0);
	}
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct batch batch = {.first_xid = 100000 + round * COUNT, .timeout_ms = LONG_MS};

		(void)batch_run(&batch);
		ck_assert_int_eq(batch.outcome, ATTEMPT_ANSWERED);
		for (uint32_t i = 0; i < COUNT; i++) {
			char text[16];

			(void)snprintf(text, sizeof(text), "%u", (unsigned)(batch.first_xid + i));
			check_reply(&batch, i, text);
		}
	}
	for (int i = 0; i < OTHERS; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_int_eq(pthread_join(server, NULL), 0);
}
