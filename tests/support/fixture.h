/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FIXTURE_H
#define FIXTURE_H

/*
 * fixture.h - the fixture of most system tests: a server, a connection to it and a session; on
 * request a data directory, and a probe that measures what another client notices.
 *
 *     CASE(sessions, .setup = fixture_plain, .teardown = fixture_end);
 *
 * The test finds it in `fx`. A test that wants options of its own has no set-up but this:
 * fixture_open(&fx, "--max-value", "1M", NULL).
 */

#include "latency_probe.h"
#include "raw_client.h"

struct fixture {
	struct server server;
	struct peer peer; /* over tcp */
	struct session session;
	char dir[64]; /* of fixture_durable() */
	bool is_open;
	bool is_probed;
	struct latency_probe probe;
	uint64_t memory; /* of the server, before */
};

extern struct fixture fx;

/* Set-ups: without options, with -d and a fresh directory, with a probe. */
void fixture_plain(void);
void fixture_durable(void);
void fixture_probed(void);

/* The tear-down: closes `fx`, unless a test has called it. */
void fixture_end(void);

/* Ends `fx` by a kill; or waits until the server, which was told to end, has done so cleanly. */
void fixture_kill(void);
void fixture_await_end(void);

/* `...` are more arguments for the server, the last one NULL. */
void fixture_open(struct fixture *fixture, ...);
void fixture_open_probed(struct fixture *fixture, ...);

/*
 * Stops the server, which must end cleanly. With a probe, fails if the other client had to wait for
 * too long, or if the fixture's own connection is not served any more.
 */
void fixture_close(struct fixture *fixture);

/*
 * Fails if the server holds more than `bytes` above what it held at the set-up, with a probe.
 * `what` names the figure.
 */
void fixture_check_memory(const char *what, uint64_t bytes);

#endif
