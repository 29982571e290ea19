/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_kv.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_clock.h"
#include "fake_store.h"
#include "test.h"

enum { PLANS_MAX = 128, LATE_MAX = 16 };
enum { CLIENTS_MAX = 16 };

struct kv_client {
	unsigned timeout_ms;
	pid_t process;
	unsigned knows; /* the store, by its number; 0: none */
	bool is_interrupted;
	bool is_view;
	bool is_open;
};

struct plan {
	enum fate fate;
	enum kv_status status; /* unless KV_OK: answered, and nothing runs */
	void (*act)(void);
};

static struct {
	struct kv_client clients[CLIENTS_MAX];
	unsigned store; /* 1, 2, ... */
	unsigned plan_count, plan_next;
	unsigned late_count;
	unsigned trip_ms;
	bool is_frozen;
	enum kv_status view_refusal; /* KV_OK: none */
	unsigned gets, puts, txns, settles;
	enum kv_status txn_refusal, wait_refusal;
	enum kv_status wait_call_refusal;
	struct fake_call last_txn;
	struct fake_hold hold;
	uint32_t waiting;
	bool is_unresolved;
	void (*serve)(const struct fake_call *, struct fake_answer *);

	/* Not cleared by fake_reset(), which is called millions of times. */
	struct plan plans[PLANS_MAX];
	struct fake_call late[LATE_MAX];
} fake;

/* Each fork has another, without a call of the system: there are millions of questions. */
static pid_t process;

static void learn_process(void) {
	process = getpid();
}

static __attribute__((constructor)) void learn_at_forks(void) {
	learn_process();
	(void)pthread_atfork(NULL, NULL, learn_process);
}

/* Not ck_assert(), which looks at the clock: there are millions. */
static void must(bool holds, const char *otherwise) {
	if (!holds)
		ck_abort_msg("%s", otherwise);
}

/* Not with a frozen server. */
static bool end_leases(void) {
	return !fake.is_frozen && fake_store_end_leases();
}

struct kv_client *fake_reset(void) {
	fake_clock_reset(end_leases);
	memset(&fake, 0, offsetof(__typeof__(fake), plans));
	fake_store_clear();
	fake.store = 1;
	fake.txn_refusal = KV_UNAVAILABLE;
	return fake_client(0);
}

struct kv_client *fake_client(unsigned timeout_ms) {
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		if (!fake.clients[i].is_open) {
			fake.clients[i] = (struct kv_client){
			    .timeout_ms = timeout_ms, .process = process, .is_open = true};
			return &fake.clients[i];
		}
	}
	ck_abort_msg("too many clients");
	return NULL;
}

/* --- Plans --------------------------------------------------------------------------------- */

static void plan(struct plan next) {
	must(fake.plan_count < PLANS_MAX, "too many for the fake");
	fake.plans[fake.plan_count++] = next;
}

void fake_plan(enum fate fate) {
	plan((struct plan){.fate = fate});
}

void fake_plan_status(enum kv_status status) {
	plan((struct plan){.status = status});
}

void fake_plan_act(void (*act)(void)) {
	plan((struct plan){.act = act});
}

void fake_freeze(bool is_frozen) {
	fake.is_frozen = is_frozen;
}

void fake_refuse_views(enum kv_status status) {
	fake.view_refusal = status;
}

void fake_round_trip(unsigned trip_ms) {
	fake.trip_ms = trip_ms;
}

void fake_serve(void (*serve)(const struct fake_call *call, struct fake_answer *answer)) {
	fake.serve = serve;
}

/* --- The store ----------------------------------------------------------------------------- */

static enum kv_status run_any(const struct fake_call *call, uint64_t *version) {
	return call->kind == FAKE_TXN ? fake_store_txn(call, version)
				      : fake_store_put(call, version);
}

unsigned fake_land(void) {
	unsigned changed = 0;
	uint64_t version;

	for (unsigned i = 0; i < fake.late_count; i++)
		changed += run_any(&fake.late[i], &version) == KV_OK;
	fake.late_count = 0;
	return changed;
}

void fake_exchange(void) {
	fake.store++;
	fake_store_clear();
	fake.late_count = 0;
}

/* --- The calls ----------------------------------------------------------------------------- */

unsigned fake_gets(void) {
	return fake.gets;
}

unsigned fake_puts(void) {
	return fake.puts;
}

/* What a call comes to that is not answered. */
static enum kv_status unanswered(const struct fake_call *call, enum fate fate) {
	uint64_t version;

