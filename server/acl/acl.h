/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ACL_H
#define ACL_H

/*
 * acl.h - access rules: which callers may do what with which keys, as kvd.acl(5) has them.
 *
 * A rule is a prefix of keys with callers and their rights. The rule of the longest prefix that
 * begins a key decides, alone; on one rule the rights of all that match the caller add up; an
 * administrator may everything. The rules never change once they are read.
 */

#include "acl/principal.h"
#include "acl/who.h"
#include "bytes.h"

enum acl_right {
	ACL_READ = 1,
	ACL_LOCK = 2,	/* takes and breaks locks */
	ACL_APPEND = 4, /* appends, without the old value */
	ACL_WRITE = 8,
	ACL_ADMIN = 16,
	ACL_ALL = 31,
};

enum {
	ACL_TEXT_MAX = 16 << 20,       /* bytes of a file */
	ACL_PREFIX_MAX = 1024,	       /* bytes of a prefix: those of a key */
	ACL_RULES_MAX = 100000,	       /* and as many groups */
	ACL_LIMITS_MAX = 1000,	       /* lines of limits; each is looked at for a new peer */
	ACL_GROUP_NAME_MAX = 64,       /* bytes */
	ACL_GROUP_MEMBERS_MAX = 10000, /* those of groups in it counted */
	ACL_GROUP_DEPTH_MAX = 8,       /* groups in groups */
	ACL_ERROR_MAX = 512,	       /* an error text, with its NUL */
	ACL_RIGHTS_TEXT_MAX = 32,      /* rights as text, with its NUL */
};

struct acl;

/*
 * Reads the rules of a file; freed with acl_free(). NULL, with one line in `error`: "FILE:LINE:
 * what is wrong, and what to do".
 */
struct acl *acl_parse(const char *file, struct kv_bytes text, const struct who_names *names,
		      char error[ACL_ERROR_MAX]);
void acl_free(struct acl *acl);

unsigned acl_rule_count(const struct acl *acl);

/* The rights of the caller to this key. */
unsigned acl_check(const struct acl *acl, const struct caller *caller, struct kv_bytes key);

/* All rights that the caller has to any key. Costs a look at every rule. */
unsigned acl_rights_anywhere(const struct acl *acl, const struct caller *caller);

/*
 * Whether a certificate is named by its fingerprint. Then it is trusted without its issuer. Costs a
 * look at every caller in the rules.
 */
bool acl_has_fingerprint(const struct acl *acl,
			 const uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]);

/* The rule that decides: its prefix and line. False: there is none. */
bool acl_find_rule(const struct acl *acl, struct kv_bytes key, struct kv_bytes *prefix,
		   unsigned *line);

/* The rule `index`, in the order of their prefixes, and the caller's rights to it. */
unsigned acl_rule(const struct acl *acl, const struct caller *caller, unsigned index,
		  struct kv_bytes *prefix);

/* What one peer (principal.h) may have at once; 0: there is no such limit. */
struct acl_limits {
	uint32_t connections;
	uint32_t sessions;
};

/* `usual`, changed by what the first line of limits that matches the caller says. */
struct acl_limits acl_limits_of(const struct acl *acl, const struct caller *caller,
				struct acl_limits usual);

/* Keys from `from` on, and before `end` if it has any bytes. Both lie in the arrays. */
struct acl_range {
	struct kv_bytes from;
	struct kv_bytes end;
	unsigned char from_bytes[ACL_PREFIX_MAX];
	unsigned char end_bytes[ACL_PREFIX_MAX];
};

/*
 * Fills in the first range of keys at or behind `from` (at most ACL_PREFIX_MAX bytes; it may
 * be range->end) that the caller has the right to. Two ranges may meet. False: there are none.
 */
bool acl_next_range(const struct acl *acl, const struct caller *caller, enum acl_right right,
		    struct kv_bytes from, struct acl_range *range);

/* "rw", "ro", "lock", "add", "ro,add", "admin", "none". Returns `text`. */
const char *acl_rights_format(unsigned rights, char text[ACL_RIGHTS_TEXT_MAX]);

#endif
