/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VERDICT_H
#define VERDICT_H

/*
 * verdict.h - what an answer of the server means for a call that was sent once or more often. Only
 * rules: nothing happens here.
 */

#include "transport.h"

enum verdict {
	OUTCOME_FINAL,	   /* the status is the outcome of the call, whichever copy it answers */
	OUTCOME_UNKNOWN, /* a write: KV_MAYBE; any other call: KV_PROTOCOL */
	OUTCOME_NEW_SESSION, /* the session is gone and the write has not run: send it in another one */
	OUTCOME_SESSION_LOST, /* the session is gone, or not ours alone: leave it; KV_MAYBE */
};

struct answer {
	enum request_kind kind;
	enum kv_status status;
	bool is_in_session;    /* a write that the server remembers, by its slot and seq */
	unsigned may_have_run; /* attempts of which a copy may have run, this one among them */
	bool is_stream;	       /* what this attempt went over */
};

enum verdict outcome_of(struct answer answer);

#endif
