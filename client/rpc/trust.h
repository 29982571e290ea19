/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRUST_H
#define TRUST_H

/*
 * trust.h - decides which servers a client uses whose address was not named. Another user of the
 * machine may listen where a client looks by default, and would be sent what the client writes; so
 * there a server must be run by root, by the client's own user, or by the owner of a directory in
 * /run that root made for it (decision 32). An address that the program or $KV_SERVER names is not
 * checked. Functions of the moment; any thread may call them.
 */

#include <stdbool.h>

#include "rpc/dial.h"

/* Whether `path` is a directory of this user in which no other may write. */
bool trust_runtime_directory(const char *path);

/* Whether an entry of rpcbind was made by root or by this user; `owner` is its r_owner. */
bool trust_rpcbind_owner(const char *owner);

/*
 * Whether the server at the other end of a connected socket may be used; `endpoint` is its address.
 * False: last_error_set() has said why, after `name` and a colon.
 */
bool trust_server(int fd, const struct endpoint *endpoint, const char *name);

#endif
