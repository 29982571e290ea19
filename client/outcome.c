/* SPDX-License-Identifier: BSD-3-Clause */
#include "outcome.h"

#include <stddef.h>

enum rule {
	UNKNOWN, /* also every status that is not in the table */
	FINAL,
	FINAL_OF_READ, /* GET and WAIT */
	FINAL_OF_WAIT,
	FINAL_OF_ONLY_COPY,
	FINAL_OF_ONLY_ATTEMPT,
	FINAL_UNLESS_WAITS,
	SESSION_GONE,
	SESSION_SHARED,
};

/* Calls that change nothing, and OPEN, are harmless: they may be repeated freely. */
enum column { HARMLESS, IN_SESSION, STATELESS, COLUMNS };

/*
 * A write in a session: "= last, same hash: runs nothing; sends the remembered reply." The reply to
 * one copy is the reply to all, and the slot is looked at before anything that could refuse. Its
 * KV_MAYBE: it happened, but the reply does not fit this transport.
 *
 * A stateless write: "OK stands whenever it comes. A refusal of the only copy (first send, over a
 * stream) stands. Any refusal of a resend is KV_MAYBE": the copy before it may have made the very
 * version that this one was refused for. A network repeats datagrams, so over udp even the first
 * attempt may have two copies. If one ran and its reply was lost, the other is refused because the
 * version is above the expected one; if none ran yet, a late one may still find the version that it
 * expects. There only those refusals are final that every copy meets alike.
 */
static const enum rule rules[][COLUMNS] = {
    [KV_OK] = {FINAL, FINAL, FINAL},
    [KV_NOKEY] = {FINAL_OF_READ, FINAL, FINAL_OF_ONLY_COPY},
    [KV_VERSION] = {UNKNOWN, FINAL, FINAL_OF_ONLY_COPY},
    [KV_MAYBE] = {UNKNOWN, FINAL, UNKNOWN},
    [KV_BADSESSION] = {UNKNOWN, SESSION_GONE, UNKNOWN},
    [KV_STALE] = {UNKNOWN, SESSION_SHARED, UNKNOWN},
    [KV_FALSE_RETRY] = {UNKNOWN, SESSION_SHARED, UNKNOWN},
    [KV_TOOBIG] = {FINAL, FINAL, FINAL_OF_ONLY_ATTEMPT},
    [KV_FULL] = {FINAL, FINAL, FINAL_OF_ONLY_COPY},
    [KV_DENIED] = {FINAL, FINAL, FINAL_OF_ONLY_ATTEMPT},
    [KV_INVALID] = {FINAL, FINAL_UNLESS_WAITS, FINAL_OF_ONLY_ATTEMPT},
    [KV_UNAVAILABLE] = {FINAL, FINAL, FINAL_OF_ONLY_ATTEMPT},
    [KV_UNMET] = {FINAL_OF_WAIT, FINAL, UNKNOWN},
    [KV_COMPACTED] = {FINAL, UNKNOWN, UNKNOWN},
};

static enum rule rule_of(const struct reply_facts *reply) {
	enum column column = reply->is_in_session ? IN_SESSION : STATELESS;

	if (!request_is_write(reply->kind))
		column = HARMLESS;
	return (size_t)reply->status < sizeof(rules) / sizeof(rules[0])
		   ? rules[reply->status][column]
		   : UNKNOWN;
}

enum outcome outcome_of(struct reply_facts reply) {
	const bool is_only_attempt = reply.may_have_run == 1;
	const bool is_only_copy = is_only_attempt && reply.is_stream;
	bool is_final = false;

	switch (rule_of(&reply)) {
	case UNKNOWN:
		break;
	case FINAL:
		is_final = true;
		break;
	case FINAL_OF_READ:
		is_final = reply.kind == REQUEST_GET || reply.kind == REQUEST_WAIT;
		break;
	case FINAL_OF_WAIT:
		is_final = reply.kind == REQUEST_WAIT;
		break;
	case FINAL_OF_ONLY_COPY:
		is_final = is_only_copy;
		break;
	case FINAL_OF_ONLY_ATTEMPT:
		is_final = is_only_attempt;
		break;
	case FINAL_UNLESS_WAITS:
		/* A copy that cannot wait there takes no slot, so another copy may run. */
		is_final = is_only_attempt || !reply.waits;
		break;
	case SESSION_GONE:
		/*
		 * "If the write's only attempt went over a stream and got that answer, it has not
		 * run and is sent again under the new session; otherwise it is KV_MAYBE." An
		 * earlier copy may have run before the session ended.
		 */
		return is_only_copy ? OUTCOME_NEW_SESSION : OUTCOME_SESSION_LOST;
	case SESSION_SHARED:
		/* The session is used by another client, too: drop it (PROTOCOL.md, "Statuses"). */
		return OUTCOME_SESSION_LOST;
	}
	return is_final ? OUTCOME_FINAL : OUTCOME_UNKNOWN;
}
