/* SPDX-License-Identifier: BSD-3-Clause */
#include "call.h"

#include <string.h>

#include "channel.h"
#include "outcome.h"
#include "ticket.h"
#include "wait_plan.h"

/*
 * A write has three outcomes: it happened, it did not, it is unknown. The clerk counts
 * the attempts that may have run. As long as there are none, whatever stops the call means that it
 * did not happen. From then on only an answer that holds for each of them decides; all else is
 * KV_MAYBE, for "never fold the third into the second".
 */

/* A lost datagram is nothing unusual; so many in a row are a server that is gone. */
enum { DATAGRAM_SILENT_MAX = 3 };

enum next {
	NEXT_SEND,
	NEXT_REPLIED, /* what was answered */
	NEXT_AGAIN,
	NEXT_END, /* call->outcome is the result */
};

static enum next open_session(struct call *write);

static enum next end(struct call *call, enum kv_status outcome) {
	call->outcome = outcome;
	return NEXT_END;
}

/* Ends a call whose answer, if there was any, does not decide what became of a write. */
static enum next end_undecided(struct call *call, enum kv_status outcome) {
	return end(call, call_is_write(call) && call->may_have_run > 0 ? KV_MAYBE : outcome);
}

/* From now on another store is not the one that the call is for. */
static void learn_store(struct call *call, const struct binding *binding) {
	call->generation = binding->generation;
	call->knows_store = true;
}

static enum next pause_and_go_on(struct call *call) {
	return backoff_pause(call->backoff) ? NEXT_AGAIN : end_undecided(call, KV_TIMEOUT);
}

/* Once at once. A server that goes on asking for a fresh start gets it at a walking pace. */
static enum next start_again(struct call *call) {
	return call->restarts++ == 0 ? NEXT_AGAIN : pause_and_go_on(call);
}

/* --- Before an attempt --------------------------------------------------------------------- */

/* The limits are those of the HELLO reply. */
static bool is_within_limits(const struct request *request, const struct binding *binding) {
	uint64_t size = (uint64_t)request->key.size + request->value.size;

	if (request->key.size > binding->key_max || request->value.size > binding->value_max)
		return false;
	return binding->is_stream || size + REQUEST_OVERHEAD_MAX <= binding->datagram_max;
}

static void leave_slot(struct call *call) {
	session_release(call->clerk->session, &call->slot,
			call->may_have_run > 0 ? SLOT_UNRESOLVED : SLOT_UNUSED,
			backoff_now(call->backoff));
	call->slot = (struct slot){0};
}

/* A slot of a session for this write; the first that needs a session opens it. */
static enum next take_slot(struct call *call, const struct binding *binding) {
	struct clerk *clerk = call->clerk;

	switch (session_acquire_slot(clerk->session, binding->generation, call->backoff,
				     call->request->wait_ms > 0, &call->slot)) {
	case SLOT_HELD:
		break;
	case SLOT_OPEN:
		return open_session(call);
	case SLOT_TIMEOUT:
		return end_undecided(call, KV_TIMEOUT);
	case SLOT_WRONG_GENERATION:
		break;
	}
	/* It may have taken a while: check the binding again. */
	return NEXT_AGAIN;
}

/* The ticket has the call before it is first sent, and again if it gets another session. */
static enum next note_in_ticket(struct call *call, const struct binding *binding) {
	struct ticket_call noted = {
	    .client_id = call->slot.client_id, .slot = call->slot.index, .seq = call->slot.seq};

	if (call->noted_id == noted.client_id)
		return NEXT_SEND;
	if (!channel_store(call->clerk->channel, binding->generation, noted.store))
		return NEXT_AGAIN;
	if (!ticket_note(call->clerk->ticket, &noted))
		return end(call, KV_INVALID);
	call->noted_id = noted.client_id;
	return NEXT_SEND;
}

static enum next prepare(struct call *call, const struct binding *binding) {
	struct request *request = call->request;

