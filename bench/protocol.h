/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROTOCOL_H
#define PROTOCOL_H

/*
 * protocol.h - how one system is spoken to, as a table of functions: calls to bytes, bytes to
 * replies. A state is what a protocol keeps for one connection.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "outgoing.h"
#include "workload.h"

enum {
	PROTOCOL_LANES_MAX =
	    64, /* calls under way on one connection; kv's sessions have so many slots */
	PROTOCOL_KEY_SIZE = 16,
	PROTOCOL_HEAD_MAX = 8192, /* a reply whose size is not known by then is invalid */
};

/* What all connections of a run have in common. */
struct protocol_options {
	unsigned lanes;	       /* on each connection */
	uint32_t program;      /* of kv */
	bool is_stateless;     /* kv: Puts without a session */
	struct kv_bytes value; /* what is written; the bytes outlive the states */
};

/* WORK_MODIFY comes here as its Get and its Put. */
struct request {
	enum op_type work;
	uint64_t key;
	unsigned lane;	   /* below options->lanes; one call under way on each */
	uint64_t expected; /* a version, or UINT64_MAX: any; kv only */
};

enum outcome { OUTCOME_DONE, OUTCOME_MISSING, OUTCOME_CONFLICT, OUTCOME_REFUSED };

struct reply {
	enum outcome outcome;
	unsigned lane;	  /* of protocols that are not in order */
	size_t size;	  /* of all its bytes, which may be still on their way */
	uint64_t version; /* kv's, else 0 */
	uint64_t code;	  /* OUTCOME_REFUSED: kv's or RPC's status, for the error line */
};

enum decode_result { DECODE_MORE, DECODE_DONE, DECODE_INVALID };

struct conn_state;

struct protocol {
	const char *name;
	bool is_ordered; /* replies come in the order of the calls */

	/*
	 * Begins on a connected, blocking socket. `close` frees. NULL: it failed, and an error line
	 * says why.
	 */
	struct conn_state *(*open)(const struct protocol_options *options, int fd);
	void (*close)(struct conn_state *state);

	/* False: no memory. */
	bool (*encode)(struct conn_state *state, const struct request *request,
		       struct outgoing *out);

	/* Reads a reply as soon as its size and outcome are known. */
	enum decode_result (*decode)(struct conn_state *state, const uint8_t *bytes, size_t size,
				     struct reply *reply);
};

extern const struct protocol protocol_kv;
extern const struct protocol protocol_echo;
extern const struct protocol protocol_redis;
extern const struct protocol protocol_memcached;
extern const struct protocol protocol_etcd;

/* NULL: there is none of that name. */
const struct protocol *protocol_find(const char *name);

/* "key-000000000042". */
void protocol_key(uint64_t key, char text[PROTOCOL_KEY_SIZE]);

/* The bytes on the wire of one call of kv and of its reply, record marks included. */
void protocol_kv_sizes(enum op_type work, size_t value_size, size_t *call, size_t *reply);

/* Sends and receives exactly these bytes on a blocking socket. False: an error line says why. */
bool protocol_send(int fd, const void *data, size_t size);
bool protocol_receive(int fd, void *data, size_t size);

#endif
