/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PROTOCOL_H
#define PROTOCOL_H

/*
 * protocol.h - how one system is spoken to, as a table of functions: calls to bytes, bytes to
 * answers. A talk is what a protocol keeps for one connection.
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
	PROTOCOL_HEAD_MAX = 8192, /* an answer that has not told its size by then is rubbish */
};

/* What all connections of a run have in common. */
struct speech {
	unsigned lanes;	       /* on each connection */
	uint32_t program;      /* of kv */
	bool is_stateless;     /* kv: Puts without a session */
	struct kv_bytes value; /* what is written; the bytes outlive the talks */
};

/* WORK_MODIFY comes here as its Get and its Put. */
struct request {
	enum work work;
	uint64_t key;
	unsigned lane;	   /* below speech->lanes; one call under way on each */
	uint64_t expected; /* a version, or UINT64_MAX: any; kv only */
};

enum outcome { OUTCOME_DONE, OUTCOME_MISSING, OUTCOME_CONFLICT, OUTCOME_REFUSED };

struct answer {
	enum outcome outcome;
	unsigned lane;	  /* of protocols that are not in order */
	size_t size;	  /* of all its bytes, which may be still on their way */
	uint64_t version; /* kv's, else 0 */
	uint64_t code;	  /* OUTCOME_REFUSED: kv's or RPC's status, for the error line */
};

enum decoding { DECODING_MORE, DECODING_DONE, DECODING_RUBBISH };

struct talk;

struct protocol {
	const char *name;
	bool is_ordered; /* answers come in the order of the calls */

	/*
	 * Begins on a connected, blocking socket. `close` frees. NULL: it failed, and an error line
	 * says why.
	 */
	struct talk *(*open)(const struct speech *speech, int fd);
	void (*close)(struct talk *talk);

	/* False: no memory. */
	bool (*encode)(struct talk *talk, const struct request *request, struct outgoing *out);

	/* Reads an answer as soon as its size and outcome are known. */
	enum decoding (*decode)(struct talk *talk, const uint8_t *bytes, size_t size,
				struct answer *answer);
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

/* The bytes on the wire of one call of kv and of its answer, record marks included. */
void protocol_kv_sizes(enum work work, size_t value_size, size_t *call, size_t *answer);

/* Sends and receives exactly these bytes on a blocking socket. False: an error line says why. */
bool protocol_send(int fd, const void *data, size_t size);
bool protocol_receive(int fd, void *data, size_t size);

#endif
