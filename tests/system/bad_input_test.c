/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes that are no calls, calls that never end, and peers that do not read: each costs only
   its sender. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fixture.h"
#include "prng.h"
#include "suite.h"
#include "test.h"

enum {
	MIB = 1024 * 1024,
	CLOSE_MS = 30000, /* a connection that must be closed is, within this */
};

/* Bytes that look like nothing; the same ones in each run. */
static void fill_malformed(uint8_t *bytes, size_t size, unsigned seed) {
	struct prng prng = {seed};

	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)prng_next(&prng);
}

CASE(records, .setup = fixture_probed, .teardown = fixture_end);

TEST(malformed_input_ends_its_connection) {
	enum { SIZE = 65536, PEERS = 40 };
	uint8_t *malformed = malloc(SIZE);

	ck_assert_ptr_nonnull(malformed);
	for (unsigned seed = 0; seed < PEERS; seed++) {
		struct peer peer;
		peer_open(&peer, &fx.server, seed % 2 == 0 ? VIA_TCP : VIA_LOCAL);
		fill_malformed(malformed, SIZE, seed);
		/* A complete malformed record: else it might claim to be one that goes on. */
		message_header(malformed, true, SIZE - 4);
		(void)peer_send_bytes(&peer, malformed, SIZE);
		ck_assert(peer_is_closed_within(&peer, CLOSE_MS));
		peer_close(&peer);
	}
	fixture_check_memory("malformed", 4 * MIB);
	free(malformed);
}

TEST(malformed_input_of_any_shape_does_not_harm_other_clients) {
	enum { SIZE = 4096, PEERS = 200 };
	uint8_t malformed[SIZE];

	for (unsigned seed = 0; seed < PEERS; seed++) {
		struct peer peer;
		peer_open(&peer, &fx.server, VIA_TCP);
		fill_malformed(malformed, SIZE, seed);
		(void)peer_send_bytes(&peer, malformed, SIZE);
		peer_close(&peer);
	}
	fixture_check_memory("malformed input of any shape", 16 * MIB);
}

TEST(malformed_datagrams_are_dropped) {
	enum { SIZE = 60000, COUNT = 500 };
	struct peer udp;
	uint8_t *malformed = malloc(SIZE);

	ck_assert_ptr_nonnull(malformed);
	peer_open(&udp, &fx.server, VIA_UDP);
	for (unsigned seed = 0; seed < COUNT; seed++) {
		size_t size = seed % 3 == 0 ? seed : SIZE / (1 + seed % 7);
		fill_malformed(malformed, size, seed);
		/* Not by chance what the test cannot tell from a reply: it is never a call. */
		if (size >= 8) {
			malformed[4] = 0x7f;
		}
		ck_assert_int_ge(send(udp.fd, malformed, size, 0), 0);
	}
	struct answer answer;
	ck_assert_int_eq(peer_receive(&udp, 100, &answer), RECEIVED_NOTHING);
	/* One that got through may have filled the socket: ask until it is read. */
	for (int tries = 0;; tries++) {
		struct call_header header = call_header(peer_xid(&udp), KVPROC_NULL);
		peer_send(&udp, message_call(&header, NULL, NULL));
		if (peer_receive(&udp, 1000, &answer) == RECEIVED_REPLY) {
			answer_free(&answer);
			break;
		}
		ck_assert_int_lt(tries, 30);
	}
	peer_close(&udp);
	fixture_check_memory("malformed datagrams", 4 * MIB);
	free(malformed);
}

TEST(a_record_that_claims_2_gb_takes_no_memory) {
	struct peer peer;
	uint8_t header[4];
	uint8_t *bytes = calloc(1, MIB);

	ck_assert_ptr_nonnull(bytes);
	peer_open(&peer, &fx.server, VIA_TCP);
	message_header(header, true, INT32_MAX);
	ck_assert(peer_send_bytes(&peer, header, sizeof header));
	for (int i = 0; i < 100 && peer_send_bytes(&peer, bytes, MIB); i++) {
		/* Until the server hangs up. */
	}
	ck_assert(peer_is_closed_within(&peer, CLOSE_MS));
	peer_close(&peer);
	fixture_check_memory("a claim of 2 GB", 4 * MIB);
	free(bytes);
}

