/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol_echo.c - as many bytes there and back as a call of kv has, and nothing in them but their
 * number: the size of the call and of the reply wanted, 4 bytes each; a reply begins with its
 * size.
 */
#include "protocol.h"

#include <stdlib.h>
#include <string.h>

struct conn_state {
	uint32_t sizes[WORKS][2];
	struct kv_bytes value;
	uint8_t padding[PROTOCOL_HEAD_MAX];
};

static struct conn_state *open_state(const struct protocol_options *options, int fd) {
	struct conn_state *state = calloc(1, sizeof(*state));

	(void)fd;
	for (unsigned work = 0; state != NULL && work < WORKS; work++) {
		size_t call = 0;
		size_t reply = 0;
		protocol_kv_sizes((enum op_type)work, options->value.size, &call, &reply);
		state->sizes[work][0] = (uint32_t)call;
		state->sizes[work][1] = (uint32_t)reply;
	}
	if (state != NULL)
		state->value = options->value;
	return state;
}

static void close_state(struct conn_state *state) {
	free(state);
}

static bool encode(struct conn_state *state, const struct request *request, struct outgoing *out) {
	const uint32_t *sizes = state->sizes[request->work];
	size_t left = sizes[0] - sizeof(state->sizes[0]);
	size_t lent = left > state->value.size ? state->value.size : 0;

	return outgoing_add(out, sizes, sizeof(state->sizes[0])) &&
	       outgoing_add(out, state->padding, left - lent) &&
	       (lent == 0 || outgoing_lend(out, (struct kv_bytes){state->value.data, lent}));
}

static enum decode_result decode(struct conn_state *state, const uint8_t *bytes, size_t size,
				 struct reply *reply) {
	uint32_t length = 0;

	(void)state;
	if (size < sizeof(length))
		return DECODE_MORE;
	memcpy(&length, bytes, sizeof(length));
	*reply = (struct reply){.outcome = OUTCOME_DONE, .size = length};
	return length < sizeof(length) ? DECODE_INVALID : DECODE_DONE;
}

const struct protocol protocol_echo = {
    .name = "echo",
    .is_ordered = true,
    .open = open_state,
    .close = close_state,
    .encode = encode,
    .decode = decode,
};