	/*
	 * Only a new call can be refused: a copy of one that may have run gets its answer whatever
	 * the limits have become, if it can be sent at all.
	 */
	if ((call->may_have_run == 0 || !binding->is_stream) && !is_within_limits(request, binding))
		return end_undecided(call, KV_TOOBIG);
	/* A datagram may be repeated late: a call that waits goes over a stream. */
	if (request->wait_ms > 0 && !binding->is_stream)
		return end_undecided(call, KV_INVALID);
	if (!call_is_write(call))
		return NEXT_SEND;
	/* A call that knows nothing may come to another store with a slot that it did not use. */
	if (call->slot.client_id != 0 && call->slot.generation != binding->generation)
		leave_slot(call);
	if (!call->clerk->is_stateless && call->slot.client_id == 0)
		return take_slot(call, binding);
	request->client_id = call->slot.client_id;
	request->slot = call->slot.index;
	request->seq = call->slot.seq;
	if (call->clerk->ticket != NULL) {
		enum next next = note_in_ticket(call, binding);

		if (next != NEXT_SEND)
			return next;
	}

	/* A write that is sent may change the store: it is not exchanged unnoticed any more. */
	return channel_remember(call->clerk->channel, binding->generation) ? NEXT_SEND : NEXT_AGAIN;
}

/* --- An attempt ---------------------------------------------------------------------------- */

/*
 * Since when a conn must have been silent to be given up, if an attempt on it got no answer: since
 * the attempt began, and for attempt_ms at least. One that the caller's deadline cut short says
 * nothing of the server; it must not cost other calls, or the next one, their connection.
 */
static uint64_t silence_began_ms(const struct call *call, uint64_t began_ms) {
	uint64_t min_ms = call->clerk->retry.attempt_ms;
	uint64_t now_ms = backoff_now(call->backoff);

	if (now_ms - began_ms >= min_ms)
		return began_ms;
	return now_ms > min_ms ? now_ms - min_ms : 0;
}

/*
 * The time was up, or the conn broke. On a conn that carries other replies only this one is slow or
 * lost: it is asked for again at once, with more time, for the attempt's own time was the pause.
 */
static enum next unanswered(struct call *call, const struct binding *binding, uint64_t began_ms) {
	const struct transport *transport = call->clerk->transport;

	if (!transport->is_usable(binding->conn)) {
		channel_disconnect(call->clerk->channel, binding);
		return pause_and_go_on(call);
	}
	backoff_lengthen_attempt(call->backoff);
	if (transport->received_since(binding->conn, silence_began_ms(call, began_ms))) {
		call->silent_attempts = 0;
	} else if (binding->is_stream || ++call->silent_attempts == DATAGRAM_SILENT_MAX ||
		   backoff_expired(call->backoff)) {
		call->silent_attempts = 0;
		channel_disconnect(call->clerk->channel, binding);
	}
	return NEXT_AGAIN;
}

/*
 * This copy of the call did not run. Over a stream it was the only one. But a network repeats
 * datagrams: the first copy may have run and its answer be lost, then the server starts again, and
 * it is the second that is answered KV_EPOCH, or by another server on that port.
 */
static void copy_was_refused(struct call *call, const struct binding *binding) {
	if (!binding->is_stream)
		call->may_have_run++;
}

/*
 * That a waiting call got no answer says nothing of the server, and the connection is also that of
 * other threads: it is given up only if an empty call is not answered either.
 */
static enum next still_waiting(struct call *call, const struct binding *binding,
			       uint64_t began_ms) {
	const struct transport *transport = call->clerk->transport;
	bool is_usable = transport->is_usable(binding->conn);

	if (is_usable && backoff_expired(call->backoff))
		return pause_and_go_on(call);
	/* The last copy, now or never, says more than an empty call. */
	if (is_usable && backoff_is_interrupted(call->backoff))
		return NEXT_AGAIN;
	if (is_usable &&
	    (transport->received_since(binding->conn, began_ms) ||
	     channel_ping(call->clerk->channel, binding, backoff_attempt_until(call->backoff))))
		return NEXT_AGAIN;
	channel_disconnect(call->clerk->channel, binding);
	return is_usable ? NEXT_AGAIN : pause_and_go_on(call);
}

