/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ACL_PRIVATE_H
#define ACL_PRIVATE_H

/* acl_private.h - what acl.c (the check) and acl_parse.c (the text) share. */

#include "acl/acl.h"

/* Some of acl->whos. */
struct who_list {
	uint32_t first;
	uint32_t count;
};

struct rule {
	unsigned char *prefix;
	uint32_t size;
	uint32_t line;
	struct who_list whos;
	int32_t parent; /* the longest other prefix that begins this one; -1: there is none */
};

struct group {
	struct who_list members;
	uint32_t member_count; /* those of groups in it counted */
	uint32_t depth;	       /* 1: it has no groups in it */
	uint32_t line;
	char name[ACL_GROUP_NAME_MAX + 1];
};

/* A line of limits. */
struct limit_line {
	uint32_t who; /* of acl->whos */
	struct acl_limits limits;
	bool has_connections;
	bool has_sessions;
};

/* The first 16 bytes of a prefix or key, as numbers; zeros follow those that it has. */
struct head {
	uint64_t first;
	uint64_t second;
};

/*
 * Invariants: rules are in the order of their prefixes, which are all different; `heads` are those
 * of the rules, side by side, because a look-up seldom reads more.
 */
struct acl {
	struct rule *rules;
	struct head *heads;
	struct who *whos;
	struct group *groups;
	struct limit_line *limits;
	uint32_t rule_count;
	uint32_t who_count;
	uint32_t group_count;
	uint32_t limit_count;
};

struct head acl_head(struct kv_bytes bytes);

/* The order of prefixes and keys: less than 0, 0, or more. */
int acl_compare(struct kv_bytes a, struct kv_bytes b);

#endif
