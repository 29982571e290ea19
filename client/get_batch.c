/* SPDX-License-Identifier: BSD-3-Clause */
#include "get_batch.h"

void get_batch_run(struct channel *channel, struct backoff *backoff,
		   struct known_store *known_store, struct request *requests, size_t count,
		   struct response *responses, bool *answered) {
	struct binding binding;
	bool is_current;

	if (channel_bind(channel, known_store_generation(known_store, false), backoff, &binding) !=
	    KV_OK)
		return;
	if (binding.is_stream) {
		const uint32_t xid = channel_xids(channel, count);

		for (size_t i = 0; i < count; i++) {
			requests[i].xid = xid + (uint32_t)i;
			requests[i].epoch = binding.epoch;
		}
		backoff->transport->get_batch(binding.conn, requests, count,
					      backoff_attempt_until(backoff), responses, answered);
	}
	/* What an earlier store said does not hold: see pass_on() in clerk.c. */
	is_current = channel_remember(channel, binding.generation);
	for (size_t i = 0; i < count; i++) {
		if (answered[i] && is_current)
			known_store_observed(known_store, binding.generation);
		else
			response_free(&responses[i]);
		answered[i] = answered[i] && is_current;
	}
	channel_unbind(channel, &binding);
}
