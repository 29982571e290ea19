/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: client_call client_transport kv_with_timeout kv_timeout kv_close */
/*
 * What a watch returns, beside a store that is written to between its calls; and a copy that is
 * kept by it through lost answers, restarts, other stores and a server that forgets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "prng.h"
#include "test.h"

enum { KEYS = 8, LIST_PAGE = 3, CHANGES_PAGE = 2, STEPS = 20000 };

/* A server of one store. Versions never go back: a key that is made again begins above `floor`. */
static struct {
	uint64_t position;
	uint64_t versions[KEYS]; /* of the last change */
	uint64_t changed[KEYS];	 /* its position; 0: none yet */
	bool is_there[KEYS];
	uint64_t floor;
	uint64_t remembers; /* changes behind this position; UINT64_MAX: none, until it is asked */
	bool waits;	    /* CHANGES waits for a change */
	bool is_datagram;   /* no call may wait */
} store;

static struct prng prng;
static uint64_t now_ms;
static unsigned calls[REQUEST_CHANGES + 1];
static enum kv_status fails_with; /* the next call; KV_OK: it does not */
static void (*meanwhile)(void);	  /* after each answer is made */
static struct kv_watch *watch;
static struct kv_watched last;

/* The keys of `mask` are put, or end, at one position. */
static void operate(unsigned mask, bool is_end) {
	store.position++;
	for (unsigned i = 0; i < KEYS; i++) {
		if ((mask >> i & 1) == 0 || (is_end && !store.is_there[i]))
			continue;
		store.versions[i] = (store.is_there[i] ? store.versions[i] : store.floor) + 1;
		if (is_end && store.versions[i] > store.floor)
			store.floor = store.versions[i];
		store.is_there[i] = !is_end;
		store.changed[i] = store.position;
	}
}

static void put(unsigned key) {
	operate(1U << key, false);
}

static void del(unsigned key) {
	operate(1U << key, true);
}

/* --- The server's answers ------------------------------------------------------------------ */

static const char names[KEYS][3] = {"ka", "kb", "kc", "kd", "ke", "kf", "kg", "kh"};

static struct kv_bytes name_of(unsigned key) {
	return (struct kv_bytes){names[key], 2};
}

static unsigned key_of(struct kv_bytes name) {
	ck_assert_uint_eq(name.size, 2);
	return (unsigned)(((const char *)name.data)[1] - 'a');
}

static void list(const struct request *request, struct kv_list *page) {
	unsigned first = request->after.size == 0 ? 0 : key_of(request->after) + 1;

	page->keys = calloc(KEYS, sizeof(*page->keys));
	page->position = store.position;
	for (unsigned i = first; i < KEYS; i++) {
		if (!store.is_there[i])
			continue;
		if (page->count == LIST_PAGE) {
			page->more = true;
			break;
		}
		page->keys[page->count++] =
		    (struct kv_key){.key = name_of(i), .version = store.versions[i]};
	}
}

static enum kv_status changes(const struct request *request, struct changes *page) {
	if (store.remembers == UINT64_MAX)
		store.remembers = store.position;
	if (request->since < store.remembers || request->since > store.position)
		return KV_COMPACTED;
	page->keys = calloc(2 * KEYS, sizeof(*page->keys));
	page->position = request->since;
	while (page->position < store.position && !page->more) {
		uint64_t next = page->position + 1;
		size_t count = page->count;

		for (unsigned i = 0; i < KEYS; i++)
			if (store.changed[i] == next)
				page->keys[count++] = (struct changed){
				    name_of(i), store.versions[i], !store.is_there[i]};
		page->more = count > CHANGES_PAGE && page->count > 0;
		if (!page->more) {
			page->count = count;
			page->position = next;
		}
	}
	return KV_OK;
}

enum kv_status __wrap_client_call(struct kv_client *client, struct request *request,
				  struct response *response);
enum kv_status __wrap_client_call(struct kv_client *client, struct request *request,
				  struct response *response) {
	enum kv_status status = fails_with;

	(void)client;
	*response = (struct response){0};
	fails_with = KV_OK;
	calls[request->kind]++;
	ck_assert_uint_eq(request->key.size, 1);
	ck_assert_mem_eq(request->key.data, "k", 1);
	if (status != KV_OK)
		return status;
	if (store.is_datagram && request->wait_ms > 0)
		return KV_INVALID;
	if (request->kind == REQUEST_LIST)
		list(request, &response->list);
	else
		status = changes(request, &response->changes);
	if (store.waits && status == KV_OK && request->kind == REQUEST_CHANGES &&
	    response->changes.count == 0)
		now_ms += request->wait_ms;
	if (meanwhile != NULL)
		meanwhile();
	return status;
}

/* --- The rest of the library --------------------------------------------------------------- */

static uint64_t clock_ms(void *context) {
	(void)context;
	return now_ms;
}

static void sleep_until(void *context, uint64_t until_ms) {
	(void)context;
	ck_assert_uint_gt(until_ms, now_ms);
	now_ms = until_ms;
}

