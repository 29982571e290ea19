/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_kv.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lock_platform.h"

enum { ENTRIES_MAX = 8, PLANS_MAX = 128, LATE_MAX = 16, EVENTS_MAX = 16, PAUSES_MAX = 1024 };
enum { CLIENTS_MAX = 16 };

struct kv_client {
	unsigned timeout_ms;
	unsigned knows; /* the store, by its number; 0: none */
	bool is_view;
	bool is_open;
};

struct entry {
	char key[FAKE_TEXT_MAX + 1];
	char text[FAKE_TEXT_MAX + 1];
	uint64_t version; /* 0: missing */
	uint64_t highest; /* versions never go back, not across a delete either */
};

struct plan {
	enum fate fate;
	enum kv_status status; /* unless KV_OK: answered, and nothing runs */
	void (*act)(void);
};

struct event {
	uint64_t at_ms;
	void (*act)(void);
};

static struct {
	struct kv_client clients[CLIENTS_MAX];
	struct entry entries[ENTRIES_MAX];
	unsigned store; /* 1, 2, ... */
	struct plan plans[PLANS_MAX];
	unsigned plan_count, plan_next;
	struct fake_call late[LATE_MAX];
	unsigned late_count;
	struct event events[EVENTS_MAX];
	unsigned event_count;
	uint64_t pauses[PAUSES_MAX];
	unsigned pause_count;
	uint64_t now_ms;
	unsigned trip_ms;
	bool is_frozen;
	enum kv_status view_refusal; /* KV_OK: none */
	unsigned gets, puts;
	int chance;
	uint64_t chance_state;
	void (*serve)(const struct fake_call *, struct fake_answer *);
} fake;

/* Not ck_assert(): that writes to a file at every call, and there are millions. */
static void must(bool holds, const char *otherwise) {
	if (!holds)
		ck_abort_msg("%s", otherwise);
}

struct kv_client *fake_reset(void) {
	memset(&fake, 0, sizeof(fake));
	fake.chance = -1;
	fake.store = 1;
	return fake_client(0);
}

