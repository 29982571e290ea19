/* SPDX-License-Identifier: BSD-3-Clause */
/* Any text as access rules: an error is one line with its place, and ranges agree with checks. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "acl/acl.h"
#include "fuzz.h"

enum { RANGES_MAX = 1000 };

static bool user(const char *name, uint32_t *id) {
	*id = 33;
	return strcmp(name, "www") == 0;
}

static const struct who_names names = {user, user};

static void check_error(const char *error) {
	if (strncmp(error, "f:", 2) != 0 || strlen(error) >= ACL_ERROR_MAX)
		abort();
	for (; *error != '\0'; error++)
		if ((unsigned char)*error < ' ')
			abort();
}

/* The first key of each range may be read. */
static void check_ranges(const struct acl *acl, const struct caller *caller) {
	struct acl_range range = {.end = {0}};

	for (unsigned i = 0;
	     i < RANGES_MAX && acl_next_range(acl, caller, ACL_READ, range.end, &range); i++) {
		if ((acl_check(acl, caller, range.from) & ACL_READ) == 0)
			abort();
		if (range.end.size == 0)
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const uint32_t groups[] = {4, 33};
	const struct caller callers[] = {
	    {.is_known = false},
	    {.is_known = true, .uid = 33, .groups = groups, .group_count = 2},
	    {.has_address = true, .address = {[10] = 0xff, [11] = 0xff, [12] = 10}},
	};
	char error[ACL_ERROR_MAX];
	struct acl *acl = acl_parse("f", (struct kv_bytes){data, size}, &names, error);

	if (acl == NULL) {
		check_error(error);
		return 0;
	}
	for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
		(void)acl_check(acl, &callers[i],
				(struct kv_bytes){data, size < 1024 ? size : 1024});
		(void)acl_rights_anywhere(acl, &callers[i]);
		check_ranges(acl, &callers[i]);
	}
	acl_free(acl);
	return 0;
}
