/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPC_SCRIPT_H
#define RPC_SCRIPT_H

/*
 * rpc_script.h - an RPC server that answers as the test says, and the real transport connected to
 * it. Whatever should work and does not fails the test.
 */

#include <stddef.h>
#include <stdint.h>

#include <rpcsvc/kv.h>

#include "transport.h"

enum {
	PROGRAM = 0x20004b99, /* the server answers no other */
};

/* Checks the arguments of a call and encodes what follows the xid in the answer. */
typedef void script(const struct rpc_msg *call, XDR *arguments, XDR *answer);

/* For scripts: words, and the words ahead of the results of a call that succeeded. */
void put_words(XDR *answer, const uint32_t *words, size_t count);
void put_success(XDR *answer);

/* One of each in a test. */
extern int listener;
extern char server_text[200]; /* the address of the listener */
extern struct transport transport;
extern struct conn *script_conn;

/* Listens on a free port of 127.0.0.1, which the client is told to be called `host`. */
void listen_on_loopback(const char *host);

/* Serves one connection from the listener with this script, and connects. stop() ends both. */
void start(script *with);
void start_on_loopback(script *with);
void stop(void);

/* The transport alone, for rpc_transport_free(). */
void open_transport(const char *server);

/* A deadline that is not meant to pass. */
uint64_t soon(void);

const char *reason(void);

/* One attempt on the link, into a fresh response. */
enum attempt attempt(struct request *request, struct response *response);

#endif
