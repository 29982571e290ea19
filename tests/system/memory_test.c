/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients, values and replies cost the server, measured in its process. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/kv.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

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
static void check_growth(const struct fixture *fixture, const char *what, uint64_t before,
			 uint64_t limit) {
	uint64_t now = server_memory(&fixture->server);
	uint64_t more = now > before ? now - before : 0;

	suite_figure("%s: %.2f MiB", what, (double)more / MIB);
	if (!suite_is_instrumented()) {
		ck_assert_uint_le(more, limit);
	}
}

static void check_each(const struct fixture *fixture, const char *what, uint64_t before,
		       double limit) {
	uint64_t now = server_memory(&fixture->server);
	uint64_t more = now > before ? now - before : 0;
	double each = (double)more / client_count();

	suite_figure("%s: %.1f bytes for each of %u", what, each, client_count());
	if (!suite_is_instrumented()) {
		ck_assert_double_le(each, limit);
	}
}

/* Opens BATCH sessions, and each changes the key `k` once. */
static void run_clients(struct fixture *fixture, bool is_append, const char *value) {
	struct session sessions[BATCH];
	uint32_t xid[BATCH];

	for (int i = 0; i < BATCH; i++) {
		kv1_open_args args = {.epoch = fixture->session.epoch, .slots = 64};
		xid[i] = peer_xid(&fixture->peer);
		struct call_header header = call_header(xid[i], KVPROC_OPEN);
		fresh_nonce(args.nonce);
		peer_send(&fixture->peer,
			  message_call(&header, (xdrproc_t)xdr_kv1_open_args, &args));
	}
	for (int i = 0; i < BATCH; i++) {
		kv1_open_res res = {0};
		struct answer answer = peer_await(&fixture->peer, xid[i]);
		answer_results(&answer, (xdrproc_t)xdr_kv1_open_res, &res);
		answer_free(&answer);
		ck_assert_int_eq(res.status, KV1_OK);
		sessions[i] =
		    (struct session){.epoch = fixture->session.epoch, .client_id = res.client_id};
	}
	for (int i = 0; i < BATCH; i++) {
		struct change change = put(&sessions[i], 0, 1, "k", value);
		change.is_append = is_append;
		change.want_old = is_append;
		xid[i] = change_send(&fixture->peer, &change);
	}
	for (int i = 0; i < BATCH; i++) {
		struct change change = {.is_append = is_append};
		struct outcome outcome = change_await(&fixture->peer, &change, xid[i]);
		ck_assert_int_eq(outcome.status, KV1_OK);
		outcome_free(&outcome);
	}
}

/* Its last segment has 64 MiB, and a batch. */
TEST(a_start_needs_no_memory_for_the_zeros_of_a_segment) {
	struct server server;
	char path[64];
	char line[128];
	char dir[64];

	if (suite_is_instrumented() || getenv("KVD_WRAPPER") != NULL) {
		suite_skip("memory of a start: kvd is instrumented");
		return;
	}
	suite_directory(dir);
	fixture_open(&fx, "-d", dir, NULL);
	struct change change = put(&fx.session, 0, 1, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	fixture_close(&fx);
	server_start(&server, "-d", dir, NULL);
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)server.process.pid);
	FILE *file = fopen(path, "re");
	ck_assert_ptr_nonnull(file);
	do
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
	while (strncmp(line, "VmHWM:", 6) != 0);
	(void)fclose(file);
	ck_assert_msg(strtoul(line + 6, NULL, 10) < 32 * KIB, "%s", line);
	server_stop(&server);
}

CASE(clients, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_client_that_put_once_costs_at_most_120_bytes) {
	char value[1001];

	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	struct change change = put(&fx.session, 0, 1, "k", value);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	uint64_t before = server_memory(&fx.server);
	for (unsigned done = 0; done < client_count(); done += BATCH) {
		run_clients(&fx, false, value);
	}
	ck_assert_uint_eq(counter(&fx.peer, "sessions"), client_count() + 1);
	check_each(&fx, "clients that put 1000 bytes once", before, 120);
}

TEST(a_client_that_got_once_leaves_nothing_behind) {
	struct change change = put(&fx.session, 0, 1, "k", "value");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	uint64_t before = server_memory(&fx.server);
	for (unsigned i = 0; i < client_count(); i++) {
		struct peer peer;
		peer_open(&peer, &fx.server, VIA_LOCAL);
		check_key(&peer, "k", "value", 1);
		peer_close(&peer);
	}
	check_each(&fx, "clients that got once and left", before, 10);
}

CASE(values, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_large_value_is_gone_once_it_was_replaced) {
	char *value = calloc(1, 10 * MIB);

	ck_assert_ptr_nonnull(value);
	uint64_t before = server_memory(&fx.server);
	struct change change = put_bytes(&fx.session, 0, 1, "k", value, 10 * MIB);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	for (int i = 0; i < 10; i++) {
		struct outcome outcome = get(&fx.peer, "k");
		ck_assert_uint_eq(outcome.value.size, 10 * MIB);
		outcome_free(&outcome);
	}
	change = put(&fx.session, 0, 2, "k", "1");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	check_growth(&fx, "after Put of 10 MiB, Gets, Put of 1 byte", before, 10 * MIB);
	free(value);
}

/* Two Appends of `size` bytes; the second one returns `second`. */
static void append_twice(const char *what, size_t size, kv1_status second, uint64_t limit) {
	struct fixture fixture;
	char *value = calloc(1, size);

	ck_assert_ptr_nonnull(value);
	fixture_open(&fixture, NULL);
	uint64_t before = server_memory(&fixture.server);
	struct change change = put_bytes(&fixture.session, 0, 1, "k", value, size);
	change.is_append = true;
	change.want_old = true;
	ck_assert_int_eq(change_status(&fixture.peer, &change), KV1_OK);
	change.writer.seq = 2;
	ck_assert_int_eq(change_status(&fixture.peer, &change), second);
	check_growth(&fixture, what, before, limit);
	free(value);
	fixture_close(&fixture);
}

