/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ACCESS_H
#define ACCESS_H

/*
 * access.h - the rights that calls need, by the access rules; and the audit lines of those that are
 * refused: of each peer (acl/principal.h) and procedure one in LOG_LIMIT_PERIOD_MS. Owned by
 * dispatch.
 *
 * Without rules every caller may everything, and nothing here is called: see access_is_open().
 */

#include "acl/acl.h"
#include "core/list_page.h"
#include "core/operation.h"
#include "log_table.h"

struct call;

struct access {
	const struct acl *acl;	/* borrowed; NULL: there are no rules */
	uint32_t sessions_each; /* that one peer may have, unless the rules say it; 0: no limit */
	struct log_table lines;
	uint64_t now_ms;
	uint64_t denied; /* calls that the rules refused */
};

static inline bool access_is_open(const struct access *access) {
	return access->acl == NULL;
}

/* Whether the caller may read the key. */
bool access_may_read(const struct access *access, const struct call *call, struct kv_bytes key);

/*
 * KV_OK, or KV_DENIED: the caller may not do all of a PUT, APPEND, DELETE or TXN. A TXN needs to
 * read the keys of its conditions.
 */
enum kv_status access_check_write(const struct access *access, const struct call *call,
				  const struct operation *operation);

/* Whether the caller may write any key at all, and so may have a session. */
bool access_may_open(const struct access *access, const struct call *call);

/* How many sessions the caller's peer may have; 0: there is no limit. */
uint32_t access_sessions_max(const struct access *access, const struct call *call);

bool access_is_admin(const struct access *access, const struct call *call);

/* How many rules there are; which prefix the rule `index` has, and the caller's rights to it. */
unsigned access_rule_count(const struct access *access);
unsigned access_rule(const struct access *access, const struct call *call, unsigned index,
		     struct kv_bytes *prefix);

/* The filter of a LIST or CHANGES; it must not be moved. */
struct access_filter {
	struct key_filter filter;
	const struct acl *acl;
	const struct caller *caller;
	struct acl_range range;
};

/* Why a LIST or CHANGES is refused, for the log. */
#define ACCESS_NO_PREFIX "it may read no key with that prefix"

/*
 * What the caller may see of the keys that begin with the prefix: *shown is the filter, NULL if it
 * is all of them. False: nothing.
 */
bool access_show(const struct access *access, const struct call *call, struct kv_bytes prefix,
		 struct access_filter *filter, const struct key_filter **shown);

/*
 * Logs that the call was refused, and which right it lacks. Of a write that lacks none by now, for
 * it is a copy of one that was refused, nothing is logged.
 */
void access_log_read(struct access *access, const struct call *call, struct kv_bytes key);
void access_log_write(struct access *access, const struct call *call,
		      const struct operation *operation);
/* `why`: "no right to write anywhere". */
void access_log_other(struct access *access, const struct call *call, const char *why);

#endif
