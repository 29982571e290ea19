/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ACCESS_FIXTURE_H
#define ACCESS_FIXTURE_H

/*
 * access_fixture.h - calls of several callers to a dispatch with access rules, word by word, and
 * their replies.
 */
#include <stdio.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "acl/acl.h"
#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "rpc/xdr_inplace.h"
#include "test.h"

enum {
	PROGRAM = 4711,
	EPOCH = 7,
	WORDS_MAX = 4096,
	CALLS_MAX = 4000,
	WAIT_MS = 10000,
	WORD_ACCEPT_STAT = 5,
	WORD_STATUS = 6, /* of a reply that is accepted: RFC 5531, 9 */
};

#define ID "0123456789abcdef0123456789abcdef"

/* Replies by xid. */
static struct {
	bool is_there;
	uint32_t words[WORDS_MAX];
	size_t size;
} got[CALLS_MAX];
static uint32_t next_xid;
static struct service *service;
static struct dispatch *dispatch;
static struct acl *acl;

static const struct caller www = {.is_known = true, .uid = 33, .name = "uid:33"};
static const struct caller bob = {.is_known = true, .uid = 1000, .name = "uid:1000"};
static const struct caller root = {.is_known = true, .uid = 0, .name = "uid:0"};
static const struct caller any = {0};

static bool_t take_reply(SVCXPRT *xprt, struct rpc_msg *reply) {
	struct call *call = xprt->xp_p1;
	XDR xdrs;

	reply->rm_xid = call->xid;
	ck_assert(!got[call->xid].is_there);
	got[call->xid].is_there = true;
	xdr_mem_init(&xdrs, XDR_ENCODE, got[call->xid].words, sizeof(got[0].words));
	ck_assert(xdr_inplace_replymsg(&xdrs, reply));
	got[call->xid].size = XDR_GETPOS(&xdrs);
	dispatch_call_free(dispatch, call);
	return TRUE;
}

static void park(struct call *call) {
	(void)call;
}

static void unpark(struct call *call, bool owes) {
	(void)call;
	(void)owes;
}

static bool is_connected(const struct call *call) {
	(void)call;
	return true;
}

static const struct xp_ops ops = {.xp_reply = take_reply};
static const struct park_ops park_ops = {
    .park = park, .unpark = unpark, .is_connected = is_connected};

static bool no_name(const char *name, uint32_t *id) {
	(void)name;
	(void)id;
	return false;
}

/* From now on these rules hold. */
static void set_rules(const char *text) {
	static const struct who_names names = {no_name, no_name};
	char error[ACL_ERROR_MAX];
	struct acl *before = acl;

	acl = acl_parse("rules", (struct kv_bytes){text, strlen(text)}, &names, error);
	ck_assert_msg(acl != NULL, "%s", error);
	dispatch_set_acl(dispatch, acl);
	acl_free(before);
}

static void start_service(void) {
	static const struct server_identity identity = {.epoch = EPOCH, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = 1 << 20, .memory_max = 32 << 20, .sessions_max = 100, .lease_ms = 1000};
	static const struct dispatch_hooks others = {0};

	service = service_new(&identity, &limits, NULL);
	dispatch = dispatch_new(service, PROGRAM, &others);
	ck_assert(service != NULL && dispatch != NULL);
	dispatch_set_time(dispatch, 1);
}

static void start(void) {
	start_service();
	set_rules("* uid:0(admin)\n"
		  "app/ uid:33(rw) uid:1000(ro)\n"
		  "app/secret/ uid:33(rw)\n"
		  "locks/ uid:1000(lock)\n"
		  "log/ uid:1000(add)\n"
		  "public/ any(ro)\n");
}

static void stop(void) {
	dispatch_free(dispatch);
	service_free(service);
	acl_free(acl);
}

static bool has_reply(uint32_t xid) {
	return got[xid].is_there;
}

/* --- Calls --------------------------------------------------------------------------------- */

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

static struct message begin(uint32_t procedure) {
	struct message message = {.count = 0};

	add(&message, next_xid);
	add(&message, CALL);
	add(&message, RPC_MSG_VERSION);
	add(&message, PROGRAM);
	add(&message, KV_V1);
	add(&message, procedure);
	add64(&message, 0);
	add64(&message, 0);
	return message;
}

/* Returns its xid. */
static uint32_t run(const struct caller *caller, struct message *message) {
	struct call *call = dispatch_call(dispatch);

	ck_assert_ptr_nonnull(call);
	call->xp_ops = &ops;
	call->reply_max = UINT32_MAX;
	call->caller = caller;
	call->park_ops = &park_ops;
	/* Each comes over a connection of its own. */
	call->stream = (struct stream *)(void *)&got[next_xid];
	ck_assert(dispatch_record(dispatch, call,
				  (struct kv_bytes){message->words, message->count * 4}, NULL));
	return next_xid++;
}

static uint32_t word_of(uint32_t xid, unsigned index) {
	ck_assert_msg(got[xid].is_there, "call %u has no reply", xid);
	ck_assert_uint_lt(index * sizeof(uint32_t), got[xid].size);
	return ntohl(got[xid].words[index]);
}

static enum kv_status status_of(uint32_t xid) {
	ck_assert_uint_eq(word_of(xid, WORD_ACCEPT_STAT), SUCCESS);
	return (enum kv_status)word_of(xid, WORD_STATUS);
}

static uint64_t number_of(uint32_t xid, unsigned index) {
	return (uint64_t)word_of(xid, index) << 32 | word_of(xid, index + 1);
}

static uint32_t get_at(const struct caller *caller, uint64_t epoch, const char *key) {
	struct message message = begin(KVPROC_GET);

	add64(&message, epoch);
	add_text(&message, key);
	return run(caller, &message);
}

