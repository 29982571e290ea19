/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that are wrong: in their RPC header, in their arguments, in what they ask for. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum { MIB = 1024 * 1024, CREDENTIAL_MAX = 400 };

/* Sends a call without arguments under this header, and answers what came back. */
static struct answer ask(struct peer *peer, struct call_header header) {
	peer_send(peer, message_call(&header, NULL, NULL));
	return peer_await(peer, header.xid);
}

static void check_accepted(struct peer *peer, struct call_header header, enum accept_stat stat) {
	struct answer answer = ask(peer, header);

	ck_assert(answer.is_accepted);
	ck_assert_uint_eq(answer.stat, stat);
	if (stat == PROG_MISMATCH) {
		ck_assert_uint_eq(answer.low, 1);
		ck_assert_uint_eq(answer.high, 1);
	}
	answer_free(&answer);
}

static void check_auth_error(struct peer *peer, struct call_header header) {
	struct answer answer = ask(peer, header);

	ck_assert(!answer.is_accepted);
	ck_assert_uint_eq(answer.stat, AUTH_ERROR);
	ck_assert_uint_ne(answer.auth_error, AUTH_OK);
	answer_free(&answer);
}

CASE(headers, .setup = fixture_probed, .teardown = fixture_end);

TEST(a_wrong_program_version_or_procedure_gets_the_standard_error) {
	static const uint32_t unknown[] = {11, 16, 99, UINT32_MAX};

	for (int via = VIA_TCP; via <= VIA_UDP; via += VIA_UDP - VIA_TCP) {
		struct peer peer;
		peer_open(&peer, &fx.server, (enum via)via);
		struct call_header header = call_header(peer_xid(&peer), KVPROC_NULL);
		header.program ^= 1;
		check_accepted(&peer, header, PROG_UNAVAIL);
		header = call_header(peer_xid(&peer), KVPROC_NULL);
		header.version = 2;
		check_accepted(&peer, header, PROG_MISMATCH);
		header.version = 0;
		check_accepted(&peer, header, PROG_MISMATCH);
		for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
			header = call_header(peer_xid(&peer), unknown[i]);
			check_accepted(&peer, header, PROC_UNAVAIL);
		}
		peer_ping(&peer);
		peer_close(&peer);
	}
}

TEST(another_version_of_rpc_is_told_which_one_is_spoken) {
	static const uint32_t versions[] = {0, 1, 3, UINT32_MAX};

	struct peer *peer = &fx.peer;
	for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
		struct call_header header = call_header(peer_xid(peer), KVPROC_NULL);
		header.rpc_version = versions[i];
		struct answer answer = ask(peer, header);
		ck_assert(!answer.is_accepted);
		ck_assert_uint_eq(answer.stat, RPC_MISMATCH);
		ck_assert_uint_eq(answer.low, 2);
		ck_assert_uint_eq(answer.high, 2);
		answer_free(&answer);
	}
}

