/* SPDX-License-Identifier: BSD-3-Clause */
/* protocol_redis.c - RESP, version 2: GET, SET, APPEND and PING. */
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum { HEAD_MAX = 96, NUMBER_DIGITS_MAX = 18 };

/* A command up to its value; the key is put in its place for each call. */
struct head {
	char text[HEAD_MAX];
	size_t size;
	size_t key_at; /* 0: it has none */
	bool has_value;
};

struct talk {
	struct head heads[WORKS];
	struct kv_bytes value;
};

static void make_head(struct head *head, const char *command, const struct speech *speech,
		      bool has_value) {
	int size = snprintf(head->text, sizeof(head->text), "*%d\r\n$%zu\r\n%s\r\n$%d\r\n",
			    has_value ? 3 : 2, strlen(command), command, PROTOCOL_KEY_SIZE);

	head->has_value = has_value;
	head->key_at = (size_t)size;
	size += PROTOCOL_KEY_SIZE;
	head->size = (size_t)size +
		     (size_t)snprintf(head->text + size, sizeof(head->text) - (size_t)size,
				      has_value ? "\r\n$%zu\r\n" : "\r\n", speech->value.size);
}

static struct talk *open_talk(const struct speech *speech, int fd) {
	static const char ping[] = "*1\r\n$4\r\nPING\r\n";
	struct talk *talk = calloc(1, sizeof(*talk));

	(void)fd;
	if (talk == NULL)
		return NULL;
	talk->value = speech->value;
	memcpy(talk->heads[WORK_NULL].text, ping, sizeof(ping) - 1);
	talk->heads[WORK_NULL].size = sizeof(ping) - 1;
	make_head(&talk->heads[WORK_GET], "GET", speech, false);
	make_head(&talk->heads[WORK_PUT], "SET", speech, true);
	make_head(&talk->heads[WORK_INSERT], "SET", speech, true);
	make_head(&talk->heads[WORK_APPEND], "APPEND", speech, true);
	return talk;
}

static void close_talk(struct talk *talk) {
	free(talk);
}

static bool encode(struct talk *talk, const struct request *request, struct outgoing *out) {
	struct head *head = &talk->heads[request->work];

	if (head->key_at != 0)
		protocol_key(request->key, head->text + head->key_at);
	return outgoing_add(out, head->text, head->size) &&
	       (!head->has_value ||
		(outgoing_lend(out, talk->value) && outgoing_add(out, "\r\n", 2)));
}

/* "$100": the bytes of a value, which follows; "$-1": there is none. */
static bool read_number(const uint8_t *line, size_t size, long *number) {
	char text[NUMBER_DIGITS_MAX + 2];
	char *end = NULL;

	if (size == 0 || size > NUMBER_DIGITS_MAX)
		return false;
	memcpy(text, line, size);
	text[size] = '\0';
	*number = strtol(text, &end, 10);
	return *end == '\0';
}

static enum decoding decode(struct talk *talk, const uint8_t *bytes, size_t size,
			    struct answer *answer) {
	const uint8_t *end = memchr(bytes, '\r', size);
	size_t line = end == NULL ? 0 : (size_t)(end - bytes);
	long number = 0;

	(void)talk;
	if (end == NULL || size < line + 2)
		return DECODING_MORE;
	*answer = (struct answer){.outcome = OUTCOME_DONE, .size = line + 2};
	switch (bytes[0]) {
	case '+':
	case ':':
		return DECODING_DONE;
	case '-':
		log_error("redis refuses: %.*s", (int)line, (const char *)bytes);
		answer->outcome = OUTCOME_REFUSED;
		return DECODING_DONE;
	case '$':
		if (!read_number(bytes + 1, line - 1, &number) || number < -1)
			return DECODING_RUBBISH;
		if (number == -1)
			answer->outcome = OUTCOME_MISSING;
		else
			answer->size += (size_t)number + 2;
		return DECODING_DONE;
	default:
		return DECODING_RUBBISH;
	}
}

const struct protocol protocol_redis = {
    .name = "redis",
    .is_ordered = true,
    .open = open_talk,
    .close = close_talk,
    .encode = encode,
    .decode = decode,
};
