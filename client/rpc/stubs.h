/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROCEDURES_H
#define PROCEDURES_H

/* procedures.h - the procedures of kv.x: struct request <-> kv1_* structs <-> struct response. */

#include <stdint.h>

#include "transport.h"
#include "rpc/conn.h"

/* As struct transport's `attempt`. */
enum attempt stubs_call(struct link *link, const struct request *request,
				uint64_t deadline_ms, struct response *response);

#endif
