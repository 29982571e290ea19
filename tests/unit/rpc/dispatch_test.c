/* SPDX-License-Identifier: BSD-3-Clause */
/* RPC headers and credentials, replies that wait for the journal, replies that must be small. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "rpc/xdr_inplace.h"
#include "test.h"

enum {
	PROGRAM = 4711,
	EPOCH = 7,
	WORDS_MAX = 1024,
	SMALL_REPLY = 256, /* bytes */
	MEMORY_MAX = 32 << 20,
	/* Words of a reply that is accepted: RFC 5531, 9. */
	WORD_REPLY_STAT = 2,
	WORD_REJECT_STAT = 3,
	WORD_AUTH_STAT = 4,
	WORD_ACCEPT_STAT = 5,
	WORD_STATUS = 6,
	WORD_CURRENT = 7,
};

/* The last reply, and how many there were. */
static uint32_t reply_words[1 << 19];
static size_t reply_size;
static uint32_t reply_xid;
static unsigned replies;
static uint64_t recorded;
static uint32_t reply_max;
static bool is_head_only;
static struct service *service;
static struct dispatch *dispatch;

static bool_t take_reply(SVCXPRT *xprt, struct rpc_msg *reply) {
	struct call *call = xprt->xp_p1;
	XDR xdrs;

	reply->rm_xid = reply_xid = call->xid;
	xdr_mem_init(&xdrs, XDR_ENCODE, reply_words, sizeof(reply_words));
	ck_assert(xdr_inplace_replymsg(&xdrs, reply));
	reply_size = XDR_GETPOS(&xdrs);
	replies++;
	dispatch_call_free(dispatch, call);
	return TRUE;
}

static const struct xp_ops ops = {
    .xp_reply = take_reply,
};

static bool reserve(void *journal, const struct operation *operation) {
	(void)journal;
	(void)operation;
	return true;
}

static uint64_t record(void *journal, const struct operation *operation, uint64_t now_ms) {
	(void)journal;
	(void)operation;
	(void)now_ms;
	return ++recorded;
}

static void start(void) {
	static const struct server_identity identity = {.epoch = EPOCH, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = 1 << 20, .memory_max = MEMORY_MAX, .sessions_max = 100, .lease_ms = 1000};
	static const struct journal_sink journal = {.reserve = reserve, .record = record};
	static const struct dispatch_hooks others = {0};

	service = service_new(&identity, &limits, &journal);
	ck_assert_ptr_nonnull(service);
	dispatch = dispatch_new(service, PROGRAM, &others);
	ck_assert_ptr_nonnull(dispatch);
	dispatch_release_durable(dispatch, 0);
	dispatch_set_time(dispatch, 1);
	reply_max = UINT32_MAX;
	is_head_only = false;
}

static void stop(void) {
	dispatch_free(dispatch);
	service_free(service);
}

static uint32_t answer_word(unsigned index) {
	ck_assert_uint_lt(index * sizeof(uint32_t), reply_size);
	return ntohl(reply_words[index]);
}

/* A record that is put together word by word. */
struct message {
	uint32_t words[WORDS_MAX];
	unsigned count;
};

static void add(struct message *message, uint32_t number) {
	message->words[message->count++] = htonl(number);
}

static void add64(struct message *message, uint64_t number) {
	add(message, (uint32_t)(number >> 32));
	add(message, (uint32_t)number);
}

static void add_text(struct message *message, const char *text) {
	size_t size = strlen(text);

	add(message, (uint32_t)size);
	message->words[message->count + size / 4] = 0;
	memcpy(message->words + message->count, text, size);
	message->count += RNDUP(size) / 4;
}

/* The header of a call with this credential, of `size` bytes. */
static struct message header(uint32_t procedure, uint32_t flavor, const void *credential,
			     uint32_t size) {
	struct message message = {.count = 0};

	add(&message, 99);
	add(&message, CALL);
	add(&message, RPC_MSG_VERSION);
	add(&message, PROGRAM);
	add(&message, KV_V1);
	add(&message, procedure);
	add(&message, flavor);
	add(&message, size);
	if (size > 0)
		memcpy(message.words + message.count, credential, size);
	message.count += RNDUP(size) / 4;
	add(&message, AUTH_NONE);
	add(&message, 0);
	return message;
}

