/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl/acl.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acl/acl_private.h"

void acl_free(struct acl *acl) {
	if (acl == NULL)
		return;
	for (uint32_t i = 0; i < acl->rule_count; i++)
		free(acl->rules[i].prefix);
	free(acl->rules);
	free(acl->heads);
	for (uint32_t i = 0; i < acl->who_count; i++)
		who_free(&acl->whos[i]);
	free(acl->whos);
	free(acl->groups);
	free(acl->limits);
	free(acl);
}

unsigned acl_rule_count(const struct acl *acl) {
	return acl->rule_count;
}

/* --- Prefixes ------------------------------------------------------------------------------ */

struct head acl_head(struct kv_bytes bytes) {
	uint64_t words[2] = {0};

	if (bytes.size > 0)
		memcpy(words, bytes.data, bytes.size < sizeof(words) ? bytes.size : sizeof(words));
	return (struct head){be64toh(words[0]), be64toh(words[1])};
}

int acl_compare(struct kv_bytes a, struct kv_bytes b) {
	size_t common = a.size < b.size ? a.size : b.size;
	int order = common == 0 ? 0 : memcmp(a.data, b.data, common);

	if (order != 0)
		return order;
	return a.size < b.size ? -1 : a.size > b.size;
}

static struct kv_bytes prefix_of(const struct rule *rule) {
	return (struct kv_bytes){rule->prefix, rule->size};
}

/* Whether `head` is before `wanted`, or with `or_same` not behind it; without a branch. */
static bool is_counted(struct head head, struct head wanted, bool or_same) {
	return (head.first < wanted.first) |
	       ((head.first == wanted.first) &
		((head.second < wanted.second) | ((head.second == wanted.second) & or_same)));
}

/*
 * How many heads are counted. Its only branch is that of the loop, because one that depends on the
 * key would be guessed wrong half of the time.
 */
static uint32_t count_heads(const struct acl *acl, struct head wanted, bool or_same) {
	const struct head *from = acl->heads;
	uint32_t left = acl->rule_count;

	/* Those before `from` are, those from `from + left` on are not. */
	while (left > 1) {
		const uint32_t half = left / 2;

		from += is_counted(from[half - 1], wanted, or_same) ? half : 0;
		left -= half;
	}
	return (uint32_t)(from - acl->heads) + (left == 1 && is_counted(*from, wanted, or_same));
}

