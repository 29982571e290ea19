/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCK_NOTE_H
#define LOCK_NOTE_H

/*
 * lock_note.h - the note of a lock's holder, under a key of its own: the holder's id, a space, and
 * text.
 */

#include "lock_state.h"

/* Of the note's key, behind the lock's name. */
#define LOCK_NOTE_SUFFIX "/__note"

enum { LOCK_NOTE_SUFFIX_SIZE = sizeof(LOCK_NOTE_SUFFIX) - 1 };

/* The text if the value is a note of the holder with this id, else empty; borrowed from it. */
struct kv_bytes lock_note_text(const struct kv_value *value, const char *id);

#endif
