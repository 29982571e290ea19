/* SPDX-License-Identifier: BSD-3-Clause */
/* protocol_memcached.c - memcached's text protocol: get, set, append and mn. */
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum { HEAD_MAX = 64, END_SIZE = 5, DIGITS_END = 1000000000 };

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
	int size = snprintf(head->text, sizeof(head->text), "%s ", command);

	head->has_value = has_value;
	head->key_at = (size_t)size;
	size += PROTOCOL_KEY_SIZE;
	head->size = (size_t)size +
		     (size_t)snprintf(head->text + size, sizeof(head->text) - (size_t)size,
				      has_value ? " 0 0 %zu\r\n" : "\r\n", speech->value.size);
}

static struct talk *open_talk(const struct speech *speech, int fd) {
	static const char nothing[] = "mn\r\n";
	struct talk *talk = calloc(1, sizeof(*talk));

	(void)fd;
	if (talk == NULL)
		return NULL;
	talk->value = speech->value;
	memcpy(talk->heads[WORK_NULL].text, nothing, sizeof(nothing) - 1);
	talk->heads[WORK_NULL].size = sizeof(nothing) - 1;
	make_head(&talk->heads[WORK_GET], "get", speech, false);
	make_head(&talk->heads[WORK_PUT], "set", speech, true);
	make_head(&talk->heads[WORK_INSERT], "set", speech, true);
	make_head(&talk->heads[WORK_APPEND], "append", speech, true);
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

/* "VALUE key flags size": what follows is the value and "\r\nEND\r\n". */
static enum decoding decode_value(const char *line, size_t size, struct answer *answer) {
	size_t value_size = 0;
	size_t unit = 1;

	while (size > 0 && line[size - 1] >= '0' && line[size - 1] <= '9' && unit < DIGITS_END) {
		value_size += (size_t)(line[--size] - '0') * unit;
		unit *= 10;
	}
	if (unit == 1 || size == 0 || line[size - 1] != ' ')
		return DECODING_RUBBISH;
	answer->size += value_size + 2 + END_SIZE;
	return DECODING_DONE;
}

static enum decoding decode(struct talk *talk, const uint8_t *bytes, size_t size,
			    struct answer *answer) {
	const uint8_t *end = memchr(bytes, '\r', size);
	const char *line = (const char *)bytes;
	size_t line_size = end == NULL ? 0 : (size_t)(end - bytes);

	(void)talk;
	if (end == NULL || size < line_size + 2)
		return DECODING_MORE;
	*answer = (struct answer){.outcome = OUTCOME_DONE, .size = line_size + 2};
	if (line_size > 6 && memcmp(line, "VALUE ", 6) == 0)
		return decode_value(line, line_size, answer);
	if (line_size == 3 && memcmp(line, "END", 3) == 0) {
		answer->outcome = OUTCOME_MISSING;
	} else if ((line_size != 6 || memcmp(line, "STORED", 6) != 0) &&
		   (line_size != 2 || memcmp(line, "MN", 2) != 0)) {
		log_error("memcached refuses: %.*s", (int)line_size, line);
		answer->outcome = OUTCOME_REFUSED;
	}
	return DECODING_DONE;
}

const struct protocol protocol_memcached = {
    .name = "memcached",
    .is_ordered = true,
    .open = open_talk,
    .close = close_talk,
    .encode = encode,
    .decode = decode,
};