TEST(credentials_that_are_not_understood_are_refused) {
	/* AUTH_SHORT, AUTH_DH, an unknown one, RPCSEC_GSS and a private one. */
	static const uint32_t flavors[] = {2, 3, 5, 6, 390003, UINT32_MAX};
	static const uint8_t garbage[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	uint8_t oversized[CREDENTIAL_MAX + 4] = {0};

	for (int via = VIA_TCP; via <= VIA_UDP; via += VIA_UDP - VIA_TCP) {
		struct peer peer;
		peer_open(&peer, &fx.server, (enum via)via);
		for (size_t i = 0; i < sizeof flavors / sizeof flavors[0]; i++) {
			struct call_header header = call_header(peer_xid(&peer), KVPROC_HELLO);
			header.flavor = flavors[i];
			check_auth_error(&peer, header);
			header.credential = garbage;
			header.credential_size = sizeof garbage;
			check_auth_error(&peer, header);
		}
		struct call_header header = call_header(peer_xid(&peer), KVPROC_HELLO);
		header.flavor = AUTH_SYS;
		header.credential = oversized;
		header.credential_size = sizeof oversized;
		check_auth_error(&peer, header);
		peer_ping(&peer);
		peer_close(&peer);
	}
}

/* A call of HELLO whose verifier claims one size and has another, with an empty credential or one
   of AUTH_SYS before it. */
static struct message verified_call(uint32_t xid, bool has_credential, uint32_t claims,
				    size_t size) {
	static const uint32_t words[5] = {0}; /* an empty name, uid 0, no groups */
	static const uint8_t verifier[4096] = {0};
	struct call_header header = call_header(xid, KVPROC_HELLO);
	uint32_t wire = htonl(claims);

	if (has_credential) {
		header.flavor = AUTH_SYS;
		header.credential = words;
		header.credential_size = sizeof words;
	}
	struct message call = message_call(&header, NULL, NULL);
	memcpy(call.data + call.size - sizeof wire, &wire, sizeof wire);
	message_join(&call, message_copy(verifier, size));
	return call;
}

TEST(a_verifier_above_400_bytes_is_refused_and_costs_no_connection) {
	struct {
		uint32_t claims;
		size_t size;
		bool is_right;
	} shapes[] = {
	    {400, 400, true},	 {401, 404, false},	 {404, 404, false},	 {404, 0, false},
	    {4096, 4096, false}, {UINT32_MAX, 0, false}, {0x80000000, 4, false},
	};

	for (int via = VIA_TCP; via <= VIA_UDP; via += VIA_UDP - VIA_TCP) {
		struct peer peer;
		peer_open(&peer, &fx.server, (enum via)via);
		for (size_t i = 0; i < 2 * sizeof shapes / sizeof shapes[0]; i++) {
			uint32_t xid = peer_xid(&peer);
			peer_send(&peer, verified_call(xid, i % 2 == 1, shapes[i / 2].claims,
						       shapes[i / 2].size));
			struct answer answer = peer_await(&peer, xid);
			ck_assert_msg(answer.is_accepted == shapes[i / 2].is_right,
				      "shape %zu was %s", i,
				      answer.is_accepted ? "taken" : "refused");
			if (!answer.is_accepted)
				ck_assert_uint_eq(answer.auth_error, AUTH_BADVERF);
			answer_free(&answer);
		}
		peer_ping(&peer);
		peer_close(&peer);
	}
}

TEST(malformed_auth_sys_credentials_are_refused) {
	uint32_t words[CREDENTIAL_MAX / 4] = {0};
	struct {
		uint32_t name_size, groups;
		size_t size;
	} shapes[] = {
	    {0, 0, 0},		 {0, 0, 4},	      {0, 0, 16},
	    {256, 0, 20},	 {UINT32_MAX, 0, 20}, {UINT32_MAX - 3, 0, 400},
	    {0, 17, 100},	 {0, UINT32_MAX, 20}, {0, 16, 24},
	    {0, 0x40000000, 20}, {255, 0, 200},
	};

	struct peer *peer = &fx.peer;
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		/* stamp, machine name, uid, gid, groups */
		words[1] = htonl(shapes[i].name_size);
		words[4] = htonl(shapes[i].groups);
		struct call_header header = call_header(peer_xid(peer), KVPROC_HELLO);
		header.flavor = AUTH_SYS;
		header.credential = words;
		header.credential_size = shapes[i].size;
		struct answer answer = ask(peer, header);
		ck_assert_msg(!answer.is_accepted && answer.stat == AUTH_ERROR,
			      "shape %zu was taken", i);
		answer_free(&answer);
	}
}

TEST(auth_none_and_auth_sys_are_served) {
	/* stamp 0, name "host", uid 1, gid 2, two groups */
	const uint32_t words[] = {0,	    htonl(4), htonl(0x686f7374), htonl(1), htonl(2),
				  htonl(2), 0,	      htonl(7)};

	struct peer *peer = &fx.peer;
	check_accepted(peer, call_header(peer_xid(peer), KVPROC_NULL), SUCCESS);
	struct call_header header = call_header(peer_xid(peer), KVPROC_HELLO);
	header.flavor = AUTH_SYS;
	header.credential = words;
	header.credential_size = sizeof words;
	check_accepted(peer, header, SUCCESS);
}

/* The call whole, then cut at each byte of its arguments: none of the cut ones runs. */
static void cut_arguments(struct peer *peer, uint32_t procedure, xdrproc_t encode,
			  const void *args) {
	struct call_header header = call_header(0, procedure);
	struct message whole = message_call(&header, encode, args);
	struct message empty = message_call(&header, NULL, NULL);

	for (size_t size = empty.size; size < whole.size; size++) {
		uint32_t xid = peer_xid(peer);
		uint32_t wire = htonl(xid);
		struct message cut = message_copy(whole.data, size);
		memcpy(cut.data, &wire, sizeof wire);
		peer_send(peer, cut);
		struct answer answer = peer_await(peer, xid);
		ck_assert_msg(answer.is_accepted && answer.stat == GARBAGE_ARGS,
			      "procedure %u cut to %zu of %zu bytes: %u", procedure, size,
			      whole.size, answer.stat);
		answer_free(&answer);
	}
	message_free(&whole);
	message_free(&empty);
}