/* Sends once. Knows what each way to fail means for the call, not what an answer means. */
static enum next send_once(struct call *call, const struct binding *binding) {
	struct channel *channel = call->clerk->channel;
	struct request *request = call->request;
	struct response *response = call->response;
	uint64_t began_ms = backoff_now(call->backoff);
	uint64_t until_ms = backoff_attempt_until(call->backoff);

	/* The request may be one that was used before. */
	request->copy_wait_ms = 0;
	if (request->wait_ms > 0)
		until_ms =
		    wait_plan_copy(call->backoff, call->slot.is_only ? 0 : call->wait_until_ms,
				   &request->copy_wait_ms);
	request->interrupted_ms = request->copy_wait_ms > 0 ? call->backoff->interrupted_ms : NULL;
	request->limit_ms = request->copy_wait_ms > 0 ? 0 : backoff_deadline(call->backoff);
	/*
	 * The same call is sent under the new epoch, and from then on only replies to attempts of
	 * that epoch count (PROTOCOL.md): those have another xid.
	 */
	if (request->epoch != binding->epoch) {
		request->epoch = binding->epoch;
		request->xid = channel_xid(channel);
	}
	response_free(response);
	switch (channel_attempt(channel, binding, request, until_ms, response)) {
	case ATTEMPT_ANSWERED:
		if (response->status == KV_EPOCH) {
			/* "A server of another epoch runs nothing." */
			copy_was_refused(call, binding);
			channel_need_hello(channel, binding);
			return start_again(call);
		}
		call->may_have_run++;
		call->is_answered = true;
		return NEXT_REPLIED;
	case ATTEMPT_UNANSWERED:
		call->may_have_run++;
		return request->copy_wait_ms > 0 ? still_waiting(call, binding, began_ms)
						 : unanswered(call, binding, began_ms);
	case ATTEMPT_UNSENT:
		if (!call->clerk->transport->is_usable(binding->conn))
			channel_disconnect(channel, binding);
		return pause_and_go_on(call);
	case ATTEMPT_WRONG_SERVER:
		copy_was_refused(call, binding);
		channel_next_server(channel, binding);
		return pause_and_go_on(call);
	case ATTEMPT_REJECTED:
		if (response->status != KV_TOOBIG)
			copy_was_refused(call, binding);
		return end_undecided(call, response->status);
	case ATTEMPT_BAD_REPLY:
		call->may_have_run++;
		channel_disconnect(channel, binding);
		return end_undecided(call, KV_PROTOCOL);
	case ATTEMPT_NOMEM:
		if (response->status == KV_NOMEM)
			call->may_have_run++;
		return end_undecided(call, KV_NOMEM);
	}
	return end_undecided(call, KV_PROTOCOL);
}

/* --- After an attempt ---------------------------------------------------------------------- */

/* Whether the answer is about the store's contents, not only about the server. */
static bool is_about_store(const struct call *call) {
	const enum kv_status status = call->response->status;
	const enum request_kind kind = call->request->kind;

	if (kind == REQUEST_GET || kind == REQUEST_WAIT || kind == REQUEST_OPEN ||
	    kind == REQUEST_LIST || kind == REQUEST_CHANGES)
		return status == KV_OK || status == KV_NOKEY;
	return call_is_write(call);
}

/* Passes on what the server said, unless its store was left meanwhile: it does not hold here. */
static enum next pass_on(struct call *call, const struct binding *binding) {
	const enum kv_status status = call->response->status;

	if (!is_about_store(call))
		return end(call, status);
	if (channel_remember(call->clerk->channel, binding->generation)) {
		learn_store(call, binding);
		return end(call, status);
	}
	if (!call_is_write(call))
		return NEXT_AGAIN;
	call->is_store_gone = true;
	return end(call, status == KV_OK || status == KV_MAYBE ? KV_MAYBE : KV_BADSESSION);
}

