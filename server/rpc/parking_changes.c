/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>

#include "rpc/call.h"
#include "rpc/parking_private.h"

static bool has_news(const struct reply *reply) {
	return reply->status != KV_OK || reply->more || reply->value.size > 0;
}

/* `is_late`: it is not woken, and its time is up. */
static void look_at_changes(struct parking *parking, const struct parked *parked, bool is_late) {
	struct call *call = parked->copies;
	struct access_filter filter;
	struct changes_request request = {
	    .prefix = {parked->prefix->bytes, parked->prefix->size},
	    .since = parked->since,
	    .limit = parked->limit,
	    .reply_max = call->reply_max,
	};

	if (!parking_may_show(parking, call, request.prefix, &filter, &request.filter))
		return;
	/* However much of it the ring has forgotten; but the position would tell of other keys. */
	if (is_late && request.filter == NULL)
		request.since = service_position(parking->service);
	change_ring_answer(parking->changes, 0, &request, &call->reply);
}

/* It has its reply. */
static void answer(struct parking *parking, struct parked *parked) {
	struct call *call = parking_take_out(parking, parked);

	free(parked);
	parking->hooks.answer(parking->hooks.context, call);
}

static bool park(struct parking *parking, struct call *call, const struct changes_request *request,
		 uint32_t wait_ms) {
	struct parked *parked = parking_make(parking, call, PARKED_CHANGES);

	if (parked == NULL ||
	    wait_index_add_changes(&parking->index, parked, request->prefix) != KV_OK) {
		free(parked);
		return false;
	}
	parked->since = request->since;
	parked->limit = request->limit;
	parking_park(parking, parked, call, wait_ms);
	return true;
}

bool parking_changes(struct parking *parking, struct call *call, uint64_t epoch,
		     const struct changes_request *request, uint32_t wait_ms) {
	struct reply *reply = &call->reply;

	change_ring_answer(parking->changes, epoch, request, reply);
	if (wait_ms == 0 || has_news(reply))
		return true;
	if (!call_may_wait(call)) {
		*reply = (struct reply){.status = KV_INVALID};
		return true;
	}
	if (park(parking, call, request, wait_ms))
		return false;
	/* Right all the same: the client asks again. */
	parking->refused++;
	return true;
}

/* A key that went and was made again, or one that was only touched, may be no news. */
bool parking_run_changes(struct parking *parking) {
	struct parked *parked = parking->index.woken_changes.first;

	if (parked == NULL || parking->waits_left == 0)
		return false;
	parking->waits_left--;
	look_at_changes(parking, parked, false);
	if (!has_news(&parked->copies->reply)) {
		wait_index_await_changes(parked);
		return true;
	}
	parking->woken++;
	answer(parking, parked);
	return true;
}

void parking_end_changes(struct parking *parking, struct parked *parked) {
	look_at_changes(parking, parked, wait_index_is_awaiting_changes(parked));
	answer(parking, parked);
}
