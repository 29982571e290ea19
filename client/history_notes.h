/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORY_NOTES_H
#define HISTORY_NOTES_H

/*
 * history_notes.h - what a history holds of one request: its lines before the reply and with it.
 * One for a call on a key; of a transaction one for each condition and each change.
 */

#include "history_record.h"
#include "transport.h"

struct history_notes {
	struct history_call calls[HISTORY_PARTS_MAX];
	size_t count;
};

/* Before the call. The bytes stay the request's. */
void history_notes_make(struct history_notes *notes, const struct request *request);

/* What the caller is told; the bytes of the response are borrowed. */
void history_notes_reply(struct history_notes *notes, const struct request *request,
			 enum kv_status status, const struct response *response);

#endif