struct kv_client *fake_client(unsigned timeout_ms) {
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		if (!fake.clients[i].is_open) {
			fake.clients[i] =
			    (struct kv_client){.timeout_ms = timeout_ms, .is_open = true};
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

void fake_at(uint64_t at_ms, void (*act)(void)) {
	must(fake.event_count < EVENTS_MAX, "too many for the fake");
	fake.events[fake.event_count++] = (struct event){at_ms, act};
}

void fake_serve(void (*serve)(const struct fake_call *call, struct fake_answer *answer)) {
	fake.serve = serve;
}

/* --- Time and chance ----------------------------------------------------------------------- */

uint64_t fake_now_ms(void) {
	return fake.now_ms;
}

void fake_pass(uint64_t time_ms) {
	uint64_t until_ms = fake.now_ms + time_ms;

	for (;;) {
		struct event *next = NULL;

		for (unsigned i = 0; i < fake.event_count; i++) {
			struct event *event = &fake.events[i];

			if (event->act != NULL && event->at_ms <= until_ms &&
			    (next == NULL || event->at_ms < next->at_ms))
				next = event;
		}
		if (next == NULL)
			break;
		fake.now_ms = next->at_ms > fake.now_ms ? next->at_ms : fake.now_ms;
		void (*act)(void) = next->act;
		next->act = NULL;
		act();
	}
	fake.now_ms = until_ms;
}

uint64_t lock_platform_now_ms(void) {
	return fake.now_ms;
}

void lock_platform_sleep_ms(uint64_t pause_ms) {
	if (fake.pause_count < PAUSES_MAX)
		fake.pauses[fake.pause_count++] = pause_ms;
	fake_pass(pause_ms);
}

uint64_t fake_pause_ms(unsigned n) {
	return n < fake.pause_count ? fake.pauses[n] : 0;
}

void fake_chance(int byte) {
	fake.chance = byte;
}

bool lock_platform_random(void *data, size_t size) {
	unsigned char *bytes = data;

	if (fake.chance == FAKE_NO_CHANCE)
		return false;
	for (size_t i = 0; i < size; i++) {
		/* Weyl's sequence, stirred: different every time and the same in every run. */
		fake.chance_state += 0x9e3779b97f4a7c15U;
		bytes[i] =
		    fake.chance >= 0
			? (unsigned char)fake.chance
			: (unsigned char)((fake.chance_state * (fake.chance_state >> 32 | 1)) >>
					  40);
	}
	return true;
}

/* --- The store ----------------------------------------------------------------------------- */

static struct entry *entry_of(const char *key) {
	for (unsigned i = 0; i < ENTRIES_MAX; i++) {
		struct entry *entry = &fake.entries[i];

		if (entry->key[0] == '\0')
			strcpy(entry->key, key);
		if (strcmp(entry->key, key) == 0)
			return entry;
	}
	ck_abort_msg("too many keys");
	return NULL;
}

static void change(struct entry *entry, const char *text) {
	strcpy(entry->text, text);
	entry->version = ++entry->highest;
}

static enum kv_status run(const struct fake_call *call, uint64_t *version) {
	struct entry *entry = entry_of(call->key);

	*version = 0;
	/* A lock that writes whatever the version is would be no lock. */
	must(call->expected != KV_ANY, "an unconditional Put");
	if (entry->version == 0 && call->expected != 0)
		return KV_NOKEY;
	if (entry->version != call->expected) {
		*version = entry->version;
		return KV_VERSION;
	}
	change(entry, call->text);
	*version = entry->version;
	return KV_OK;
}

unsigned fake_land(void) {
	unsigned changed = 0;
	uint64_t version;

	for (unsigned i = 0; i < fake.late_count; i++)
		changed += run(&fake.late[i], &version) == KV_OK;
	fake.late_count = 0;
	return changed;
}

void fake_write(const char *key, const char *text) {
	change(entry_of(key), text);
}

void fake_delete(const char *key) {
	entry_of(key)->version = 0;
}

void fake_exchange(void) {
	fake.store++;
	memset(fake.entries, 0, sizeof(fake.entries));
	fake.late_count = 0;
}

bool fake_holds(const char *key, const char *text, uint64_t version) {
	const struct entry *entry = entry_of(key);

	if (entry->version == version && (version == 0 || strcmp(entry->text, text) == 0))
		return true;
	fprintf(stderr, "%s holds \"%s\" at version %llu, not \"%s\" at version %llu\n", key,
		entry->text, (unsigned long long)entry->version, text, (unsigned long long)version);
	return false;
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

	if (!call->is_put || fate == FATE_UNSENT)
		return KV_TIMEOUT;
	if (fate == FATE_DONE)
		(void)run(call, &version);
	if (fate == FATE_LATE) {
		must(fake.late_count < LATE_MAX, "too many for the fake");
		fake.late[fake.late_count++] = *call;
	}
	return KV_MAYBE;
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
		answer->status = call->is_put ? KV_MAYBE : KV_BADSESSION;
	} else if (next.status != KV_OK) {
		answer->status = next.status;
	} else if (next.fate != FATE_ANSWERED) {
		answer->status = unanswered(call, next.fate);
	} else if (call->is_put) {
		answer->status = run(call, &answer->version);
	} else {
		const struct entry *entry = entry_of(call->key);

		answer->status = entry->version > 0 ? KV_OK : KV_NOKEY;
		answer->text = entry->text;
		answer->version = entry->version;
	}
}

static void call_start(struct fake_call *call, const struct kv_client *client,
		       struct kv_bytes key) {
	must(client->is_open, "a client that is closed");
	must(key.size <= FAKE_TEXT_MAX, "a key too long for the fake");
	*call = (struct fake_call){.timeout_ms = client->timeout_ms};
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
	call.is_put = true;
	call.expected = expected;
	memcpy(call.text, value.data, value.size);
	fake.puts++;
	call_finish(client, &call, &answer);
	if (version != NULL)
		*version = answer.version;
	return answer.status;
}

void kv_value_free(struct kv_value *value) {
	if (value == NULL)
		return;
	free(value->data);
	*value = (struct kv_value){0};
}

enum kv_status kv_within(struct kv_client *client, unsigned timeout_ms, struct kv_client **view) {
	must(client->is_open, "a client that is closed");
	*view = NULL;
	if (fake.view_refusal != KV_OK)
		return fake.view_refusal;
	*view = fake_client(timeout_ms);
	(*view)->is_view = true;
	(*view)->knows = client->knows;
	return KV_OK;
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