	if ((!call->is_put && call->kind != FAKE_TXN && call->kind != FAKE_SETTLE) ||
	    fate == FATE_UNSENT)
		return KV_TIMEOUT;
	if (call->kind == FAKE_SETTLE)
		return KV_MAYBE;
	fake.is_unresolved = true;
	if (fate == FATE_DONE)
		(void)run_any(call, &version);
	if (fate == FATE_LATE) {
		must(fake.late_count < LATE_MAX, "too many for the fake");
		fake.late[fake.late_count++] = *call;
	}
	return KV_MAYBE;
}

/* It waits on the server. */
static enum kv_status await_txn(const struct fake_call *call, uint64_t *version) {
	const uint64_t until_ms = fake_now_ms() + call->wait_ms;
	enum kv_status status = fake_store_txn(call, version);

	while (status == KV_UNMET && fake_now_ms() < until_ms && !call->client->is_interrupted) {
		must(fake_now_ms() < 1000 * 1000, "waits for ever for what does not come");
		fake_pass(1);
		status = fake_store_txn(call, version);
	}
	return status;
}

static enum kv_status await_change(const struct fake_call *call) {
	const uint64_t until_ms = fake_now_ms() + call->wait_ms;
	const struct entry *entry = fake_store_entry(call->key);

	if (fake.wait_call_refusal != KV_OK)
		return fake.wait_call_refusal;
	while (entry->version == call->expected && fake_now_ms() < until_ms &&
	       !call->client->is_interrupted) {
		must(fake_now_ms() < 1000 * 1000, "waits for ever for what does not come");
		fake_pass(1);
	}
	return entry->version == call->expected ? KV_TIMEOUT
	       : entry->version == 0		? KV_NOKEY
						: KV_OK;
}

/* No transaction that was sent runs any more. */
static void settle(void) {
	unsigned kept = 0;

	for (unsigned i = 0; i < fake.late_count; i++)
		if (fake.late[i].kind != FAKE_TXN)
			fake.late[kept++] = fake.late[i];
	fake.late_count = kept;
	fake.is_unresolved = false;
}

static void answer_as_planned(const struct fake_call *call, struct fake_answer *answer) {
	struct plan next = {.fate = FATE_ANSWERED};
	unsigned store = fake.store;

	if (fake.plan_next < fake.plan_count)
		next = fake.plans[fake.plan_next++];
	else if (fake.is_frozen)
		next.fate = FATE_LATE;
	if (fake.is_frozen) {
		must(call->timeout_ms > 0, "waits for ever for a frozen server");
		fake_pass(call->timeout_ms);
	} else {
		fake_pass(fake.trip_ms);
	}
	if (next.act != NULL)
		next.act();
	if (store != fake.store) {
		answer->status = call->is_put || call->kind == FAKE_TXN || call->kind == FAKE_SETTLE
				     ? KV_MAYBE
				     : KV_BADSESSION;
	} else if (next.status != KV_OK) {
		answer->status = next.status;
	} else if (next.fate != FATE_ANSWERED) {
		answer->status = unanswered(call, next.fate);
	} else if (call->kind == FAKE_SETTLE) {
		settle();
	} else if (call->kind == FAKE_TXN) {
		answer->status = await_txn(call, &answer->version);
	} else if (call->kind == FAKE_WAIT) {
		answer->status = await_change(call);
	} else if (call->kind == FAKE_LIST) {
		answer->status = fake.txn_refusal;
	} else if (call->is_put) {
		answer->status = fake_store_put(call, &answer->version);
	} else {
		const struct entry *entry = fake_store_entry(call->key);

		answer->status = entry->version > 0 ? KV_OK : KV_NOKEY;
		answer->text = entry->text;
		answer->version = entry->version;
	}
}

static void call_start(struct fake_call *call, const struct kv_client *client,
		       struct kv_bytes key) {
	must(client->is_open, "a client that is closed");
	must(key.size <= FAKE_TEXT_MAX, "a key too long for the fake");
	*call = (struct fake_call){.timeout_ms = client->timeout_ms, .client = client};
	memcpy(call->key, key.data, key.size);
}

/*
 * A client that knows another store is told so once, and nothing is sent. So is one whose call was
 * under way when the store was exchanged.
 */
static void call_finish(struct kv_client *client, const struct fake_call *call,
			struct fake_answer *answer) {
	unsigned store = fake.store;

	if (fake.serve != NULL) {
		fake.serve(call, answer);
		return;
	}
	if (client->knows != 0 && client->knows != store) {
		answer->status = KV_BADSESSION;
		client->knows = 0;
		return;
	}
	answer_as_planned(call, answer);
	if (answer->status == KV_BADSESSION || store != fake.store)
		client->knows = 0;
	else if (answer->status != KV_TIMEOUT)
		client->knows = fake.store;
}

enum kv_status kv_get(struct kv_client *client, struct kv_bytes key, struct kv_value *value) {
	struct fake_answer answer = {0};
	struct fake_call call;

