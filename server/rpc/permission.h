/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PERMISSION_H
#define PERMISSION_H

/*
 * permission.h - the check of a call by the access rules, in its place: behind the epoch, and of a
 * write behind its slot. A call that is refused has its reply, KV_DENIED, and is logged.
 */

#include "rpc/access.h"
#include "rpc/procedures.h"

/* With rules a session is for its owner only: the caller is looked at as such. */
void permission_check_owner(const struct call *call, struct operation *operation);

/* parking_write() of a write that the rules may refuse. There are rules. */
void permission_write(struct procedure_context *context, struct call *call, uint64_t epoch,
		      struct operation *operation, uint32_t wait_ms);

/* Whether a call about this key may run, or is refused for its epoch. There are rules. */
bool permission_read(struct procedure_context *context, struct call *call, uint64_t epoch,
		     struct kv_bytes key);

/*
 * Likewise of a call that shows keys with this prefix: *shown is its filter, NULL if it may show
 * all.
 */
bool permission_show(struct procedure_context *context, struct call *call, uint64_t epoch,
		     struct kv_bytes prefix, struct access_filter *filter,
		     const struct key_filter **shown);

/* Refuses a call that needs no key, unless it is allowed; `why` is for the log. */
bool permission_other(struct procedure_context *context, struct call *call, bool is_allowed,
		      const char *why);

/* By the rules; without them root, and the user that runs this server. */
bool permission_is_administrator(const struct procedure_context *context, const struct call *call);

#endif
