/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/access.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "rpc/call.h"
#include "rpc/procedures.h"

enum {
	LOCK_ID_SIZE = 32, /* hexadecimal digits of a lock's holder: kv_lock(3) */
	NOTE_MAX = 526,	   /* bytes of a note behind the id and a space: a time, and its text */
	SHOWN_MAX = 64,	   /* bytes of a key in a line of the log */
	ACL_RW = ACL_READ | ACL_LOCK | ACL_APPEND | ACL_WRITE,
};

static const char lock_free[] = "__unlocked";
static const char note_suffix[] = "/__note";
static const char share_infix[] = "/__share/";

static const struct caller *caller_of(const struct call *call) {
	static const struct caller any;

	return call->caller == NULL ? &any : call->caller;
}

static unsigned rights_to(const struct access *access, const struct call *call,
			  struct kv_bytes key) {
	return acl_check(access->acl, caller_of(call), key);
}

/* --- What locks write ---------------------------------------------------------------------- */

static bool is_id(struct kv_bytes text) {
	const char *digits = text.data;

	if (text.size != LOCK_ID_SIZE)
		return false;
	for (size_t i = 0; i < text.size; i++)
		if (digits[i] == '\0' || strchr("0123456789abcdef", digits[i]) == NULL)
			return false;
	return true;
}

static bool is_lock_value(struct kv_bytes value) {
	return is_id(value) || (value.size == sizeof(lock_free) - 1 &&
				memcmp(value.data, lock_free, value.size) == 0);
}

static bool is_note_value(struct kv_bytes value) {
	return value.size > LOCK_ID_SIZE && value.size <= LOCK_ID_SIZE + 1 + NOTE_MAX &&
	       is_id((struct kv_bytes){value.data, LOCK_ID_SIZE}) &&
	       ((const char *)value.data)[LOCK_ID_SIZE] == ' ';
}