static struct message plain(uint32_t procedure) {
	return header(procedure, AUTH_NONE, NULL, 0);
}

/* False: it is no RPC call. */
static bool send_message(struct message *message) {
	struct call *call = dispatch_call(dispatch);

	ck_assert_ptr_nonnull(call);
	call->xp_ops = &ops;
	call->reply_max = reply_max;
	call->is_head_only = is_head_only;
	if (dispatch_record(dispatch, call, (struct kv_bytes){message->words, message->count * 4},
			    NULL))
		return true;
	dispatch_call_free(dispatch, call);
	return false;
}

static void get(const char *key) {
	struct message message = plain(KVPROC_GET);

	add64(&message, EPOCH);
	add_text(&message, key);
	ck_assert(send_message(&message));
}

/* Without a session, if the key is at this version. */
static void put(const char *key, uint64_t expected, const char *value) {
	struct message message = plain(KVPROC_PUT);

	add64(&message, EPOCH);
	add64(&message, 0);
	add(&message, 0);
	add64(&message, 0);
	add64(&message, expected);
	add_text(&message, key);
	add_text(&message, value);
	ck_assert(send_message(&message));
}

static void assert_refused(enum auth_stat why) {
	ck_assert_uint_eq(answer_word(WORD_REPLY_STAT), MSG_DENIED);
	ck_assert_uint_eq(answer_word(WORD_REJECT_STAT), AUTH_ERROR);
	ck_assert_uint_eq(answer_word(WORD_AUTH_STAT), why);
}

static void assert_accepted(void) {
	ck_assert_uint_eq(answer_word(WORD_REPLY_STAT), MSG_ACCEPTED);
	ck_assert_uint_eq(answer_word(WORD_ACCEPT_STAT), SUCCESS);
}

CASE(dispatch, .setup = start, .teardown = stop);

TEST(a_credential_of_another_flavor_than_none_and_sys_is_refused) {
	static const uint32_t flavors[] = {2, 3, 4, 5, 6, 7, 390003, 0x7fffffff, 0xffffffff};
	static const uint32_t bytes[4] = {0};

	for (unsigned i = 0; i < sizeof(flavors) / sizeof(flavors[0]); i++)
		for (uint32_t size = 0; size <= sizeof(bytes); size += 4) {
			struct message message = header(KVPROC_HELLO, flavors[i], bytes, size);

			ck_assert(send_message(&message));
			assert_refused(AUTH_REJECTEDCRED);
			message = header(KVPROC_NULL, flavors[i], bytes, size);
			ck_assert(send_message(&message));
			assert_accepted();
		}
}

/* Words of an authsys_parms, which are right or not. */
struct credential {
	uint32_t size; /* bytes */
	uint32_t words[100];
	bool is_right;
};

static const struct credential credentials[] = {
    {20, {1, 0, 1000, 1000, 0}, true},
    {24, {1, 3, 0x61626300, 1000, 1000, 0}, true},
    {28, {1, 0, 1000, 1000, 2, 5, 6}, true},
    {84, {1, 0, 1000, 1000, 16}, true},
    {88, {1, 0, 1000, 1000, 17}, false}, /* too many groups */
    {276, {1, 255}, true},		 /* the longest name */
    {276, {1, 256}, false},
    {20, {1, 0, 1000, 1000, 1}, false}, /* a group is missing */
    {24, {1, 0, 1000, 1000, 0, 7}, false},
    {16, {1, 0, 1000, 1000}, false},
    {20, {1, 4, 0, 1000, 1000}, false},
    {20, {1, 0xffffffff, 0, 0, 0}, false},
    {20, {1, 0xfffffffd, 0, 0, 0}, false},
    {28, {1, 0, 1, 1, 0xffffffff, 0, 0}, false},
    {28, {1, 0, 1, 1, 0x40000002, 0, 0}, false},
    {8, {1, 0}, false},
    {4, {1}, false},
    {0, {0}, false},
    {3, {0}, false},
};

