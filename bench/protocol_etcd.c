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

struct talk {
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

static bool encode_value(struct talk *talk, struct kv_bytes value) {
	static const char middle[] = "\",\"value\":\"";
	static const char end[] = "\"}";
	size_t text_size = BASE64_ENCODE_RAW_LENGTH(value.size);
	size_t size = sizeof(middle) - 1;

	talk->value = malloc(size + text_size + sizeof(end));
	if (talk->value == NULL)
		return false;
	memcpy(talk->value, middle, size);
	base64_encode_raw(talk->value + size, value.size, value.data);
	size += text_size;
	memcpy(talk->value + size, end, sizeof(end) - 1);
	talk->value_size = size + sizeof(end) - 1;
	return true;
}

static struct talk *open_talk(const struct speech *speech, int fd) {
	struct talk *talk = calloc(1, sizeof(*talk));

	(void)fd;
	if (talk == NULL || !encode_value(talk, speech->value)) {
		log_error("there is no memory for a connection");
		free(talk);
		return NULL;
	}
	make_head(&talk->heads[WORK_GET], "range", strlen("{\"key\":\"\"}") + KEY_TEXT);
	make_head(&talk->heads[WORK_PUT], "put",
		  strlen("{\"key\":\"") + KEY_TEXT + talk->value_size);
	talk->heads[WORK_PUT].has_value = true;
	talk->heads[WORK_INSERT] = talk->heads[WORK_PUT];
	return talk;
}

static void close_talk(struct talk *talk) {
	free(talk->value);
	free(talk);
}

static bool encode(struct talk *talk, const struct request *request, struct outgoing *out) {
	struct head *head = &talk->heads[request->work];
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
		    ? outgoing_lend(out, (struct kv_bytes){talk->value, talk->value_size})
		    : outgoing_add(out, "\"}", 2));
}

static enum decoding decode(struct talk *talk, const uint8_t *bytes, size_t size,
			    struct answer *answer) {
	static const char length[] = "\r\nContent-Length: ";
	const char *text = (const char *)bytes;
	const char *end = memmem(bytes, size, "\r\n\r\n", 4);
	const char *told = NULL;
	unsigned long body = 0;

	(void)talk;
	if (end == NULL)
		return DECODING_MORE;
	told = memmem(bytes, (size_t)(end - text), length, sizeof(length) - 1);
	if (told == NULL || memcmp(text, "HTTP/1.1 ", 9) != 0)
		return DECODING_RUBBISH;
	body = strtoul(told + sizeof(length) - 1, NULL, 10);
	*answer = (struct answer){.outcome = OUTCOME_DONE, .size = (size_t)(end - text) + 4 + body};
	if (memcmp(text + 9, "200", 3) != 0) {
		log_error("etcd refuses: %.*s", size > SHOWN_MAX ? SHOWN_MAX : (int)size, text);
		answer->outcome = OUTCOME_REFUSED;
	}
	return DECODING_DONE;
}

const struct protocol protocol_etcd = {
    .name = "etcd",
    .is_ordered = true,
    .open = open_talk,
    .close = close_talk,
    .encode = encode,
    .decode = decode,
};
