/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLIENT_H
#define CLIENT_H

/* client.h - what other files of the library need of a handle. */

#include "transport.h"

/*
 * Runs one call within the time limit of the handle: clerk_call(). *response is to be freed with
 * response_free(). KV_INVALID in a forked child.
 */
enum kv_status client_call(struct kv_client *client, struct request *request,
			   struct response *response);

/* Clock and waiting of the handle. */
const struct transport *client_transport(const struct kv_client *client);

#endif
