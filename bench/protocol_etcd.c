/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol_etcd.c - etcd's JSON door: HTTP/1.1 that is kept open, keys and values in base64. It
 * costs etcd more than gRPC, which needs a library that is larger than this project; a durable
 * write costs it far more than either.
 */
#include "protocol.h"

#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum {
	HEAD_MAX = 256,
	KEY_TEXT = BASE64_ENCODE_RAW_LENGTH(PROTOCOL_KEY_SIZE),
	SHOWN_MAX = 200,
};

/* An HTTP request up to its key. */
struct head {
	char text[HEAD_MAX];
	size_t size;
	bool has_value;
};

struct conn_state {
	struct head heads[WORKS];
	char *value; /* owned; base64, and the end of the request */
	size_t value_size;
};

static void make_head(struct head *head, const char *path, size_t body) {
	int size = snprintf(head->text, sizeof(head->text),
			    "POST /v3/kv/%s HTTP/1.1\r\nHost: localhost\r\n"
			    "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n"
			    "{\"key\":\"",
			    path, body);
	head->size = (size_t)size;
}

static bool encode_value(struct conn_state *state, struct kv_bytes value) {
	static const char middle[] = "\",\"value\":\"";
	static const char end[] = "\"}";
	size_t text_size = BASE64_ENCODE_RAW_LENGTH(value.size);
	size_t size = sizeof(middle) - 1;

	state->value = malloc(size + text_size + sizeof(end));
	if (state->value == NULL)
		return false;
	memcpy(state->value, middle, size);
	base64_encode_raw(state->value + size, value.size, value.data);
	size += text_size;
	memcpy(state->value + size, end, sizeof(end) - 1);
	state->value_size = size + sizeof(end) - 1;
	return true;
}

static struct conn_state *open_state(const struct protocol_options *options, int fd) {
	struct conn_state *state = calloc(1, sizeof(*state));

	(void)fd;
	if (state == NULL || !encode_value(state, options->value)) {
		log_error("there is no memory for a connection");
		free(state);
		return NULL;
	}
	make_head(&state->heads[WORK_GET], "range", strlen("{\"key\":\"\"}") + KEY_TEXT);
	make_head(&state->heads[WORK_PUT], "put",
		  strlen("{\"key\":\"") + KEY_TEXT + state->value_size);
	state->heads[WORK_PUT].has_value = true;
	state->heads[WORK_INSERT] = state->heads[WORK_PUT];
	return state;
}

static void close_state(struct conn_state *state) {
	free(state->value);
	free(state);
}

static bool encode(struct conn_state *state, const struct request *request, struct outgoing *out) {
	struct head *head = &state->heads[request->work];
	char key[PROTOCOL_KEY_SIZE];
	char text[KEY_TEXT];

	if (head->size == 0) {
		log_error("etcd has no such work; its mixes are of get, put and insert");
		return false;
	}
	protocol_key(request->key, key);
	base64_encode_raw(text, sizeof(key), (const uint8_t *)key);
	return outgoing_add(out, head->text, head->size) && outgoing_add(out, text, sizeof(text)) &&
	       (head->has_value
		    ? outgoing_lend(out, (struct kv_bytes){state->value, state->value_size})
		    : outgoing_add(out, "\"}", 2));
}

static enum decode_result decode(struct conn_state *state, const uint8_t *bytes, size_t size,
				 struct reply *reply) {
	static const char length[] = "\r\nContent-Length: ";
	const char *text = (const char *)bytes;
	const char *end = memmem(bytes, size, "\r\n\r\n", 4);
	const char *at = NULL;
	unsigned long body = 0;

	(void)state;
	if (end == NULL)
		return DECODE_MORE;
	at = memmem(bytes, (size_t)(end - text), length, sizeof(length) - 1);
	if (at == NULL || memcmp(text, "HTTP/1.1 ", 9) != 0)
		return DECODE_INVALID;
	body = strtoul(at + sizeof(length) - 1, NULL, 10);
	*reply = (struct reply){.outcome = OUTCOME_DONE, .size = (size_t)(end - text) + 4 + body};
	if (memcmp(text + 9, "200", 3) != 0) {
		log_error("etcd refuses: %.*s", size > SHOWN_MAX ? SHOWN_MAX : (int)size, text);
		reply->outcome = OUTCOME_REFUSED;
	}
	return DECODE_DONE;
}

const struct protocol protocol_etcd = {
    .name = "etcd",
    .is_ordered = true,
    .open = open_state,
    .close = close_state,
    .encode = encode,
    .decode = decode,
};