/* libtirpc's own check prints for some, and waits until that is read. */
TEST(a_credential_of_sys_that_is_cut_short_is_refused_and_prints_nothing) {
	FILE *printed = tmpfile();
	int output = dup(STDOUT_FILENO);
	int errors = dup(STDERR_FILENO);

	ck_assert_ptr_nonnull(printed);
	ck_assert_int_ge(dup2(fileno(printed), STDOUT_FILENO), 0);
	ck_assert_int_ge(dup2(fileno(printed), STDERR_FILENO), 0);
	for (unsigned i = 0; i < sizeof(credentials) / sizeof(credentials[0]); i++) {
		uint32_t bytes[100];

		for (unsigned j = 0; j < 100; j++)
			bytes[j] = htonl(credentials[i].words[j]);
		struct message message = header(KVPROC_HELLO, AUTH_SYS, bytes, credentials[i].size);
		ck_assert(send_message(&message));
		if (credentials[i].is_right)
			assert_accepted();
		else
			assert_refused(AUTH_BADCRED);
	}
	(void)fflush(stdout);
	ck_assert_int_eq(lseek(fileno(printed), 0, SEEK_END), 0);
	(void)dup2(output, STDOUT_FILENO);
	(void)dup2(errors, STDERR_FILENO);
	(void)close(output);
	(void)close(errors);
	(void)fclose(printed);
}

TEST(a_header_that_ends_too_early_is_no_call) {
	struct message message = header(KVPROC_HELLO, AUTH_SYS, credentials[1].words, 24);

	for (unsigned whole = message.count; message.count > 0;) {
		message.count--;
		ck_assert(!send_message(&message));
		ck_assert_uint_lt(message.count, whole);
	}
	ck_assert_uint_eq(replies, 0);
}

TEST(a_credential_or_verifier_above_400_bytes_is_refused) {
	static const uint32_t bytes[101] = {0};
	struct message message = header(KVPROC_HELLO, AUTH_NONE, bytes, 404);

	ck_assert(send_message(&message));
	assert_refused(AUTH_BADCRED);
	message = header(KVPROC_HELLO, AUTH_NONE, NULL, 0);
	message.words[message.count - 1] = htonl(404);
	message.count += 101;
	ck_assert(send_message(&message));
	assert_refused(AUTH_BADVERF);
	message = header(KVPROC_HELLO, AUTH_NONE, bytes, 400);
	ck_assert(send_message(&message));
	assert_accepted();
}

TEST(a_get_waits_for_the_last_write_of_its_key_and_for_no_other) {
	put("mine", 0, "a");
	dispatch_release_durable(dispatch, recorded);
	ck_assert_uint_eq(replies, 1);
	put("another", 0, "b");
	ck_assert_uint_eq(replies, 1);
	get("mine");
	ck_assert_uint_eq(replies, 2);
	get("another");
	ck_assert_uint_eq(replies, 2);
	dispatch_release_durable(dispatch, recorded);
	ck_assert_uint_eq(replies, 4);
}

TEST(above_a_limit_of_calls_that_wait_for_the_journal_no_more_should_be_read) {
	unsigned calls = 0;

	put("k", 0, "v");
	for (calls = 1; !dispatch_is_backlogged(dispatch); calls++) {
		ck_assert_uint_lt(calls, MEMORY_MAX / WAITING_SHARE / 64);
		get("k");
	}
	ck_assert_uint_eq(replies, 0);
	ck_assert_uint_lt((calls - 1) * sizeof(struct call), MEMORY_MAX / WAITING_SHARE);
	ck_assert_uint_ge(calls * sizeof(struct call), MEMORY_MAX / WAITING_SHARE);
	dispatch_release_durable(dispatch, recorded);
	ck_assert(!dispatch_is_backlogged(dispatch));
	ck_assert_uint_eq(replies, calls);
}

static void list(void) {
	struct message message = plain(KVPROC_LIST);

	add64(&message, EPOCH);
	add_text(&message, "");
	add_text(&message, "");
	add(&message, 0);
	ck_assert(send_message(&message));
}

TEST(pages_that_wait_for_the_journal_hold_no_more_than_the_limit) {
	enum { KEY_SIZE = 900 };
	struct mem_account *memory = service_memory(service);
	char key[KEY_SIZE + 1];

	memset(key, 'k', KEY_SIZE);
	key[KEY_SIZE] = '\0';
	for (int i = 0; i < 1000; i++) {
		(void)snprintf(key, 5, "%04d", i);
		key[4] = '/';
		put(key, 0, "");
	}
	dispatch_release_durable(dispatch, recorded);
	unsigned before = replies;
	put("last", 0, "");
	size_t used = memory->used;
	unsigned pages = 0;
	for (; !dispatch_is_backlogged(dispatch); pages++)
		list();
	ck_assert_uint_lt(memory->used - used, MEMORY_MAX / WAITING_SHARE + (1 << 20));
	ck_assert_uint_eq(replies, before);
	dispatch_release_durable(dispatch, recorded);
	ck_assert_uint_eq(replies - before, pages + 1);
	list();
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV_OK);
}

