/* SPDX-License-Identifier: BSD-3-Clause */
/* hello.c - the smallest whole program: write a value, add to it, read it back. */

#include <stdio.h>

#include <kv/kv.h>

static int failed(const char *what, enum kv_status status) {
	fprintf(stderr, "%s: %s\n", what, kv_status_text(status));
	return 1;
}

int main(void) {
	/* All defaults but one: give up after five seconds instead of waiting for ever. */
	struct kv_options options = {.timeout_ms = 5000};
	struct kv_bytes key = KV_STR("greeting");
	struct kv_bytes hello = KV_STR("hello");
	struct kv_bytes world = KV_STR(", world");
	struct kv_client *client;
	struct kv_value value;
	uint64_t version;

	enum kv_status status = kv_open(&options, &client);
	if (status != KV_OK)
		return failed("open", status);

	status = kv_put(client, key, hello, KV_ANY, &version);
	if (status != KV_OK)
		return failed("put", status);

	/* Only if there was no write in between: at the version that the Put made. */
	status = kv_append(client, key, world, version, NULL, NULL);
	if (status != KV_OK)
		return failed("append", status);

	status = kv_get(client, key, &value);
	if (status != KV_OK)
		return failed("get", status);
	printf("%.*s (version %llu)\n", (int)value.size, (const char *)value.data,
	       (unsigned long long)value.version);

	kv_value_free(&value);
	kv_close(client);
	return 0;
}
