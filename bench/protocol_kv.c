/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol_kv.c - kv's RPC. Each kind of call is encoded once, by the generated routines; for each
 * call after that a few numbers and the key are written over in a copy. So the load costs less than
 * the server that it measures.
 */
#include "protocol.h"

#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "kv_call.h"
#include "log.h"
#include "random.h"
#include "record_marking.h"

enum {
	/* xid, direction, RPC version, program, version, procedure, and two empty credentials */
	CALL_HEADER = 40,
	/* xid, direction, accepted, an empty verifier, success */
	REPLY_HEADER = 24,
	WRITER_SIZE = 28,
	FORM_MAX = 192,
	XID_AT = RECORD_MARK_SIZE,
	ARGUMENTS_AT = RECORD_MARK_SIZE + CALL_HEADER,
	SLOT_AT = ARGUMENTS_AT + 16,
	SEQ_AT = ARGUMENTS_AT + 20,
	EXPECTED_AT = ARGUMENTS_AT + WRITER_SIZE,
	GET_KEY_AT = ARGUMENTS_AT + 12,
	WRITE_KEY_AT = EXPECTED_AT + 12,
};

static const uint32_t last_fragment = UINT32_C(1) << 31;

/* A call up to its value. */
struct form {
	uint8_t bytes[FORM_MAX];
	size_t size;
	size_t key_at; /* 0: it has none */
	bool writes;
};

struct conn_state {
	struct form forms[WORKS];
	struct kv_bytes value;
	size_t padding; /* zeros after the value, then want_old of an Append */
	uint64_t epoch;
	uint64_t client_id; /* 0: stateless */
	uint64_t seqs[PROTOCOL_LANES_MAX];
};

static void put_32(uint8_t *at, uint32_t number) {
	number = htobe32(number);
	memcpy(at, &number, sizeof(number));
}

static void put_64(uint8_t *at, uint64_t number) {
	number = htobe64(number);
	memcpy(at, &number, sizeof(number));
}

static uint32_t get_32(const uint8_t *at) {
	uint32_t number = 0;

	memcpy(&number, at, sizeof(number));
	return be32toh(number);
}

static uint64_t get_64(const uint8_t *at) {
	uint64_t number = 0;

	memcpy(&number, at, sizeof(number));
	return be64toh(number);
}

/* --- The beginning: HELLO, and OPEN for a session -----------------------------------------------
 */

static bool say_hello(struct conn_state *state, const struct protocol_options *options, int fd) {
	kv1_hello_res hello = {.status = KV1_OK};

	if (!kv_call_once(fd, options->program, KVPROC_HELLO, (xdrproc_t)(void (*)(void))xdr_void,
			  NULL, (xdrproc_t)xdr_kv1_hello_res, &hello))
		return false;
	if (hello.status != KV1_OK || hello.value_max < options->value.size) {
		log_error("kvd takes values up to %u bytes; see its --max-value", hello.value_max);
		return false;
	}
	state->epoch = hello.epoch;
	return true;
}

static bool open_session(struct conn_state *state, const struct protocol_options *options, int fd) {
	kv1_open_args args = {.epoch = state->epoch, .slots = options->lanes};
	kv1_open_res opened = {.status = KV1_OK};

	random_bytes(args.nonce, sizeof(args.nonce));
	if (!kv_call_once(fd, options->program, KVPROC_OPEN, (xdrproc_t)xdr_kv1_open_args, &args,
			  (xdrproc_t)xdr_kv1_open_res, &opened))
		return false;
	if (opened.status != KV1_OK || opened.slots < options->lanes) {
		log_error("kvd opens no session of %u slots: status %d, %u slots", options->lanes,
			  (int)opened.status, opened.slots);
		return false;
	}
	state->client_id = opened.client_id;
	return true;
}

/* --- Calls ---------------------------------------------------------------------------------- */

/* Cuts off the value, of which the form holds one word, and lets the mark count the real one. */
static void leave_value_out(struct form *form, size_t value_size, size_t after) {
	form->size -= BYTES_PER_XDR_UNIT + after;
	put_32(form->bytes + form->size - BYTES_PER_XDR_UNIT, (uint32_t)value_size);
	record_mark(form->bytes, form->size - RECORD_MARK_SIZE + RNDUP(value_size) + after);
}

static void make_forms(struct conn_state *state, uint32_t program, size_t value_size) {
	char key[PROTOCOL_KEY_SIZE] = {0};
	char word[BYTES_PER_XDR_UNIT] = {0};
	kv1_get_args get = {.epoch = state->epoch, .key = {sizeof(key), key}};
	kv1_put_args put = {.writer = {.epoch = state->epoch, .client_id = state->client_id},
			    .key = {sizeof(key), key},
			    .value = {sizeof(word), word}};
	kv1_append_args append = {.writer = put.writer, .key = put.key, .value = put.value};
	struct form *forms = state->forms;

	forms[WORK_NULL].size =
	    kv_call_encode(forms[WORK_NULL].bytes, FORM_MAX, program, KVPROC_NULL,
			   (xdrproc_t)(void (*)(void))xdr_void, NULL);
	forms[WORK_GET].size = kv_call_encode(forms[WORK_GET].bytes, FORM_MAX, program, KVPROC_GET,
					      (xdrproc_t)xdr_kv1_get_args, &get);
	forms[WORK_GET].key_at = GET_KEY_AT;
	forms[WORK_PUT].size = kv_call_encode(forms[WORK_PUT].bytes, FORM_MAX, program, KVPROC_PUT,
					      (xdrproc_t)xdr_kv1_put_args, &put);
	forms[WORK_PUT].key_at = WRITE_KEY_AT;
	forms[WORK_PUT].writes = true;
	forms[WORK_APPEND] = forms[WORK_PUT];
	forms[WORK_APPEND].size =
	    kv_call_encode(forms[WORK_APPEND].bytes, FORM_MAX, program, KVPROC_APPEND,
			   (xdrproc_t)xdr_kv1_append_args, &append);
	leave_value_out(&forms[WORK_PUT], value_size, 0);
	leave_value_out(&forms[WORK_APPEND], value_size, BYTES_PER_XDR_UNIT);
	forms[WORK_INSERT] = forms[WORK_PUT];
	state->padding = RNDUP(value_size) - value_size;
}

