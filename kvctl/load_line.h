/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOAD_LINE_H
#define LOAD_LINE_H

/* load_line.h - A line of a dump (kvctl dump) as a key with its value. */

#include <stdbool.h>

#include <kv/kv.h>

enum {
	/* Bytes of a line, at most: a key and a value in escapes of six bytes, and numbers. */
	LOAD_LINE_MAX = 6 * (KV_KEY_MAX + KV_VALUE_MAX) + 1024,
	LOAD_ERROR_MAX = 256,
};

struct load_entry {
	struct kv_bytes key, value; /* in `memory` */
	uint64_t ttl_ms;	    /* 0: none */
	char *memory;		    /* owned: free() */
};

/* False, with a line for people in `error`: it is none, or there is no memory. */
bool load_line_parse(struct kv_bytes line, struct load_entry *entry, char error[LOAD_ERROR_MAX]);

#endif
