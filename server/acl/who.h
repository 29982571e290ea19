/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WHO_H
#define WHO_H

/*
 * who.h - one WHO of the access rules: the callers that it matches, and its text form (kvd.acl(5)).
 *
 *	any known local uid:U gid:G host:ADDRESS[/BITS] @GROUP
 *	cert:NAME cert:*.NAME cert-sha256:64HEX
 *	krb:NAME@REALM krb:*@REALM
 *
 * Those of the last line match no caller yet: no transport has such a name.
 */

#include "acl/principal.h"

enum who_kind {
	WHO_ANY,
	WHO_KNOWN,
	WHO_LOCAL,
	WHO_UID,
	WHO_GID,
	WHO_HOST,
	WHO_CERT,
	WHO_FINGERPRINT,
	WHO_KRB,
	WHO_GROUP,
};

struct who {
	uint8_t kind;	/* enum who_kind */
	uint8_t rights; /* of enum acl_right */
	uint8_t bits;	/* WHO_HOST: of the address, from its front */
	bool needs_tls;
	uint32_t id; /* uid, gid, or number of the group */
	union {
		uint8_t address[CALLER_ADDRESS_SIZE];		   /* WHO_HOST */
		uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]; /* WHO_FINGERPRINT */
		char *name;					   /* WHO_CERT; owned */
	};
};

/* Looks up names of this machine; false: there is none of that name. */
struct who_names {
	bool (*user)(const char *name, uint32_t *uid);
	bool (*group)(const char *name, uint32_t *gid);
};

enum { WHO_ERROR_MAX = 256 };

/*
 * Reads a WHO without its rights, and no @GROUP. Returns false with one line in `error`, which says
 * what is wrong and what to write. `text` is changed. What `who` holds is freed with who_free().
 */
bool who_parse(char *text, const struct who_names *names, struct who *who,
	       char error[WHO_ERROR_MAX]);
void who_free(struct who *who);

/* Whether no other reads its calls on their way: a local socket is as good as TLS. */
bool who_is_secure(const struct caller *caller);

/* Whether it matches the caller; never of WHO_GROUP. */
bool who_matches(const struct who *who, const struct caller *caller);

#endif
