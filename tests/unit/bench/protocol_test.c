/* SPDX-License-Identifier: BSD-3-Clause */
/* What the load says to kvd and its peers, and how it reads their answers, however they are cut. */

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "log.h"
#include "outgoing.h"
#include "protocol.h"
#include "test.h"

enum { VALUE = 100, BUFFER = 4096 };

static char value[VALUE + 8];

static struct protocol_options options(void) {
	memset(value, 'v', VALUE);
	return (struct protocol_options){
	    .lanes = 4, .program = KV_PROGRAM, .is_stateless = true, .value = {value, VALUE}};
}

/* A state of a peer that needs no beginning. */
static struct conn_state *begin(const struct protocol *protocol) {
	struct protocol_options common = options();
	struct conn_state *state = protocol->open(&common, -1);

	ck_assert_ptr_nonnull(state);
	return state;
}

/* All that a call sends. */
static size_t say(const struct protocol *protocol, struct conn_state *state, struct request request,
		  char *bytes) {
	struct outgoing out = {0};
	int pair[2];
	ssize_t size = 0;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert(protocol->encode(state, &request, &out));
	ck_assert(outgoing_send(&out, pair[0]));
	ck_assert(outgoing_is_empty(&out));
	size = recv(pair[1], bytes, BUFFER, 0);
	ck_assert_int_gt(size, 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
	outgoing_free(&out);
	return (size_t)size;
}

/* Every way to cut it: more is asked for, until it is known; then always the same. */
static struct reply hear(const struct protocol *protocol, struct conn_state *state,
			 const void *bytes, size_t size) {
	struct reply whole = {.size = 0};
	struct reply part = {.size = 0};
	bool is_known = false;

	ck_assert_int_eq(protocol->decode(state, bytes, size, &whole), DECODE_DONE);
	for (size_t cut = 1; cut < size; cut++) {
		/* In memory of its own, so that a look beyond it is seen. */
		void *copy = malloc(cut);
		enum decode_result decoding = DECODE_MORE;
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, bytes, cut);
		decoding = protocol->decode(state, copy, cut, &part);
		free(copy);
		ck_assert_int_ne(decoding, DECODE_INVALID);
		ck_assert(!is_known || decoding == DECODE_DONE);
		is_known = decoding == DECODE_DONE;
		if (is_known) {
			ck_assert_uint_eq(part.size, whole.size);
			ck_assert_int_eq(part.outcome, whole.outcome);
			ck_assert_uint_eq(part.version, whole.version);
		}
	}
	return whole;
}

/* --- Peers ---------------------------------------------------------------------------------- */

static const struct {
	const struct protocol *protocol;
	enum op_type work;
	const char *starts;
	const char *ends;
} said[] = {
    {&protocol_redis, WORK_GET, "*2\r\n$3\r\nGET\r\n$16\r\nkey-000000000042\r\n", "\r\n"},
    {&protocol_redis, WORK_PUT, "*3\r\n$3\r\nSET\r\n$16\r\nkey-000000000042\r\n$100\r\nvvv",
     "vvv\r\n"},
    {&protocol_redis, WORK_APPEND, "*3\r\n$6\r\nAPPEND\r\n$16\r\nkey-000000000042\r\n$100\r\nvvv",
     "vvv\r\n"},
    {&protocol_redis, WORK_NULL, "*1\r\n$4\r\nPING\r\n", "\r\n"},
    {&protocol_memcached, WORK_GET, "get key-000000000042\r\n", "\r\n"},
    {&protocol_memcached, WORK_PUT, "set key-000000000042 0 0 100\r\nvvv", "vvv\r\n"},
    {&protocol_memcached, WORK_NULL, "mn\r\n", "\r\n"},
    {&protocol_etcd, WORK_GET, "POST /v3/kv/range HTTP/1.1\r\n",
     "\r\n\r\n{\"key\":\"a2V5LTAwMDAwMDAwMDA0Mg==\"}"},
    {&protocol_etcd, WORK_PUT, "POST /v3/kv/put HTTP/1.1\r\n", "dg==\"}"},
};

LOOP_TEST(a_call_to_a_peer_is_in_its_own_words, 0, sizeof(said) / sizeof(said[0])) {
	const struct protocol *protocol = said[_i].protocol;
	struct conn_state *state = begin(protocol);
	char bytes[BUFFER];
	size_t size =
	    say(protocol, state, (struct request){.work = said[_i].work, .key = 42}, bytes);
	size_t ends = strlen(said[_i].ends);

	ck_assert_uint_ge(size, strlen(said[_i].starts));
	ck_assert_mem_eq(bytes, said[_i].starts, strlen(said[_i].starts));
	ck_assert_mem_eq(bytes + size - ends, said[_i].ends, ends);
	protocol->close(state);
}

TEST(a_body_for_etcd_is_as_long_as_it_says) {
	struct conn_state *state = begin(&protocol_etcd);
	char bytes[BUFFER + 1] = {0};
	size_t size = say(&protocol_etcd, state, (struct request){.work = WORK_PUT}, bytes);
	const char *length = strstr(bytes, "Content-Length: ");
	const char *body = strstr(bytes, "\r\n\r\n");

	ck_assert_ptr_nonnull(length);
	ck_assert_ptr_nonnull(body);
	ck_assert_uint_eq(strtoul(length + strlen("Content-Length: "), NULL, 10),
			  size - (size_t)(body + 4 - bytes));
	protocol_etcd.close(state);
}