CASE(values_alone);

TEST(two_large_appends_cost_at_most_half_more_than_the_value) {
	/* 20 MiB would be above the limit of a value: the second one is refused. */
	append_twice("two Appends of 10 MiB, the second refused", 10 * MIB, KV1_TOOBIG, 30 * MIB);
	append_twice("two Appends of 8 MiB", 8 * MIB, KV1_OK, 24 * MIB);
}

CASE(values, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_thousand_appends_by_one_client_cost_less_than_3_mb) {
	char value[1001];

	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	uint64_t before = server_memory(&fx.server);
	for (uint64_t i = 0; i < 1000; i++) {
		struct change change =
		    append(&fx.session, i % fx.session.slots, 1 + i / fx.session.slots, "k", value);
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	}
	check_growth(&fx, "1000 Appends of 1000 bytes, one client", before, 3000000);
}

TEST(a_thousand_appends_by_a_thousand_clients_cost_less_than_3_mb) {
	char value[1001];

	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	uint64_t before = server_memory(&fx.server);
	for (int done = 0; done < 1000; done += BATCH) {
		run_clients(&fx, true, value);
	}
	/* Each remembers an old value; together they are half a gigabyte, seen, not copied. */
	struct outcome outcome = get(&fx.peer, "k");
	ck_assert_uint_eq(outcome.value.size, 1000000);
	outcome_free(&outcome);
	check_growth(&fx, "1000 Appends of 1000 bytes, 1000 clients", before, 3000000);
}

/* --- Deletes -------------------------------------------------------------------------------- */

enum {
	KEYS = 300000,
	KEYS_INSTRUMENTED = 3000,
	CHANGES = 64,
	GIVE_BACK_LOOKS = 400,	/* at what the server holds, until it has given all back ... */
	GIVE_BACK_LOOK_MS = 20, /* ... each so long after the one before */

	/* The journal keeps two buffers for batches, each as large as the largest one was, but
	   not above 1 MiB: how large, depends on how many calls came during a sync. */
	JOURNAL_KEEPS = 2 * 1024 * 1024,
};

static unsigned key_count(void) {
	return suite_is_instrumented() ? KEYS_INSTRUMENTED : KEYS;
}

/* Changes `count` keys, many in a call. */
static void change_keys(struct kv_client *client, unsigned count, enum kv_change_kind kind,
			struct kv_bytes value) {
	struct kv_change changes[CHANGES];
	char names[CHANGES][24];

	for (unsigned next = 0; next < count;) {
		struct kv_txn txn = {.changes = changes};

		for (; txn.change_count < CHANGES && next < count; txn.change_count++) {
			char *name = names[txn.change_count];
			/* In no order: 7919 is a prime. */
			unsigned number = next++ * 7919U % KEYS;
			int size = snprintf(name, sizeof(names[0]), "key/%u", number);

			changes[txn.change_count] = (struct kv_change){
			    .kind = kind, .key = {name, (size_t)size}, .value = value};
		}
		ck_assert_int_eq(kv_txn(client, &txn), KV_OK);
	}
}

/* How long it takes is the server's business: no test of time, but of what is left in the end. */
static void await_memory(const struct server *server, uint64_t limit) {
	uint64_t now = server_memory(server);

	for (unsigned looks = 0; now > limit && looks < GIVE_BACK_LOOKS; looks++) {
		(void)poll(NULL, 0, GIVE_BACK_LOOK_MS);
		now = server_memory(server);
	}
	suite_figure("after the deletes: %.2f MiB", (double)now / MIB);
	if (!suite_is_instrumented())
		ck_assert_uint_le(now, limit);
}

/* With values of that size: what is held afterwards is little more than before. */
static void fill_and_empty(size_t value_size, bool is_durable) {
	struct fixture fixture;
	struct kv_options options = {0};
	struct kv_client *client;
	char address[128];
	char dir[64];
	char *value = calloc(1, value_size);

	ck_assert_ptr_nonnull(value);
	if (is_durable) {
		suite_directory(dir);
		fixture_open(&fixture, "-d", dir, NULL);
	} else {
		fixture_open(&fixture, NULL);
	}
	server_address(&fixture.server, VIA_LOCAL, address);
	options.server = address;
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	/* Its connections have what such calls take. */
	change_keys(client, CHANGES, KV_CHANGE_PUT, (struct kv_bytes){value, value_size});
	change_keys(client, CHANGES, KV_CHANGE_DELETE, (struct kv_bytes){0});
	uint64_t before = server_memory(&fixture.server);
	suite_figure("empty: %.2f MiB", (double)before / MIB);
	change_keys(client, key_count(), KV_CHANGE_PUT, (struct kv_bytes){value, value_size});
	ck_assert_uint_gt(server_memory(&fixture.server),
			  before + (uint64_t)key_count() * value_size);
	change_keys(client, key_count(), KV_CHANGE_DELETE, (struct kv_bytes){0});
	await_memory(&fixture.server, before + before / 10 * 3 + (is_durable ? JOURNAL_KEEPS : 0));
	kv_close(client);
	free(value);
	fixture_close(&fixture);
}

CASE(deletes, .seconds = 300);

TEST(memory_goes_back_after_deletes) {
	fill_and_empty(100, false);
}

TEST(memory_goes_back_after_deletes_of_a_durable_store) {
	fill_and_empty(100, true);
}

TEST(memory_of_values_of_one_kib_goes_back) {
	fill_and_empty(KIB, false);
}