static enum next apply_outcome(struct call *call, const struct binding *binding) {
	struct session *session = call->clerk->session;
	const struct slot slot = call->slot;
	const struct reply_facts answer = {.kind = call->request->kind,
					   .status = call->response->status,
					   .is_in_session = slot.client_id != 0,
					   .waits = call->request->wait_ms > 0,
					   .may_have_run = call->may_have_run,
					   .is_stream = binding->is_stream};

	switch (outcome_of(answer)) {
	case OUTCOME_FINAL:
		/* Nothing yet, and time is left. */
		if (answer.kind == REQUEST_WAIT && answer.status == KV_UNMET &&
		    backoff_now(call->backoff) < call->wait_until_ms &&
		    !backoff_is_interrupted(call->backoff))
			return NEXT_AGAIN;
		/* A KV_MAYBE of the server's: the call may not have run, and its copies still may.
		 */
		if (slot.client_id != 0)
			session_release(session, &slot,
					answer.status == KV_MAYBE ? SLOT_UNRESOLVED : SLOT_ANSWERED,
					backoff_now(call->backoff));
		call->slot = (struct slot){0};
		return pass_on(call, binding);
	case OUTCOME_UNKNOWN:
		break;
	case OUTCOME_NEW_SESSION:
		session_invalidate(session, &slot, true);
		call->slot = (struct slot){0};
		if (call->is_settling)
			return end(call, KV_BADSESSION);
		call->may_have_run = 0;
		call->request->epoch = 0; /* another call to the server, with another xid */
		return start_again(call);
	case OUTCOME_SESSION_LOST:
		session_invalidate(session, &slot, answer.status == KV_BADSESSION);
		call->slot = (struct slot){0};
		if (call->is_settling)
			return end(call, answer.status);
		if (call->clerk->ticket != NULL)
			ticket_lose(call->clerk->ticket, answer.status == KV_BADSESSION
							     ? TICKET_SESSION_ENDED
							     : TICKET_USED_ELSEWHERE);
		break;
	}
	return end(call, call_is_write(call) ? KV_MAYBE : KV_PROTOCOL);
}

/* --- A call from start to end -------------------------------------------------------------- */

void call_run(struct call *call) {
	struct clerk *clerk = call->clerk;
	enum next next;

	do {
		struct binding binding;
		enum kv_status status =
		    channel_bind(clerk->channel, call->generation, call->backoff, &binding);

		if (status != KV_OK) {
			call->is_store_gone = status == KV_BADSESSION;
			(void)end_undecided(call, status);
			break;
		}
		next = prepare(call, &binding);
		if (next == NEXT_SEND)
			next = send_once(call, &binding);
		if (call_is_write(call) && call->may_have_run > 0)
			learn_store(call, &binding);
		if (next == NEXT_REPLIED)
			next = apply_outcome(call, &binding);
		channel_unbind(clerk->channel, &binding);
	} while (next != NEXT_END);

	if (call->slot.client_id != 0)
		leave_slot(call);
}

/* OPEN is a call of its own within the time of the write that needs it. */
static enum next open_session(struct call *write) {
	struct clerk *clerk = write->clerk;
	struct request request = {.kind = REQUEST_OPEN, .slots = SESSION_SLOTS};
	struct response response = {0};
	struct call call = {.clerk = clerk,
			    .backoff = write->backoff,
			    .request = &request,
			    .response = &response,
			    .generation = write->generation};

	session_nonce(clerk->session, clerk->transport, request.nonce);
	call_run(&call);
	write->is_store_gone = call.is_store_gone;
	if (call.outcome == KV_OK && (response.client_id == 0 || response.slots == 0))
		call.outcome = KV_PROTOCOL;
	if (call.outcome == KV_OK)
		session_opened(clerk->session, call.generation, &response,
			       backoff_now(call.backoff), write->request->wait_ms > 0,
			       &write->slot);
	else
		session_not_opened(clerk->session, call.is_answered);
	response_free(&response);
	return call.outcome == KV_OK ? NEXT_AGAIN : end_undecided(write, call.outcome);
}
