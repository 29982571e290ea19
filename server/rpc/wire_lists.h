/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WIRE_LISTS_H
#define WIRE_LISTS_H

/*
 * wire_lists.h - arrays on the wire (TXN, LIST, CHANGES), to and from the words of the core. The
 * arrays are allocated once, for one call at a time: XDR decodes into them and encodes from them.
 */

#include <rpcsvc/kv.h>

#include "core/list_page.h"
#include "core/operation.h"
#include "rpc/change_ring.h"

struct wire_lists {
	kv1_condition wire_conditions[KV1_CONDITIONS_BOUND];
	kv1_change wire_changes[KV1_CHANGES_BOUND];
	struct condition conditions[KV1_CONDITIONS_BOUND];
	struct change changes[KV1_CHANGES_BOUND];
	kv1_listed keys[LIST_PAGE_MAX];
	kv1_changed changed[CHANGES_PAGE_MAX];
	kv1_grant grants[KV1_GRANTS_MAX];
	u_quad_t versions[CHANGES_MAX];
};

/* Before decoding: the arguments of a TXN get their arrays. */
void wire_lists_lend(struct wire_lists *lists, kv1_txn_args *arguments);

/* The TXN of decoded arguments; its keys and values are borrowed from them. */
void wire_lists_txn_in(struct wire_lists *lists, const kv1_txn_args *arguments, struct txn *txn);

/* The results of a TXN, a LIST and a CHANGES, but for their status. */
void wire_lists_txn_out(struct wire_lists *lists, const struct reply *reply, kv1_txn_res *result);
void wire_lists_page_out(struct wire_lists *lists, const struct reply *reply, kv1_list_res *result);
void wire_lists_changes_out(struct wire_lists *lists, const struct reply *reply,
			    kv1_changes_res *result);

#endif
