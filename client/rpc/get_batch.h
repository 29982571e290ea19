/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GET_BATCH_H
#define GET_BATCH_H

/* get_batch.h - many GETs on one connection, sent together. */

#include "rpc/conn.h"
#include "transport.h"

/* As struct transport's `get_batch`. */
void get_batch(struct conn *conn, const struct request *requests, size_t count,
	       uint64_t deadline_ms, struct response *responses, bool *answered);

#endif