TEST(a_large_claim_takes_memory_only_as_its_bytes_arrive) {
	enum { PEERS = 100, CLAIM = 32 * MIB };
	struct peer peers[PEERS];
	uint8_t start[1024] = {0};

	message_header(start, true, CLAIM);
	for (int i = 0; i < PEERS; i++) {
		peer_open(&peers[i], &fx.server, VIA_TCP);
		ck_assert(peer_send_bytes(&peers[i], start, sizeof start));
	}
	peer_ping(&fx.peer);
	fixture_check_memory("100 claims of 32 MiB", 16 * MIB);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
}

TEST(a_record_of_many_tiny_fragments_gets_its_reply) {
	enum { SIZE = 50000 };
	char *value = malloc(SIZE + 1);

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', SIZE);
	value[SIZE] = '\0';
	struct change change = put(&fx.session, 0, 1, "k", value);
	uint32_t xid = peer_xid(&fx.peer);
	struct message record = message_record(change_message(xid, &change), 1);
	ck_assert(peer_send_bytes(&fx.peer, record.data, record.size));
	struct outcome outcome = change_await(&fx.peer, &change, xid);
	ck_assert_int_eq(outcome.status, KV1_OK);
	outcome_free(&outcome);
	message_free(&record);
	check_key(&fx.peer, "k", value, 1);
	fixture_check_memory("tiny fragments", 4 * MIB);
	free(value);
}

TEST(endless_empty_fragments_come_to_an_end) {
	enum { BATCH = 16384, BATCHES = 1000 };
	struct peer peer;
	uint8_t *empty = calloc(BATCH, 4);
	int batches = 0;

	ck_assert_ptr_nonnull(empty);
	peer_open(&peer, &fx.server, VIA_TCP);
	while (batches < BATCHES && peer_send_bytes(&peer, empty, (size_t)BATCH * 4)) {
		batches++;
	}
	ck_assert(peer_is_closed_within(&peer, CLOSE_MS));
	peer_close(&peer);
	fixture_check_memory("empty fragments", 4 * MIB);
	free(empty);
}

CASE(peers, .setup = fixture_probed, .teardown = fixture_end);

TEST(half_a_record_and_then_silence_does_not_harm_other_clients) {
	enum { PEERS = 100 };
	struct peer peers[PEERS];

	struct message record = {0};
	for (int i = 0; i < PEERS; i++) {
		struct change change =
		    append(&fx.session, (uint32_t)i % fx.session.slots, 1 + (uint64_t)i, "k", "a");
		message_free(&record);
		record = message_record(change_message(77, &change), 0);
		peer_open(&peers[i], &fx.server, i % 2 == 0 ? VIA_TCP : VIA_LOCAL);
		/* Each stops at another byte. */
		ck_assert(peer_send_bytes(&peers[i], record.data, (size_t)i % record.size));
	}
	for (int i = 0; i < 100; i++) {
		check_no_key(&fx.peer, "k");
	}
	fixture_check_memory("half a record", 8 * MIB);

	/* The last one goes on after all. */
	size_t sent = (size_t)(PEERS - 1) % record.size;
	ck_assert(peer_send_bytes(&peers[PEERS - 1], record.data + sent, record.size - sent));
	struct answer answer = peer_await(&peers[PEERS - 1], 77);
	ck_assert_uint_eq(answer.stat, SUCCESS);
	answer_free(&answer);
	check_key(&fx.peer, "k", "a", 1);
	message_free(&record);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
}

TEST(a_call_cut_off_by_a_hang_up_never_runs) {
	struct change change = append(&fx.session, 0, 1, "k", "a");
	struct message record = message_record(change_message(1, &change), 0);
	for (size_t size = 1; size < record.size; size++) {
		struct peer peer;
		peer_open(&peer, &fx.server, VIA_LOCAL);
		ck_assert(peer_send_bytes(&peer, record.data, size));
		peer_close(&peer);
	}
	/* Every connection was accepted and read to its end before this one's call. */
	struct peer last;
	peer_open(&last, &fx.server, VIA_LOCAL);
	peer_ping(&last);
	peer_close(&last);
	check_no_key(&fx.peer, "k");
	message_free(&record);
}

