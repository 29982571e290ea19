/* SPDX-License-Identifier: BSD-3-Clause */
#include "clerk.h"

#include <stdlib.h>

#include "channel.h"
#include "session.h"
#include "outcome.h"

/*
 * About a write there are three answers: it happened, it did not, nobody knows. The clerk counts
 * the attempts that may have run. As long as there are none, whatever stops the call means that it
 * did not happen. From then on only an answer that holds for each of them decides; all else is
 * KV_MAYBE, for "never fold the third into the second".
 */

enum {
	/* A lost datagram is nothing unusual; so many in a row are a server that is gone. */
	DATAGRAM_SILENCES = 3,
};

struct clerk {
	const struct transport *transport;
	struct pace pace;
	bool is_stateless;
	struct channel *channel;
	struct session *session;
};

struct call {
	struct clerk *clerk;
	struct backoff *backoff;
	struct request *request;
	struct response *response;
	uint64_t life;	       /* in which the store is known; 0: nothing is known of it */
	bool has_learned;      /* the call itself knows the store */
	bool is_outlived;      /* the life is over, and the call ends of it */
	struct slot slot;      /* of a write with a session */
	unsigned may_have_run; /* attempts of which a copy may have run */
	unsigned fresh_starts; /* after KV_EPOCH and KV_BADSESSION */
	unsigned silences;     /* attempts in a row during which nothing was heard */
	bool is_answered;
	enum kv_status outcome; /* once the call has ended */
};

enum next {
	NEXT_SEND,
	NEXT_JUDGE, /* what was answered */
	NEXT_AGAIN,
	NEXT_END, /* call->outcome is what the caller hears */
};

static enum next open_session(struct call *call);

static bool is_write(const struct call *call) {
	return call->request->kind == REQUEST_PUT || call->request->kind == REQUEST_APPEND;
}

static enum next end(struct call *call, enum kv_status outcome) {
	call->outcome = outcome;
	return NEXT_END;
}

/* Ends a call whose answer, if there was any, does not decide what became of a write. */
static enum next end_undecided(struct call *call, enum kv_status outcome) {
	return end(call, is_write(call) && call->may_have_run > 0 ? KV_MAYBE : outcome);
}

/* From now on another store is not the one that the call is for. */
static void learn(struct call *call, const struct line *line) {
	call->life = line->life;
	call->has_learned = true;
}

static enum next pause_and_go_on(struct call *call) {
	return backoff_pause(call->backoff) ? NEXT_AGAIN : end_undecided(call, KV_TIMEOUT);
}

/* Once at once. A server that goes on asking for a fresh start gets it at a walking pace. */
static enum next start_afresh(struct call *call) {
	return call->fresh_starts++ == 0 ? NEXT_AGAIN : pause_and_go_on(call);
}

/* --- Before an attempt --------------------------------------------------------------------- */

/* Limits are those that HELLO told. */
static bool is_within_limits(const struct request *request, const struct line *line) {
	uint64_t size = (uint64_t)request->key.size + request->value.size;

	if (request->key.size > line->key_max || request->value.size > line->value_max)
		return false;
	return line->is_stream || size + REQUEST_OVERHEAD_MAX <= line->datagram_max;
}

static void leave_slot(struct call *call) {
	session_release(call->clerk->session, &call->slot,
			call->may_have_run > 0 ? SLOT_UNSETTLED : SLOT_UNTOUCHED,
			backoff_now(call->backoff));
	call->slot = (struct slot){0};
}

/* A slot of a session for this write; the first that needs a session opens it. */
static enum next take_slot(struct call *call, const struct line *line) {
	struct clerk *clerk = call->clerk;

	switch (session_acquire_slot(clerk->session, line->life, call->backoff, &call->slot)) {
	case SLOT_HELD:
		break;
	case SLOT_OPEN:
		return open_session(call);
	case SLOT_TIMEOUT:
		return end_undecided(call, KV_TIMEOUT);
	case SLOT_WRONG_GENERATION:
		break;
	}
	/* It may have taken a while: look at the line again. */
	return NEXT_AGAIN;
}

