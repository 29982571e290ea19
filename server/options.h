/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OPTIONS_H
#define OPTIONS_H

/* options.h - what kvd was told on its command line. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/listener.h"

struct options {
	struct address addresses[LISTENERS_MAX]; /* -l; none: the usual places */
	unsigned address_count;
	const char *data;  /* -d; NULL: memory only */
	const char *check; /* --check; NULL: serve */
	bool use_rpcbind;
	uint32_t program;
	int verbosity;
	uint32_t value_max; /* bytes */
	size_t memory_max;  /* bytes */
	unsigned connections_max;
	uint32_t sessions_max;
	uint64_t lease_ms;
};

enum options_answer {
	OPTIONS_RUN,
	OPTIONS_DONE,  /* help or version was printed: exit 0 */
	OPTIONS_WRONG, /* one line on standard error says what: exit 2 */
};

enum options_answer options_read(int argc, char **argv, struct options *options);

#endif
