/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol_text.c - The protocols of text lines: RESP, version 2, of Redis (GET, SET, APPEND,
 * PING), and memcached's (get, set, append, mn).
 */
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum { HEAD_MAX = 96, REDIS_DIGITS_MAX = 18, END_SIZE = 5, DIGITS_END = 1000000000 };

/* A command up to its value; the key is put in its place for each call. */
struct head {
	char text[HEAD_MAX];
	size_t size;
	size_t key_at; /* 0: it has none */
	bool has_value;
};

struct conn_state {
	struct head heads[WORKS];
	struct kv_bytes value;
};

/* The text of a command around its key; `is_redis`: in RESP. */
static void make_head(struct head *head, bool is_redis, const char *command, bool has_value,
		      size_t value_size) {
	char *text = head->text;
	size_t size = 0;

	if (is_redis)
		size = (size_t)snprintf(text, HEAD_MAX, "*%d\r\n$%zu\r\n%s\r\n$%d\r\n",
					has_value ? 3 : 2, strlen(command), command,
					PROTOCOL_KEY_SIZE);
	else
		size = (size_t)snprintf(text, HEAD_MAX, "%s ", command);
	head->has_value = has_value;
	head->key_at = size;
	size += PROTOCOL_KEY_SIZE;
	if (has_value)
		size += (size_t)snprintf(text + size, HEAD_MAX - size,
					 is_redis ? "\r\n$%zu\r\n" : " 0 0 %zu\r\n", value_size);
	else
		size += (size_t)snprintf(text + size, HEAD_MAX - size, "\r\n");
	head->size = size;
}

static struct conn_state *open_state(const struct protocol_options *options, bool is_redis) {
	const char *null = is_redis ? "*1\r\n$4\r\nPING\r\n" : "mn\r\n";
	struct conn_state *state = calloc(1, sizeof(*state));
	size_t size = options->value.size;

	if (state == NULL)
		return NULL;
	state->value = options->value;
	state->heads[WORK_NULL].size = strlen(null);
	memcpy(state->heads[WORK_NULL].text, null, strlen(null));
	make_head(&state->heads[WORK_GET], is_redis, is_redis ? "GET" : "get", false, size);
	make_head(&state->heads[WORK_PUT], is_redis, is_redis ? "SET" : "set", true, size);
	make_head(&state->heads[WORK_INSERT], is_redis, is_redis ? "SET" : "set", true, size);
	make_head(&state->heads[WORK_APPEND], is_redis, is_redis ? "APPEND" : "append", true, size);
	return state;
}

static void close_state(struct conn_state *state) {
	free(state);
}

static bool encode(struct conn_state *state, const struct request *request, struct outgoing *out) {
	struct head *head = &state->heads[request->work];

	if (head->key_at != 0)
		protocol_key(request->key, head->text + head->key_at);
	return outgoing_add(out, head->text, head->size) &&
	       (!head->has_value ||
		(outgoing_lend(out, state->value) && outgoing_add(out, "\r\n", 2)));
}

/* --- Redis ----------------------------------------------------------------------------------- */

static struct conn_state *open_redis(const struct protocol_options *options, int fd) {
	(void)fd;
	return open_state(options, true);
}

/* "$100": the bytes of a value, which follows; "$-1": there is none. */
static bool decode_size(const uint8_t *line, size_t size, long *number) {
	char text[REDIS_DIGITS_MAX + 2];
	char *end = NULL;

	if (size == 0 || size > REDIS_DIGITS_MAX)
		return false;
	memcpy(text, line, size);
	text[size] = '\0';
	*number = strtol(text, &end, 10);
	return *end == '\0';
}

static enum decode_result decode_redis(struct conn_state *state, const uint8_t *bytes, size_t size,
				       struct reply *reply) {
	const uint8_t *end = memchr(bytes, '\r', size);
	size_t line = end == NULL ? 0 : (size_t)(end - bytes);
	long number = 0;

	(void)state;
	if (end == NULL || size < line + 2)
		return DECODE_MORE;
	*reply = (struct reply){.outcome = OUTCOME_DONE, .size = line + 2};
	switch (bytes[0]) {
	case '+':
	case ':':
		return DECODE_DONE;
	case '-':
		log_error("redis refuses: %.*s", (int)line, (const char *)bytes);
		reply->outcome = OUTCOME_REFUSED;
		return DECODE_DONE;
	case '$':
		if (!decode_size(bytes + 1, line - 1, &number) || number < -1)
			return DECODE_INVALID;
		if (number == -1)
			reply->outcome = OUTCOME_MISSING;
		else
			reply->size += (size_t)number + 2;
		return DECODE_DONE;
	default:
		return DECODE_INVALID;
	}
}

const struct protocol protocol_redis = {
    .name = "redis",
    .is_ordered = true,
    .open = open_redis,
    .close = close_state,
    .encode = encode,
    .decode = decode_redis,
};

/* --- memcached ------------------------------------------------------------------------------- */

static struct conn_state *open_memcached(const struct protocol_options *options, int fd) {
	(void)fd;
	return open_state(options, false);
}

/* "VALUE key flags size": what follows is the value and "\r\nEND\r\n". */
static enum decode_result decode_value(const char *line, size_t size, struct reply *reply) {
	size_t value_size = 0;
	size_t unit = 1;

	while (size > 0 && line[size - 1] >= '0' && line[size - 1] <= '9' && unit < DIGITS_END) {
		value_size += (size_t)(line[--size] - '0') * unit;
		unit *= 10;
	}
	if (unit == 1 || size == 0 || line[size - 1] != ' ')
		return DECODE_INVALID;
	reply->size += value_size + 2 + END_SIZE;
	return DECODE_DONE;
}

static enum decode_result decode_memcached(struct conn_state *state, const uint8_t *bytes,
					   size_t size, struct reply *reply) {
	const uint8_t *end = memchr(bytes, '\r', size);
	const char *line = (const char *)bytes;
	size_t line_size = end == NULL ? 0 : (size_t)(end - bytes);

	(void)state;
	if (end == NULL || size < line_size + 2)
		return DECODE_MORE;
	*reply = (struct reply){.outcome = OUTCOME_DONE, .size = line_size + 2};
	if (line_size > 6 && memcmp(line, "VALUE ", 6) == 0)
		return decode_value(line, line_size, reply);
	if (line_size == 3 && memcmp(line, "END", 3) == 0) {
		reply->outcome = OUTCOME_MISSING;
	} else if ((line_size != 6 || memcmp(line, "STORED", 6) != 0) &&
		   (line_size != 2 || memcmp(line, "MN", 2) != 0)) {
		log_error("memcached refuses: %.*s", (int)line_size, line);
		reply->outcome = OUTCOME_REFUSED;
	}
	return DECODE_DONE;
}

const struct protocol protocol_memcached = {
    .name = "memcached",
    .is_ordered = true,
    .open = open_memcached,
    .close = close_state,
    .encode = encode,
    .decode = decode_memcached,
};