/* Sends GETs of `key` until the server has not taken more for a while; returns how many. */
static unsigned flood(struct peer *peer, const char *key, unsigned most) {
	kv1_get_args args = {.key = {(u_int)strlen(key), (char *)key}};
	unsigned sent = 0;

	while (sent < most) {
		struct call_header header = call_header(peer_xid(peer), KVPROC_GET);
		struct message record =
		    message_record(message_call(&header, (xdrproc_t)xdr_kv1_get_args, &args), 0);
		size_t done = 0;
		while (done < record.size) {
			ssize_t part = send(peer->fd, record.data + done, record.size - done,
					    MSG_DONTWAIT | MSG_NOSIGNAL);
			struct pollfd room = {.fd = peer->fd, .events = POLLOUT};
			if (part > 0) {
				done += (size_t)part;
			} else if (errno != EAGAIN || poll(&room, 1, 500) == 0) {
				message_free(&record);
				return sent;
			}
		}
		message_free(&record);
		sent++;
	}
	return sent;
}

/* Peers that send GETs of a value of `size` bytes for as long as the server takes them. */
static void never_read(const char *what, size_t size) {
	enum { PEERS = 6, MOST = 100000 };
	struct peer peers[PEERS];
	char *value = calloc(1, size);
	unsigned sent = 0;

	ck_assert_ptr_nonnull(value);
	struct change change = put_bytes(&fx.session, 0, 1, "k", value, size);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	for (int i = 0; i < PEERS; i++) {
		peer_open(&peers[i], &fx.server, i % 2 == 0 ? VIA_TCP : VIA_LOCAL);
		sent += flood(&peers[i], "k", MOST);
	}
	suite_figure("%s: %u calls sent by %d", what, sent, PEERS);
	fixture_check_memory(what, 32 * MIB);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
	free(value);
}

TEST(peers_that_never_read_large_replies_take_bounded_memory) {
	never_read("large replies never read", MIB);
}

TEST(peers_that_never_read_small_replies_take_bounded_memory) {
	never_read("small replies never read", 1000);
}

CASE(peers_with_options, .teardown = fixture_end);

TEST(unfinished_records_of_many_peers_together_take_bounded_memory) {
	enum { PEERS = 20, CLAIM = 32 * MIB, SENT = 30 };
	struct peer peers[PEERS];
	uint8_t header[4];
	uint8_t *bytes = calloc(1, MIB);

	ck_assert_ptr_nonnull(bytes);
	/* What peers may hold together: a quarter of this, but at least 256 MiB. */
	fixture_open_probed(&fx, "--max-memory", "64M", NULL);
	message_header(header, true, CLAIM);
	for (int i = 0; i < PEERS; i++) {
		peer_open(&peers[i], &fx.server, VIA_TCP);
		(void)peer_send_bytes(&peers[i], header, sizeof header);
		for (int sent = 0; sent < SENT && peer_send_bytes(&peers[i], bytes, MIB); sent++) {
			/* Until all but the end is there, or the server hangs up. */
		}
	}
	fixture_check_memory("600 MiB of unfinished records", 320ull * MIB);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
	free(bytes);
}

/* Waits until so many connections are open. */
static void await_connections(struct peer *peer, uint64_t count) {
	uint64_t deadline = suite_now_ms() + CLOSE_MS;

	while (counter(peer, "connections") > count) {
		ck_assert_msg(suite_now_ms() < deadline, "connections stay open");
		suite_pause_ms(10);
	}
}

CASE(peers, .setup = fixture_probed, .teardown = fixture_end);

TEST(a_hang_up_with_calls_pending_leaves_nothing_behind) {
	enum { PEERS = 60, CALLS = 40 };
	char *value = calloc(1, MIB);

	ck_assert_ptr_nonnull(value);
	struct change change = put_bytes(&fx.session, 0, 1, "large", value, MIB);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	for (int i = 0; i < PEERS; i++) {
		struct peer peer;
		peer_open(&peer, &fx.server, i % 3 == 0 ? VIA_LOCAL : VIA_TCP);
		(void)flood(&peer, "large", CALLS);
		if (i % 3 == 1) {
			peer_reset(&peer);
		} else {
			peer_close(&peer);
		}
	}
	await_connections(&fx.peer, 2);
	fixture_check_memory("hang-ups", 16 * MIB);
	free(value);
}
