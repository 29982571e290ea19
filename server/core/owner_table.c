/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/owner_table.h"

#include <string.h>

static uint64_t hash_owner(uint64_t seed, const void *element) {
	const struct owner *owner = element;

	return hash_bytes(seed, owner->text, owner->size);
}

static bool has_text(const void *element, const void *wanted) {
	const struct owner *owner = element;
	const struct kv_bytes *principal = wanted;

	return owner->size == principal->size &&
	       memcmp(owner->text, principal->data, principal->size) == 0;
}

void owner_table_destroy(struct owner_table *owners) {
	if (owners->is_begun)
		hash_table_destroy(&owners->table);
	owners->is_begun = false;
}

static struct owner *make_owner(struct owner_table *owners, struct kv_bytes principal) {
	struct owner *owner;

	if (!hash_table_reserve_one(&owners->table))
		return NULL;
	owner = mem_account_alloc(owners->memory, sizeof(*owner) + principal.size);
	if (owner == NULL)
		return NULL;
	owner->sessions = 0;
	owner->size = (uint8_t)principal.size;
	memcpy(owner->text, principal.data, principal.size);
	hash_table_insert(&owners->table, owner);
	return owner;
}

struct owner *owner_table_ref(struct owner_table *owners, struct kv_bytes principal) {
	struct owner *owner;

	if (!owners->is_begun)
		owners->is_begun =
		    hash_table_init(&owners->table, owners->memory, hash_owner, owners->seed);
	if (!owners->is_begun)
		return NULL;
	owner = hash_table_find(&owners->table,
				hash_bytes(owners->seed, principal.data, principal.size), has_text,
				&principal);
	if (owner == NULL)
		owner = make_owner(owners, principal);
	if (owner != NULL)
		owner->sessions++;
	return owner;
}

void owner_table_unref(struct owner_table *owners, struct owner *owner) {
	if (owner == NULL || --owner->sessions > 0)
		return;
	hash_table_remove(&owners->table, owner);
	mem_account_free(owners->memory, owner, sizeof(*owner) + owner->size);
}

struct kv_bytes owner_principal(const struct owner *owner) {
	return owner == NULL ? (struct kv_bytes){0} : (struct kv_bytes){owner->text, owner->size};
}