static void changes(uint64_t since) {
	struct message message = plain(KVPROC_CHANGES);

	add64(&message, EPOCH);
	add_text(&message, "k");
	add64(&message, since);
	add(&message, 0);
	add(&message, 0);
	ck_assert(send_message(&message));
}

TEST(changes_wait_for_the_journal_and_tell_key_version_and_end) {
	enum {
		POSITION = WORD_STATUS + 1,
		MORE = POSITION + 2,
		KEYS,
		KEY_SIZE,
		KEY,
		VERSION,
		GONE = VERSION + 2
	};

	changes(0);
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_OK);
	put("key1", 0, "a");
	put("other", 0, "b");
	changes(0);
	ck_assert_uint_eq(replies, 1);
	dispatch_release_durable(dispatch, recorded);
	ck_assert_uint_eq(replies, 4);
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_OK);
	ck_assert_uint_eq(answer_word(POSITION + 1), recorded);
	ck_assert_uint_eq(answer_word(MORE), 0);
	ck_assert_uint_eq(answer_word(KEYS), 1);
	ck_assert_uint_eq(answer_word(KEY_SIZE), 4);
	ck_assert_mem_eq(&reply_words[KEY], "key1", 4);
	ck_assert_uint_eq(answer_word(VERSION + 1), 1);
	ck_assert_uint_eq(answer_word(GONE), 0);
	changes(UINT64_MAX);
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_COMPACTED);
}

TEST(the_reply_of_each_procedure_fits_where_replies_must_be_small) {
	enum { SIZE = 1000 };
	char value[SIZE + 1];

	memset(value, 'v', SIZE);
	value[SIZE] = 0;
	put("large", 0, value);
	put("small", 0, "v");
	dispatch_release_durable(dispatch, recorded);
	reply_max = SMALL_REPLY - WIRE_REPLY_OVERHEAD;
	get("large");
	ck_assert_uint_le(reply_size, SMALL_REPLY);
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_TOOBIG);
	get("small");
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_OK);
	for (uint32_t procedure = KVPROC_NULL; procedure <= KVPROC_CHANGES + 1; procedure++) {
		struct message message = plain(procedure);

		replies = 0;
		for (unsigned words = 0; words < 40; words++) {
			ck_assert(send_message(&message));
			ck_assert_uint_le(reply_size, SMALL_REPLY);
			add(&message, 0);
		}
		dispatch_release_durable(dispatch, recorded);
		ck_assert_uint_eq(replies, 40);
	}
	struct message status = plain(KVPROC_STATUS);
	ck_assert(send_message(&status));
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_TOOBIG);
	reply_max = UINT32_MAX;
	ck_assert(send_message(&status));
	ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_OK);
	ck_assert_uint_gt(reply_size, SMALL_REPLY);
}

TEST(of_a_record_that_found_no_memory_a_write_is_refused_and_all_else_is_an_error) {
	for (uint32_t procedure = KVPROC_HELLO; procedure <= KVPROC_SNAPSHOT; procedure++) {
		bool is_write = procedure == KVPROC_PUT || procedure == KVPROC_APPEND;
		struct message message = plain(procedure);

		if (procedure > KVPROC_STATUS && procedure < KVPROC_SNAPSHOT)
			continue;
		is_head_only = true;
		add64(&message, EPOCH);
		add64(&message, 0);
		ck_assert(send_message(&message));
		ck_assert_uint_eq(answer_word(WORD_ACCEPT_STAT), SYSTEM_ERR);
		add(&message, 0);
		add64(&message, 0);
		ck_assert(send_message(&message));
		ck_assert_uint_eq(answer_word(WORD_ACCEPT_STAT), is_write ? SUCCESS : SYSTEM_ERR);
		if (is_write)
			ck_assert_uint_eq(answer_word(WORD_STATUS), KV1_FULL);
	}
}
