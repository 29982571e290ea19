/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * leader.c - one of several processes leads, and only the leader writes.
 *
 *	leader KEY LOG NAME COUNT    appends "TERM NAME 1" to "TERM NAME COUNT" to LOG, while it
 *leads
 *
 * KEY holds the leader's NAME, which is its own, and ends TTL_MS after the last write of the
 *leader. The version of KEY is the term. Each write is fenced: it happens only while KEY is at the
 *writer's term. So a leader that was stopped, or cut off, writes nothing once another leads,
 *whatever it believes, and the terms in LOG only grow.
 */

#include "example.h"

enum { TTL_MS = 1000, PAUSE_MS = 10 };

/* Waits until `name` leads; returns the term. */
static uint64_t campaign(struct kv_client *client, struct kv_bytes key, const char *name) {
	struct kv_condition none = {.test = KV_AT, .key = key, .version = 0};
	struct kv_change lead = {
	    .kind = KV_CHANGE_PUT, .key = key, .value = bytes_of(name), .ttl_ms = TTL_MS};
	struct kv_txn txn = {
	    .conditions = &none, .condition_count = 1, .changes = &lead, .change_count = 1};

	for (;;) {
		enum kv_status status = kv_txn(client, &txn);
		struct kv_value leader;

		if (status == KV_OK)
			return lead.version;
		if (status != KV_UNMET && status != KV_MAYBE)
			must(status, "lead", name);

		/* After KV_MAYBE it may lead: nothing but its own write puts its name there. */
		status = kv_get(client, key, &leader);
		if (status == KV_NOKEY)
			continue;
		must(status, "get the leader of", name);
		bool mine = holds(&leader, name);
		uint64_t term = leader.version;
		kv_value_free(&leader);
		if (mine)
			return term;
		pause_ms(PAUSE_MS);
	}
}

/* Appends a line to `log` and renews the leader's ttl, if the term is still this one. */
static bool write_line(struct kv_client *client, struct kv_bytes key, uint64_t term,
		       struct kv_bytes log, struct kv_bytes line) {
	struct kv_condition leads = {.test = KV_AT, .key = key, .version = term};
	struct kv_change changes[] = {
	    {.kind = KV_CHANGE_APPEND, .key = log, .value = line},
	    {.kind = KV_CHANGE_TOUCH, .key = key, .ttl_ms = TTL_MS},
	};
	struct kv_txn txn = {
	    .conditions = &leads, .condition_count = 1, .changes = changes, .change_count = 2};
	enum kv_status status = kv_txn(client, &txn);

	if (status == KV_UNMET)
		return false;
	must(status, "append to", log.data);
	return true;
}

int main(int argc, char **argv) {
	if (argc != 5)
		die("usage: leader KEY LOG NAME COUNT");

	struct kv_bytes key = bytes_of(argv[1]);
	unsigned long count = number(argv[4], 1);
	struct kv_client *client = open_client();
	uint64_t term = campaign(client, key, argv[3]);

	for (unsigned long i = 1; i <= count; i++) {
		char text[256];

		for (;;) {
			struct kv_bytes line = print_to(text, sizeof(text), "%llu %s %lu\n",
							(unsigned long long)term, argv[3], i);
			if (write_line(client, key, term, bytes_of(argv[2]), line))
				break;
			term = campaign(client, key, argv[3]);
		}
		pause_ms(PAUSE_MS);
	}
	/* Let the next one lead at once. If the term is over, another leads already. */
	kv_delete(client, key, term, NULL);
	kv_close(client);
	return 0;
}
