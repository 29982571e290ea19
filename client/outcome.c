/* SPDX-License-Identifier: BSD-3-Clause */
#include "outcome.h"

/* Calls that change nothing, and OPEN: all may be repeated freely. */
static enum verdict on_harmless(struct answer answer) {
	switch (answer.status) {
	case KV_OK:
	case KV_TOOBIG:
	case KV_FULL:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
		return OUTCOME_FINAL;
	case KV_NOKEY:
		return answer.kind == REQUEST_GET ? OUTCOME_FINAL : OUTCOME_UNKNOWN;
	case KV_VERSION:
	case KV_MAYBE:
	case KV_TIMEOUT:
	case KV_BADSESSION:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		break;
	}
	return OUTCOME_UNKNOWN;
}

/*
 * "= last, same hash: runs nothing; sends the remembered reply." The answer to one copy is the
 * answer to all, and the slot is looked at before anything that could refuse.
 */
static enum verdict on_write_in_session(struct answer answer) {
	switch (answer.status) {
	case KV_OK:
	case KV_NOKEY:
	case KV_VERSION:
	case KV_MAYBE: /* it happened, but what was answered cannot be told on this transport */
	case KV_TOOBIG:
	case KV_FULL:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
		return OUTCOME_FINAL;
	case KV_BADSESSION:
		/*
		 * "If the write's only attempt went over a stream and got that answer, it has not
		 * run and is sent again under the new session; otherwise it is KV_MAYBE." An
		 * earlier copy may have run before the session ended.
		 */
		return answer.may_have_run == 1 && answer.is_stream ? OUTCOME_NEW_SESSION
								    : OUTCOME_SESSION_LOST;
	case KV_STALE:
	case KV_FALSE_RETRY:
		/* "To a call under way means that someone else uses the session: drop it." */
		return OUTCOME_SESSION_LOST;
	case KV_TIMEOUT:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		break;
	}
	return OUTCOME_UNKNOWN;
}

/*
 * "OK stands whenever it comes. A refusal of the only copy (first send, over a stream) stands. Any
 * refusal of a resend is KV_MAYBE": the copy before it may have made the very version that this one
 * was refused for.
 *
 * A network repeats datagrams, so over udp even the first send is not the only copy. If one copy
 * ran and its answer was lost, another is answered that the current version is above the expected
 * one; if none ran yet, a late one may still find the version that it expects. There only those
 * refusals stand that every copy meets alike.
 */
static enum verdict on_stateless_write(struct answer answer) {
	bool stands = false;

	switch (answer.status) {
	case KV_OK:
		stands = true;
		break;
	case KV_NOKEY:
	case KV_VERSION:
	case KV_FULL:
		stands = answer.may_have_run == 1 && answer.is_stream;
		break;
	case KV_TOOBIG:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
		stands = answer.may_have_run == 1;
		break;
	case KV_MAYBE:
	case KV_TIMEOUT:
	case KV_BADSESSION:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		break;
	}
	return stands ? OUTCOME_FINAL : OUTCOME_UNKNOWN;
}

enum verdict outcome_of(struct answer answer) {
	if (answer.kind != REQUEST_PUT && answer.kind != REQUEST_APPEND)
		return on_harmless(answer);
	return answer.is_in_session ? on_write_in_session(answer) : on_stateless_write(answer);
}
