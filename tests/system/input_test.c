/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes that are no calls, calls that never end, and peers that do not read: they cost only those
   who send them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "suite.h"
#include "trouble.h"

enum {
	MIB = 1024 * 1024,
	CLOSE_MS = 30000, /* a connection that must be closed is, within this */
};

/* Bytes that look like nothing; the same ones in each run. */
static void fill_rubbish(uint8_t *bytes, size_t size, unsigned seed) {
	uint64_t state = seed * 2654435769u + 1;

	for (size_t i = 0; i < size; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = (uint8_t)(state >> 56);
	}
}

START_TEST(rubbish_ends_the_connection_that_sent_it) {
	enum { SIZE = 65536, PEERS = 40 };
	struct trouble trouble;
	uint8_t *rubbish = malloc(SIZE);

	ck_assert_ptr_nonnull(rubbish);
	trouble_begin(&trouble, NULL);
	for (unsigned seed = 0; seed < PEERS; seed++) {
		struct peer peer;
		peer_open(&peer, &trouble.scene.server, seed % 2 == 0 ? VIA_TCP : VIA_LOCAL);
		fill_rubbish(rubbish, SIZE, seed);
		/* A whole record of rubbish, else it might claim to be one that goes on. */
		message_header(rubbish, true, SIZE - 4);
		(void)peer_send_bytes(&peer, rubbish, SIZE);
		ck_assert(peer_is_closed_within(&peer, CLOSE_MS));
		peer_close(&peer);
	}
	trouble_check_memory(&trouble, "rubbish", 4 * MIB);
	trouble_end(&trouble, "rubbish");
	free(rubbish);
}
END_TEST

START_TEST(rubbish_of_any_shape_harms_nobody_else) {
	enum { SIZE = 4096, PEERS = 200 };
	struct trouble trouble;
	uint8_t rubbish[SIZE];

	trouble_begin(&trouble, NULL);
	for (unsigned seed = 0; seed < PEERS; seed++) {
		struct peer peer;
		peer_open(&peer, &trouble.scene.server, VIA_TCP);
		fill_rubbish(rubbish, SIZE, seed);
		(void)peer_send_bytes(&peer, rubbish, SIZE);
		peer_close(&peer);
	}
	trouble_check_memory(&trouble, "rubbish of any shape", 16 * MIB);
	trouble_end(&trouble, "rubbish of any shape");
}
END_TEST

START_TEST(rubbish_in_datagrams_is_dropped) {
	enum { SIZE = 60000, COUNT = 500 };
	struct trouble trouble;
	struct peer udp;
	uint8_t *rubbish = malloc(SIZE);

	ck_assert_ptr_nonnull(rubbish);
	trouble_begin(&trouble, NULL);
	peer_open(&udp, &trouble.scene.server, VIA_UDP);
	for (unsigned seed = 0; seed < COUNT; seed++) {
		size_t size = seed % 3 == 0 ? seed : SIZE / (1 + seed % 7);
		fill_rubbish(rubbish, size, seed);
		/* Not by chance what the test cannot tell from an answer: it is never a call. */
		if (size >= 8) {
			rubbish[4] = 0x7f;
		}
		ck_assert_int_ge(send(udp.fd, rubbish, size, 0), 0);
	}
	struct answer answer;
	ck_assert_int_eq(peer_receive(&udp, 100, &answer), ARRIVAL_NOTHING);
	/* One that got through may have filled the socket: ask until it is read. */
	for (int tries = 0;; tries++) {
		struct call_header header = call_header(peer_xid(&udp), KVPROC_NULL);
		peer_send(&udp, message_call(&header, NULL, NULL));
		if (peer_receive(&udp, 1000, &answer) == ARRIVAL_ANSWER) {
			answer_free(&answer);
			break;
		}
		ck_assert_int_lt(tries, 30);
	}
	peer_close(&udp);
	trouble_check_memory(&trouble, "rubbish in datagrams", 4 * MIB);
	trouble_end(&trouble, "rubbish in datagrams");
	free(rubbish);
}
END_TEST

START_TEST(a_record_that_claims_2_gb_takes_no_memory) {
	struct trouble trouble;
	struct peer peer;
	uint8_t header[4];
	uint8_t *bytes = calloc(1, MIB);

	ck_assert_ptr_nonnull(bytes);
	trouble_begin(&trouble, NULL);
	peer_open(&peer, &trouble.scene.server, VIA_TCP);
	message_header(header, true, INT32_MAX);
	ck_assert(peer_send_bytes(&peer, header, sizeof header));
	for (int i = 0; i < 100 && peer_send_bytes(&peer, bytes, MIB); i++) {
		/* Until the server hangs up. */
	}
	ck_assert(peer_is_closed_within(&peer, CLOSE_MS));
	peer_close(&peer);
	trouble_check_memory(&trouble, "a claim of 2 GB", 4 * MIB);
	trouble_end(&trouble, "a claim of 2 GB");
	free(bytes);
}
END_TEST

