/* SPDX-License-Identifier: BSD-3-Clause */
#include "storage/numbered_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 16, FIRST_CAPACITY = 16 };

struct listing {
	const char *prefix;
	struct number_list *list;
	int error;
};

void numbered_name(const char *prefix, uint64_t number, char name[VFS_NAME_MAX]) {
	(void)snprintf(name, VFS_NAME_MAX, "%s%016" PRIx64, prefix, number);
}

bool numbered_parse(const char *prefix, const char *name, uint64_t *number) {
	size_t length = strlen(prefix);
	const char *digits = name + length;

	if (strncmp(name, prefix, length) != 0 || strlen(digits) != DIGITS ||
	    strspn(digits, "0123456789abcdef") != DIGITS)
		return false;
	*number = strtoull(digits, NULL, 16);
	return true;
}

static bool add_number(void *context, const char *name) {
	struct listing *listing = context;
	struct number_list *list = listing->list;
	uint64_t number;

	if (!numbered_parse(listing->prefix, name, &number))
		return true;
	if (list->count == list->capacity) {
		size_t capacity = 2 * list->capacity + FIRST_CAPACITY;
		uint64_t *numbers = realloc(list->numbers, capacity * sizeof(*numbers));

		if (numbers == NULL) {
			listing->error = -ENOMEM;
			return false;
		}
		list->numbers = numbers;
		list->capacity = capacity;
	}
	list->numbers[list->count++] = number;
	return true;
}

static int compare_numbers(const void *one, const void *other) {
	uint64_t a = *(const uint64_t *)one;
	uint64_t b = *(const uint64_t *)other;

	return a < b ? -1 : a > b;
}

int numbered_list(struct vfs *vfs, const char *prefix, struct number_list *list) {
	struct listing listing = {.prefix = prefix, .list = list};
	int error;

	*list = (struct number_list){.numbers = NULL};
	error = vfs->list(vfs->context, add_number, &listing);
	if (error == 0)
		error = listing.error;
	if (error == 0 && list->count > 0)
		qsort(list->numbers, list->count, sizeof(*list->numbers), compare_numbers);
	return error;
}
