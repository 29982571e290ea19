/* SPDX-License-Identifier: BSD-3-Clause */
#include <kv/kv.h>

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

/*
 * The server keeps a question until something changes. Between two questions to one that does not
 * (an older one, one that has too many to keep, one that is reached by udp) the watch pauses.
 */
enum {
	PAUSE_MIN_MS = 10,
	PAUSE_MAX_MS = 500,
};

/* A key that is there, as far as the watch has heard. A NUL follows it. */
struct known {
	struct known *next;
	struct known **link; /* what points here */
	uint64_t version;
	uint64_t round; /* of the last list that it was on, or that it changed after */
	size_t key_size;
	unsigned char key[];
};

/* What the watch does once the page is used up. */
enum phase {
	PHASE_BEGIN,  /* it makes the server remember changes */
	PHASE_LIST,   /* it lists all keys, a page at a time */
	PHASE_SWEEP,  /* it looks for keys that the list lacks */
	PHASE_FOLLOW, /* it asks what changed */
};

/* Invariant: `tree` (tsearch(3)) and the list from `first` hold the same keys. */
struct kv_watch {
	struct kv_client *view;
	void *prefix; /* owned */
	size_t prefix_size;
	void *tree;
	struct known *first;
	struct known *unswept; /* the next one that the sweep looks at */
	struct known *gone;    /* owned: whose key was returned last; NULL: none */
	enum phase phase;
	struct response page; /* of LIST or CHANGES */
	size_t used;	      /* elements of the page */
	bool cannot_wait;     /* the connection is one over which no call waits */
	uint64_t round;	      /* of the list */
	uint64_t since;	      /* a position */
	size_t after_size;    /* 0: the list is at its beginning */
	unsigned char after[KV_KEY_MAX];
};

/* --- Keys that are there ------------------------------------------------------------------- */

static int compare(const void *one, const void *other) {
	const struct known *a = one;
	const struct known *b = other;
	int order = memcmp(a->key, b->key, a->key_size < b->key_size ? a->key_size : b->key_size);

	if (order != 0 || a->key_size == b->key_size)
		return order;
	return a->key_size < b->key_size ? -1 : 1;
}

/* Not among the known ones yet. NULL: no memory. */
static struct known *known_new(struct kv_bytes key) {
	struct known *known = calloc(1, sizeof(*known) + key.size + 1);

	if (known == NULL)
		return NULL;
	known->key_size = key.size;
	memcpy(known->key, key.data, key.size);
	return known;
}

/*
 * The known key of these bytes; if there is none and `is_made`, one at version 0. NULL: there is
 * none, or *has_memory is false.
 */
static struct known *look_up(struct kv_watch *watch, struct kv_bytes key, bool is_made,
			     bool *has_memory) {
	struct known *wanted = known_new(key);
	struct known **found;

	*has_memory = wanted != NULL;
	if (wanted == NULL)
		return NULL;
	found =
	    is_made ? tsearch(wanted, &watch->tree, compare) : tfind(wanted, &watch->tree, compare);
	*has_memory = found != NULL || !is_made;
	if (found == NULL || *found != wanted) {
		free(wanted);
		return found == NULL ? NULL : *found;
	}
	wanted->next = watch->first;
	wanted->link = &watch->first;
	if (wanted->next != NULL)
		wanted->next->link = &wanted->next;
	watch->first = wanted;
	return wanted;
}

static void take_out(struct kv_watch *watch, struct known *known) {
	(void)tdelete(known, &watch->tree, compare);
	*known->link = known->next;
	if (known->next != NULL)
		known->next->link = known->link;
	if (watch->unswept == known)
		watch->unswept = known->next;
}

static void forget_all(struct kv_watch *watch) {
	while (watch->first != NULL) {
		struct known *known = watch->first;

		take_out(watch, known);
		free(known);
	}
}

/* --- One change ---------------------------------------------------------------------------- */

/* Each returns KV_OK with the change in *watched; KV_UNMET: it is nothing new; KV_NOMEM. */