static bool is_key(struct kv_bytes a, struct kv_bytes b) {
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* A lock is taken, renewed and released only under a condition on what it holds. */
static bool is_guarded(const struct txn *txn, struct kv_bytes key) {
	for (uint32_t i = 0; i < txn->condition_count; i++) {
		const struct condition *condition = &txn->conditions[i];

		if (condition->test != CONDITION_EXISTS && is_key(condition->key, key) &&
		    (condition->test == CONDITION_AT || is_lock_value(condition->value)))
			return true;
	}
	return false;
}

/* Whether it is the key of a lock's share: then `gate` is the lock's name, `id` its holder's. */
static bool is_share(struct kv_bytes key, struct kv_bytes *gate, struct kv_bytes *id) {
	const size_t infix = sizeof(share_infix) - 1;
	const char *bytes = key.data;

	if (key.size <= infix + LOCK_ID_SIZE)
		return false;
	*gate = (struct kv_bytes){bytes, key.size - infix - LOCK_ID_SIZE};
	*id = (struct kv_bytes){bytes + key.size - LOCK_ID_SIZE, LOCK_ID_SIZE};
	return memcmp(bytes + gate->size, share_infix, infix) == 0 && is_id(*id);
}

/* A share is made while its lock is free, and deleted under a condition on what it holds. */
static bool is_share_change(const struct txn *txn, const struct change *change) {
	struct kv_bytes gate;
	struct kv_bytes id;

	if (!is_share(change->key, &gate, &id))
		return false;
	if (change->kind == CHANGE_DELETE)
		return is_guarded(txn, change->key);
	return change->kind == CHANGE_PUT && is_key(change->value, id) && is_guarded(txn, gate);
}

static bool is_lock_change(const struct txn *txn, const struct change *change) {
	if (change->kind == CHANGE_TOUCH ||
	    (change->kind == CHANGE_PUT && is_lock_value(change->value)))
		if (is_guarded(txn, change->key))
			return true;
	return is_share_change(txn, change);
}

/* The note of a lock's holder changes with the lock. */
static bool is_note_change(const struct txn *txn, const struct change *change) {
	const size_t suffix = sizeof(note_suffix) - 1;
	struct kv_bytes name = change->key;

	if (name.size <= suffix ||
	    memcmp((const char *)name.data + name.size - suffix, note_suffix, suffix) != 0 ||
	    (change->kind != CHANGE_DELETE &&
	     (change->kind != CHANGE_PUT || !is_note_value(change->value))))
		return false;
	name.size -= suffix;
	for (uint32_t i = 0; i < txn->change_count; i++)
		if (is_key(txn->changes[i].key, name) && is_lock_change(txn, &txn->changes[i]))
			return true;
	return false;
}

/* --- Writes -------------------------------------------------------------------------------- */

/* A right that is enough for the change, and that not every writer needs to have. */
static unsigned enough_for(const struct txn *txn, const struct change *change) {
	if (is_lock_change(txn, change) || is_note_change(txn, change))
		return ACL_LOCK | ACL_WRITE;
	return change->kind == CHANGE_APPEND ? ACL_APPEND | ACL_WRITE : ACL_WRITE;
}

/* The first key of a TXN that it lacks a right to, and any right that would be enough. */
static bool find_in_txn(const struct access *access, const struct call *call, const struct txn *txn,
			struct kv_bytes *key, unsigned *enough) {
	*enough = ACL_READ;
	for (uint32_t i = 0; i < txn->condition_count; i++) {
		*key = txn->conditions[i].key;
		if ((rights_to(access, call, *key) & ACL_READ) == 0)
			return true;
	}
	for (uint32_t i = 0; i < txn->change_count; i++) {
		*key = txn->changes[i].key;
		*enough = enough_for(txn, &txn->changes[i]);
		if ((rights_to(access, call, *key) & *enough) == 0)
			return true;
	}
	return false;
}

static unsigned enough_for_one(const struct operation *operation) {
	struct kv_bytes gate;
	struct kv_bytes id;

	switch (operation->kind) {
	case OPERATION_PUT:
		return operation->expected != VERSION_ANY && is_lock_value(operation->value)
			   ? ACL_LOCK | ACL_WRITE
			   : ACL_WRITE;
	case OPERATION_APPEND:
		return operation->want_old ? ACL_WRITE : ACL_APPEND | ACL_WRITE;
	case OPERATION_DELETE:
		return operation->expected != VERSION_ANY && is_share(operation->key, &gate, &id)
			   ? ACL_LOCK | ACL_WRITE
			   : ACL_WRITE;
	case OPERATION_TXN:
	case OPERATION_OPEN:
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
	case OPERATION_END:
		break;
	}
	return ACL_WRITE;
}

static bool find_denied(const struct access *access, const struct call *call,
			const struct operation *operation, struct kv_bytes *key, unsigned *enough) {
	if (operation->kind == OPERATION_TXN)
		return find_in_txn(access, call, operation->txn, key, enough);
	*key = operation->key;
	*enough = enough_for_one(operation);
	return (rights_to(access, call, *key) & *enough) == 0;
}

enum kv_status access_check_write(const struct access *access, const struct call *call,
				  const struct operation *operation) {
	struct kv_bytes key;
	unsigned enough;

	return find_denied(access, call, operation, &key, &enough) ? KV_DENIED : KV_OK;
}

/* --- Others -------------------------------------------------------------------------------- */

bool access_may_read(const struct access *access, const struct call *call, struct kv_bytes key) {
	return (rights_to(access, call, key) & ACL_READ) != 0;
}

bool access_may_open(const struct access *access, const struct call *call) {
	return (acl_rights_anywhere(access->acl, caller_of(call)) &
		(ACL_LOCK | ACL_APPEND | ACL_WRITE)) != 0;
}

uint32_t access_sessions_max(const struct access *access, const struct call *call) {
	const struct acl_limits usual = {.sessions = access->sessions_each};

	return access_is_open(access) ? usual.sessions
				      : acl_limits_of(access->acl, caller_of(call), usual).sessions;
}

bool access_is_admin(const struct access *access, const struct call *call) {
	return (rights_to(access, call, (struct kv_bytes){0}) & ACL_ADMIN) != 0;
}

unsigned access_rule_count(const struct access *access) {
	return acl_rule_count(access->acl);
}

unsigned access_rule(const struct access *access, const struct call *call, unsigned index,
		     struct kv_bytes *prefix) {
	return acl_rule(access->acl, caller_of(call), index, prefix);
}

static bool next_range(void *context, struct kv_bytes from, struct key_range *range) {
	struct access_filter *filter = context;

	if (!acl_next_range(filter->acl, filter->caller, ACL_READ, from, &filter->range))
		return false;
	*range = (struct key_range){filter->range.from, filter->range.end};
	return true;
}

static bool shows(void *context, struct kv_bytes key) {
	const struct access_filter *filter = context;

	return (acl_check(filter->acl, filter->caller, key) & ACL_READ) != 0;
}

bool access_show(const struct access *access, const struct call *call, struct kv_bytes prefix,
		 struct access_filter *filter, const struct key_filter **shown) {
	struct kv_bytes from;

	*shown = NULL;
	if (access_is_open(access) || access_is_admin(access, call))
		return true;
	*shown = &filter->filter;
	filter->acl = access->acl;
	filter->caller = caller_of(call);
	filter->filter =
	    (struct key_filter){.context = filter, .next_range = next_range, .shows = shows};
	if (prefix.size > KEY_MAX)
		return true; /* it is refused as such */
	if (!acl_next_range(filter->acl, filter->caller, ACL_READ, prefix, &filter->range))
		return false;
	from = filter->range.from;
	return prefix.size == 0 ||
	       (from.size >= prefix.size && memcmp(from.data, prefix.data, prefix.size) == 0);
}

/* --- The log ------------------------------------------------------------------------------- */

static bool may_log(struct access *access, const struct call *call, char more[LOG_LIMIT_TEXT_MAX]) {
	const struct peer_id peer = principal_peer(caller_of(call));
	const uint64_t kind = peer_hash((const unsigned char *)procedure_name(call->procedure),
					strlen(procedure_name(call->procedure)), 0);

	return log_table_allows(&access->lines, peer_hash(peer.bytes, peer.size, kind),
				access->now_ms, more);
}

static void log_denied(struct access *access, const struct call *call, struct kv_bytes key,
		       unsigned enough) {
	char peer[CALLER_TEXT_MAX], needed[ACL_RIGHTS_TEXT_MAX], given[ACL_RIGHTS_TEXT_MAX];
	char more[LOG_LIMIT_TEXT_MAX];
	struct kv_bytes prefix;
	unsigned line = 0;

	access->denied++;
	if (!may_log(access, call, more))
		return;
	/* The weakest right that is enough. */
	if ((enough & ACL_LOCK) != 0)
		enough = ACL_READ | ACL_LOCK;
	else if ((enough & ACL_APPEND) != 0)
		enough = ACL_APPEND;
	else if ((enough & ACL_WRITE) != 0)
		enough = ACL_RW;
	(void)acl_find_rule(access->acl, key, &prefix, &line);
	log_info("denied: %s: %s \"%.*s\": %s is needed, and %s is given (--acl: line %u)%s",
		 principal_describe(caller_of(call), peer), procedure_name(call->procedure),
		 (int)(key.size < SHOWN_MAX ? key.size : SHOWN_MAX), (const char *)key.data,
		 acl_rights_format(enough, needed),
		 acl_rights_format(rights_to(access, call, key), given), line, more);
}

void access_log_read(struct access *access, const struct call *call, struct kv_bytes key) {
	log_denied(access, call, key, ACL_READ);
}

void access_log_write(struct access *access, const struct call *call,
		      const struct operation *operation) {
	struct kv_bytes key;
	unsigned enough;

	if (find_denied(access, call, operation, &key, &enough))
		log_denied(access, call, key, enough);
}

void access_log_other(struct access *access, const struct call *call, const char *why) {
	char peer[CALLER_TEXT_MAX];
	char more[LOG_LIMIT_TEXT_MAX];

	access->denied++;
	if (may_log(access, call, more))
		log_info("denied: %s: %s: %s%s", principal_describe(caller_of(call), peer),
			 procedure_name(call->procedure), why, more);
}
