/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STUBS_H
#define STUBS_H

/* stubs.h - the procedures of kv.x: converts struct request and struct response to kv1_* structs.
 */

#include <stdint.h>

#include "rpc/conn.h"
#include "transport.h"

/* As struct transport's `attempt`. */
enum attempt stubs_call(struct conn *conn, const struct request *request, uint64_t deadline_ms,
			struct response *response);

#endif
