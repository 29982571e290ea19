/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_TRANSPORT_H
#define FAKE_TRANSPORT_H

/*
 * fake_transport.h - the outside world of a client, as a test wants it: servers that answer from a
 * script, a clock that moves only when a thread waits, random numbers from a list of one. kv_open()
 * gets it in place of connections.
 *
 * A server that was told nothing else answers each call KV_OK, and KV_EPOCH to one that carries
 * another epoch than its own.
 */

#include "test.h"
#include "transport.h"

enum { FAKE_SERVERS_MAX = 4, FAKE_LOG_MAX = 512, FAKE_STEPS_MAX = 64 };

enum reach { REACH_UP, REACH_REFUSED, REACH_SILENT };

struct fake_server {
	enum reach reach;
	bool is_datagram;
	uint8_t store; /* each byte of its id */
	uint64_t epoch;
	unsigned looked_again; /* connects that were to look the address up anew */
};

/* What becomes of one attempt. All zero: it is answered with `response`, at once. */
struct step {
	enum attempt outcome;
	struct response response;
	uint64_t takes_ms; /* unless it waits for its deadline: UNANSWERED on a link that lives */
	bool breaks_link;  /* known at once */
	bool is_heard;	   /* UNANSWERED: others were answered on that link meanwhile */
	void (*during)(void); /* happens while it is under way */
};

/* One attempt, as the server saw it. */
struct sent {
	struct request request; /* its bytes are not kept */
	size_t server;
	unsigned link; /* 1, 2, ... in order of connecting */
	uint64_t began_ms;
	uint64_t until_ms;
};

struct fake {
	struct transport table; /* may be changed before kv_open() */
	struct fake_server servers[FAKE_SERVERS_MAX];
	uint64_t now_ms;
	uint64_t chance; /* what is drawn; 0: another number each time */
	const char *reason;

	uint32_t slots; /* that an OPEN gives */
	uint64_t lease_ms;
	uint32_t value_max;
	uint32_t datagram_max;
	uint64_t last_client_id; /* OPEN gives the next one */

	unsigned connects;
	unsigned live_links;
	struct sent log[FAKE_LOG_MAX];
	size_t log_count;
	uint64_t pauses[FAKE_LOG_MAX]; /* milliseconds */
	size_t pause_count;
};

extern struct fake fake;

/* One server, up, over a stream; time 1000; nothing scripted. A fixture of every test. */
void fake_reset(void);

/* How many servers the list has; the new ones are up, over streams, with the store of the first. */
void fake_serve(size_t count);

/* Scripts the next attempts of that kind, in order, on whatever server. */
void fake_next(enum request_kind kind, struct step step);
/* The same, for the usual cases. */
void fake_answers(enum request_kind kind, enum kv_status status, uint64_t current);
void fake_fails(enum request_kind kind, enum attempt outcome);
/* Sent, and then the link breaks. */
void fake_breaks(enum request_kind kind);

/* The server starts again, with the same store. */
void fake_restart(size_t server);

/* The n-th attempt of that kind, from 0; the test fails if there was none. And how many. */
const struct request *fake_sent(enum request_kind kind, size_t n);
const struct sent *fake_log(enum request_kind kind, size_t n);
size_t fake_count(enum request_kind kind);

/* A handle with the given time limit; backoff_ms 10, backoff_max_ms 1000, attempt_ms 1000. */
struct kv_client *fake_open(unsigned timeout_ms);
struct kv_client *fake_open_stateless(unsigned timeout_ms);

/* Closes it and makes sure that all links were dropped. */
void fake_close(struct kv_client *client);

/* Puts "v" to the key "k". */
enum kv_status fake_put(struct kv_client *client, uint64_t expected);

#endif
