/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OPTIONS_H
#define OPTIONS_H

/* options.h - kvd's command line. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory_limit.h"
#include "net/listener.h"
#include "net/stream.h"
#include "tls_files.h"

struct options {
	struct address addresses[LISTENERS_MAX]; /* -l; none: the default addresses */
	unsigned address_count;
	const char *data;    /* -d; NULL: memory only */
	const char *check;   /* --check; NULL: serve */
	const char *restore; /* --restore; NULL: serve */
	bool is_restored;    /* --restored */
	bool is_moved;	     /* --moved */
	bool use_rpcbind;
	struct tls_files tls;	    /* --tls-cert and others; no certificate: there is no TLS */
	enum tls_policy tls_policy; /* --tls */
	bool has_tls_policy;	    /* it was given */
	const char *acl;	    /* --acl; NULL: every client may everything */
	const char *who;	    /* --who; NULL: serve, else with: */
	const char *key;	    /* --key */
	bool is_open;		    /* --open: addresses that other machines reach are allowed */
	uint32_t program;
	int verbosity;
	uint32_t value_max;		  /* bytes */
	size_t memory_max;		  /* bytes */
	struct memory_limit memory_limit; /* what the process may use; the default is half of it */
	unsigned connections_max;
	unsigned connections_each; /* that one peer may have; 0: no limit */
	uint32_t sessions_max;
	uint32_t sessions_each; /* likewise */
	uint32_t changes_max;
	unsigned waiting_max;
	uint64_t lease_ms;
};

enum options_result {
	OPTIONS_RUN,
	OPTIONS_DONE,  /* help or version was printed: exit 0 */
	OPTIONS_ERROR, /* one line on standard error says what: exit 2 */
};

/* What one peer may have of something of which all may have so many, unless it is given. */
uint32_t options_usual_part(uint32_t all);

enum options_result options_read(int argc, char **argv, struct options *options);

#endif
