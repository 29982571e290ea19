/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NUMBERED_FILES_H
#define NUMBERED_FILES_H

/* numbered_files.h - files whose names are a prefix and 16 hexadecimal digits. */

#include "storage/vfs.h"

void numbered_name(const char *prefix, uint64_t number, char name[VFS_NAME_MAX]);
/* False: `name` is not one that numbered_name() makes. */
bool numbered_parse(const char *prefix, const char *name, uint64_t *number);

struct number_list {
	uint64_t *numbers; /* ascending; owned: to be freed with free(), also after an error */
	size_t count;
	size_t capacity;
};

/* The numbers of all files with this prefix. Returns 0 or a negative errno. */
int numbered_list(struct vfs *vfs, const char *prefix, struct number_list *list);

#endif
