/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOLDER_NOTE_H
#define HOLDER_NOTE_H

/* holder_note.h - What a lock that runs a program says of its holder, for people. */

#include <kv/lock.h>

enum { HOLDER_NOTE_SIZE = KV_LOCK_NOTE_MAX + 1 };

/*
 * Writes host, process and user of kvctl, the program that it runs, and the time now (UTC) to
 * `text`, cut at its size, and returns it.
 */
struct kv_bytes holder_note(const char *program, char text[HOLDER_NOTE_SIZE]);

#endif
