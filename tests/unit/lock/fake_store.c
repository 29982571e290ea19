/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_store.h"

#include <stdio.h>
#include <string.h>

#include "fake_clock.h"
#include "test.h"

static struct entry entries[FAKE_ENTRIES_MAX];

/* Not ck_assert(), which looks at the clock: there are millions. */
static void must(bool holds, const char *otherwise) {
	if (!holds)
		ck_abort_msg("%s", otherwise);
}

void fake_store_clear(void) {
	memset(entries, 0, sizeof(entries));
}

struct entry *fake_store_at(unsigned index) {
	return &entries[index];
}

struct entry *fake_store_entry(const char *key) {
	for (unsigned i = 0; i < FAKE_ENTRIES_MAX; i++) {
		struct entry *entry = &entries[i];

		if (entry->key[0] == '\0')
			strcpy(entry->key, key);
		if (strcmp(entry->key, key) == 0)
			return entry;
	}
	ck_abort_msg("too many keys");
	return NULL;
}

bool fake_store_end_leases(void) {
	bool is_any_left = false;

	for (unsigned i = 0; i < FAKE_ENTRIES_MAX; i++) {
		struct entry *entry = &entries[i];

		if (entry->version == 0 || entry->ends_ms == 0)
			continue;
		if (entry->ends_ms > fake_boot_ms()) {
			is_any_left = true;
			continue;
		}
		entry->version = entry->ends_ms = 0;
		entry->highest++;
	}
	return is_any_left;
}

static void change(struct entry *entry, const char *text) {
	must(strlen(text) <= FAKE_TEXT_MAX, "a text too long for the fake");
	strcpy(entry->text, text);
	entry->ends_ms = 0;
	entry->version = ++entry->highest;
}

enum kv_status fake_store_put(const struct fake_call *call, uint64_t *version) {
	struct entry *entry = fake_store_entry(call->key);

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
	if (call->kind == FAKE_DELETE)
		entry->version = 0;
	return KV_OK;
}

static void change_as_txn(struct entry *entry, enum kv_change_kind kind, const char *text,
			  uint64_t ttl_ms) {
	if (kind == KV_CHANGE_PUT)
		change(entry, text);
	if (kind == KV_CHANGE_DELETE) {
		entry->version = 0;
		entry->highest++;
	} else if (ttl_ms > 0 && fake_boot_ms() + ttl_ms > entry->ends_ms) {
		entry->ends_ms = fake_boot_ms() + ttl_ms;
	}
}

enum kv_status fake_store_txn(const struct fake_call *call, uint64_t *version) {
	const struct entry *entry = fake_store_entry(call->key);
	struct entry *changed = fake_store_entry(call->change_key);
	bool is_free = entry->version == 0 || strcmp(entry->text, "__unlocked") == 0;

	if (call->test == KV_FREE ? !is_free : entry->version != call->expected)
		return KV_UNMET;
	if (call->note_key[0] != '\0' && call->note_change == KV_CHANGE_DELETE &&
	    fake_store_entry(call->note_key)->version == 0)
		return KV_NOKEY;
	change_as_txn(changed, call->change, call->text, call->ttl_ms);
	if (call->note_key[0] != '\0')
		change_as_txn(fake_store_entry(call->note_key), call->note_change, call->note,
			      call->ttl_ms);
	*version = changed->version;
	return KV_OK;
}

void fake_write(const char *key, const char *text) {
	change(fake_store_entry(key), text);
}

void fake_delete(const char *key) {
	fake_store_entry(key)->version = 0;
}

bool fake_holds(const char *key, const char *text, uint64_t version) {
	const struct entry *entry = fake_store_entry(key);

	if (entry->version == version && (version == 0 || strcmp(entry->text, text) == 0))
		return true;
	fprintf(stderr, "%s holds \"%s\" at version %llu, not \"%s\" at version %llu\n", key,
		entry->text, (unsigned long long)entry->version, text, (unsigned long long)version);
	return false;
}
