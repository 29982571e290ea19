/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RESTORE_H
#define RESTORE_H

/*
 * restore.h - makes another store of a backup, or of a directory that was copied or rolled back.
 *
 * Two stores that went on from the same state have the same versions, positions and sessions for
 * different things. So what is restored gets a new store id, and clients that knew the old store
 * are told so. Its sessions are not taken over: no client can use them, for none of their calls
 * may happen in another store.
 *
 *	"restoring" is made (--restore only), in a directory that was empty -> "restored.tmp" is
 *	written and synced -> it becomes "restored", which is whole -> the files of the old store
 *	are removed -> it becomes "snapshot-0", and "restoring" is removed
 *
 * While one of the three is there, kvd does not serve the directory: what was begun is run again.
 * A function that returns false has logged one line that says what is wrong; with true it has
 * printed what is there now.
 */

#include <stdbool.h>

#include "storage/vfs.h"

/* `kvd -d DIR --restore FILE`. The directory is made, or was empty. */
bool restore_backup(const char *directory, const char *file);

/* `kvd -d DIR --restored`: the store in it becomes another one, with the same keys. */
bool restore_as_another(const char *directory);

/* `kvd -d DIR --moved`: the directory is the only one of its store, and goes on as that. */
bool restore_as_moved(const char *directory);

/* `kvd --check FILE`: reads a backup as a restore would, and prints what it holds. */
bool restore_check(const char *file);

/* The name of a file that an interrupted one has left; NULL: there is none. */
const char *restore_unfinished(struct vfs *vfs);

#endif
