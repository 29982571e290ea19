/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl/principal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void principal_set_user(struct caller *caller, uint32_t uid) {
	caller->is_known = true;
	caller->uid = uid;
	(void)snprintf(caller->name, sizeof(caller->name), "uid:%" PRIu32, uid);
}

void principal_set_certificate(struct caller *caller, const struct certificate *certificate) {
	caller->is_known = true;
	caller->certificate = certificate;
}

/* The principal of a known caller. */
static const char *name_of(const struct caller *caller) {
	return caller->certificate != NULL ? caller->certificate->principal : caller->name;
}

struct kv_bytes principal_bytes(const struct caller *caller) {
	if (caller == NULL || !caller->is_known)
		return (struct kv_bytes){0};
	return (struct kv_bytes){name_of(caller), strlen(name_of(caller))};
}

const char *principal_of(const struct caller *caller, char text[PRINCIPAL_TEXT_MAX]) {
	(void)snprintf(text, PRINCIPAL_TEXT_MAX, "%s", caller->is_known ? name_of(caller) : "any");
	return text;
}

const char *principal_describe(const struct caller *caller, char text[CALLER_TEXT_MAX]) {
	return caller->describe != NULL ? caller->describe(caller, text)
					: principal_of(caller, text);
}

bool principal_is_user(const struct caller *caller) {
	return caller->is_known && caller->certificate == NULL;
}

bool principal_is_root(const struct caller *caller) {
	return caller != NULL && principal_is_user(caller) && caller->uid == 0;
}
