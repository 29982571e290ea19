/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients, values and answers cost the server, measured in its process. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scene.h"
#include "suite.h"

enum {
	KIB = 1024,
	MIB = 1024 * KIB,
	CLIENTS = 100000,
	CLIENTS_INSTRUMENTED = 2000,
	BATCH = 500, /* calls under way at once, so that the test is quick */
};

static unsigned client_count(void) {
	return suite_is_instrumented() ? CLIENTS_INSTRUMENTED : CLIENTS;
}

/* Bytes that the server holds more than before; fails above `limit`, unless it is instrumented. */
static void check_growth(const struct scene *scene, const char *what, uint64_t before,
			 uint64_t limit) {
	uint64_t now = server_memory(&scene->server);
	uint64_t more = now > before ? now - before : 0;

	suite_figure("%s: %.2f MiB", what, (double)more / MIB);
	if (!suite_is_instrumented()) {
		ck_assert_uint_le(more, limit);
	}
}

static void check_each(const struct scene *scene, const char *what, uint64_t before, double limit) {
	uint64_t now = server_memory(&scene->server);
	uint64_t more = now > before ? now - before : 0;
	double each = (double)more / client_count();

	suite_figure("%s: %.1f bytes for each of %u", what, each, client_count());
	if (!suite_is_instrumented()) {
		ck_assert_double_le(each, limit);
	}
}

/* Opens BATCH sessions, and each changes the key `k` once. */
static void run_clients(struct scene *scene, bool is_append, const char *value) {
	struct session sessions[BATCH];
	uint32_t xid[BATCH];

	for (int i = 0; i < BATCH; i++) {
		kv1_open_args args = {.epoch = scene->session.epoch, .slots = 64};
		xid[i] = peer_xid(&scene->peer);
		struct call_header header = call_header(xid[i], KVPROC_OPEN);
		fresh_nonce(args.nonce);
		peer_send(&scene->peer, message_call(&header, (xdrproc_t)xdr_kv1_open_args, &args));
	}
	for (int i = 0; i < BATCH; i++) {
		kv1_open_res res = {0};
		struct answer answer = peer_await(&scene->peer, xid[i]);
		answer_results(&answer, (xdrproc_t)xdr_kv1_open_res, &res);
		answer_free(&answer);
		ck_assert_int_eq(res.status, KV1_OK);
		sessions[i] =
		    (struct session){.epoch = scene->session.epoch, .client_id = res.client_id};
	}
	for (int i = 0; i < BATCH; i++) {
		struct change change = put(&sessions[i], 0, 1, "k", value);
		change.is_append = is_append;
		change.want_old = is_append;
		xid[i] = change_send(&scene->peer, &change);
	}
	for (int i = 0; i < BATCH; i++) {
		struct change change = {.is_append = is_append};
		struct outcome outcome = change_await(&scene->peer, &change, xid[i]);
		ck_assert_int_eq(outcome.status, KV1_OK);
		outcome_free(&outcome);
	}
}

START_TEST(a_client_that_put_once_costs_at_most_200_bytes) {
	struct scene scene;
	char value[1001];

	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	scene_open(&scene, NULL);
	struct change change = put(&scene.session, 0, 1, "k", value);
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	uint64_t before = server_memory(&scene.server);
	for (unsigned done = 0; done < client_count(); done += BATCH) {
		run_clients(&scene, false, value);
	}
	ck_assert_uint_eq(counter(&scene.peer, "sessions"), client_count() + 1);
	check_each(&scene, "clients that put 1000 bytes once", before, 200);
	scene_end(&scene);
}
END_TEST

START_TEST(a_client_that_got_once_leaves_nothing_behind) {
	struct scene scene;

	scene_open(&scene, NULL);
	struct change change = put(&scene.session, 0, 1, "k", "value");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	uint64_t before = server_memory(&scene.server);
	for (unsigned i = 0; i < client_count(); i++) {
		struct peer peer;
		peer_open(&peer, &scene.server, VIA_LOCAL);
		check_key(&peer, "k", "value", 1);
		peer_close(&peer);
	}
	check_each(&scene, "clients that got once and left", before, 10);
	scene_end(&scene);
}
END_TEST

