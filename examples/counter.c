/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * counter.c - counts under a lock: counter KEY LOCK COUNT adds 1 to the number in KEY, COUNT times.
 *
 * The Put is unconditional on purpose: only the lock keeps two programs from writing the same
 * number. Run several at once: the total is the sum of their counts.
 */

#include "example.h"

#include <kv/lock.h>

/* The number under the key; a missing key is 0. */
static unsigned long read_number(struct kv_client *client, const char *name) {
	struct kv_value value;
	enum kv_status status = kv_get(client, bytes_of(name), &value);
	char text[32];

	if (status == KV_NOKEY)
		return 0;
	must(status, "get", name);
	if (value.size >= sizeof(text))
		die("%s holds no number", name);
	memcpy(text, value.data, value.size);
	text[value.size] = '\0';
	kv_value_free(&value);
	return number(text, 0);
}

static void write_number(struct kv_client *client, const char *name, unsigned long value) {
	char text[32];

	snprintf(text, sizeof(text), "%lu", value);
	must(kv_put(client, bytes_of(name), bytes_of(text), KV_ANY, NULL), "put", name);
}

int main(int argc, char **argv) {
	if (argc != 4)
		die("usage: counter KEY LOCK COUNT");

	unsigned long count = number(argv[3], 1);
	struct kv_client *client = open_client();
	struct kv_lock *lock;

	must(kv_lock_open(client, bytes_of(argv[2]), &lock), "open lock", argv[2]);
	for (unsigned long i = 0; i < count; i++) {
		must(kv_lock_acquire(lock, 0), "acquire", argv[2]);
		write_number(client, argv[1], read_number(client, argv[1]) + 1);
		must(kv_lock_release(lock), "release", argv[2]);
	}
	kv_lock_close(lock);
	kv_close(client);
	return 0;
}
