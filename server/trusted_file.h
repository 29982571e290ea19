/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRUSTED_FILE_H
#define TRUSTED_FILE_H

/*
 * trusted_file.h - a file that decides who may do what: read whole, and only if root or the user of
 * this process owns it and no other may change it.
 */

#include <stdbool.h>
#include <stddef.h>

enum trusted_file_kind {
	TRUSTED_FILE_PUBLIC, /* all may read it */
	TRUSTED_FILE_SECRET, /* nor may its group or others read it */
};

/*
 * Reads a file of at most `max` bytes, and one byte more of a larger one, which the caller refuses;
 * *data is to be freed. Returns false with *data NULL: one line was logged, which begins with
 * `what` and the path.
 */
bool trusted_file_read(const char *path, const char *what, enum trusted_file_kind kind, size_t max,
		       char **data, size_t *size);

#endif
