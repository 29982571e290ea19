/* SPDX-License-Identifier: BSD-3-Clause */
#include "backup_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "errors.h"
#include "kvctl.h"
#include "output.h"

static bool is_stdout(const struct backup_file *backup) {
	return strcmp(backup->path, "-") == 0;
}

/* Of the name that is shown, not of the temporary one. */
static int report(const struct backup_file *backup, const char *what) {
	int error = errno;
	bool is_full = error == ENOSPC || error == EDQUOT || error == EFBIG;

	return error_report(is_full ? CODE_LIMIT : CODE_REFUSED, backup->command,
			    "cannot %s %s: %s%s", what,
			    is_stdout(backup) ? "standard output" : backup->path, strerror(error),
			    is_full ? " (free space there)" : "");
}

/* One that another process renamed meanwhile is its backup by now. */
static bool is_still_there(const struct backup_file *backup) {
	struct stat named;
	struct stat opened;

	return fstat(backup->file, &opened) == 0 && lstat(backup->temporary, &named) == 0 &&
	       named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

static int open_temporary(struct backup_file *backup) {
	backup->file =
	    open(backup->temporary, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (backup->file < 0)
		return report(backup, "write");
	bool is_locked = flock(backup->file, LOCK_EX | LOCK_NB) == 0;
	if (!is_locked && errno != EWOULDBLOCK)
		return report(backup, "lock");
	if (!is_locked || !is_still_there(backup)) {
		(void)close(backup->file);
		return error_report(CODE_REFUSED, backup->command,
				    "another kvctl writes %s (wait for it, or name another file)",
				    backup->temporary);
	}
	/* What one that was killed left. */
	return ftruncate(backup->file, 0) == 0 ? CODE_DONE : report(backup, "write");
}

int backup_file_open(struct backup_file *backup, const char *command, const char *path) {
	struct stat status;
	int size;

	*backup = (struct backup_file){.command = command, .path = path, .file = STDOUT_FILENO};
	if (is_stdout(backup)) {
		if (!isatty(STDOUT_FILENO))
			return CODE_DONE;
		return error_usage(command, "a backup is not for a terminal: name a file, or "
					    "redirect standard output");
	}
	if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
		return error_report(CODE_REFUSED, command, "%s is there, and no file", path);
	size = snprintf(backup->temporary, sizeof(backup->temporary), "%s.tmp", path);
	if (size >= (int)sizeof(backup->temporary))
		return error_usage(command, "the file's name is too long");
	return open_temporary(backup);
}

int backup_file_write(struct backup_file *backup, struct kv_bytes bytes) {
	return output_write(backup->file, bytes) ? CODE_DONE : report(backup, "write");
}

/* The name that it was given survives. */
static bool sync_directory(const char *path) {
	char directory[BACKUP_PATH_MAX];
	const char *slash = strrchr(path, '/');
	int file;
	bool done;

	(void)snprintf(directory, sizeof(directory), "%.*s",
		       slash == NULL   ? 1
		       : slash == path ? 1
				       : (int)(slash - path),
		       slash == NULL ? "." : path);
	file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (file < 0)
		return false;
	/* Some file systems have nothing to sync there. */
	done = fsync(file) == 0 || errno == EINVAL;
	(void)close(file);
	return done;
}

int backup_file_finish(struct backup_file *backup) {
	int code = CODE_DONE;

	if (is_stdout(backup))
		return CODE_DONE;
	if (fsync(backup->file) != 0 || rename(backup->temporary, backup->path) != 0) {
		code = report(backup, "write");
		backup_file_give_up(backup);
		return code;
	}
	if (!sync_directory(backup->path))
		code = report(backup, "sync the directory of");
	/* With it goes the lock. */
	if (close(backup->file) != 0 && code == CODE_DONE)
		code = report(backup, "write");
	return code;
}

void backup_file_give_up(struct backup_file *backup) {
	if (is_stdout(backup))
		return;
	(void)unlink(backup->temporary);
	(void)close(backup->file);
}