static struct conn_state *open_state(const struct protocol_options *options, int fd) {
	struct conn_state *state = calloc(1, sizeof(*state));

	if (state == NULL)
		return NULL;
	state->value = options->value;
	if (!say_hello(state, options, fd) ||
	    (!options->is_stateless && !open_session(state, options, fd))) {
		free(state);
		return NULL;
	}
	make_forms(state, options->program, options->value.size);
	return state;
}

static void close_state(struct conn_state *state) {
	free(state);
}

static bool encode(struct conn_state *state, const struct request *request, struct outgoing *out) {
	static const uint8_t zeros[2 * BYTES_PER_XDR_UNIT];
	struct form *form = &state->forms[request->work];
	size_t after = state->padding;

	/* The xid is the lane, so that a reply tells it. */
	put_32(form->bytes + XID_AT, request->lane);
	if (form->key_at != 0)
		protocol_key(request->key, (char *)form->bytes + form->key_at);
	if (!form->writes)
		return outgoing_add(out, form->bytes, form->size);
	put_64(form->bytes + EXPECTED_AT, request->expected);
	if (state->client_id != 0) {
		put_32(form->bytes + SLOT_AT, request->lane);
		put_64(form->bytes + SEQ_AT, ++state->seqs[request->lane]);
	}
	if (request->work == WORK_APPEND)
		after += BYTES_PER_XDR_UNIT;
	return outgoing_add(out, form->bytes, form->size) && outgoing_lend(out, state->value) &&
	       (after == 0 || outgoing_add(out, zeros, after));
}

/* --- Replies -------------------------------------------------------------------------------- */

static enum decode_result decode(struct conn_state *state, const uint8_t *bytes, size_t size,
				 struct reply *reply) {
	const uint8_t *header = bytes + RECORD_MARK_SIZE;
	uint32_t mark = 0;
	size_t left = 0;

	(void)state;
	if (size < RECORD_MARK_SIZE)
		return DECODE_MORE;
	mark = get_32(bytes);
	left = mark & ~last_fragment;
	*reply = (struct reply){.outcome = OUTCOME_DONE, .size = RECORD_MARK_SIZE + left};
	if ((mark & last_fragment) == 0 || left < REPLY_HEADER)
		return DECODE_INVALID;
	/* A reply to NULL ends with the header; any other goes on with status and version. */
	if (size - RECORD_MARK_SIZE < (left < REPLY_HEADER + 12 ? left : REPLY_HEADER + 12))
		return DECODE_MORE;
	reply->lane = get_32(header);
	if (get_32(header + 4) != REPLY || reply->lane >= PROTOCOL_LANES_MAX)
		return DECODE_INVALID;
	reply->code = get_32(header + 8) != MSG_ACCEPTED ? 1 : get_32(header + 20);
	if (reply->code != 0) {
		log_error("kvd refuses the call as RPC: status %" PRIu64, reply->code);
		reply->outcome = OUTCOME_REFUSED;
		return DECODE_DONE;
	}
	if (left < REPLY_HEADER + 12)
		return left == REPLY_HEADER ? DECODE_DONE : DECODE_INVALID;
	reply->code = get_32(header + REPLY_HEADER);
	reply->version = get_64(header + REPLY_HEADER + 4);
	if (reply->code == KV1_NOKEY) {
		reply->outcome = OUTCOME_MISSING;
	} else if (reply->code == KV1_VERSION) {
		reply->outcome = OUTCOME_CONFLICT;
	} else if (reply->code != KV1_OK) {
		log_error("kvd refuses: status %" PRIu64 " of kv.x", reply->code);
		reply->outcome = OUTCOME_REFUSED;
	}
	return DECODE_DONE;
}

void protocol_kv_sizes(enum op_type work, size_t value_size, size_t *call, size_t *reply) {
	struct conn_state state = {.epoch = 1};
	struct form *form = &state.forms[work];

	make_forms(&state, KV_PROGRAM, value_size);
	*call = form->size + (form->writes ? RNDUP(value_size) : 0) +
		(work == WORK_APPEND ? BYTES_PER_XDR_UNIT : 0);
	*reply = RECORD_MARK_SIZE + REPLY_HEADER;
	switch (work) {
	case WORK_NULL:
	case WORK_MODIFY: /* it is two calls, and has no size of its own */
		break;
	case WORK_GET:
		*reply += 12 + BYTES_PER_XDR_UNIT + RNDUP(value_size);
		break;
	case WORK_PUT:
	case WORK_INSERT:
		*reply += 12;
		break;
	case WORK_APPEND:
		*reply += 12 + 8 + BYTES_PER_XDR_UNIT;
		break;
	}
}

const struct protocol protocol_kv = {
    .name = "kv",
    .is_ordered = false,
    .open = open_state,
    .close = close_state,
    .encode = encode,
    .decode = decode,
};