START_TEST(a_large_claim_takes_memory_only_as_its_bytes_arrive) {
	enum { PEERS = 100, CLAIM = 32 * MIB };
	struct trouble trouble;
	struct peer peers[PEERS];
	uint8_t start[1024] = {0};

	trouble_begin(&trouble, NULL);
	message_header(start, true, CLAIM);
	for (int i = 0; i < PEERS; i++) {
		peer_open(&peers[i], &trouble.scene.server, VIA_TCP);
		ck_assert(peer_send_bytes(&peers[i], start, sizeof start));
	}
	peer_ping(&trouble.scene.peer);
	trouble_check_memory(&trouble, "100 claims of 32 MiB", 16 * MIB);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
	trouble_end(&trouble, "100 claims of 32 MiB");
}
END_TEST

START_TEST(a_record_of_many_tiny_fragments_is_answered) {
	enum { SIZE = 50000 };
	struct trouble trouble;
	struct scene *scene = &trouble.scene;
	char *value = malloc(SIZE + 1);

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', SIZE);
	value[SIZE] = '\0';
	trouble_begin(&trouble, NULL);
	struct change change = put(&scene->session, 0, 1, "k", value);
	uint32_t xid = peer_xid(&scene->peer);
	struct message record = message_record(change_message(xid, &change), 1);
	ck_assert(peer_send_bytes(&scene->peer, record.data, record.size));
	struct outcome outcome = change_await(&scene->peer, &change, xid);
	ck_assert_int_eq(outcome.status, KV1_OK);
	outcome_free(&outcome);
	message_free(&record);
	check_key(&scene->peer, "k", value, 1);
	trouble_check_memory(&trouble, "tiny fragments", 4 * MIB);
	trouble_end(&trouble, "tiny fragments");
	free(value);
}
END_TEST

START_TEST(endless_empty_fragments_come_to_an_end) {
	enum { BATCH = 16384, BATCHES = 1000 };
	struct trouble trouble;
	struct peer peer;
	uint8_t *empty = calloc(BATCH, 4);
	int batches = 0;

	ck_assert_ptr_nonnull(empty);
	trouble_begin(&trouble, NULL);
	peer_open(&peer, &trouble.scene.server, VIA_TCP);
	while (batches < BATCHES && peer_send_bytes(&peer, empty, (size_t)BATCH * 4)) {
		batches++;
	}
	ck_assert(peer_is_closed_within(&peer, CLOSE_MS));
	peer_close(&peer);
	trouble_check_memory(&trouble, "empty fragments", 4 * MIB);
	trouble_end(&trouble, "empty fragments");
	free(empty);
}
END_TEST

START_TEST(half_a_record_then_silence_harms_nobody_else) {
	enum { PEERS = 100 };
	struct trouble trouble;
	struct scene *scene = &trouble.scene;
	struct peer peers[PEERS];

	trouble_begin(&trouble, NULL);
	struct message record = {0};
	for (int i = 0; i < PEERS; i++) {
		struct change change = append(&scene->session, (uint32_t)i % scene->session.slots,
					      1 + (uint64_t)i, "k", "a");
		message_free(&record);
		record = message_record(change_message(77, &change), 0);
		peer_open(&peers[i], &scene->server, i % 2 == 0 ? VIA_TCP : VIA_LOCAL);
		/* Each stops at another byte. */
		ck_assert(peer_send_bytes(&peers[i], record.data, (size_t)i % record.size));
	}
	for (int i = 0; i < 100; i++) {
		check_no_key(&scene->peer, "k");
	}
	trouble_check_memory(&trouble, "half a record", 8 * MIB);

	/* The last one goes on after all. */
	size_t sent = (size_t)(PEERS - 1) % record.size;
	ck_assert(peer_send_bytes(&peers[PEERS - 1], record.data + sent, record.size - sent));
	struct answer answer = peer_await(&peers[PEERS - 1], 77);
	ck_assert_uint_eq(answer.stat, SUCCESS);
	answer_free(&answer);
	check_key(&scene->peer, "k", "a", 1);
	message_free(&record);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
	trouble_end(&trouble, "half a record");
}
END_TEST

START_TEST(a_call_cut_off_by_a_hang_up_never_runs) {
	struct trouble trouble;
	struct scene *scene = &trouble.scene;

	trouble_begin(&trouble, NULL);
	struct change change = append(&scene->session, 0, 1, "k", "a");
	struct message record = message_record(change_message(1, &change), 0);
	for (size_t size = 1; size < record.size; size++) {
		struct peer peer;
		peer_open(&peer, &scene->server, VIA_LOCAL);
		ck_assert(peer_send_bytes(&peer, record.data, size));
		peer_close(&peer);
	}
	/* Every connection was accepted and read to its end before this one's call. */
	struct peer last;
	peer_open(&last, &scene->server, VIA_LOCAL);
	peer_ping(&last);
	peer_close(&last);
	check_no_key(&scene->peer, "k");
	message_free(&record);
	trouble_end(&trouble, "cut records");
}
END_TEST

