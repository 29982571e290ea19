/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef OPTIONS_H
#define OPTIONS_H

/* options.h - the command line of the load program. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "protocol.h"
#include "workload.h"

struct options {
	const struct protocol *protocol;
	struct address server;		/* ADDRESS_TCP with a port, or ADDRESS_LOCAL */
	struct protocol_options common; /* its value: owned by the process */
	struct workload workload;
	unsigned connections;
	unsigned threads;
	unsigned idle; /* more connections, on which nothing happens */
	uint64_t rate; /* calls a second, all together; 0: the next once one is answered */
	unsigned warmup_ms;
	unsigned duration_ms;
	uint64_t calls;	   /* end after so many, each connection its part; 0: by time */
	bool fills;	   /* first write each key */
	bool is_versioned; /* Puts expect the version that the key has; each lane has its keys */
	uint64_t seed;
	pid_t server_pid; /* the process whose processor time is reported; 0: none */
};

/* True: *options is right. False: it is over, with *code; what is wrong has been reported. */
bool options_read(struct options *options, int argc, char **argv, int *code);

#endif
