/* SPDX-License-Identifier: BSD-3-Clause */
#include "clerk.h"

#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "channel.h"
#include "get_batch.h"
#include "ticket.h"
#include "wait_plan.h"

/* A caller that names a version has it from the store. */
static bool names_version(const struct request *request) {
	return (request_is_write(request->kind) || request->kind == REQUEST_WAIT) &&
	       request->expected != 0 && request->expected != KV_ANY;
}

/* --- A write with a ticket ------------------------------------------------------------------ */

/*
 * Sends the call that another process may have sent, or an earlier one of this handle: as if one
 * attempt had been made.
 */
static void resume(struct call *call, const struct ticket_call *noted) {
	struct clerk *clerk = call->clerk;
	uint64_t generation = channel_expect_store(clerk->channel, noted->store);

	call->may_have_run = 1;
	if (generation == 0) {
		call->is_store_gone = true;
		call->outcome = KV_MAYBE;
		return;
	}
	call->generation = generation;
	call->noted_id = noted->client_id;
	call->slot = (struct slot){.client_id = noted->client_id,
				   .generation = generation,
				   .index = noted->slot,
				   .seq = noted->seq};
	clerk->resumed = call->slot;
	call_run(call);
}

static void run_with_ticket(struct call *call) {
	struct ticket *ticket = call->clerk->ticket;
	struct ticket_call noted;
	enum ticket_state state;

	call->outcome = ticket_begin(ticket, call->request, &state, &noted, call->response);
	if (call->outcome != KV_OK)
		return;
	if (state == TICKET_EMPTY)
		call_run(call);
	else if (state == TICKET_PENDING)
		resume(call, &noted);
	if (call->is_store_gone && call->outcome == KV_MAYBE)
		ticket_lose(ticket, TICKET_OTHER_STORE);
	ticket_end(ticket, call->outcome, call->response);
}

enum kv_status clerk_call(struct clerk *clerk, struct known_store *known_store, unsigned timeout_ms,
			  struct request *request, struct response *response) {
	struct backoff backoff;
	struct call call = {.clerk = clerk,
			    .backoff = &backoff,
			    .request = request,
			    .response = response,
			    .generation =
				known_store_generation(known_store, names_version(request))};
	uint64_t current;
	uint32_t which;

	*response = (struct response){0};
	if (clerk->is_stateless && call_is_write(&call) &&
	    (request->kind == REQUEST_APPEND || request->kind == REQUEST_TXN ||
	     request->expected == KV_ANY ||
	     (request->kind == REQUEST_DELETE && request->expected == 0)))
		return KV_INVALID;
	backoff_start(&backoff, clerk->transport, &clerk->retry, timeout_ms);
	backoff.interrupted_ms = request->interrupted_ms;
	call.wait_until_ms = wait_plan_end(&backoff, request->wait_ms);
	if (clerk->ticket != NULL && call_is_write(&call))
		run_with_ticket(&call);
	else
		call_run(&call);
	if (call.is_store_gone)
		known_store_reset(known_store, channel_generation(clerk->channel));
	else if (call.knows_store)
		known_store_observed(known_store, call.generation);
	if (call.outcome != KV_OK) {
		const bool is_unmet = call.outcome == KV_UNMET || request->kind == REQUEST_TXN;

		current = call.outcome == KV_VERSION || is_unmet ? response->current : 0;
		which = is_unmet ? response->which : 0;
		response_free(response);
		response->current = current;
		response->which = which;
	}
	return call.outcome;
}

void clerk_get_batch(struct clerk *clerk, struct known_store *known_store, unsigned timeout_ms,
		     struct request *requests, size_t count, struct response *responses,
		     bool *answered) {
	struct backoff backoff;

	memset(answered, 0, count * sizeof(*answered));
	memset(responses, 0, count * sizeof(*responses));
	backoff_start(&backoff, clerk->transport, &clerk->retry, timeout_ms);
	if (clerk->transport->get_batch != NULL)
		get_batch_run(clerk->channel, &backoff, known_store, requests, count, responses,
			      answered);
}

/* --- Writes that came back KV_MAYBE ---------------------------------------------------------- */

/*
 * Takes the slot with a Put of an expected version that no key has: once that is refused, the write
 * before it is a lower number, so it never runs, and its copies from before a restart meet another
 * epoch. Nothing runs in a session, or a store, that is gone either.
 */
