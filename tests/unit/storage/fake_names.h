/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_NAMES_H
#define FAKE_NAMES_H

/* fake_names.h - the names in the fake disk's directory, and changes of them. */

#include <stdio.h>
#include <string.h>

#include "fake_file.h"
#include "storage/vfs.h"

struct name {
	char text[VFS_NAME_MAX];
	size_t file;
};

struct names {
	struct name *list;
	size_t count;
};

/* `from` empty: a new name; `to` empty: one removed. */
struct name_change {
	char from[VFS_NAME_MAX];
	char to[VFS_NAME_MAX];
	size_t file;
};

static inline struct name *names_find(const struct names *names, const char *text) {
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->list[i].text, text) == 0)
			return &names->list[i];
	return NULL;
}

static inline void names_remove(struct names *names, const char *text) {
	struct name *name = names_find(names, text);

	if (name != NULL)
		*name = names->list[--names->count];
}

static inline void names_put(struct names *names, const char *text, size_t file) {
	struct name *name = names_find(names, text);

	if (name == NULL) {
		names->list = resized(names->list, (names->count + 1) * sizeof(*names->list));
		name = &names->list[names->count++];
		(void)snprintf(name->text, sizeof(name->text), "%s", text);
	}
	name->file = file;
}

static inline void names_apply(struct names *names, const struct name_change *change) {
	const struct name *from = names_find(names, change->from);

	if (from != NULL && from->file == change->file)
		names_remove(names, change->from);
	if (change->to[0] != '\0')
		names_put(names, change->to, change->file);
}

static inline struct names names_clone(const struct names *from) {
	struct names names = {.count = from->count};

	names.list = resized(NULL, names.count * sizeof(*names.list));
	if (names.count > 0)
		memcpy(names.list, from->list, names.count * sizeof(*names.list));
	return names;
}

#endif
