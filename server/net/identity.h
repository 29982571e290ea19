/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IDENTITY_H
#define IDENTITY_H

/*
 * identity.h - the caller (acl/principal.h) at the other end of a connection, as the kernel names
 * it when the connection is accepted: the user and groups that connected to a local socket, or the
 * address of a tcp connection.
 */

#include "acl/principal.h"

struct peer_name;

/* The ids that the kernel shows of users and groups which it cannot name here: user_namespaces(7).
 */
struct overflow_ids {
	uint32_t uid;
	uint32_t gid;
};

struct overflow_ids identity_overflow_ids(void);

/*
 * The caller; its groups, and the certificate that it shows later, are freed with identity_free().
 * Without memory it has no groups.
 */
struct caller identity_of(int fd, const struct peer_name *name,
			  const struct overflow_ids *overflow);
void identity_free(struct caller *caller);

#endif