	*value = (struct kv_value){0};
	call_start(&call, client, key);
	fake.gets++;
	call_finish(client, &call, &answer);
	if (answer.status != KV_OK)
		return answer.status;
	value->size = strlen(answer.text);
	value->version = answer.version;
	if (value->size > 0) {
		/* Exactly so long, so that a sanitizer sees who reads behind the end. */
		value->data = malloc(value->size);
		must(value->data != NULL, "no memory");
		memcpy(value->data, answer.text, value->size);
	}
	return KV_OK;
}

enum kv_status kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
		      uint64_t expected, uint64_t *version) {
	struct fake_answer answer = {0};
	struct fake_call call;

	call_start(&call, client, key);
	must(value.size <= FAKE_TEXT_MAX, "a value too long for the fake");
	call.kind = FAKE_PUT;
	call.is_put = true;
	call.expected = expected;
	memcpy(call.text, value.data, value.size);
	fake.puts++;
	call_finish(client, &call, &answer);
	if (version != NULL)
		*version = answer.version;
	return answer.status;
}

enum kv_status kv_delete(struct kv_client *client, struct kv_bytes key, uint64_t expected,
			 uint64_t *version) {
	struct fake_answer answer = {0};
	struct fake_call call;

	call_start(&call, client, key);
	call.kind = FAKE_DELETE;
	call.is_put = true;
	call.expected = expected;
	fake.puts++;
	call_finish(client, &call, &answer);
	if (version != NULL)
		*version = answer.version;
	return answer.status;
}

enum kv_status kv_wait(struct kv_client *client, struct kv_bytes key, uint64_t seen_version,
		       unsigned wait_ms, struct kv_value *value) {
	struct fake_answer answer = {0};
	struct fake_call call;

	*value = (struct kv_value){0};
	call_start(&call, client, key);
	call.kind = FAKE_WAIT;
	call.expected = seen_version;
	call.wait_ms = wait_ms;
	must(client->timeout_ms == 0 || client->timeout_ms > wait_ms, "a wait without its time");
	call_finish(client, &call, &answer);
	client->is_interrupted = false;
	return answer.status;
}

static void copy_text(char text[FAKE_TEXT_MAX + 1], struct kv_bytes from) {
	must(from.size <= FAKE_TEXT_MAX, "a text too long for the fake");
	if (from.size > 0)
		memcpy(text, from.data, from.size);
}

static void check_txn(const struct kv_txn *txn) {
	must(txn->condition_count == 1 && txn->change_count >= 1 && txn->change_count <= 2,
	     "a transaction that no lock sends");
	for (size_t i = 0; i < txn->change_count; i++)
		must(txn->changes[i].kind != KV_CHANGE_TOUCH || txn->changes[i].ttl_ms > 0,
		     "a touch without a ttl");
}

enum kv_status kv_txn(struct kv_client *client, struct kv_txn *txn) {
	const struct kv_condition *condition = &txn->conditions[0];
	const struct kv_change *first = &txn->changes[0];
	struct fake_answer answer = {0};
	struct fake_call call;

	check_txn(txn);
	if (fake.txn_refusal != KV_OK)
		return fake.txn_refusal;
	if (txn->wait_ms > 0 && fake.wait_refusal != KV_OK)
		return fake.wait_refusal;
	call_start(&call, client, condition->key);
	call.kind = FAKE_TXN;
	call.test = condition->test;
	call.expected = condition->version;
	call.change = first->kind;
	copy_text(call.change_key, first->key);
	call.ttl_ms = first->ttl_ms;
	call.wait_ms = txn->wait_ms;
	copy_text(call.text, first->value);
	if (txn->change_count == 2) {
		call.note_change = txn->changes[1].kind;
		copy_text(call.note_key, txn->changes[1].key);
		copy_text(call.note, txn->changes[1].value);
	}
	fake.txns++;
	fake.last_txn = call;
	call_finish(client, &call, &answer);
	if (txn->wait_ms > 0)
		client->is_interrupted = false;
	txn->changes[0].version = answer.version;
	return answer.status;
}

enum kv_status kv_settle(struct kv_client *client) {
	struct fake_answer answer = {0};
	struct fake_call call;

	if (!fake.is_unresolved && fake.serve == NULL)
		return KV_OK;
	call_start(&call, client, (struct kv_bytes){"", 0});
	call.kind = FAKE_SETTLE;
	fake.settles++;
	call_finish(client, &call, &answer);
	return answer.status;
}

uint64_t kv_history_hold(struct kv_client *client, struct kv_bytes name, uint64_t token) {
	must(client->is_open && name.size > 0 && token > 0, "holds nothing");
	fake.hold = (struct fake_hold){.token = token, .from_ms = fake_now_ms()};
	return fake_now_ms() + 1;
}

