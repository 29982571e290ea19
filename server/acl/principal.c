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

struct peer_id principal_peer(const struct caller *caller) {
	static const unsigned char mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	enum { NETWORK_SIZE = 8 };
	const struct kv_bytes principal = principal_bytes(caller);
	struct peer_id id = {.size = 1}; /* a NUL, with which no principal begins */
	bool is_ipv4;

	if (principal.size > 0) {
		id.size = (uint8_t)principal.size;
		memcpy(id.bytes, principal.data, principal.size);
	} else if (caller != NULL && caller->has_address) {
		is_ipv4 = memcmp(caller->address, mapped, sizeof(mapped)) == 0;
		id.size = is_ipv4 ? 1 + sizeof(caller->address) : 1 + NETWORK_SIZE;
		memcpy(id.bytes + 1, caller->address, id.size - 1);
	}
	return id;
}

/* FNV-1a, whose high bits come down at the end, because tables take the low ones. */
uint64_t peer_hash(const unsigned char *bytes, size_t size, uint64_t kind) {
	uint64_t hash = 0xcbf29ce484222325 ^ kind;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return hash ^ hash >> 32;
}

bool principal_is_user(const struct caller *caller) {
	return caller->is_known && caller->certificate == NULL;
}

bool principal_is_root(const struct caller *caller) {
	return caller != NULL && principal_is_user(caller) && caller->uid == 0;
}
