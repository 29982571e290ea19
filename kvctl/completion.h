/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COMPLETION_H
#define COMPLETION_H

/*
 * completion.h - Completion of a line that is typed: of its first word by the table of commands, of
 * another one by the keys of the store (LIST). Owns its candidates and a handle for them.
 */

#include "kvctl.h"
#include "words.h"

/* How many keys are asked for, and how long. */
enum { COMPLETION_MAX = 100, COMPLETION_TIMEOUT_MS = 1000 };

/* All zero at first, but for the settings. */
struct completion {
	const struct settings *settings;
	struct kv_client *client; /* NULL: not opened yet */
	struct words words;
	size_t count;
	char *candidates[COMPLETION_MAX]; /* quoted as they are typed */
	bool more;			  /* there are more than those */
	char insert[4 * KV_KEY_MAX + 2];  /* what all candidates go on with; "": nothing */
};

/* Finds what can become of the last word of `before`, which is the line up to the cursor. */
void completion_find(struct completion *completion, struct kv_bytes before);

void completion_free(struct completion *completion);

#endif
