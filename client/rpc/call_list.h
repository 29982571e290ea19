/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CALL_LIST_H
#define CALL_LIST_H

/*
 * call_list.h - the calls under way on a connection, and which of their threads sends and which
 * receives. The connection's mutex guards it. It owns no call. What must stay true:
 *  - A call that is not sent completely is in the queue `unsent`, first in, first out. The first
 * one is the sender: only its thread sends, its own message and those queued behind it.
 *  - `reader` is NULL or a call that is the sender or is sent; only its thread receives.
 *  - While a call is asleep another one is the reader, or there is a sender, which will be. It is
 *    woken once: served, or made the sender or the reader.
 *  - The sender and the reader are awake, or about to be woken.
 */

#include "rpc/pending_call.h"

struct call_list {
	struct pending_call *all;
	struct pending_call *unsent;
	struct pending_call *reader;
	struct pending_call *woken; /* to be woken as soon as the mutex is free */
};

/* The last of those that are not sent. */
void call_list_add(struct call_list *list, struct pending_call *call);

/* Takes it off the lists, those on which it is. */
void call_list_remove(struct call_list *list, struct pending_call *call);

/* The role of the sender goes to the first one, if there is one. */
void call_list_set_first_unsent(struct call_list *list, struct pending_call *first);

/* Called by a thread that leaves: one of the other calls has to become the reader. */
void call_list_appoint_reader(struct call_list *list);

void call_list_wake(struct call_list *list, struct pending_call *call);

/* The call that still waits for this message; NULL: none. */
struct pending_call *call_list_find(struct call_list *list, struct kv_bytes message);

/* The call takes ownership of `data`; NULL: there is no memory for the reply. */
void call_list_serve(struct call_list *list, struct pending_call *call, uint8_t *data, size_t size);

/* Copies to the buffer that the call lends. Returns false if that is too small. */
bool call_list_serve_in_place(struct call_list *list, struct pending_call *call,
			      struct kv_bytes message);

/* A thread that sleeps and has its reply returns without taking the mutex again. */
void call_list_release_if_served(struct call_list *list, struct pending_call *call);

#endif
