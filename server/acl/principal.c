/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl/principal.h"

#include <inttypes.h>
#include <stdio.h>

const char *principal_of(const struct caller *caller, char text[PRINCIPAL_TEXT_MAX]) {
	if (caller->is_known)
		(void)snprintf(text, PRINCIPAL_TEXT_MAX, "uid:%" PRIu32, caller->uid);
	else
		(void)snprintf(text, PRINCIPAL_TEXT_MAX, "any");
	return text;
}

const char *principal_describe(const struct caller *caller, char text[CALLER_TEXT_MAX]) {
	return caller->describe != NULL ? caller->describe(caller, text)
					: principal_of(caller, text);
}

bool principal_is_root(const struct caller *caller) {
	return caller != NULL && caller->is_known && caller->uid == 0;
}