/* A list or an answer says that the key is at this version. */
static enum kv_status take_version(struct kv_watch *watch, struct kv_bytes key, uint64_t version,
				   struct kv_watched *watched) {
	bool has_memory;
	struct known *known = look_up(watch, key, true, &has_memory);

	if (!has_memory)
		return KV_NOMEM;
	known->round = watch->round;
	if (version <= known->version)
		return KV_UNMET;
	known->version = version;
	*watched = (struct kv_watched){.key = {known->key, known->key_size}, .version = version};
	return KV_OK;
}

static enum kv_status report_gone(struct kv_watch *watch, struct known *known, uint64_t version,
				  struct kv_watched *watched) {
	take_out(watch, known);
	watch->gone = known;
	*watched = (struct kv_watched){
	    .key = {known->key, known->key_size}, .version = version, .is_gone = true};
	return KV_OK;
}

static enum kv_status take_change(struct kv_watch *watch, const struct changed *changed,
				  struct kv_watched *watched) {
	bool has_memory;
	struct known *known;

	if (!changed->is_gone)
		return take_version(watch, changed->key, changed->version, watched);
	known = look_up(watch, changed->key, false, &has_memory);
	if (!has_memory)
		return KV_NOMEM;
	return known != NULL && changed->version > known->version
		   ? report_gone(watch, known, changed->version, watched)
		   : KV_UNMET;
}

static enum kv_status sweep(struct kv_watch *watch, struct kv_watched *watched) {
	while (watch->unswept != NULL) {
		struct known *known = watch->unswept;

		watch->unswept = known->next;
		if (known->round != watch->round)
			return report_gone(watch, known, 0, watched);
	}
	watch->phase = PHASE_FOLLOW;
	return KV_UNMET;
}

/* The next change that the watch has heard of already. KV_UNMET: there is none. */
static enum kv_status next_heard(struct kv_watch *watch, struct kv_watched *watched) {
	const struct response *page = &watch->page;
	enum kv_status status = KV_UNMET;

	while (status == KV_UNMET && watch->used < page->list.count + page->changes.count) {
		if (page->list.count > 0)
			status = take_version(watch, page->list.keys[watch->used].key,
					      page->list.keys[watch->used].version, watched);
		else
			status = take_change(watch, &page->changes.keys[watch->used], watched);
		if (status != KV_NOMEM)
			watch->used++;
	}
	return status == KV_UNMET && watch->phase == PHASE_SWEEP ? sweep(watch, watched) : status;
}

/* --- Questions ----------------------------------------------------------------------------- */

static void begin_list(struct kv_watch *watch) {
	watch->phase = PHASE_LIST;
	watch->round++;
	watch->after_size = 0;
}

static void drop_page(struct kv_watch *watch) {
	response_free(&watch->page);
	watch->used = 0;
}

/* The page takes the place of the one that is used up. */
static enum kv_status ask(struct kv_watch *watch, struct request *request) {
	drop_page(watch);
	request->key = (struct kv_bytes){watch->prefix, watch->prefix_size};
	return client_call(watch->view, request, &watch->page);
}

static enum kv_status ask_list(struct kv_watch *watch) {
	const struct kv_list *list = &watch->page.list;
	struct request request = {
	    .kind = REQUEST_LIST,
	    .after = {watch->after, watch->after_size},
	};
	enum kv_status status = ask(watch, &request);

	if (status != KV_OK)
		return status;
	/* What changed since the first page may be on no later one. */
	if (watch->after_size == 0)
		watch->since = list->position;
	if (list->more && list->count > 0) {
		struct kv_bytes last = list->keys[list->count - 1].key;

		memcpy(watch->after, last.data, last.size);
		watch->after_size = last.size;
		return KV_OK;
	}
	watch->phase = PHASE_SWEEP;
	watch->unswept = watch->first;
	return KV_OK;
}