CASE(arguments, .setup = fixture_probed, .teardown = fixture_end);

TEST(arguments_cut_short_are_garbage) {
	for (int via = VIA_TCP; via <= VIA_UDP; via += VIA_UDP - VIA_TCP) {
		struct peer peer;
		kv1_writer writer = {.client_id = fx.session.client_id, .seq = 1};
		kv1_key key = {5, (char *)"a key"};
		kv1_value value = {7, (char *)"a value"};
		kv1_open_args open = {.slots = 1};
		kv1_close_args close = {.client_id = writer.client_id};
		kv1_get_args get = {.key = key};
		kv1_put_args put = {writer, KV1_ANY, key, value};
		kv1_append_args append = {writer, KV1_ANY, key, value, TRUE};

		peer_open(&peer, &fx.server, (enum via)via);
		cut_arguments(&peer, KVPROC_OPEN, (xdrproc_t)xdr_kv1_open_args, &open);
		cut_arguments(&peer, KVPROC_CLOSE, (xdrproc_t)xdr_kv1_close_args, &close);
		cut_arguments(&peer, KVPROC_GET, (xdrproc_t)xdr_kv1_get_args, &get);
		cut_arguments(&peer, KVPROC_PUT, (xdrproc_t)xdr_kv1_put_args, &put);
		cut_arguments(&peer, KVPROC_APPEND, (xdrproc_t)xdr_kv1_append_args, &append);
		check_no_key(&peer, "a key");
		ck_assert_uint_eq(counter(&peer, "sessions"), 1);
		peer_close(&peer);
	}
}

TEST(a_length_above_what_the_record_holds_takes_no_memory) {
	enum { KEY_LENGTH_FROM_END = 16 };
	static const uint32_t claims[] = {9,
					  1024,
					  65536,
					  65537,
					  33554432,
					  INT32_MAX,
					  (uint32_t)INT32_MAX + 1,
					  UINT32_MAX - 3,
					  UINT32_MAX};

	struct peer *peer = &fx.peer;
	for (int round = 0; round < 100; round++) {
		for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
			struct change change = put(&fx.session, 0, 1, "abcd", "wxyz");
			uint32_t claim = htonl(claims[i]);
			uint32_t xid = peer_xid(peer);
			struct message call = change_message(xid, &change);
			/* The length of the value, then that of the key. */
			size_t at = call.size - (i % 2 == 0 ? 8 : KEY_LENGTH_FROM_END);
			memcpy(call.data + at, &claim, sizeof claim);
			peer_send(peer, call);
			struct answer answer = peer_await(peer, xid);
			ck_assert(answer.is_accepted);
			ck_assert_uint_eq(answer.stat, GARBAGE_ARGS);
			answer_free(&answer);
		}
	}
	check_no_key(peer, "abcd");
	fixture_check_memory("lengths that lie", 4 * MIB);
}

/* Put, Append and Get of a key of `size` bytes all answer this, each under a number of its own. */
static void check_key_size(struct fixture *fixture, uint64_t seq, size_t size,
			   kv1_status expected) {
	char key[KV1_KEY_BOUND];
	kv1_get_args args = {.key = {(u_int)size, key}};
	kv1_get_res res = {0};

	ck_assert_uint_le(size, sizeof key);
	memset(key, 'k', sizeof key);
	struct change change = put(&fixture->session, 0, seq, size == 0 ? "" : key, "v");
	change.key_size = size;
	ck_assert_int_eq(change_status(&fixture->peer, &change), expected);
	change = append(&fixture->session, 1, seq, size == 0 ? "" : key, "v");
	change.key_size = size;
	ck_assert_int_eq(change_status(&fixture->peer, &change), expected);
	peer_call(&fixture->peer, KVPROC_GET, (xdrproc_t)xdr_kv1_get_args, &args,
		  (xdrproc_t)xdr_kv1_get_res, &res);
	ck_assert_int_eq(res.status, expected);
	xdr_free((xdrproc_t)xdr_kv1_get_res, &res);
}