static enum kv_status settle_slot(struct clerk *clerk, struct backoff *backoff, struct slot slot) {
	struct request request = {
	    .kind = REQUEST_PUT, .key = KV_STR("-"), .expected = KV_ANY - 1, .want_old = false};
	struct response response = {0};
	struct call call = {.clerk = clerk,
			    .backoff = backoff,
			    .request = &request,
			    .response = &response,
			    .generation = slot.generation,
			    .slot = slot,
			    .is_settling = true};

	call_run(&call);
	response_free(&response);
	switch ((int)call.outcome) {
	case KV_BADSESSION:
		session_invalidate(clerk->session, &slot, true);
		return KV_OK;
	case KV_VERSION:
	case KV_NOKEY:
	case KV_STALE:
	case KV_FALSE_RETRY:
		return KV_OK;
	default:
		return call.outcome == KV_OK ? KV_PROTOCOL : call.outcome;
	}
}

/* Nothing runs in a session that was closed. */
static enum kv_status close_left(struct clerk *clerk, struct backoff *backoff,
				 const struct unresolved *left) {
	struct request request = {.kind = REQUEST_CLOSE, .client_id = left->left_id};
	struct response response = {0};
	struct call call = {.clerk = clerk,
			    .backoff = backoff,
			    .request = &request,
			    .response = &response,
			    .generation = left->left_generation};

	call_run(&call);
	if (call.is_answered && response.status == KV_BADSESSION)
		call.outcome = KV_OK;
	if (call.outcome == KV_BADSESSION)
		call.outcome = KV_OK;
	if (call.outcome == KV_OK)
		session_forget_left(clerk->session, left->left_id);
	response_free(&response);
	return call.outcome;
}

enum kv_status clerk_settle(struct clerk *clerk, unsigned timeout_ms) {
	enum kv_status status = KV_OK;
	struct unresolved left;
	struct backoff backoff;
	struct slot slot;

	/* A write of a ticket is resolved by sending it again. */
	if (clerk->is_stateless || clerk->ticket != NULL)
		return KV_INVALID;
	backoff_start(&backoff, clerk->transport, &clerk->retry, timeout_ms);
	session_unresolved(clerk->session, &left);
	do {
		if (!session_acquire_unresolved(clerk->session, &left, &backoff, &slot))
			return KV_TIMEOUT;
		if (slot.client_id != 0)
			status = settle_slot(clerk, &backoff, slot);
	} while (slot.client_id != 0 && status == KV_OK);
	session_unresolved(clerk->session, &left);
	if (status == KV_OK && left.left_id != 0)
		status = close_left(clerk, &backoff, &left);
	return status;
}

void clerk_end_session(struct clerk *clerk) {
	struct backoff backoff;
	struct request request = {.kind = REQUEST_CLOSE};
	struct response response = {0};
	struct call call = {.clerk = clerk,
			    .backoff = &backoff,
			    .request = &request,
			    .response = &response,
			    .generation = channel_generation(clerk->channel)};

	/* Another process may still send the call in that session. */
	if (clerk->ticket != NULL && ticket_is_pending(clerk->ticket))
		return;
	request.client_id = session_client_id(clerk->session, call.generation);
	if (request.client_id == 0 && clerk->resumed.generation == call.generation)
		request.client_id = clerk->resumed.client_id;
	if (request.client_id == 0)
		return;
	backoff_start(&backoff, clerk->transport, &clerk->retry, clerk->retry.attempt_ms);
	backoff.is_one_try = true;
	call_run(&call);
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

struct clerk *clerk_new(const struct kv_options *options, const struct transport *transport,
			struct ticket *ticket) {
	static const struct kv_options defaults;
	struct clerk *clerk = calloc(1, sizeof(*clerk));

	if (clerk == NULL)
		return NULL;
	if (options == NULL)
		options = &defaults;
	clerk->transport = transport;
	clerk->ticket = ticket;
	clerk->retry =
	    (struct retry_options){.attempt_ms = or_default(options->attempt_ms, 1000),
				   .backoff_ms = or_default(options->backoff_ms, 10),
				   .backoff_max_ms = or_default(options->backoff_max_ms, 1000),
				   .fail_fast = options->fail_fast};
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
