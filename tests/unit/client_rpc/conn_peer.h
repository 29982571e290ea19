/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_PEER_H
#define CONN_PEER_H

/*
 * conn_peer.h - a connection and, at the other end of its socket, a peer that the test scripts.
 * What should work and does not fails the test.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rpc/conn.h"

enum {
	SOON_MS = 150,	 /* a deadline that is meant to pass */
	LONG_MS = 60000, /* one that is not */
	LARGE = 8 << 20, /* bytes: far more than the buffers of a socket */
};

/* One of each in a test. */
extern struct conn *conn_under_test;
extern int link_fd; /* of a stream: the link's own, to look at */
extern int peer;

/* Fixtures. Over tcp, unlike a local socket, the first send after a hang-up succeeds. */
void open_stream(void);
void open_tcp(void);
void open_datagram(void);
void close_all(void);

/* The same through TLS: all below is encrypted then. */
extern struct test_server peer_server;
void open_secure(void);

/* The peer closes its end. */
void hang_up(void);

/* --- The caller's side --------------------------------------------------------------------- */

/* A call with this xid and `size` bytes in all. */
struct call {
	uint32_t xid;
	size_t size;
	struct call_time time;
	enum attempt outcome;
	struct rpc_reply came;
	char reason[512];
	pthread_t thread;
};

struct call call_new(uint32_t xid, size_t size, unsigned timeout_ms);

/* Makes the call and fills the rest; takes a struct call, as a thread does. */
void *call_run(void *call);

/* The same in a thread of its own. */
void call_start(struct call *call);
void call_finish(struct call *call);

/* The answer was the xid and this text. Frees it. */
void call_check_answered(struct call *call, const char *text);

/* --- The peer's side, on streams ----------------------------------------------------------- */

void write_all(const void *data, size_t size);
void read_all(void *data, size_t size);

/* Reads one call and tells its xid. */
uint32_t read_call(void);

void write_fragment(const void *data, size_t size, bool is_last);

/* The xid and the text as a record of one fragment. */
void write_answer(uint32_t xid, const char *text);

#endif