/* How many rules are not behind the key. */
static uint32_t count_up_to(const struct acl *acl, struct kv_bytes key) {
	const struct head wanted = acl_head(key);
	uint32_t high = count_heads(acl, wanted, true);
	uint32_t low = high;

	if (high > 0 && !is_counted(acl->heads[high - 1], wanted, false))
		low = count_heads(acl, wanted, false);
	/* Of those with the same head, their bytes decide. */
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (acl_compare(prefix_of(&acl->rules[middle]), key) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static size_t common_size(struct kv_bytes a, struct kv_bytes b) {
	const unsigned char *one = a.data, *other = b.data;
	size_t size = 0;

	while (size < a.size && size < b.size && one[size] == other[size])
		size++;
	return size;
}

static bool begins(const struct rule *rule, struct kv_bytes key) {
	return rule->size == 0 ||
	       (rule->size <= key.size && memcmp(rule->prefix, key.data, rule->size) == 0);
}

/*
 * The rule of the longest prefix that begins the key; NULL: none does. Because all that stands
 * between a prefix and a key which it begins, begins with it, too, the rule is the last that is not
 * behind the key, or one whose prefix begins that one.
 */
static const struct rule *find_rule(const struct acl *acl, struct kv_bytes key, uint32_t *behind) {
	*behind = count_up_to(acl, key);
	if (*behind == 0)
		return NULL;
	const struct rule *rule = &acl->rules[*behind - 1];
	if (begins(rule, key))
		return rule;
	size_t common = common_size(prefix_of(rule), key);

	while (rule->size > common) {
		if (rule->parent < 0)
			return NULL;
		rule = &acl->rules[rule->parent];
	}
	return rule;
}

/* --- Rights -------------------------------------------------------------------------------- */

/* Of each in the list that matches, or of all if the list itself was matched. */
static bool matches(const struct acl *acl, const struct who *who, const struct caller *caller) {
	if (who->kind != WHO_GROUP)
		return who_matches(who, caller);
	if (who->needs_tls && !who_is_secure(caller))
		return false;
	const struct group *group = &acl->groups[who->id];
	/* No deeper than ACL_GROUP_DEPTH_MAX. */
	for (uint32_t i = 0; i < group->members.count; i++)
		if (matches(acl, &acl->whos[group->members.first + i], caller))
			return true;
	return false;
}

static unsigned rights_in(const struct acl *acl, const struct rule *rule,
			  const struct caller *caller) {
	unsigned rights = 0;

	for (uint32_t i = 0; i < rule->whos.count; i++) {
		const struct who *who = &acl->whos[rule->whos.first + i];

		if ((who->rights & ~rights) != 0 && matches(acl, who, caller))
			rights |= who->rights;
	}
	return rights;
}

/* Administrators stand in the rule of all keys, which is the first. */
static bool is_admin(const struct acl *acl, const struct caller *caller) {
	if (acl->rule_count == 0 || acl->rules[0].size > 0)
		return false;
	const struct who_list *list = &acl->rules[0].whos;
	for (uint32_t i = 0; i < list->count; i++) {
		const struct who *who = &acl->whos[list->first + i];

		if ((who->rights & ACL_ADMIN) != 0 && matches(acl, who, caller))
			return true;
	}
	return false;
}

unsigned acl_check(const struct acl *acl, const struct caller *caller, struct kv_bytes key) {
	uint32_t behind;

	if (is_admin(acl, caller))
		return ACL_ALL;
	const struct rule *rule = find_rule(acl, key, &behind);
	return rule == NULL ? 0 : rights_in(acl, rule, caller);
}

unsigned acl_rights_anywhere(const struct acl *acl, const struct caller *caller) {
	unsigned rights = 0;

	if (is_admin(acl, caller))
		return ACL_ALL;
	for (uint32_t i = 0; i < acl->rule_count; i++)
		rights |= rights_in(acl, &acl->rules[i], caller);
	return rights;
}

bool acl_has_fingerprint(const struct acl *acl,
			 const uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]) {
	for (uint32_t i = 0; i < acl->who_count; i++)
		if (acl->whos[i].kind == WHO_FINGERPRINT &&
		    memcmp(acl->whos[i].fingerprint, fingerprint, CERTIFICATE_FINGERPRINT_SIZE) ==
			0)
			return true;
	return false;
}

struct acl_limits acl_limits_of(const struct acl *acl, const struct caller *caller,
				struct acl_limits usual) {
	for (uint32_t i = 0; i < acl->limit_count; i++) {
		const struct limit_line *line = &acl->limits[i];

		if (!matches(acl, &acl->whos[line->who], caller))
			continue;
		if (line->has_connections)
			usual.connections = line->limits.connections;
		if (line->has_sessions)
			usual.sessions = line->limits.sessions;
		break;
	}
	return usual;
}

bool acl_find_rule(const struct acl *acl, struct kv_bytes key, struct kv_bytes *prefix,
		   unsigned *line) {
	uint32_t behind;
	const struct rule *rule = find_rule(acl, key, &behind);

	if (rule == NULL)
		return false;
	*prefix = prefix_of(rule);
	*line = rule->line;
	return true;
}

unsigned acl_rule(const struct acl *acl, const struct caller *caller, unsigned index,
		  struct kv_bytes *prefix) {
	*prefix = prefix_of(&acl->rules[index]);
	return is_admin(acl, caller) ? ACL_ALL : rights_in(acl, &acl->rules[index], caller);
}

/* --- Ranges -------------------------------------------------------------------------------- */

/* A place in the order of keys, and the rule that decides there. */
struct walk {
	const struct acl *acl;
	const struct rule *rule; /* NULL: none does */
	uint32_t behind;	 /* the first rule whose prefix is behind the place */
};

/* The first bytes behind all that begin with the prefix. Of size 0: there are none. */
static struct kv_bytes end_of(struct kv_bytes prefix, unsigned char to[ACL_PREFIX_MAX]) {
	size_t size = prefix.size;

	while (size > 0 && ((const unsigned char *)prefix.data)[size - 1] == 0xff)
		size--;
	if (size > 0) {
		memcpy(to, prefix.data, size);
		to[size - 1]++;
	}
	return (struct kv_bytes){to, size};
}

/*
 * Moves to where the rule ceases to decide: at the next prefix, or at the end of its own. Returns
 * that place, which lies in `bytes`; of size 0: there is none.
 */
static struct kv_bytes walk_on(struct walk *walk, unsigned char bytes[ACL_PREFIX_MAX]) {
	const struct acl *acl = walk->acl;
	const struct rule *next = walk->behind < acl->rule_count ? &acl->rules[walk->behind] : NULL;
	struct kv_bytes end = {0};

	if (walk->rule != NULL)
		end = end_of(prefix_of(walk->rule), bytes);
	if (next != NULL && (end.size == 0 || acl_compare(prefix_of(next), end) <= 0)) {
		memcpy(bytes, next->prefix, next->size);
		walk->rule = next;
		walk->behind++;
		return (struct kv_bytes){bytes, next->size};
	}
	while (walk->rule != NULL && !begins(walk->rule, end))
		walk->rule = walk->rule->parent < 0 ? NULL : &acl->rules[walk->rule->parent];
	return end;
}

bool acl_next_range(const struct acl *acl, const struct caller *caller, enum acl_right right,
		    struct kv_bytes from, struct acl_range *range) {
	struct walk walk = {.acl = acl};

	if (from.size > 0)
		memcpy(range->from_bytes, from.data, from.size);
	range->from = (struct kv_bytes){range->from_bytes, from.size};
	range->end = (struct kv_bytes){range->end_bytes, 0};
	if (is_admin(acl, caller))
		return true;
	walk.rule = find_rule(acl, range->from, &walk.behind);
	while (walk.rule == NULL || (rights_in(acl, walk.rule, caller) & right) == 0) {
		range->from = walk_on(&walk, range->from_bytes);
		if (range->from.size == 0)
			return false;
	}
	range->end = walk_on(&walk, range->end_bytes);
	return true;
}

/* --- As text ------------------------------------------------------------------------------- */

const char *acl_rights_format(unsigned rights, char text[ACL_RIGHTS_TEXT_MAX]) {
	const bool may_lock = (rights & ACL_LOCK) != 0, may_add = (rights & ACL_APPEND) != 0;

	if ((rights & ACL_ADMIN) != 0)
		return strcpy(text, "admin");
	if ((rights & ACL_WRITE) != 0)
		return strcpy(text, "rw");
	if (rights == 0)
		return strcpy(text, "none");
	(void)snprintf(text, ACL_RIGHTS_TEXT_MAX, "%s%s%s",
		       may_lock			  ? "lock"
		       : (rights & ACL_READ) != 0 ? "ro"
						  : "",
		       may_add && (rights & ACL_READ) != 0 ? "," : "", may_add ? "add" : "");
	return text;
}
