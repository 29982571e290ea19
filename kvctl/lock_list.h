/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_LIST_H
#define LOCK_LIST_H

/* lock_list.h - Which locks are held, and the holders. */

#include "kvctl.h"

/* Prints the locks under `prefix` that are held. Returns what kvctl exits with. */
int lock_list_print(const struct settings *settings, struct kv_bytes prefix);

/* CODE_DONE if the lock is held with that token, CODE_VERSION after a line if not. */
int lock_list_check(const struct settings *settings, struct kv_bytes name, uint64_t token);

#endif