const struct transport *__wrap_client_transport(const struct kv_client *client);
const struct transport *__wrap_client_transport(const struct kv_client *client) {
	static const struct transport transport = {.now_ms = clock_ms, .sleep_until = sleep_until};

	(void)client;
	return &transport;
}

unsigned __wrap_kv_timeout(const struct kv_client *client);
unsigned __wrap_kv_timeout(const struct kv_client *client) {
	(void)client;
	return 0;
}

enum kv_status __wrap_kv_with_timeout(struct kv_client *client, unsigned timeout_ms,
				      struct kv_client **view);
enum kv_status __wrap_kv_with_timeout(struct kv_client *client, unsigned timeout_ms,
				      struct kv_client **view) {
	(void)timeout_ms;
	*view = client;
	return KV_OK;
}

void __wrap_kv_close(struct kv_client *client);
void __wrap_kv_close(struct kv_client *client) {
	(void)client;
}

static void start(void) {
	memset(&store, 0, sizeof(store));
	store.remembers = UINT64_MAX;
	meanwhile = NULL;
	fails_with = KV_OK;
	ck_assert_int_eq(kv_watch_open(NULL, (struct kv_bytes)KV_STR("k"), &watch), KV_OK);
}

static void stop(void) {
	kv_watch_close(watch);
}

static enum kv_status next(unsigned wait_ms) {
	return kv_watch_next(watch, wait_ms, &last);
}

/* All that there is, as " ka@1 -kb@2", with - for an end. */
static const char *all(void) {
	static char line[1024];
	size_t size = 0;

	line[0] = '\0';
	while (next(0) == KV_OK)
		size +=
		    (size_t)snprintf(line + size, sizeof(line) - size, " %s%.*s@%llu",
				     last.is_gone ? "-" : "", (int)last.key.size,
				     (const char *)last.key.data, (unsigned long long)last.version);
	return line;
}

CASE(watch, .setup = start, .teardown = stop);

TEST(first_come_the_keys_that_are_there_then_what_changes) {
	for (unsigned i = 0; i < 5; i++)
		put(i);
	ck_assert_str_eq(all(), " ka@1 kb@1 kc@1 kd@1 ke@1");
	ck_assert_str_eq(all(), "");
	put(1);
	del(0);
	put(1);
	put(6);
	ck_assert_str_eq(all(), " -ka@2 kb@3 kg@3");
	put(0);
	ck_assert_str_eq(all(), " ka@3");
}

TEST(a_server_is_made_to_remember_before_the_list) {
	put(0);
	meanwhile = NULL;
	ck_assert_str_eq(all(), " ka@1");
	ck_assert_uint_eq(calls[REQUEST_LIST], 1);
	ck_assert_uint_eq(calls[REQUEST_CHANGES], 2);
}

static unsigned answers;

/* The first page of a list is made, then the key on it changes. */
static void change_after_the_first_page(void) {
	if (++answers == 2)
		put(0);
}

/* F2 of the model: since the last page that change is never told. */
TEST(rule_6_10_changes_are_asked_since_the_first_page) {
	answers = 0;
	for (unsigned i = 0; i < KEYS; i++)
		put(i);
	meanwhile = change_after_the_first_page;
	ck_assert_str_eq(all(), " ka@1 kb@1 kc@1 kd@1 ke@1 kf@1 kg@1 kh@1 ka@2");
}

/* The key that is to change is on the last page already. */
static void change_before_the_last_page(void) {
	if (++answers == 2)
		put(7);
}

/* C1 of the model. */
TEST(rule_6_10_what_is_known_already_is_not_returned_again) {
	answers = 0;
	for (unsigned i = 0; i < KEYS; i++)
		put(i);
	meanwhile = change_before_the_last_page;
	ck_assert_str_eq(all(), " ka@1 kb@1 kc@1 kd@1 ke@1 kf@1 kg@1 kh@2");
}

TEST(rule_6_10_the_end_of_a_key_that_was_never_returned_is_not_returned) {
	ck_assert_str_eq(all(), "");
	put(3);
	del(3);
	ck_assert_str_eq(all(), "");
}

TEST(keys_that_vanished_while_the_server_forgot_are_returned_as_gone) {
	for (unsigned i = 0; i < 5; i++)
		put(i);
	ck_assert_str_eq(all(), " ka@1 kb@1 kc@1 kd@1 ke@1");
	del(1);
	del(4);
	put(2);
	del(3);
	put(3);
	store.remembers = store.position;
	/* Those that the list lacks have no version. */
	ck_assert_str_eq(all(), " kc@2 kd@3 -ke@0 -kb@0");
	ck_assert_str_eq(all(), "");
}

TEST(rule_6_11_another_store_is_told_once_and_then_watched_from_its_beginning) {
	put(0);
	put(1);
	ck_assert_str_eq(all(), " ka@1 kb@1");
	memset(&store, 0, sizeof(store));
	store.remembers = UINT64_MAX;
	put(1);
	fails_with = KV_BADSESSION;
	ck_assert_int_eq(next(0), KV_BADSESSION);
	ck_assert_str_eq(all(), " kb@1");
}

