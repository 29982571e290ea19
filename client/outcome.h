/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OUTCOME_H
#define OUTCOME_H

/*
 * outcome.h - what a reply means for a call that was sent once or more often. Rules without state.
 */

#include "transport.h"

enum outcome {
	OUTCOME_FINAL,	      /* the status is that of the call, whichever copy it replies to */
	OUTCOME_UNKNOWN,      /* a write: KV_MAYBE; any other call: KV_PROTOCOL */
	OUTCOME_NEW_SESSION,  /* the session is gone and the write has not run: open another one */
	OUTCOME_SESSION_LOST, /* the session is gone, or used by another client too: KV_MAYBE */
};

struct reply_facts {
	enum request_kind kind;
	enum kv_status status;
	bool is_in_session;    /* a write that the server remembers, by its slot and seq */
	bool waits;	       /* on the server, in one of its copies */
	unsigned may_have_run; /* attempts of which a copy may have run, this one included */
	bool is_stream;	       /* of the connection of this attempt */
};

enum outcome outcome_of(struct reply_facts reply);

#endif
