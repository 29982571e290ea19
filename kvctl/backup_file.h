/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef BACKUP_FILE_H
#define BACKUP_FILE_H

/*
 * backup_file.h - The file that a backup is written to: FILE.tmp, which becomes FILE when it is
 * whole and on the disk; so FILE is never half a backup. Functions that fail have reported it in
 * the name of `command`.
 */

#include <stdbool.h>

#include <kv/kv.h>

enum { BACKUP_PATH_MAX = 4096 };

struct backup_file {
	const char *command;
	const char *path; /* "-": standard output, and then there is no FILE.tmp */
	char temporary[BACKUP_PATH_MAX];
	int file;
};

/* CODE_DONE, or an exit code. Only one process at a time may have it open. */
int backup_file_open(struct backup_file *backup, const char *command, const char *path);

/* CODE_DONE, CODE_LIMIT (no space) or CODE_REFUSED. */
int backup_file_write(struct backup_file *backup, struct kv_bytes bytes);

/* It is whole: gives it its name, and closes it. */
int backup_file_finish(struct backup_file *backup);

/* Removes it. */
void backup_file_give_up(struct backup_file *backup);

#endif