TEST(after_a_failure_it_goes_on_where_it_was) {
	for (unsigned i = 0; i < KEYS; i++)
		put(i);
	for (unsigned i = 0; i < KEYS; i++) {
		fails_with = KV_TIMEOUT;
		if (i % LIST_PAGE == 0)
			ck_assert_int_eq(next(0), KV_TIMEOUT);
		fails_with = KV_OK;
		ck_assert_int_eq(next(0), KV_OK);
		ck_assert_uint_eq(key_of(last.key), i);
	}
	put(2);
	fails_with = KV_TIMEOUT;
	ck_assert_int_eq(next(0), KV_TIMEOUT);
	ck_assert_str_eq(all(), " kc@2");
}

static void put_at_the_third_answer(void) {
	if (++answers == 5)
		put(0);
}

TEST(without_a_change_it_waits_for_so_long_and_no_longer) {
	answers = 0;
	ck_assert_str_eq(all(), "");
	uint64_t began_ms = now_ms;
	ck_assert_int_eq(next(1000), KV_UNMET);
	ck_assert_uint_eq(now_ms - began_ms, 1000);
	began_ms = now_ms;
	answers = 0;
	meanwhile = put_at_the_third_answer;
	ck_assert_int_eq(next(100000), KV_OK);
	ck_assert_uint_eq(key_of(last.key), 0);
	ck_assert_uint_lt(now_ms - began_ms, 1000);
}

/* Calls of CHANGES in a wait of a minute in which nothing changes. */
static unsigned questions_of_a_minute(void) {
	enum { MINUTE_MS = 60000 };
	uint64_t began_ms;
	unsigned before;

	ck_assert_str_eq(all(), "");
	before = calls[REQUEST_CHANGES];
	began_ms = now_ms;
	ck_assert_int_eq(next(MINUTE_MS), KV_UNMET);
	ck_assert_uint_eq(now_ms - began_ms, MINUTE_MS);
	return calls[REQUEST_CHANGES] - before;
}

TEST(a_server_that_waits_is_asked_once) {
	store.waits = true;
	ck_assert_uint_eq(questions_of_a_minute(), 1);
}

TEST(one_that_does_not_is_asked_every_half_second_at_most) {
	ck_assert_uint_lt(questions_of_a_minute(), 130);
}

TEST(over_datagrams_it_asks_without_waiting) {
	store.is_datagram = true;
	ck_assert_uint_lt(questions_of_a_minute(), 130);
	put(0);
	ck_assert_int_eq(next(1000), KV_OK);
}

TEST(what_cannot_be_watched_is_refused) {
	struct kv_watch *other;
	char prefix[KV_KEY_MAX + 1] = {0};

	ck_assert_int_eq(kv_watch_open(NULL, (struct kv_bytes){NULL, 1}, &other), KV_INVALID);
	ck_assert_ptr_null(other);
	ck_assert_int_eq(kv_watch_open(NULL, (struct kv_bytes){prefix, sizeof(prefix)}, &other),
			 KV_TOOBIG);
	ck_assert_int_eq(kv_watch_open(NULL, (struct kv_bytes){prefix, KV_KEY_MAX}, &other), KV_OK);
	kv_watch_close(other);
	kv_watch_close(NULL);
}

/* --- A copy that is kept ------------------------------------------------------------------- */

static void write_something(void) {
	switch (prng_below(&prng, 8)) {
	case 0:
	case 1:
		put((unsigned)prng_below(&prng, KEYS));
		break;
	case 2:
		del((unsigned)prng_below(&prng, KEYS));
		break;
	case 3:
		operate((unsigned)prng_between(&prng, 1, 255), prng_often(&prng, 3000));
		break;
	default:
		break;
	}
}

TEST(a_copy_that_follows_the_watch_is_the_store) {
	uint64_t versions[KEYS] = {0};
	unsigned level = 0;

	prng = (struct prng){test_seed()};
	meanwhile = write_something;
	for (unsigned step = 0; step < STEPS; step++) {
		if (prng_often(&prng, 300))
			store.remembers = store.position; /* a restart, or a full ring */
		if (prng_often(&prng, 300))
			fails_with = KV_TIMEOUT;
		/* Always, and it would never hear the end. */
		meanwhile = prng_often(&prng, 5000) ? write_something : NULL;
		const enum kv_status status = next(0);
		if (status == KV_OK)
			versions[key_of(last.key)] = last.is_gone ? 0 : last.version;
		if (status != KV_UNMET)
			continue;
		for (unsigned i = 0; meanwhile == NULL && i < KEYS; i++)
			ck_assert_uint_eq(versions[i], store.is_there[i] ? store.versions[i] : 0);
		level += meanwhile == NULL;
		write_something();
	}
	ck_assert_uint_gt(level, 100);
}
