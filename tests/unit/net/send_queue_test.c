/* SPDX-License-Identifier: BSD-3-Clause */
/* What the server writes is what libtirpc would: words, replies, and records on their way out. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "net/send_queue.h"
#include "record_marking.h"
#include "rpc/xdr_inplace.h"
#include "test.h"

enum {
	ROOM = 256 * 1024,
	VALUES = 40 * 1024, /* the largest value here */
	XID = 0x01020304,
};

static struct mem_account memory;
static char *ours, *theirs; /* ROOM bytes each */
static int ends[2];	    /* of a stream that takes little at once */

static void set_up(void) {
	int size = 4096;

	memory = (struct mem_account){.limit = SIZE_MAX};
	ours = calloc(1, ROOM);
	theirs = calloc(1, ROOM);
	ck_assert(ours != NULL && theirs != NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	ck_assert_int_eq(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
}

static void tear_down(void) {
	ck_assert_uint_eq(memory.used, 0);
	free(ours);
	free(theirs);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

#define XDR_OF(routine) ((xdrproc_t)(void (*)(void))(routine))

static struct rpc_msg accepted(enum accept_stat status) {
	struct rpc_msg reply = {.rm_xid = XID, .rm_direction = REPLY};

	reply.rm_reply.rp_stat = MSG_ACCEPTED;
	reply.acpted_rply.ar_stat = status;
	reply.acpted_rply.ar_results.proc = XDR_OF(xdr_void);
	return reply;
}

/* --- Words and replies, in memory ---------------------------------------------------------- */

static void check_reply(struct rpc_msg *reply) {
	XDR our, their;

	xdr_mem_init(&our, XDR_ENCODE, ours, ROOM);
	xdrmem_create(&their, theirs, ROOM, XDR_ENCODE);
	ck_assert(xdr_inplace_replymsg(&our, reply) && xdr_replymsg(&their, reply));
	ck_assert_uint_eq(XDR_GETPOS(&our), XDR_GETPOS(&their));
	ck_assert_mem_eq(ours, theirs, XDR_GETPOS(&our));
}

CASE(all, .setup = set_up, .teardown = tear_down);

TEST(every_kind_of_reply_is_written_as_libtirpc_does) {
	static const enum accept_stat statuses[] = {SUCCESS,	  PROG_UNAVAIL, PROG_MISMATCH,
						    PROC_UNAVAIL, GARBAGE_ARGS, SYSTEM_ERR};
	char verifier[] = "verifier";
	struct rpc_msg reply;

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		reply = accepted(statuses[i]);
		if (statuses[i] == PROG_MISMATCH)
			reply.acpted_rply.ar_vers.low = reply.acpted_rply.ar_vers.high = 7;
		check_reply(&reply);
		reply.acpted_rply.ar_verf = (struct opaque_auth){
		    .oa_flavor = AUTH_SYS, .oa_base = verifier, .oa_length = 8};
		check_reply(&reply);
	}
	reply = (struct rpc_msg){.rm_xid = XID, .rm_direction = REPLY};
	reply.rm_reply.rp_stat = MSG_DENIED;
	reply.rjcted_rply.rj_stat = RPC_MISMATCH;
	reply.rjcted_rply.rj_vers.low = reply.rjcted_rply.rj_vers.high = 2;
	check_reply(&reply);
	reply.rjcted_rply.rj_stat = AUTH_ERROR;
	reply.rjcted_rply.rj_why = AUTH_BADCRED;
	check_reply(&reply);
}

static kv1_append_args arguments_of(char *key, u_int key_size, char *value, u_int value_size) {
	return (kv1_append_args){
	    .writer = {.epoch = UINT64_C(0x0102030405060708),
		       .client_id = UINT64_MAX,
		       .slot = UINT32_MAX,
		       .seq = UINT64_C(0x8000000000000001)},
	    .expected = 1,
	    .key = {.kv1_key_len = key_size, .kv1_key_val = key},
	    .value = {.kv1_value_len = value_size, .kv1_value_val = value},
	    .want_old = 1,
	};
}

/* As kv.x says it, by libtirpc's routines. Answers how many bytes it is. */
static u_int put_by_hand(char *bytes, kv1_append_args *from) {
	kv1_writer *writer = &from->writer;
	XDR xdrs;

	xdrmem_create(&xdrs, bytes, ROOM, XDR_ENCODE);
	ck_assert(
	    xdr_uint64_t(&xdrs, &writer->epoch) && xdr_uint64_t(&xdrs, &writer->client_id) &&
	    xdr_u_int(&xdrs, &writer->slot) && xdr_uint64_t(&xdrs, &writer->seq) &&
	    xdr_uint64_t(&xdrs, &from->expected) &&
	    xdr_bytes(&xdrs, &from->key.kv1_key_val, &from->key.kv1_key_len, UINT32_MAX) &&
	    xdr_bytes(&xdrs, &from->value.kv1_value_val, &from->value.kv1_value_len, UINT32_MAX) &&
	    xdr_bool(&xdrs, &from->want_old));
	return XDR_GETPOS(&xdrs);
}

TEST(arguments_are_read_and_written_as_libtirpc_does) {
	char key[] = "a key", value[] = "and value";

	for (u_int key_size = 0; key_size <= 5; key_size++)
		for (u_int value_size = 0; value_size <= 9; value_size++) {
			kv1_append_args from = arguments_of(key, key_size, value, value_size);
			kv1_append_args to = {0};
			u_int size = put_by_hand(theirs, &from);
			XDR xdrs;

			xdr_mem_init(&xdrs, XDR_ENCODE, ours, ROOM);
			ck_assert(xdr_kv1_append_args(&xdrs, &from));
			ck_assert_uint_eq(XDR_GETPOS(&xdrs), size);
			ck_assert_mem_eq(ours, theirs, size);

			xdr_mem_init(&xdrs, XDR_DECODE, theirs, size);
			ck_assert(xdr_kv1_append_args(&xdrs, &to));
			ck_assert_uint_eq(XDR_GETPOS(&xdrs), size);
			/* (Between the members may stand anything.) */
			ck_assert(to.writer.epoch == from.writer.epoch &&
				  to.writer.client_id == from.writer.client_id &&
				  to.writer.slot == from.writer.slot &&
				  to.writer.seq == from.writer.seq);
			ck_assert(to.expected == from.expected && to.want_old == from.want_old);
			ck_assert_uint_eq(to.key.kv1_key_len, key_size);
			ck_assert_uint_eq(to.value.kv1_value_len, value_size);
			/* Where they lie, not copied. */
			ck_assert(to.value.kv1_value_val >= theirs &&
				  to.value.kv1_value_val + value_size <= theirs + size);
			ck_assert(memcmp(to.key.kv1_key_val, key, key_size) == 0 &&
				  memcmp(to.value.kv1_value_val, value, value_size) == 0);
		}
}

TEST(a_message_that_is_cut_anywhere_is_neither_read_nor_written) {
	char key[] = "key", value[] = "value";
	kv1_append_args from = arguments_of(key, 3, value, 5);
	u_int size = put_by_hand(theirs, &from);

	for (u_int cut = 0; cut < size; cut++) {
		kv1_append_args to = {0};
		/* Exactly as large, so that a sanitizer sees an access beyond it. */
		char *bytes = malloc(cut + 1);
		XDR xdrs;

		ck_assert_ptr_nonnull(bytes);
		memcpy(bytes, theirs, cut);
		xdr_mem_init(&xdrs, XDR_DECODE, bytes, cut);
		ck_assert(!xdr_kv1_append_args(&xdrs, &to));
		xdr_mem_init(&xdrs, XDR_ENCODE, bytes, cut);
		ck_assert(!xdr_kv1_append_args(&xdrs, &from));
		free(bytes);
	}
}

TEST(a_length_that_claims_more_than_there_is_is_refused) {
	static const uint32_t lengths[] = {9, 0x7fffffff, 0xfffffffc, 0xffffffff};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint32_t words[3] = {htonl(lengths[i]), 0, 0};
		char *bytes = NULL;
		u_int size = 0;
		XDR xdrs;

		xdr_mem_init(&xdrs, XDR_DECODE, words, sizeof(words));
		ck_assert(!xdr_inplace_bytes(&xdrs, &bytes, &size, KV1_VALUE_BOUND));
		ck_assert_ptr_null(bytes);
	}
}

TEST(a_position_can_be_asked_for_and_set) {
	uint64_t number = 5;
	XDR xdrs;

	xdr_mem_init(&xdrs, XDR_ENCODE, ours, 12);
	ck_assert(wire_u64(&xdrs, &number));
	ck_assert_uint_eq(XDR_GETPOS(&xdrs), 8);
	ck_assert(!wire_u64(&xdrs, &number) && !XDR_SETPOS(&xdrs, 13));
	ck_assert(XDR_SETPOS(&xdrs, 4) && wire_u64(&xdrs, &number));
	ck_assert_uint_eq(XDR_GETPOS(&xdrs), 12);
}

/* --- Records, on their way out ------------------------------------------------------------- */

/* A reply with this value, by libtirpc, behind what is in `theirs`. Returns the new size. */
static size_t expect(size_t before, struct rpc_msg *reply) {
	XDR xdrs;

	xdr_mem_init(&xdrs, XDR_ENCODE, theirs + before + RECORD_MARK_SIZE,
		     ROOM - before - RECORD_MARK_SIZE);
	ck_assert(xdr_replymsg(&xdrs, reply));
	record_mark((uint8_t *)theirs + before, XDR_GETPOS(&xdrs));
	return before + RECORD_MARK_SIZE + XDR_GETPOS(&xdrs);
}

/* Answers how many bytes the peer got. */
static size_t send_all(struct send_queue *send_queue) {
	size_t size = 0;
	bool is_sent = false;

	while (!is_sent) {
		ssize_t got;

		switch (send_queue_flush(send_queue, ends[0], &memory)) {
		case SEND_QUEUE_EMPTY:
			is_sent = true;
			break;
		case SEND_QUEUE_BLOCKED:
			break;
		case SEND_QUEUE_ERROR:
			ck_abort_msg("the stream broke");
		}
		while ((got = recv(ends[1], ours + size, ROOM - size, 0)) > 0)
			size += (size_t)got;
	}
	return size;
}

/* `count` replies with values of this size: what is sent, however much the kernel takes at once. */
static void check_records(uint32_t value_size, unsigned count) {
	struct send_queue send_queue = {0};
	struct buffer *buffer = buffer_make(&memory, sizeof(*buffer), value_size);
	size_t expected = 0;

	ck_assert_ptr_nonnull(buffer);
	struct view value = view_all(buffer);
	void *bytes = buffer_bytes(buffer);
	for (uint32_t i = 0; i < value_size; i++)
		((char *)bytes)[i] = (char)(i * 7 + i / 256);
	for (unsigned i = 0; i < count; i++) {
		struct rpc_msg reply = accepted(SUCCESS);
		kv1_append_res result = {.current = i, .old_version = UINT64_MAX - i};

		result.old.kv1_value_len = value_size;
		result.old.kv1_value_val = bytes;
		reply.acpted_rply.ar_results.where = (caddr_t)&result;
		reply.acpted_rply.ar_results.proc = XDR_OF(xdr_kv1_append_res);
		expected = expect(expected, &reply);
		ck_assert(send_queue_reply(&send_queue, &reply, value));
		ck_assert_uint_eq(send_queue.size, expected);
	}
	view_unref(&memory, &value);
	ck_assert_uint_eq(send_all(&send_queue), expected);
	ck_assert_mem_eq(ours, theirs, expected);
	ck_assert(send_queue.size == 0 && send_queue.viewed == 0 && send_queue.first == NULL);
}

TEST(small_replies_are_the_same_bytes_wherever_a_chunk_ends) {
	for (uint32_t size = 0; size < 1100; size++)
		check_records(size, 24);
}

TEST(large_values_are_the_same_bytes_referenced_or_copied) {
	for (uint32_t size = 8 * 1024 - 9; size < 8 * 1024 + 9; size++)
		check_records(size, 5);
	for (uint32_t size = VALUES - 9; size < VALUES; size++)
		check_records(size, 5);
}

TEST(bytes_that_were_not_sent_can_be_discarded) {
	struct send_queue send_queue = {0};
	struct rpc_msg reply = accepted(SUCCESS);
	kv1_get_res result = {0};
	struct buffer *buffer = buffer_make(&memory, sizeof(*buffer), VALUES);

	ck_assert_ptr_nonnull(buffer);
	struct view value = view_all(buffer);
	void *bytes = buffer_bytes(buffer);
	memset(bytes, 'v', VALUES);
	result.value.kv1_value_len = VALUES;
	result.value.kv1_value_val = bytes;
	reply.acpted_rply.ar_results.where = (caddr_t)&result;
	reply.acpted_rply.ar_results.proc = XDR_OF(xdr_kv1_get_res);
	ck_assert(send_queue_reply(&send_queue, &reply, value) &&
		  send_queue_reply(&send_queue, &reply, value));
	ck_assert_uint_eq(send_queue.viewed, 2 * VALUES);
	view_unref(&memory, &value);
	ck_assert_uint_gt(memory.used, VALUES);
	send_queue_clear(&send_queue, &memory);
	ck_assert(send_queue.size == 0 && send_queue.viewed == 0 && send_queue.first == NULL);
}
