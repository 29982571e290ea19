/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One peer that takes all it can, beside clients of other peers, which are never refused: the
 * attacks of a security review. 127.0.0.2 attacks; the fixture is 127.0.0.1, another peer.
 */
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum {
	EACH = 64,    /* connections and sessions of one peer, of ... */
	ALL = 3 * 64, /* ... all */
	FLOOD = 300,
	UPLOAD = 4 << 20,      /* bytes */
	UNFINISHED = 15 << 20, /* likewise */
	UNFINISHED_COUNT = 30, /* more than all may hold */
	CUT_CALLS = 4000,
};

static const char attacker[] = "127.0.0.2";
static struct peer flood[FLOOD];

/* Opens as many as it can, from one address. */
static void flood_from(const char *source, unsigned count) {
	for (unsigned i = 0; i < count; i++)
		peer_open_from(&flood[i], &fx.server, source);
}

static void end_flood(unsigned count) {
	for (unsigned i = 0; i < count; i++)
		peer_close(&flood[i]);
}

/* A new client of the honest peer writes and reads. */
static void check_served(void) {
	struct peer peer;

	peer_open(&peer, &fx.server, VIA_TCP);
	struct session session = session_open(&peer);
	struct change change = put(&session, 0, 1, "honest", "v");
	struct outcome outcome = change_run(&peer, &change);
	ck_assert_int_eq(outcome.status, KV1_OK);
	outcome_free(&outcome);
	outcome = get(&peer, "honest");
	ck_assert_int_eq(outcome.status, KV1_OK);
	outcome_free(&outcome);
	ck_assert_int_eq(session_close(&peer, &session), KV1_OK);
	peer_close(&peer);
}

CASE(hostile_peer, .teardown = fixture_end);

TEST(idle_connections_of_one_peer_keep_no_other_out) {
	fixture_open(&fx, "--max-connections", "192", "--max-connections-each", "64", NULL);
	flood_from(attacker, FLOOD);
	check_served();
	ck_assert_uint_le(counter(&fx.peer, "connections"), EACH + 1);
	ck_assert_uint_ge(counter(&fx.peer, "connections_refused") +
			      counter(&fx.peer, "connections_dropped"),
			  FLOOD - EACH);
	end_flood(FLOOD);
}

TEST(nor_do_those_of_several_peers) {
	fixture_open(&fx, "--max-connections", "192", "--max-connections-each", "64", NULL);
	for (unsigned i = 0; i < FLOOD; i++) {
		char source[] = "127.0.0.2";

		source[8] = (char)('2' + i % 5);
		peer_open_from(&flood[i], &fx.server, source);
	}
	for (unsigned i = 0; i < 3; i++)
		check_served();
	peer_ping(&fx.peer);
	ck_assert_uint_le(counter(&fx.peer, "connections"), ALL);
	end_flood(FLOOD);
}

/* Each takes the slot of a refused call, so that no other can take its place. */
static unsigned open_and_write(struct peer *peer, unsigned count, uint32_t slot) {
	unsigned opened = 0;

	for (unsigned i = 0; i < count; i++) {
		char nonce[KV1_NONCE_SIZE];

		fresh_nonce(nonce);
		kv1_open_res result = session_open_as(peer, fx.session.epoch, nonce);
		if (result.status == KV1_FULL)
			continue;
		ck_assert_int_eq(result.status, KV1_OK);
		struct session session = {.epoch = fx.session.epoch, .client_id = result.client_id};
		struct change change =
		    put(&session, slot < result.slots ? slot : result.slots - 1, 1, "", "");
		ck_assert_int_eq(change_status(peer, &change), KV1_INVALID);
		opened++;
	}
	return opened;
}

TEST(sessions_of_one_peer_keep_no_other_from_its_own) {
	struct peer peer;

	fixture_open(&fx, "--max-sessions", "192", "--max-sessions-each", "64", NULL);
	peer_open_from(&peer, &fx.server, attacker);
	ck_assert_uint_eq(open_and_write(&peer, FLOOD, 0), EACH);
	for (unsigned i = 0; i < EACH; i++)
		check_served();
	ck_assert_uint_eq(counter(&fx.peer, "sessions_each"), EACH);
	peer_close(&peer);
}

TEST(nor_do_they_fill_the_memory_with_slots) {
	struct peer peer;

	fixture_open(&fx, "--max-memory", "4M", NULL);
	peer_open_from(&peer, &fx.server, attacker);
	/* The last slot of each: no slots before it take memory. */
	ck_assert_uint_lt(open_and_write(&peer, 3000, 63), 3000);
	ck_assert_uint_lt(counter(&fx.peer, "memory_used"), 2 << 20);
	ck_assert_uint_lt(counter(&fx.peer, "sessions_memory_reserved"),
			  counter(&fx.peer, "sessions_memory_max") / 2);
	check_served();
	peer_close(&peer);
}

/* An upload of another peer that begins before the flood of unfinished records, and ends after. */
TEST(unfinished_records_of_one_peer_cut_its_own_connections) {
	static char bytes[UNFINISHED];
	struct session unknown = {.client_id = 1};

	fixture_open(&fx, "--max-memory", "64M", NULL);
	struct change honest = put_bytes(&fx.session, 0, 1, "honest", bytes, UPLOAD);
	struct message upload = message_record(change_message(peer_xid(&fx.peer), &honest), 0);
	ck_assert(peer_send_bytes(&fx.peer, upload.data, upload.size / 2));
	struct change large = put_bytes(&unknown, 0, 1, "large", bytes, UNFINISHED);
	struct message record = message_record(change_message(1, &large), 0);
	flood_from(attacker, UNFINISHED_COUNT);
	for (unsigned i = 0; i < UNFINISHED_COUNT; i++)
		(void)peer_send_bytes(&flood[i], record.data, record.size - 4);
	struct peer other;
	peer_open(&other, &fx.server, VIA_TCP);
	counter_await(&other, "connections_dropped", 1);
	peer_close(&other);
	ck_assert(peer_send_bytes(&fx.peer, (const char *)upload.data + upload.size / 2,
				  upload.size - upload.size / 2));
	struct answer answer;
	ck_assert_int_eq(peer_receive(&fx.peer, 60000, &answer), RECEIVED_REPLY);
	answer_free(&answer);
	end_flood(UNFINISHED_COUNT);
	message_free(&upload);
	message_free(&record);
}

/* One whose inner size disagrees with the outer one is refused, and not a byte of it is logged. */
TEST(credentials_that_are_cut_short_leave_the_log_and_the_others_alone) {
	static const char cut[4];
	struct peer peer;

	fixture_open(&fx, NULL);
	char *before = server_said(&fx.server);
	peer_open_from(&peer, &fx.server, attacker);
	for (unsigned i = 0; i < CUT_CALLS; i++) {
		struct call_header header = call_header(peer_xid(&peer), KVPROC_HELLO);

		header.flavor = AUTH_SYS;
		header.credential = cut;
		header.credential_size = sizeof cut;
		peer_send(&peer, message_call(&header, NULL, NULL));
		struct answer answer = peer_await(&peer, header.xid);
		answer_free(&answer);
	}
	check_served();
	char *after = server_said(&fx.server);
	ck_assert_str_eq(before, after);
	free(before);
	free(after);
	peer_close(&peer);
}
