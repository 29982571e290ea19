/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/whoami.h"

#include "rpc/call.h"

_Static_assert((int)KV1_RIGHT_READ == ACL_READ && (int)KV1_RIGHT_LOCK == ACL_LOCK &&
		   (int)KV1_RIGHT_APPEND == ACL_APPEND && (int)KV1_RIGHT_WRITE == ACL_WRITE &&
		   (int)KV1_RIGHT_ADMIN == ACL_ADMIN,
	       "the rights of kv.x");
_Static_assert((int)KV1_PRINCIPAL_BOUND >= PRINCIPAL_MAX, "a principal fits");

enum {
	/* Bytes of a reply before the grants, at most. */
	HEAD_SIZE = 64 + PRINCIPAL_MAX + KV1_LIBRARY_BOUND,
	GRANT_SIZE = 8, /* ... and of a grant besides its prefix */
};

/* Every right to everything; the administrator's too, for those that have it without rules. */
static void grant_all(const struct call *call, kv1_grant *grant) {
	bool is_administrator = call->caller != NULL && call->caller->is_administrator;

	*grant = (kv1_grant){.rights = is_administrator ? ACL_ALL : ACL_ALL - ACL_ADMIN};
}

void whoami_fill(const struct access *access, const struct call *call, struct wire_lists *lists,
		 char principal[PRINCIPAL_TEXT_MAX], kv1_whoami_res *result) {
	static const struct caller any;
	size_t size = HEAD_SIZE;
	unsigned count = 0;

	result->principal =
	    (char *)(uintptr_t)principal_of(call->caller == NULL ? &any : call->caller, principal);
	result->tls = call->caller != NULL && call->caller->tls != NULL;
	result->library = (char *)(uintptr_t)(result->tls ? call->caller->tls : "");
	result->has_rules = !access_is_open(access);
	result->grants.grants_val = lists->grants;
	if (!result->has_rules)
		grant_all(call, &lists->grants[count++]);
	for (unsigned i = 0; result->has_rules && i < access_rule_count(access); i++) {
		struct kv_bytes prefix;
		unsigned rights = access_rule(access, call, i, &prefix);

		if (rights == 0)
			continue;
		if ((rights & ACL_ADMIN) != 0) {
			lists->grants[count++] = (kv1_grant){.rights = ACL_ALL};
			break;
		}
		size += GRANT_SIZE + RNDUP(prefix.size);
		if (count == KV1_GRANTS_MAX || size > call->reply_max) {
			result->more = TRUE;
			break;
		}
		lists->grants[count++] =
		    (kv1_grant){.prefix = {(u_int)prefix.size, (char *)(uintptr_t)prefix.data},
				.rights = rights};
	}
	result->grants.grants_len = count;
}
