/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef GET_BATCH_H
#define GET_BATCH_H

/* get_batch.h - one attempt of many Gets over one stream: see clerk_get_batch(). */

#include "channel.h"
#include "known_store.h"

/* Sets answered[i] and fills responses[i] for those that were answered in this attempt. */
void get_batch_run(struct channel *channel, struct backoff *backoff,
		   struct known_store *known_store, struct request *requests, size_t count,
		   struct response *responses, bool *answered);

#endif
