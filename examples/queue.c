/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * queue.c - a queue of work: each item is finished once, whatever becomes of the workers.
 *
 *	queue add QUEUE VALUE...        puts each VALUE under "QUEUE/TIME"
 *	queue work QUEUE RESULT NAME MS finishes items until none is left; each takes it MS
 *
 * A worker claims an item in one transaction, if the item is there and has no claim. The claim ends
 * after TTL_MS, so an item of a worker that died is free again. One more transaction removes item
 * and claim and appends "VALUE NAME" to RESULT, if the claim is still the same: a worker that took
 * too long finishes nothing.
 */

#include "example.h"

enum { TTL_MS = 1000, PAUSE_MS = 50 };

struct worker {
	struct kv_client *client;
	const char *result, *name;
	unsigned long work_ms;
	size_t seen; /* items in this pass */
};

static void add(struct kv_client *client, const char *items, const char *value) {
	enum kv_status status;

	/* Names sort by time. If one is taken, there is another a moment later. */
	do {
		char text[KV_KEY_MAX + 1];
		struct timespec now;

		clock_gettime(CLOCK_REALTIME, &now);
		struct kv_bytes key = print_to(text, sizeof(text), "%s%010lld.%09ld", items,
					       (long long)now.tv_sec, now.tv_nsec);
		status = kv_put(client, key, bytes_of(value), 0, NULL);
	} while (status == KV_VERSION);
	must(status, "add", value);
}

/* Claims the item, if no other worker has it, and finishes it. */
static bool work_on(void *context, const struct kv_key *item) {
	struct worker *self = context;
	char name[KV_KEY_MAX + 1];
	char text[4096];
	struct kv_value value;
	enum kv_status status = kv_get(self->client, item->key, &value);

	if (status == KV_NOKEY)
		return true; /* finished since it was listed */
	must(status, "get", "an item");
	self->seen++;
	struct kv_bytes line = print_to(text, sizeof(text), "%.*s %s\n", (int)value.size,
					(char *)value.data, self->name);
	kv_value_free(&value);
	struct kv_bytes claim = print_to(name, sizeof(name), "claim:%.*s", (int)item->key.size,
					 (const char *)item->key.data);
	struct kv_condition unclaimed[] = {
	    {.test = KV_AT, .key = item->key, .version = item->version},
	    {.test = KV_AT, .key = claim, .version = 0},
	};
	struct kv_change put = {KV_CHANGE_PUT, claim, bytes_of(self->name), TTL_MS, 0};
	status = kv_txn(self->client, &(struct kv_txn){unclaimed, 2, &put, 1, 0, 0, 0});
	if (status == KV_UNMET)
		return true; /* another worker has it, or had */
	must(status, "claim", name);
	pause_ms((long)self->work_ms); /* the work */
	struct kv_condition mine = {.test = KV_AT, .key = claim, .version = put.version};
	struct kv_change changes[] = {
	    {.kind = KV_CHANGE_DELETE, .key = item->key},
	    {.kind = KV_CHANGE_DELETE, .key = claim},
	    {KV_CHANGE_APPEND, bytes_of(self->result), line, 0, 0},
	};
	status = kv_txn(self->client, &(struct kv_txn){&mine, 1, changes, 3, 0, 0, 0});
	if (status != KV_UNMET)
		must(status, "finish", name);
	return true;
}

int main(int argc, char **argv) {
	bool adds = argc > 3 && strcmp(argv[1], "add") == 0;

	if (!adds && (argc != 6 || strcmp(argv[1], "work") != 0))
		die("usage: queue add QUEUE VALUE... | queue work QUEUE RESULT NAME MS");

	struct worker self = {open_client(), argv[3], argv[4], adds ? 0 : number(argv[5], 0), 0};
	char items[KV_KEY_MAX + 1];

	print_to(items, sizeof(items), "%s/", argv[2]);
	for (int i = 3; adds && i < argc; i++)
		add(self.client, items, argv[i]);
	/* Until a pass sees no item: that of another worker may be free again. */
	for (self.seen = !adds; self.seen > 0; pause_ms(PAUSE_MS)) {
		self.seen = 0;
		must(kv_list_each(self.client, bytes_of(items), work_on, &self), "list", items);
	}
	kv_close(self.client);
	return 0;
}