START_TEST(a_large_value_is_gone_once_it_was_replaced) {
	struct scene scene;
	char *value = calloc(1, 10 * MIB);

	ck_assert_ptr_nonnull(value);
	scene_open(&scene, NULL);
	uint64_t before = server_memory(&scene.server);
	struct change change = put_bytes(&scene.session, 0, 1, "k", value, 10 * MIB);
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	for (int i = 0; i < 10; i++) {
		struct outcome outcome = get(&scene.peer, "k");
		ck_assert_uint_eq(outcome.value.size, 10 * MIB);
		outcome_free(&outcome);
	}
	change = put(&scene.session, 0, 2, "k", "1");
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	check_growth(&scene, "after Put of 10 MiB, Gets, Put of 1 byte", before, 10 * MIB);
	free(value);
	scene_end(&scene);
}
END_TEST

/* Two Appends of `size` bytes; the second one answers `second`. */
static void append_twice(const char *what, size_t size, kv1_status second, uint64_t limit) {
	struct scene scene;
	char *value = calloc(1, size);

	ck_assert_ptr_nonnull(value);
	scene_open(&scene, NULL);
	uint64_t before = server_memory(&scene.server);
	struct change change = put_bytes(&scene.session, 0, 1, "k", value, size);
	change.is_append = true;
	change.want_old = true;
	ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	change.writer.seq = 2;
	ck_assert_int_eq(change_status(&scene.peer, &change), second);
	check_growth(&scene, what, before, limit);
	free(value);
	scene_end(&scene);
}

START_TEST(two_large_appends_cost_at_most_half_more_than_the_value) {
	/* 20 MiB would be above the limit of a value: the second one is refused. */
	append_twice("two Appends of 10 MiB, the second refused", 10 * MIB, KV1_TOOBIG, 30 * MIB);
	append_twice("two Appends of 8 MiB", 8 * MIB, KV1_OK, 24 * MIB);
}
END_TEST

START_TEST(a_thousand_appends_by_one_client_cost_less_than_3_mb) {
	struct scene scene;
	char value[1001];

	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	scene_open(&scene, NULL);
	uint64_t before = server_memory(&scene.server);
	for (uint64_t i = 0; i < 1000; i++) {
		struct change change = append(&scene.session, i % scene.session.slots,
					      1 + i / scene.session.slots, "k", value);
		ck_assert_int_eq(change_status(&scene.peer, &change), KV1_OK);
	}
	check_growth(&scene, "1000 Appends of 1000 bytes, one client", before, 3000000);
	scene_end(&scene);
}
END_TEST

START_TEST(a_thousand_appends_by_a_thousand_clients_cost_less_than_3_mb) {
	struct scene scene;
	char value[1001];

	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	scene_open(&scene, NULL);
	uint64_t before = server_memory(&scene.server);
	for (int done = 0; done < 1000; done += BATCH) {
		run_clients(&scene, true, value);
	}
	/* Each remembers an old value; together they are half a gigabyte, seen, not copied. */
	struct outcome outcome = get(&scene.peer, "k");
	ck_assert_uint_eq(outcome.value.size, 1000000);
	outcome_free(&outcome);
	check_growth(&scene, "1000 Appends of 1000 bytes, 1000 clients", before, 3000000);
	scene_end(&scene);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("memory");
	TCase *clients = suite_case(suite, "clients");
	TCase *values = suite_case(suite, "values");

	tcase_add_test(clients, a_client_that_put_once_costs_at_most_200_bytes);
	tcase_add_test(clients, a_client_that_got_once_leaves_nothing_behind);
	tcase_add_test(values, a_large_value_is_gone_once_it_was_replaced);
	tcase_add_test(values, two_large_appends_cost_at_most_half_more_than_the_value);
	tcase_add_test(values, a_thousand_appends_by_one_client_cost_less_than_3_mb);
	tcase_add_test(values, a_thousand_appends_by_a_thousand_clients_cost_less_than_3_mb);
	return suite_run(suite);
}
