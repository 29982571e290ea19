/* SPDX-License-Identifier: BSD-3-Clause */
/* parking_access.c - access rules of calls that wait: when one runs, and when the rules change. */
#include "rpc/access.h"
#include "rpc/call.h"
#include "rpc/parking_private.h"

static bool has_rules(const struct parking *parking) {
	return parking->hooks.access != NULL && !access_is_open(parking->hooks.access);
}

void parking_run_copy(struct parking *parking, struct call *call, struct operation *operation) {
	struct access *access = parking->hooks.access;

	operation->refusal =
	    has_rules(parking) ? access_check_write(access, call, operation) : KV_OK;
	service_run(parking->service, 0, operation, call->reply_max, parking->now_ms, &call->reply);
	if (operation->refusal != KV_OK)
		access_log_write(access, call, operation);
}

bool parking_may_read(struct parking *parking, struct call *call, struct kv_bytes key) {
	if (!has_rules(parking) || access_may_read(parking->hooks.access, call, key))
		return true;
	call->reply = (struct reply){.status = KV_DENIED};
	access_log_read(parking->hooks.access, call, key);
	return false;
}

bool parking_may_show(struct parking *parking, struct call *call, struct kv_bytes prefix,
		      struct access_filter *filter, const struct key_filter **shown) {
	*shown = NULL;
	if (!has_rules(parking) || access_show(parking->hooks.access, call, prefix, filter, shown))
		return true;
	call->reply = (struct reply){.status = KV_DENIED};
	access_log_other(parking->hooks.access, call, ACCESS_NO_PREFIX);
	return false;
}

/* Whether this copy of it may still wait. */
static bool is_allowed(const struct parking *parking, struct parked *parked,
		       const struct call *call) {
	const struct access *access = parking->hooks.access;
	struct operation operation;

	switch (parked->kind) {
	case PARKED_WAIT:
		return access_may_read(access, call,
				       (struct kv_bytes){parked->key->key, parked->key->size});
	case PARKED_CHANGES:
		/* What wakes it is any key under its prefix. */
		return access_is_admin(access, call);
	case PARKED_TXN:
		operation = parking_operation(parking_txn(parked));
		return access_check_write(access, call, &operation) == KV_OK;
	}
	return false;
}

static bool are_allowed(const struct parking *parking, struct parked *parked) {
	const struct call *call = parked->copies;

	while (call != NULL && is_allowed(parking, parked, call))
		call = call->next;
	return call == NULL;
}

/* Takes the nodes out one by one, for a heap has no other order, and puts them back. */
void parking_recheck(struct parking *parking) {
	struct pairing_heap checked = {.first = NULL};
	struct heap_node *node;

	if (!has_rules(parking))
		return;
	while ((node = parking->deadlines.first) != NULL) {
		pairing_heap_remove(&parking->deadlines, node);
		if (!are_allowed(parking, (struct parked *)(void *)node))
			node->key = 0;
		pairing_heap_insert(&checked, node);
	}
	while ((node = checked.first) != NULL) {
		pairing_heap_remove(&checked, node);
		pairing_heap_insert(&parking->deadlines, node);
	}
}
