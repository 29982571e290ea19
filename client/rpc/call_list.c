/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/call_list.h"

#include <string.h>

void call_list_wake(struct call_list *list, struct pending_call *call) {
	list->woken = pending_call_mark_wake(list->woken, call, false);
}

void call_list_set_first_unsent(struct call_list *list, struct pending_call *first) {
	list->unsent = first;
	if (first != NULL)
		call_list_wake(list, first);
}

void call_list_add(struct call_list *list, struct pending_call *call) {
	struct pending_call **last = &list->unsent;

	call->next = list->all;
	list->all = call;
	while (*last != NULL)
		last = &(*last)->next_unsent;
	*last = call;
}

void call_list_remove(struct call_list *list, struct pending_call *call) {
	struct pending_call **at = &list->all;

	while (*at != NULL && *at != call)
		at = &(*at)->next;
	if (*at != NULL)
		*at = call->next;
	if (call == list->unsent) {
		call_list_set_first_unsent(list, call->next_unsent);
		return;
	}
	at = &list->unsent;
	while (*at != NULL && *at != call)
		at = &(*at)->next_unsent;
	if (*at != NULL)
		*at = call->next_unsent;
}

void call_list_appoint_reader(struct call_list *list) {
	struct pending_call *next = list->all;

	/* A sender becomes the reader by itself when there is none. */
	while (next != NULL && !(next->is_asleep && pending_call_is_sent(next)))
		next = next->next;
	list->reader = next;
	if (next != NULL)
		call_list_wake(list, next);
}

void call_list_release_if_served(struct call_list *list, struct pending_call *call) {
	if (!pending_call_is_complete(call))
		return;
	call_list_remove(list, call);
	list->woken = pending_call_mark_wake(list->woken, call, true);
}

struct pending_call *call_list_find(struct call_list *list, struct kv_bytes message) {
	if (message.size < XID_SIZE)
		return NULL;
	for (struct pending_call *call = list->all; call != NULL; call = call->next)
		if (pending_call_expects(call, message.data))
			return call->is_served ? NULL : call;
	return NULL;
}

void call_list_serve(struct call_list *list, struct pending_call *call, uint8_t *data,
		     size_t size) {
	if (call->batch != NULL && !pending_call_serve_part(call, data, size))
		return;
	call->answer.data = data;
	call->answer.size = size;
	call->is_served = true;
	call_list_release_if_served(list, call);
}

/* The buffer of a call exists as long as the call is listed. */
bool call_list_serve_in_place(struct call_list *list, struct pending_call *call,
			      struct kv_bytes message) {
	if (message.size > call->answer.room)
		return false;
	memcpy(call->answer.place, message.data, message.size);
	call_list_serve(list, call, call->answer.place, message.size);
	return true;
}
