/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPC_MESSAGE_H
#define RPC_MESSAGE_H

/*
 * rpc_message.h - RPC messages as bytes (RFC 5531): calls of any shape, valid or not, and replies.
 *
 * A message owns its bytes; message_free() frees them. Functions that "take" a message free it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rpcsvc/kv.h>

struct message {
	uint8_t *data;
	size_t size;
};

/* The words before the arguments of a call. */
struct call_header {
	uint32_t xid;
	uint32_t rpc_version;
	uint32_t program;
	uint32_t version;
	uint32_t procedure;
	uint32_t flavor; /* of the credential; the verifier is always AUTH_NONE */
	uint32_t
	    credential_claims; /* the length that is told; credential_size unless a test lies */
	const void *credential;
	size_t credential_size;
};

/* A right header for a procedure of kv, with AUTH_NONE. */
struct call_header call_header(uint32_t xid, uint32_t procedure);

/* The call with these arguments, as it goes into a datagram. `args` may be NULL: none. */
struct message message_call(const struct call_header *header, xdrproc_t encode, const void *args);

/* A copy of bytes. */
struct message message_copy(const void *data, size_t size);

/* Takes a call and answers it as a record of a stream: in one fragment, or in fragments of
   `fragment` bytes (RFC 5531, 11). */
struct message message_record(struct message call, size_t fragment);

/* A record header. */
void message_header(uint8_t header[4], bool is_last, uint32_t size);

/* Takes `second` and puts it behind `first`. */
void message_join(struct message *first, struct message second);

void message_free(struct message *message);

/* What came back for one call. */
struct answer {
	struct message record; /* owned; answer_free() */
	uint32_t xid;
	bool is_accepted;
	uint32_t stat;	     /* enum accept_stat if accepted, else enum reject_stat */
	uint32_t low, high;  /* PROG_MISMATCH, RPC_MISMATCH */
	uint32_t auth_error; /* enum auth_stat */
	size_t results;	     /* where they start in the record */
};

/* Takes a record and reads it as an answer; fails the test if it is none. */
struct answer answer_read(struct message record);

/* Decodes the results of a call that succeeded, to be freed with xdr_free(). They must be exactly
   what is there. */
void answer_results(const struct answer *answer, xdrproc_t decode, void *results);

void answer_free(struct answer *answer);

#endif