void kv_history_hold_end(struct kv_client *client, struct kv_bytes name, uint64_t token,
			 uint64_t began, uint64_t late_ms) {
	must(client->is_open && name.size > 0, "a client that is closed");
	if (began != 0)
		fake.hold = (struct fake_hold){
		    .token = token, .from_ms = began - 1, .until_ms = fake_now_ms() - late_ms};
}

struct fake_hold fake_last_hold(void) {
	return fake.hold;
}

void kv_interrupt(struct kv_client *client) {
	client->is_interrupted = true;
}

static struct kv_key as_listed(const struct entry *entry) {
	return (struct kv_key){.key = {entry->key, strlen(entry->key)},
			       .version = entry->version,
			       .ttl_left_ms =
				   entry->ends_ms > 0 ? entry->ends_ms - fake_boot_ms() : 0,
			       .size = (uint32_t)strlen(entry->text),
			       .waiting = fake.waiting};
}

/* In no order: there are few. */
static void list_all(const char *prefix, struct kv_list *list) {
	for (unsigned i = 0; i < FAKE_ENTRIES_MAX; i++)
		if (fake_store_at(i)->version > 0 &&
		    strncmp(fake_store_at(i)->key, prefix, strlen(prefix)) == 0)
			list->keys[list->count++] = as_listed(fake_store_at(i));
}

/* One that served it shows the ids of shares. */
static void list_served(const struct fake_answer *answer, struct kv_list *list) {
	if (answer->text != NULL)
		list->keys[list->count++] =
		    (struct kv_key){.key = {answer->text, strlen(answer->text)},
				    .version = answer->version,
				    .size = 32};
}

enum kv_status kv_list(struct kv_client *client, struct kv_bytes prefix, struct kv_bytes after,
		       size_t limit, struct kv_list *list) {
	struct fake_answer answer = {0};
	struct fake_call call;

	must(after.size == 0, "a LIST that no lock sends");
	call_start(&call, client, prefix);
	*list = (struct kv_list){0};
	list->keys = calloc(FAKE_ENTRIES_MAX, sizeof(*list->keys));
	must(list->keys != NULL, "no memory");
	call.kind = FAKE_LIST;
	/* That of kv_lock_inspect(), of which a test counts no calls. */
	if (limit == 1)
		answer.status = fake.txn_refusal;
	else
		call_finish(client, &call, &answer);
	if (answer.status != KV_OK)
		kv_list_free(list);
	else if (limit == 1 && fake_store_entry(call.key)->version > 0)
		list->keys[list->count++] = as_listed(fake_store_entry(call.key));
	else if (limit > 1 && fake.serve != NULL)
		list_served(&answer, list);
	else if (limit > 1)
		list_all(call.key, list);
	return answer.status;
}

void kv_list_free(struct kv_list *list) {
	free(list->keys);
	*list = (struct kv_list){0};
}

void fake_refuse_waits(enum kv_status status) {
	fake.wait_call_refusal = status;
}

void fake_use_txn(enum kv_status waits) {
	fake.txn_refusal = KV_OK;
	fake.wait_refusal = waits;
}

unsigned fake_txns(void) {
	return fake.txns;
}

unsigned fake_settles(void) {
	return fake.settles;
}

const struct fake_call *fake_last_txn(void) {
	return &fake.last_txn;
}

void fake_waiting(uint32_t waiting) {
	fake.waiting = waiting;
}

void kv_value_free(struct kv_value *value) {
	if (value == NULL)
		return;
	free(value->data);
	*value = (struct kv_value){0};
}

enum kv_status kv_with_timeout(struct kv_client *client, unsigned timeout_ms,
			       struct kv_client **view) {
	must(client->is_open, "a client that is closed");
	*view = NULL;
	if (fake.view_refusal != KV_OK)
		return fake.view_refusal;
	*view = fake_client(timeout_ms);
	(*view)->is_view = true;
	(*view)->knows = client->knows;
	return KV_OK;
}

bool kv_is_owner(const struct kv_client *client) {
	return client->process == process;
}

unsigned kv_timeout(const struct kv_client *client) {
	must(client->is_open, "a client that is closed");
	return client->timeout_ms;
}

void kv_set_timeout(struct kv_client *client, unsigned timeout_ms) {
	must(client->is_open, "a client that is closed");
	must(client->is_view, "the lock changed a client not its own");
	client->timeout_ms = timeout_ms;
}

void kv_close(struct kv_client *client) {
	if (client == NULL)
		return;
	must(client->is_open && client->is_view, "the lock closed a client not its own");
	client->is_open = false;
}

unsigned fake_open_views(void) {
	unsigned count = 0;

	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		count += fake.clients[i].is_open && fake.clients[i].is_view;
	return count;
}
