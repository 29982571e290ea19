/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WHOAMI_H
#define WHOAMI_H

/* whoami.h - the reply to WHOAMI: the caller's principal, and its rights. */

#include "rpc/access.h"
#include "rpc/wire_lists.h"

/*
 * Fills in all but the status. `principal` and `lists` have the bytes that the result borrows, with
 * the rules.
 */
void whoami_fill(const struct access *access, const struct call *call, struct wire_lists *lists,
		 char principal[PRINCIPAL_TEXT_MAX], kv1_whoami_res *result);

#endif
