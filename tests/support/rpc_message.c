/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc_message.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

enum {
	LAST_FRAGMENT = 0x80, /* in the first byte of a record header */
	HEADER_WORDS = 10,    /* of a call, less the body of its credential */
};

struct call_header call_header(uint32_t xid, uint32_t procedure) {
	return (struct call_header){
	    .xid = xid,
	    .rpc_version = RPC_MSG_VERSION,
	    .program = KV_PROGRAM,
	    .version = KV_V1,
	    .procedure = procedure,
	    .flavor = AUTH_NONE,
	};
}

static uint8_t *put_word(uint8_t *at, uint32_t word) {
	uint32_t wire = htonl(word);

	memcpy(at, &wire, sizeof wire);
	return at + sizeof wire;
}

static uint32_t word_at(const struct message *message, size_t offset) {
	uint32_t wire;

	ck_assert_uint_le(offset + sizeof wire, message->size);
	memcpy(&wire, message->data + offset, sizeof wire);
	return ntohl(wire);
}

struct message message_call(const struct call_header *header, xdrproc_t encode, const void *args) {
	size_t padded = (header->credential_size + 3) / 4 * 4;
	size_t start = HEADER_WORDS * 4 + padded;
	size_t args_size = args == NULL ? 0 : xdr_sizeof(encode, (void *)args);
	struct message call = {calloc(1, start + args_size), start + args_size};
	uint32_t claims = header->credential_claims != 0 ? header->credential_claims
							 : (uint32_t)header->credential_size;

	ck_assert_ptr_nonnull(call.data);
	uint8_t *at = put_word(call.data, header->xid);
	at = put_word(at, CALL);
	at = put_word(at, header->rpc_version);
	at = put_word(at, header->program);
	at = put_word(at, header->version);
	at = put_word(at, header->procedure);
	at = put_word(at, header->flavor);
	at = put_word(at, claims);
	if (header->credential_size > 0) {
		memcpy(at, header->credential, header->credential_size);
	}
	at += padded;
	at = put_word(at, AUTH_NONE);
	(void)put_word(at, 0);

	if (args != NULL) {
		XDR xdrs;
		xdrmem_create(&xdrs, (char *)call.data + start, (u_int)args_size, XDR_ENCODE);
		ck_assert_msg(encode(&xdrs, (void *)args), "the arguments do not encode");
		xdr_destroy(&xdrs);
	}
	return call;
}

struct message message_copy(const void *data, size_t size) {
	struct message copy = {malloc(size + 1), size};

	ck_assert_ptr_nonnull(copy.data);
	if (size > 0) {
		memcpy(copy.data, data, size);
	}
	return copy;
}

void message_header(uint8_t header[4], bool is_last, uint32_t size) {
	(void)put_word(header, size);
	if (is_last) {
		header[0] |= LAST_FRAGMENT;
	}
}

struct message message_record(struct message call, size_t fragment) {
	size_t most = fragment == 0 ? call.size : fragment;
	size_t count = call.size == 0 ? 1 : (call.size + most - 1) / most;
	struct message record = {malloc(call.size + count * 4), 0};

	ck_assert_ptr_nonnull(record.data);
	for (size_t done = 0, i = 0; i < count; i++) {
		size_t part = call.size - done < most ? call.size - done : most;
		message_header(record.data + record.size, i + 1 == count, (uint32_t)part);
		memcpy(record.data + record.size + 4, call.data + done, part);
		record.size += 4 + part;
		done += part;
	}
	message_free(&call);
	return record;
}

void message_join(struct message *first, struct message second) {
	first->data = realloc(first->data, first->size + second.size);
	ck_assert_ptr_nonnull(first->data);
	memcpy(first->data + first->size, second.data, second.size);
	first->size += second.size;
	message_free(&second);
}

void message_free(struct message *message) {
	free(message->data);
	*message = (struct message){0};
}

struct answer answer_read(struct message record) {
	struct answer answer = {.record = record, .xid = word_at(&record, 0)};

	ck_assert_uint_eq(word_at(&record, 4), REPLY);
	answer.is_accepted = word_at(&record, 8) == MSG_ACCEPTED;
	if (!answer.is_accepted) {
		ck_assert_uint_eq(word_at(&record, 8), MSG_DENIED);
		answer.stat = word_at(&record, 12);
		if (answer.stat == RPC_MISMATCH) {
			answer.low = word_at(&record, 16);
			answer.high = word_at(&record, 20);
		} else {
			ck_assert_uint_eq(answer.stat, AUTH_ERROR);
			answer.auth_error = word_at(&record, 16);
		}
		return answer;
	}

	/* The verifier, then how it went. */
	size_t at = 20 + (word_at(&record, 16) + 3) / 4 * 4;
	answer.stat = word_at(&record, at);
	answer.results = at + 4;
	if (answer.stat == PROG_MISMATCH) {
		answer.low = word_at(&record, at + 4);
		answer.high = word_at(&record, at + 8);
	}
	return answer;
}

void answer_results(const struct answer *answer, xdrproc_t decode, void *results) {
	XDR xdrs;

	ck_assert_msg(
	    answer->is_accepted && answer->stat == SUCCESS, "the call was %s with %u (auth %u)",
	    answer->is_accepted ? "answered" : "rejected", answer->stat, answer->auth_error);
	size_t size = answer->record.size - answer->results;
	xdrmem_create(&xdrs, (char *)answer->record.data + answer->results, (u_int)size,
		      XDR_DECODE);
	ck_assert_msg(decode == NULL || decode(&xdrs, results), "the results do not decode");
	ck_assert_uint_eq(xdr_getpos(&xdrs), size);
	xdr_destroy(&xdrs);
}

void answer_free(struct answer *answer) {
	message_free(&answer->record);
}