static enum kv_status ask_changes(struct kv_watch *watch, unsigned wait_ms) {
	const bool is_beginning = watch->phase == PHASE_BEGIN;
	struct request request = {
	    .kind = REQUEST_CHANGES,
	    .since = is_beginning ? UINT64_MAX : watch->since,
	    .wait_ms = is_beginning || watch->cannot_wait ? 0 : wait_ms,
	};
	enum kv_status status = ask(watch, &request);

	if (status == KV_INVALID && request.wait_ms > 0) {
		watch->cannot_wait = true;
		request.wait_ms = 0;
		status = ask(watch, &request);
	}
	if (status == KV_COMPACTED || (status == KV_OK && is_beginning)) {
		drop_page(watch);
		begin_list(watch);
		return KV_OK;
	}
	if (status == KV_OK)
		watch->since = watch->page.changes.position;
	return status;
}

/* Asks for the next page; at the server it may wait so long for a change. */
static enum kv_status ask_next(struct kv_watch *watch, unsigned wait_ms) {
	enum kv_status status =
	    watch->phase == PHASE_LIST ? ask_list(watch) : ask_changes(watch, wait_ms);

	if (status == KV_BADSESSION) {
		forget_all(watch);
		watch->phase = PHASE_BEGIN;
	}
	return status;
}

/* Whether the last answer says that nothing changed. */
static bool is_level(const struct kv_watch *watch) {
	const struct changes *changes = &watch->page.changes;

	return watch->phase == PHASE_FOLLOW && changes->keys != NULL && changes->count == 0 &&
	       !changes->more;
}

/* --- The interface ------------------------------------------------------------------------- */

enum kv_status kv_watch_open(struct kv_client *client, struct kv_bytes prefix,
			     struct kv_watch **watch) {
	enum kv_status status;

	*watch = NULL;
	if (prefix.size > 0 && prefix.data == NULL)
		return KV_INVALID;
	if (prefix.size > KV_KEY_MAX)
		return KV_TOOBIG;
	struct kv_watch *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return KV_NOMEM;
	made->prefix = malloc(prefix.size + 1);
	status = made->prefix == NULL ? KV_NOMEM
				      : kv_with_timeout(client, kv_timeout(client), &made->view);
	if (status != KV_OK) {
		free(made->prefix);
		free(made);
		return status;
	}
	if (prefix.size > 0)
		memcpy(made->prefix, prefix.data, prefix.size);
	made->prefix_size = prefix.size;
	*watch = made;
	return KV_OK;
}

enum kv_status kv_watch_next(struct kv_watch *watch, unsigned wait_ms, struct kv_watched *watched) {
	const struct transport *transport = client_transport(watch->view);
	const uint64_t until_ms = transport->now_ms(transport->context) + wait_ms;
	uint64_t pause_ms = PAUSE_MIN_MS;
	uint64_t now_ms = until_ms - wait_ms;
	enum kv_status status;

	*watched = (struct kv_watched){0};
	free(watch->gone);
	watch->gone = NULL;
	for (;;) {
		status = next_heard(watch, watched);
		if (status != KV_UNMET)
			return status;
		const uint64_t asked_ms = now_ms;
		status = ask_next(watch, asked_ms < until_ms ? (unsigned)(until_ms - asked_ms) : 0);
		if (status != KV_OK)
			return status;
		now_ms = transport->now_ms(transport->context);
		if (!is_level(watch))
			continue;
		if (now_ms >= until_ms)
			return KV_UNMET;
		/* It has waited, for as long as a handle's time limit or a copy of a call allows.
		 */
		if (now_ms - asked_ms >= PAUSE_MAX_MS)
			continue;
		if (pause_ms > until_ms - now_ms)
			pause_ms = until_ms - now_ms;
		transport->sleep_until(transport->context, now_ms + pause_ms);
		now_ms += pause_ms;
		pause_ms = pause_ms < PAUSE_MAX_MS / 2 ? 2 * pause_ms : PAUSE_MAX_MS;
	}
}

void kv_watch_close(struct kv_watch *watch) {
	if (watch == NULL)
		return;
	forget_all(watch);
	drop_page(watch);
	free(watch->gone);
	kv_close(watch->view);
	free(watch->prefix);
	free(watch);
}
