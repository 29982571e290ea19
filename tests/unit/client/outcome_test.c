/* SPDX-License-Identifier: BSD-3-Clause */
/* What each reply means for a call, as a table: all statuses by all ways in which a call is sent.
 */
#include "outcome.h"

#include "test.h"

enum { STATUSES = KV_EPOCH + 1 };

/*
 * A letter for each status: F final, - unknown, N new session, L session lost. In the order of
 * status.h, see `order` below.
 */
static const enum kv_status order[] = {
    KV_OK,
    KV_NOKEY,
    KV_VERSION,
    KV_MAYBE,
    KV_TOOBIG,
    KV_FULL,
    KV_DENIED,
    KV_INVALID,
    KV_UNAVAILABLE,
    KV_BADSESSION,
    KV_STALE,
    KV_FALSE_RETRY,
    /* What no server sends, or what is dealt with before: never believed. */
    KV_TIMEOUT,
    KV_PROTOCOL,
    KV_NOMEM,
    KV_BUSY,
    KV_NOTHELD,
    KV_EPOCH,
};
_Static_assert(sizeof order / sizeof order[0] == STATUSES, "all of them");

enum { ONLY_COPY = 1, A_RESEND = 2 };

static const struct {
	const char *call;
	enum request_kind kind;
	bool is_in_session;
	unsigned may_have_run;
	bool is_stream;
	const char *outcomes;
} rows[] = {
    /*                                                       ONVM TFDIU BSF ...... */
    {"get, stream", REQUEST_GET, false, ONLY_COPY, true, "FF--FFFFF---------"},
    {"get again, udp", REQUEST_GET, false, A_RESEND, false, "FF--FFFFF---------"},
    {"open", REQUEST_OPEN, false, ONLY_COPY, true, "F---FFFFF---------"},
    {"open again", REQUEST_OPEN, false, A_RESEND, false, "F---FFFFF---------"},
    {"put, stream", REQUEST_PUT, true, ONLY_COPY, true, "FFFFFFFFFNLL------"},
    {"put, udp", REQUEST_PUT, true, ONLY_COPY, false, "FFFFFFFFFLLL------"},
    {"put again, stream", REQUEST_PUT, true, A_RESEND, true, "FFFFFFFFFLLL------"},
    {"put again, udp", REQUEST_PUT, true, A_RESEND, false, "FFFFFFFFFLLL------"},
    {"append, stream", REQUEST_APPEND, true, ONLY_COPY, true, "FFFFFFFFFNLL------"},
    {"append again, stream", REQUEST_APPEND, true, A_RESEND, true, "FFFFFFFFFLLL------"},
    {"stateless put, stream", REQUEST_PUT, false, ONLY_COPY, true, "FFF-FFFFF---------"},
    {"stateless put, udp", REQUEST_PUT, false, ONLY_COPY, false, "F---F-FFF---------"},
    {"stateless put again, stream", REQUEST_PUT, false, A_RESEND, true, "F-----------------"},
    {"stateless put again, udp", REQUEST_PUT, false, A_RESEND, false, "F-----------------"},
};

static enum outcome meaning(char letter) {
	switch (letter) {
	case 'F':
		return OUTCOME_FINAL;
	case 'N':
		return OUTCOME_NEW_SESSION;
	case 'L':
		return OUTCOME_SESSION_LOST;
	default:
		return OUTCOME_UNKNOWN;
	}
}

LOOP_TEST(a_reply_is_the_outcome_only_if_it_holds_for_every_copy, 0, sizeof rows / sizeof rows[0]) {
	for (int i = 0; i < STATUSES; i++) {
		struct reply_facts facts = {.kind = rows[_i].kind,
					    .status = order[i],
					    .is_in_session = rows[_i].is_in_session,
					    .may_have_run = rows[_i].may_have_run,
					    .is_stream = rows[_i].is_stream};

		ck_assert_msg(outcome_of(facts) == meaning(rows[_i].outcomes[i]), "%s: %s: %d",
			      rows[_i].call, kv_status_name(order[i]), (int)outcome_of(facts));
	}
}

TEST(each_status_is_in_the_table_once) {
	bool is_there[STATUSES] = {false};

	for (int i = 0; i < STATUSES; i++) {
		ck_assert(!is_there[order[i]]);
		is_there[order[i]] = true;
	}
}