static enum next prepare(struct call *call, const struct line *line) {
	struct request *request = call->request;

	/*
	 * Only a new call can be refused: a copy of one that may have run gets its answer whatever
	 * the limits have become, if it can be sent at all.
	 */
	if ((call->may_have_run == 0 || !line->is_stream) && !is_within_limits(request, line))
		return end_undecided(call, KV_TOOBIG);
	if (!is_write(call))
		return NEXT_SEND;
	/* A call that knows nothing may come to another store with a slot that it did not use. */
	if (call->slot.client_id != 0 && call->slot.life != line->life)
		leave_slot(call);
	if (!call->clerk->is_stateless && call->slot.client_id == 0)
		return take_slot(call, line);
	request->client_id = call->slot.client_id;
	request->slot = call->slot.index;
	request->seq = call->slot.seq;

	/* A write that is sent may change the store: it is not exchanged unnoticed any more. */
	return channel_remember(call->clerk->channel, line->life) ? NEXT_SEND : NEXT_AGAIN;
}

/* --- An attempt ---------------------------------------------------------------------------- */

/*
 * Since when a link must have been silent to be given up, if an attempt on it got no answer: since
 * the attempt began, and for attempt_ms at least. One that the caller's deadline cut short says
 * nothing of the server; it must not cost other calls, or the next one, their connection.
 */
static uint64_t silence_began_ms(const struct call *call, uint64_t began_ms) {
	uint64_t least_ms = call->clerk->pace.attempt_ms;
	uint64_t now_ms = backoff_now(call->backoff);

	if (now_ms - began_ms >= least_ms)
		return began_ms;
	return now_ms > least_ms ? now_ms - least_ms : 0;
}

/*
 * The time was up, or the link broke. On a link that carries other answers only this one is slow or
 * lost: it is asked for again at once, with more time, for the attempt's own time was the pause.
 */
static enum next unanswered(struct call *call, const struct line *line, uint64_t began_ms) {
	const struct transport *transport = call->clerk->transport;

	if (!transport->is_usable(line->link)) {
		channel_disconnect(call->clerk->channel, line);
		return pause_and_go_on(call);
	}
	backoff_lengthen_attempt(call->backoff);
	if (transport->heard_since(line->link, silence_began_ms(call, began_ms))) {
		call->silences = 0;
	} else if (line->is_stream || ++call->silences == DATAGRAM_SILENCES ||
		   backoff_expired(call->backoff)) {
		call->silences = 0;
		channel_disconnect(call->clerk->channel, line);
	}
	return NEXT_AGAIN;
}

/*
 * This copy of the call did not run. Over a stream it was the only one. But a network repeats
 * datagrams: the first copy may have run and its answer be lost, then the server starts again, and
 * it is the second that is answered KV_EPOCH, or by somebody else on that port.
 */
static void copy_was_refused(struct call *call, const struct line *line) {
	if (!line->is_stream)
		call->may_have_run++;
}

/* Sends once. Knows what each way to fail means for the call, not what an answer means. */
static enum next send_once(struct call *call, const struct line *line) {
	struct channel *channel = call->clerk->channel;
	struct request *request = call->request;
	struct response *response = call->response;
	uint64_t began_ms = backoff_now(call->backoff);