static enum kv_status get(const struct caller *caller, const char *key) {
	return status_of(get_at(caller, EPOCH, key));
}

struct session {
	const struct caller *caller;
	uint64_t client_id;
	uint64_t seq;
};

static void add_writer(struct message *message, const struct session *session) {
	add64(message, EPOCH);
	add64(message, session->client_id);
	add(message, 0);
	add64(message, session->seq);
}

static uint32_t open_as(const struct caller *caller) {
	struct message message = begin(KVPROC_OPEN);

	add64(&message, EPOCH);
	add64(&message, next_xid);
	add64(&message, 1);
	add(&message, 4);
	return run(caller, &message);
}

static struct session session_of(const struct caller *caller) {
	uint32_t xid = open_as(caller);

	ck_assert_int_eq(status_of(xid), KV_OK);
	return (struct session){.caller = caller, .client_id = number_of(xid, WORD_STATUS + 1)};
}

/* The call after the last, or with `seq` as it is a copy of it. */
static uint32_t put(const struct session *session, uint64_t expected, const char *key,
		    const char *value) {
	struct message message = begin(KVPROC_PUT);

	add_writer(&message, session);
	add64(&message, expected);
	add_text(&message, key);
	add_text(&message, value);
	return run(session->caller, &message);
}

static enum kv_status put_next(struct session *session, uint64_t expected, const char *key,
			       const char *value) {
	session->seq++;
	return status_of(put(session, expected, key, value));
}

static enum kv_status append_next(struct session *session, const char *key, bool want_old) {
	struct message message = begin(KVPROC_APPEND);

	session->seq++;
	add_writer(&message, session);
	add64(&message, KV1_ANY);
	add_text(&message, key);
	add_text(&message, "x");
	add(&message, want_old);
	return status_of(run(session->caller, &message));
}

static enum kv_status delete_next(struct session *session, const char *key) {
	struct message message = begin(KVPROC_DELETE);

	session->seq++;
	add_writer(&message, session);
	add64(&message, KV1_ANY);
	add_text(&message, key);
	return status_of(run(session->caller, &message));
}

/* One condition, and up to two changes of the same kind. */
static uint32_t txn_next(struct session *session, uint32_t wait_ms, kv1_test test,
			 const char *condition, const char *held, kv1_change_kind kind,
			 const char *key, const char *value, const char *note) {
	struct message message = begin(KVPROC_TXN);

	session->seq++;
	add_writer(&message, session);
	add(&message, wait_ms);
	add(&message, 1);
	add(&message, test);
	add_text(&message, condition);
	add64(&message, 0);
	add_text(&message, held);
	add(&message, note != NULL ? 2 : 1);
	add(&message, kind);
	add_text(&message, key);
	add_text(&message, value);
	add64(&message, kind == KV1_CHANGE_TOUCH ? 1000 : 0);
	if (note != NULL) {
		add(&message, KV1_CHANGE_PUT);
		add_text(&message, "locks/a/__note");
		add_text(&message, note);
		add64(&message, 0);
	}
	return run(session->caller, &message);
}

static uint32_t wait_for(const struct caller *caller, const char *key, uint64_t seen) {
	struct message message = begin(KVPROC_WAIT);

	add64(&message, EPOCH);
	add_text(&message, key);
	add64(&message, seen);
	add(&message, WAIT_MS);
	return run(caller, &message);
}

static uint32_t list_at(const struct caller *caller, const char *prefix, const char *after,
			uint32_t limit) {
	struct message message = begin(KVPROC_LIST);

	add64(&message, EPOCH);
	add_text(&message, prefix);
	add_text(&message, after);
	add(&message, limit);
	return run(caller, &message);
}

static uint32_t await_changes(const struct caller *caller, const char *prefix, uint64_t since,
			      uint32_t wait_ms) {
	struct message message = begin(KVPROC_CHANGES);

	add64(&message, EPOCH);
	add_text(&message, prefix);
	add64(&message, since);
	add(&message, wait_ms);
	add(&message, 0);
	return run(caller, &message);
}

static uint32_t changes_since(const struct caller *caller, const char *prefix, uint64_t since) {
	return await_changes(caller, prefix, since, 0);
}

/* The keys of a LIST ("a b c" and + if there are more), or of CHANGES; `rest`: words behind each.
 */
static const char *keys_of(uint32_t xid, unsigned rest) {
	static char text[1000];
	unsigned at = WORD_STATUS + 4;
	char *to = text;

	ck_assert_int_eq(status_of(xid), KV_OK);
	*to = '\0';
	for (uint32_t left = word_of(xid, at++); left > 0; left--) {
		uint32_t size = word_of(xid, at++);

		if (to != text)
			*to++ = ' ';
		memcpy(to, &got[xid].words[at], size);
		to += size;
		at += RNDUP(size) / 4 + rest;
	}
	(void)strcpy(to, word_of(xid, WORD_STATUS + 3) != 0 ? "+" : "");
	return text;
}

static const char *list(const struct caller *caller, const char *prefix, const char *after,
			uint32_t limit) {
	return keys_of(list_at(caller, prefix, after, limit), 6);
}

static enum kv_status plain(const struct caller *caller, uint32_t procedure) {
	struct message message = begin(procedure);

	for (int i = 0; i < 3; i++)
		add64(&message, i == 0 ? EPOCH : 0);
	return status_of(run(caller, &message));
}

static void fill(const char *const *keys) {
	struct session session = session_of(&root);

	for (; *keys != NULL; keys++)
		ck_assert_int_eq(put_next(&session, KV1_ANY, *keys, "v"), KV_OK);
}

#endif
