/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/owner_table.h"

#include <string.h>

static uint64_t hash_owner(uint64_t seed, const void *element) {
	const struct owner *owner = element;

	return hash_bytes(seed, owner->text, owner->size);
}

/* Of an owner, as an OPEN names it; of size 0: there is none to count with. */
struct name {
	struct kv_bytes text;
	bool is_peer;
};

static struct name name_of(const struct operation *open) {
	return open->principal.size > 0 ? (struct name){open->principal, false}
					: (struct name){open->peer, true};
}

static bool has_name(const void *element, const void *wanted) {
	const struct owner *owner = element;
	const struct name *name = wanted;

	return owner->size == name->text.size && owner->is_peer == name->is_peer &&
	       memcmp(owner->text, name->text.data, name->text.size) == 0;
}

void owner_table_destroy(struct owner_table *owners) {
	if (owners->is_begun)
		hash_table_destroy(&owners->table);
	owners->is_begun = false;
}

static struct owner *make_owner(struct owner_table *owners, const struct name *name) {
	struct owner *owner;

	if (!hash_table_reserve_one(&owners->table))
		return NULL;
	owner = mem_account_alloc(owners->memory, sizeof(*owner) + name->text.size);
	if (owner == NULL)
		return NULL;
	owner->reserved = 0;
	owner->sessions = 0;
	owner->is_peer = name->is_peer;
	owner->size = (uint8_t)name->text.size;
	memcpy(owner->text, name->text.data, name->text.size);
	hash_table_insert(&owners->table, owner);
	return owner;
}

static struct owner *find(const struct owner_table *owners, const struct name *name) {
	return hash_table_find(&owners->table,
			       hash_bytes(owners->seed, name->text.data, name->text.size), has_name,
			       name);
}

bool owner_table_ref(struct owner_table *owners, const struct operation *open,
		     struct owner **owner) {
	const struct name name = name_of(open);

	*owner = NULL;
	if (name.text.size == 0)
		return true;
	if (!owners->is_begun)
		owners->is_begun =
		    hash_table_init(&owners->table, owners->memory, hash_owner, owners->seed);
	if (!owners->is_begun)
		return false;
	*owner = find(owners, &name);
	if (*owner == NULL)
		*owner = make_owner(owners, &name);
	if (*owner != NULL)
		(*owner)->sessions++;
	return *owner != NULL;
}

const struct owner *owner_table_find(const struct owner_table *owners,
				     const struct operation *open) {
	const struct name name = name_of(open);

	return name.text.size > 0 && owners->is_begun ? find(owners, &name) : NULL;
}

void owner_table_unref(struct owner_table *owners, struct owner *owner) {
	if (owner == NULL || --owner->sessions > 0)
		return;
	hash_table_remove(&owners->table, owner);
	mem_account_free(owners->memory, owner, sizeof(*owner) + owner->size);
}

struct kv_bytes owner_principal(const struct owner *owner) {
	return owner == NULL || owner->is_peer ? (struct kv_bytes){0}
					       : (struct kv_bytes){owner->text, owner->size};
}