TEST(a_key_is_1_to_1024_bytes) {
	check_key_size(&fx, 1, 0, KV1_INVALID);
	check_key_size(&fx, 2, KV1_KEY_MAX + 1, KV1_TOOBIG);
	check_key_size(&fx, 3, KV1_KEY_BOUND, KV1_TOOBIG);
	ck_assert_uint_eq(counter(&fx.peer, "keys"), 0);
	check_key_size(&fx, 4, 1, KV1_OK);
	check_key_size(&fx, 5, KV1_KEY_MAX, KV1_OK);
	ck_assert_uint_eq(counter(&fx.peer, "keys"), 2);
}

CASE(arguments_with_options, .teardown = fixture_end);

TEST(a_value_above_the_limit_is_refused_and_the_connection_stays_usable) {
	static const size_t sizes[] = {MIB + 1, KV1_VALUE_MAX, KV1_VALUE_MAX + 1, KV1_VALUE_BOUND};
	char *value = calloc(1, KV1_VALUE_BOUND);
	uint64_t seq = 1;

	ck_assert_ptr_nonnull(value);
	fixture_open_probed(&fx, "--max-value", "1M", NULL);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct change change = put_bytes(&fx.session, 0, seq++, "k", value, sizes[i]);
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_TOOBIG);
		change.is_append = true;
		change.writer.seq = seq++;
		ck_assert_int_eq(change_status(&fx.peer, &change), KV1_TOOBIG);
		check_no_key(&fx.peer, "k");
	}
	fixture_check_memory("values above the limit", 64 * MIB);

	struct change change = put_bytes(&fx.session, 0, seq++, "k", value, MIB);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	change = append(&fx.session, 0, seq, "k", "one byte too many");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_TOOBIG);
	struct outcome found = get(&fx.peer, "k");
	ck_assert_uint_eq(found.value.size, MIB);
	ck_assert_uint_eq(found.current, 1);
	outcome_free(&found);
	free(value);
}

CASE(arguments, .setup = fixture_probed, .teardown = fixture_end);

TEST(a_truth_value_of_7_is_true_or_garbage) {
	const uint32_t seven = htonl(7);

	struct change change = append(&fx.session, 0, 1, "k", "a");
	uint32_t xid = peer_xid(&fx.peer);
	struct message call = change_message(xid, &change);
	memcpy(call.data + call.size - sizeof seven, &seven, sizeof seven);
	peer_send(&fx.peer, call);
	struct answer answer = peer_await(&fx.peer, xid);
	ck_assert(answer.is_accepted);
	ck_assert(answer.stat == SUCCESS || answer.stat == GARBAGE_ARGS);
	answer_free(&answer);
	/* If it was taken, it is the same call as the one that says TRUE. */
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	check_key(&fx.peer, "k", "a", 1);
}

TEST(seq_0_and_slots_never_granted_are_invalid_and_the_largest_seq_is_the_last) {
	struct change change = put(&fx.session, 0, 0, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_INVALID);
	change = put(&fx.session, fx.session.slots, 1, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_INVALID);
	change = put(&fx.session, UINT32_MAX, 1, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_INVALID);
	check_no_key(&fx.peer, "k");
	change = put(&fx.session, 0, UINT64_MAX, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
	change = put(&fx.session, 0, UINT64_MAX - 1, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_STALE);
	change = put(&fx.session, 0, 1, "k", "v");
	ck_assert_int_eq(change_status(&fx.peer, &change), KV1_STALE);
	check_key(&fx.peer, "k", "v", 1);
}

TEST(an_open_is_granted_a_sensible_number_of_slots) {
	kv1_open_args args = {.slots = UINT32_MAX};
	kv1_open_res res = {0};

	struct peer *peer = &fx.peer;
	peer_call(peer, KVPROC_OPEN, (xdrproc_t)xdr_kv1_open_args, &args,
		  (xdrproc_t)xdr_kv1_open_res, &res);
	ck_assert_int_eq(res.status, KV1_OK);
	ck_assert_uint_ge(res.slots, 1);
	ck_assert_uint_le(res.slots, 1024);
	args.slots = 0;
	args.nonce[0] = 1;
	peer_call(peer, KVPROC_OPEN, (xdrproc_t)xdr_kv1_open_args, &args,
		  (xdrproc_t)xdr_kv1_open_res, &res);
	ck_assert_int_eq(res.status, KV1_INVALID);
}
