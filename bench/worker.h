/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORKER_H
#define WORKER_H

/*
 * worker.h - one thread of the load, with its part of the connections.
 *
 * Closed loop: each lane makes its next call when the one before is answered; a latency begins when
 * the call is made. Fixed rate: the calls of a worker are due at even distances whatever the
 * replies do, and a latency begins when the call was due, though no lane was free then. So a server
 * that stalls for a second is charged with all calls that were due in it ("coordinated
 * omission" is leaving them out).
 */

#include <stdatomic.h>

#include "connection.h"
#include "histogram.h"
#include "options.h"

/* When what happens counts. A call counts if it was due in it. */
struct window {
	uint64_t begin_ns, end_ns;
};

struct worker {
	struct options *options; /* all workers share them, and these: */
	uint64_t *versions;	 /* of the keys, if the Puts name them; else NULL */
	struct window window;

	struct connection *connections; /* owned */
	unsigned first, count;		/* their numbers among all of the run */
	int epoll;
	uint8_t *scratch; /* owned */
	uint64_t seed;
	bool is_filling;
	uint64_t next_key, end_key; /* of filling */
	uint64_t under_way;	    /* calls */
	uint64_t now_ns;	    /* 0: it is to be read anew */

	/* Fixed rate: call number `due` is due at first_due_ns + due * interval_ns. */
	double interval_ns;
	uint64_t first_due_ns, due;
	unsigned next_connection;

	/* What came of it. */
	struct histogram *latencies; /* owned; WORKS of them */
	uint64_t answered;	     /* within the window */
	uint64_t missing, conflicts;
	uint64_t behind; /* calls that were due and could not be made before the window's end */
};

/* Part `number` of `parts` of the load. False: an error line said why. worker_close() frees. */
bool worker_open(struct worker *worker, struct options *options, uint64_t *versions,
		 unsigned number, unsigned parts);
void worker_close(struct worker *worker);

/* Writes this worker's part of the keys, and waits for the replies. */
bool worker_fill(struct worker *worker);

/* Makes calls until the window ends, or all have been made, and waits for the replies. */
bool worker_run(struct worker *worker, struct window window);

#endif
