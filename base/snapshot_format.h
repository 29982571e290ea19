/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SNAPSHOT_FORMAT_H
#define SNAPSHOT_FORMAT_H

/*
 * snapshot_format.h - the version number in the header of a snapshot: kvd writes it, kvctl looks
 * into the snapshots that it knows while it copies them (kvctl backup).
 */

enum {
	SNAPSHOT_FORMAT = 4,	 /* STATE_FORMAT 3; 3: STATE_FORMAT 2 */
	SNAPSHOT_FORMAT_MIN = 2, /* STATE_FORMAT 1; before that slots had another hash */
};

#endif