	/*
	 * "Sends the same call under the new epoch, and from then on takes only answers to attempts
	 * of that epoch": those have another xid.
	 */
	if (request->epoch != line->epoch) {
		request->epoch = line->epoch;
		request->xid = channel_xid(channel);
	}
	response_free(response);
	switch (channel_attempt(channel, line, request, backoff_attempt_until(call->backoff),
				response)) {
	case ATTEMPT_ANSWERED:
		if (response->status == KV_EPOCH) {
			/* "A server of another epoch runs nothing." */
			copy_was_refused(call, line);
			channel_need_hello(channel, line);
			return start_afresh(call);
		}
		call->may_have_run++;
		call->is_answered = true;
		return NEXT_JUDGE;
	case ATTEMPT_UNANSWERED:
		call->may_have_run++;
		return unanswered(call, line, began_ms);
	case ATTEMPT_UNSENT:
		if (!call->clerk->transport->is_usable(line->link))
			channel_disconnect(channel, line);
		return pause_and_go_on(call);
	case ATTEMPT_WRONG_SERVER:
		copy_was_refused(call, line);
		channel_next_server(channel, line);
		return pause_and_go_on(call);
	case ATTEMPT_REJECTED:
		if (response->status != KV_TOOBIG)
			copy_was_refused(call, line);
		return end_undecided(call, response->status);
	case ATTEMPT_BAD_REPLY:
		call->may_have_run++;
		channel_disconnect(channel, line);
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

	if (call->request->kind == REQUEST_GET || call->request->kind == REQUEST_OPEN)
		return status == KV_OK || status == KV_NOKEY;
	return is_write(call);
}

/* Passes on what the server said, unless its store was left meanwhile: it does not hold here. */
static enum next pass_on(struct call *call, const struct line *line) {
	const enum kv_status status = call->response->status;

	if (!is_about_store(call))
		return end(call, status);
	if (channel_remember(call->clerk->channel, line->life)) {
		learn(call, line);
		return end(call, status);
	}
	if (!is_write(call))
		return NEXT_AGAIN;
	call->is_outlived = true;
	return end(call, status == KV_OK || status == KV_MAYBE ? KV_MAYBE : KV_BADSESSION);
}

static enum next judge(struct call *call, const struct line *line) {
	struct session *session = call->clerk->session;
	const struct slot slot = call->slot;
	const struct answer answer = {.kind = call->request->kind,
				      .status = call->response->status,
				      .is_in_session = slot.client_id != 0,
				      .may_have_run = call->may_have_run,
				      .is_stream = line->is_stream};

	switch (outcome_of(answer)) {
	case OUTCOME_FINAL:
		/* A KV_MAYBE of the server's: the call may not have run, and its copies still may.
		 */
		if (slot.client_id != 0)
			session_release(session, &slot,
					answer.status == KV_MAYBE ? SLOT_UNSETTLED : SLOT_ANSWERED,
					backoff_now(call->backoff));
		call->slot = (struct slot){0};
		return pass_on(call, line);
	case OUTCOME_UNKNOWN:
		break;
	case OUTCOME_NEW_SESSION:
		session_invalidate(session, &slot);
		call->slot = (struct slot){0};
		call->may_have_run = 0;
		call->request->epoch = 0; /* another call to the server, with another xid */
		return start_afresh(call);
	case OUTCOME_SESSION_LOST:
		session_invalidate(session, &slot);
		call->slot = (struct slot){0};
		break;
	}
	return end(call, is_write(call) ? KV_MAYBE : KV_PROTOCOL);
}

/* --- A call from start to end -------------------------------------------------------------- */

static void run(struct call *call) {
	struct clerk *clerk = call->clerk;
	enum next next;

	do {
		struct line line;
		enum kv_status status =
		    channel_bind(clerk->channel, call->life, call->backoff, &line);

		if (status != KV_OK) {
			call->is_outlived = status == KV_BADSESSION;
			(void)end_undecided(call, status);
			break;
		}
		next = prepare(call, &line);
		if (next == NEXT_SEND)
			next = send_once(call, &line);
		if (is_write(call) && call->may_have_run > 0)
			learn(call, &line);
		if (next == NEXT_JUDGE)
			next = judge(call, &line);
		channel_unbind(clerk->channel, &line);
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
			    .life = write->life};

	session_nonce(clerk->session, clerk->transport, request.nonce);
	run(&call);
	write->is_outlived = call.is_outlived;
	if (call.outcome == KV_OK && (response.client_id == 0 || response.slots == 0))
		call.outcome = KV_PROTOCOL;
	if (call.outcome == KV_OK)
		session_opened(clerk->session, call.life, &response, backoff_now(call.backoff),
			       &write->slot);
	else
		session_not_opened(clerk->session, call.is_answered);
	response_free(&response);
	return call.outcome == KV_OK ? NEXT_AGAIN : end_undecided(write, call.outcome);
}

/* Whoever knows at which version the key is has it from the store, or from somebody who has. */
static bool names_version(const struct request *request) {
	return (request->kind == REQUEST_PUT || request->kind == REQUEST_APPEND) &&
	       request->expected != 0 && request->expected != KV_ANY;
}

enum kv_status clerk_call(struct clerk *clerk, struct memo *memo, unsigned timeout_ms,
			  struct request *request, struct response *response) {
	struct backoff backoff;
	struct call call = {.clerk = clerk,
			    .backoff = &backoff,
			    .request = request,
			    .response = response,
			    .life = known_store_generation(memo, names_version(request))};
	uint64_t current;