/* Sends GETs of `key` until the server has not taken more for a while; answers how many. */
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
	struct trouble trouble;
	struct scene *scene = &trouble.scene;
	struct peer peers[PEERS];
	char *value = calloc(1, size);
	unsigned sent = 0;

	ck_assert_ptr_nonnull(value);
	trouble_begin(&trouble, NULL);
	struct change change = put_bytes(&scene->session, 0, 1, "k", value, size);
	ck_assert_int_eq(change_status(&scene->peer, &change), KV1_OK);
	for (int i = 0; i < PEERS; i++) {
		peer_open(&peers[i], &scene->server, i % 2 == 0 ? VIA_TCP : VIA_LOCAL);
		sent += flood(&peers[i], "k", MOST);
	}
	suite_figure("%s: %u calls sent by %d", what, sent, PEERS);
	trouble_check_memory(&trouble, what, 32 * MIB);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
	trouble_end(&trouble, what);
	free(value);
}

START_TEST(peers_that_never_read_large_answers_take_bounded_memory) {
	never_read("large answers never read", MIB);
}
END_TEST

START_TEST(peers_that_never_read_small_answers_take_bounded_memory) {
	never_read("small answers never read", 1000);
}
END_TEST

START_TEST(unfinished_records_of_many_peers_together_take_bounded_memory) {
	enum { PEERS = 20, CLAIM = 32 * MIB, SENT = 30 };
	struct trouble trouble;
	struct peer peers[PEERS];
	uint8_t header[4];
	uint8_t *bytes = calloc(1, MIB);

	ck_assert_ptr_nonnull(bytes);
	/* What peers may hold together: a quarter of this, but at least 256 MiB. */
	trouble_begin(&trouble, "--max-memory", "64M", NULL);
	message_header(header, true, CLAIM);
	for (int i = 0; i < PEERS; i++) {
		peer_open(&peers[i], &trouble.scene.server, VIA_TCP);
		(void)peer_send_bytes(&peers[i], header, sizeof header);
		for (int sent = 0; sent < SENT && peer_send_bytes(&peers[i], bytes, MIB); sent++) {
			/* Until all but the end is there, or the server hangs up. */
		}
	}
	trouble_check_memory(&trouble, "600 MiB of unfinished records", 320ull * MIB);
	for (int i = 0; i < PEERS; i++) {
		peer_close(&peers[i]);
	}
	trouble_end(&trouble, "600 MiB of unfinished records");
	free(bytes);
}
END_TEST

/* Waits until so many connections are open. */
static void await_connections(struct peer *peer, uint64_t count) {
	uint64_t deadline = suite_now_ms() + CLOSE_MS;

	while (counter(peer, "connections") > count) {
		ck_assert_msg(suite_now_ms() < deadline, "connections stay open");
		suite_pause_ms(10);
	}
}

START_TEST(a_hang_up_with_answers_owed_leaves_nothing_behind) {
	enum { PEERS = 60, CALLS = 40 };
	struct trouble trouble;
	struct scene *scene = &trouble.scene;
	char *value = calloc(1, MIB);

	ck_assert_ptr_nonnull(value);
	trouble_begin(&trouble, NULL);
	struct change change = put_bytes(&scene->session, 0, 1, "large", value, MIB);
	ck_assert_int_eq(change_status(&scene->peer, &change), KV1_OK);
	for (int i = 0; i < PEERS; i++) {
		struct peer peer;
		peer_open(&peer, &scene->server, i % 3 == 0 ? VIA_LOCAL : VIA_TCP);
		(void)flood(&peer, "large", CALLS);
		if (i % 3 == 1) {
			peer_reset(&peer);
		} else {
			peer_close(&peer);
		}
	}
	await_connections(&scene->peer, 2);
	trouble_check_memory(&trouble, "hang-ups", 16 * MIB);
	trouble_end(&trouble, "hang-ups");
	free(value);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("input");
	TCase *records = suite_case(suite, "records");
	TCase *peers = suite_case(suite, "peers");

	tcase_add_test(records, rubbish_ends_the_connection_that_sent_it);
	tcase_add_test(records, rubbish_of_any_shape_harms_nobody_else);
	tcase_add_test(records, rubbish_in_datagrams_is_dropped);
	tcase_add_test(records, a_record_that_claims_2_gb_takes_no_memory);
	tcase_add_test(records, a_large_claim_takes_memory_only_as_its_bytes_arrive);
	tcase_add_test(records, a_record_of_many_tiny_fragments_is_answered);
	tcase_add_test(records, endless_empty_fragments_come_to_an_end);
	tcase_add_test(peers, half_a_record_then_silence_harms_nobody_else);
	tcase_add_test(peers, a_call_cut_off_by_a_hang_up_never_runs);
	tcase_add_test(peers, peers_that_never_read_large_answers_take_bounded_memory);
	tcase_add_test(peers, peers_that_never_read_small_answers_take_bounded_memory);
	tcase_add_test(peers, unfinished_records_of_many_peers_together_take_bounded_memory);
	tcase_add_test(peers, a_hang_up_with_answers_owed_leaves_nothing_behind);
	return suite_run(suite);
}
