/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * append.c - adds numbered lines to one key: append KEY NAME COUNT adds "NAME 1" to "NAME COUNT".
 *
 * Run several at once: each line is there exactly once, and each program's lines are in its order,
 * whatever the network lost or repeated.
 */

#include "example.h"

int main(int argc, char **argv) {
	if (argc != 4)
		die("usage: append KEY NAME COUNT");

	struct kv_bytes key = bytes_of(argv[1]);
	unsigned long count = number(argv[3], 1);
	struct kv_client *client = open_client();

	for (unsigned long i = 1; i <= count; i++) {
		char line[256];
		struct kv_bytes added = print_to(line, sizeof(line), "%s %lu\n", argv[2], i);

		must(kv_append(client, key, added, KV_ANY, NULL, NULL), "append to", argv[1]);
	}
	kv_close(client);
	return 0;
}
