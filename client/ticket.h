/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TICKET_H
#define TICKET_H

/*
 * ticket.h - the ticket of a handle: a file that names one write by store, session, slot, sequence
 * number and a hash of its arguments, so that another process can send the same call again after
 * this one died. Owns the open file and its lock. One write at a time uses it: see ticket_begin().
 *
 * The file is one of:
 *   empty    no write was sent; what a refused write leaves
 *   pending  a write may have been sent: it is noted, and synced, before the first sending
 *   done     the write happened, and the file holds its reply
 * It is locked (flock(2)) from the first write on the handle until the handle is closed. The lock
 * is needed, because a process that only seems dead may send its copy under the next epoch.
 */

#include "transport.h"

enum {
	TICKET_HEAD_SIZE = 64, /* bytes of a pending one */
	/* Bytes of a done one: the head, the versions of a TXN, the old value of an APPEND. */
	TICKET_SIZE_MAX = TICKET_HEAD_SIZE + 16 + 8 * KV_CHANGES_MAX + KV_VALUE_MAX + 8,
	TICKET_ERROR_MAX = 512, /* bytes of the line for people; longer paths are cut off */
};

/* Which call it is, for the server. */
struct ticket_call {
	uint8_t store[STORE_ID_SIZE];
	uint64_t client_id;
	uint32_t slot;
	uint64_t seq;
};

enum ticket_state { TICKET_EMPTY, TICKET_PENDING, TICKET_DONE };

/* Why a pending ticket cannot be told any more what became of its write. */
enum ticket_loss { TICKET_SESSION_ENDED, TICKET_OTHER_STORE, TICKET_USED_ELSEWHERE };

struct ticket;

/* Copies `path` and opens nothing. NULL: no memory. */
struct ticket *ticket_new(const char *path);

/* Ends the lock. `is_child`: as history_log_close(). NULL does nothing. */
void ticket_free(struct ticket *ticket, bool is_child);

/*
 * Begins a write: opens and locks the file if this is the first, and reads it. On KV_OK *state is
 * that of the file, with TICKET_PENDING *call says which call is to be sent again, with TICKET_DONE
 * *response is the reply; ticket_end() must follow. On any other status nothing must be sent:
 *   KV_BUSY         another process, handle or thread uses the ticket
 *   KV_MAYBE        the file cannot be used, and may be the ticket of a write that was sent
 *   KV_FALSE_RETRY  it is the ticket of a write with other arguments
 *   KV_INVALID      the file cannot be opened or is none, and no write was sent with it
 *   KV_NOMEM
 */
enum kv_status ticket_begin(struct ticket *ticket, const struct request *request,
			    enum ticket_state *state, struct ticket_call *call,
			    struct response *response);

/*
 * Notes the call of a write that is about to be sent for the first time, and syncs the file and its
 * directory. False: it must not be sent.
 */
bool ticket_note(struct ticket *ticket, const struct ticket_call *call);

/* Notes that the outcome of the write can no longer be learned. */
void ticket_lose(struct ticket *ticket, enum ticket_loss loss);

/*
 * Ends the write. KV_OK: the reply is noted, and synced. KV_MAYBE: the file stays as it is. Any
 * other status: the write did not happen and never will, so the file is emptied.
 */
void ticket_end(struct ticket *ticket, enum kv_status status, const struct response *response);

/* Whether a write may have been sent of which no reply is noted: its session must live. */
bool ticket_is_pending(const struct ticket *ticket);

/* What was wrong with the ticket in the last write, as one line for people; NULL: nothing. */
const char *ticket_error(const struct ticket *ticket);

#endif