	*response = (struct response){0};
	if (clerk->is_stateless && is_write(&call) &&
	    (request->kind == REQUEST_APPEND || request->expected == KV_ANY))
		return KV_INVALID;
	backoff_start(&backoff, clerk->transport, &clerk->pace, timeout_ms);
	run(&call);
	if (call.is_outlived)
		known_store_reset(memo, channel_generation(clerk->channel));
	else if (call.has_learned)
		known_store_observed(memo, call.life);
	if (call.outcome != KV_OK) {
		current = call.outcome == KV_VERSION ? response->current : 0;
		response_free(response);
		response->current = current;
	}
	return call.outcome;
}

void clerk_end_session(struct clerk *clerk) {
	struct backoff backoff;
	struct request request = {.kind = REQUEST_CLOSE};
	struct response response = {0};
	struct call call = {.clerk = clerk,
			    .backoff = &backoff,
			    .request = &request,
			    .response = &response,
			    .life = channel_generation(clerk->channel)};

	request.client_id = session_client_id(clerk->session, call.life);
	if (request.client_id == 0)
		return;
	backoff_start(&backoff, clerk->transport, &clerk->pace, clerk->pace.attempt_ms);
	backoff.is_one_try = true;
	run(&call);
	response_free(&response);
}

uint64_t clerk_generation(struct clerk *clerk) {
	return channel_generation(clerk->channel);
}

void clerk_last_error(struct clerk *clerk, char *text, size_t size) {
	channel_last_error(clerk->channel, text, size);
}

static unsigned or_default(unsigned given, unsigned otherwise) {
	return given > 0 ? given : otherwise;
}

struct clerk *clerk_new(const struct kv_options *options, const struct transport *transport) {
	static const struct kv_options defaults;
	struct clerk *clerk = calloc(1, sizeof(*clerk));

	if (clerk == NULL)
		return NULL;
	if (options == NULL)
		options = &defaults;
	clerk->transport = transport;
	clerk->pace = (struct pace){.attempt_ms = or_default(options->attempt_ms, 1000),
				    .backoff_ms = or_default(options->backoff_ms, 10),
				    .backoff_max_ms = or_default(options->backoff_max_ms, 1000)};
	clerk->is_stateless = options->stateless;
	clerk->channel = channel_new(transport);
	clerk->session = session_new();
	if (clerk->channel == NULL || clerk->session == NULL) {
		clerk_free(clerk, false);
		return NULL;
	}
	return clerk;
}

void clerk_free(struct clerk *clerk, bool is_child) {
	if (clerk == NULL)
		return;
	session_free(clerk->session, is_child);
	channel_free(clerk->channel, is_child);
	free(clerk);
}
