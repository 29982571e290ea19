/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_HISTORY_H
#define LOCK_HISTORY_H

/* lock_history.h - since when a handle counts on holding the lock, in the client's history. */

#include "lock_state.h"

/* After a use of the handle: it holds the lock, or holds it no longer, or with another token. */
void lock_history_note(struct kv_lock *lock);

/* It does not count on it any more: from now on, or since its lease ended. */
void lock_history_end(struct kv_lock *lock);

#endif
