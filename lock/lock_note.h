/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_NOTE_H
#define LOCK_NOTE_H

/*
 * lock_note.h - the note of a lock's holder, under a key of its own: the holder's id, since when it
 * holds the lock, and text, with a space between them.
 */

#include "lock_state.h"

/* Of the note's key, behind the lock's name. */
#define LOCK_NOTE_SUFFIX "/__note"

enum { LOCK_NOTE_SUFFIX_SIZE = sizeof(LOCK_NOTE_SUFFIX) - 1 };

/* Notes that the lock is held since now. Not without a note. */
void lock_note_stamp(struct kv_lock *lock);

#endif