static const struct {
	const struct protocol *protocol;
	const char *bytes;
	enum outcome outcome;
	size_t size;
} heard[] = {
    {&protocol_redis, "+OK\r\n", OUTCOME_DONE, 5},
    {&protocol_redis, ":17\r\n", OUTCOME_DONE, 5},
    {&protocol_redis, "$3\r\nabc\r\n", OUTCOME_DONE, 9},
    {&protocol_redis, "$0\r\n\r\n", OUTCOME_DONE, 6},
    {&protocol_redis, "$-1\r\n", OUTCOME_MISSING, 5},
    {&protocol_redis, "-ERR no\r\n", OUTCOME_REFUSED, 9},
    {&protocol_memcached, "STORED\r\n", OUTCOME_DONE, 8},
    {&protocol_memcached, "MN\r\n", OUTCOME_DONE, 4},
    {&protocol_memcached, "VALUE k 0 3\r\nabc\r\nEND\r\n", OUTCOME_DONE, 23},
    {&protocol_memcached, "END\r\n", OUTCOME_MISSING, 5},
    {&protocol_memcached, "SERVER_ERROR out of memory\r\n", OUTCOME_REFUSED, 28},
    {&protocol_etcd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", OUTCOME_DONE, 40},
    {&protocol_etcd, "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n{}", OUTCOME_REFUSED, 40},
};

LOOP_TEST(an_answer_of_a_peer_is_read_however_it_is_cut, 0, sizeof(heard) / sizeof(heard[0])) {
	const struct protocol *protocol = heard[_i].protocol;
	struct conn_state *state = begin(protocol);
	struct reply answer = hear(protocol, state, heard[_i].bytes, strlen(heard[_i].bytes));

	ck_assert_int_eq(answer.outcome, heard[_i].outcome);
	ck_assert_uint_eq(answer.size, heard[_i].size);
	protocol->close(state);
}

static const struct {
	const struct protocol *protocol;
	const char *bytes;
} garbage[] = {
    {&protocol_redis, "?\r\n"},
    {&protocol_redis, "$x\r\n"},
    {&protocol_redis, "$-2\r\n"},
    {&protocol_redis, "$9999999999999999999\r\n"},
    {&protocol_memcached, "VALUE k 0 \r\n"},
    {&protocol_memcached, "VALUE k 0 99999999999\r\n"},
    {&protocol_etcd, "SSH-2.0\r\n\r\n"},
    {&protocol_etcd, "HTTP/1.1 200 OK\r\n\r\n"},
};

LOOP_TEST(what_is_no_reply_is_malformed, 0, sizeof(garbage) / sizeof(garbage[0])) {
	const struct protocol *protocol = garbage[_i].protocol;
	struct conn_state *state = begin(protocol);
	struct reply answer;

	ck_assert_int_eq(protocol->decode(state, (const uint8_t *)garbage[_i].bytes,
					  strlen(garbage[_i].bytes), &answer),
			 DECODE_INVALID);
	protocol->close(state);
}

/* --- The echo ------------------------------------------------------------------------------- */

/* Against the generated routines: a record mark, a header, and the arguments or results. */
TEST(the_echo_moves_as_many_bytes_as_kv) {
	kv1_put_args put = {.key = {PROTOCOL_KEY_SIZE, value}, .value = {VALUE, value}};
	kv1_put_res put_res = {.status = KV1_OK};
	kv1_get_args get = {.key = {PROTOCOL_KEY_SIZE, value}};
	kv1_get_res get_res = {.status = KV1_OK, .value = {VALUE, value}};
	const size_t call_head = 4 + 40;
	const size_t answer_head = 4 + 24;
	struct conn_state *state = begin(&protocol_echo);
	char bytes[BUFFER];
	uint32_t sizes[2];

	ck_assert_uint_eq(say(&protocol_echo, state, (struct request){.work = WORK_PUT}, bytes),
			  call_head + xdr_sizeof((xdrproc_t)xdr_kv1_put_args, &put));
	memcpy(sizes, bytes, sizeof(sizes));
	ck_assert_uint_eq(sizes[0], call_head + xdr_sizeof((xdrproc_t)xdr_kv1_put_args, &put));
	ck_assert_uint_eq(sizes[1], answer_head + xdr_sizeof((xdrproc_t)xdr_kv1_put_res, &put_res));
	ck_assert_uint_eq(say(&protocol_echo, state, (struct request){.work = WORK_GET}, bytes),
			  call_head + xdr_sizeof((xdrproc_t)xdr_kv1_get_args, &get));
	memcpy(sizes, bytes, sizeof(sizes));
	ck_assert_uint_eq(sizes[1], answer_head + xdr_sizeof((xdrproc_t)xdr_kv1_get_res, &get_res));
	protocol_echo.close(state);
}

BEFORE_ALL {
	log_open("bench_protocol_test", 0);
}
