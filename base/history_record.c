/* SPDX-License-Identifier: BSD-3-Clause */
#include "history_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_bytes.h"

enum {
	FIXED_SIZE = 512, /* all members but the bytes, with the greatest numbers */
};

enum history_outcome history_outcome(const struct history_call *call) {
	bool is_write = history_is_write(call->op);

	if (call->op == HISTORY_HOLD)
		return HISTORY_NO_EFFECT;
	if (call->return_ns == HISTORY_OPEN)
		return is_write ? HISTORY_INDETERMINATE : HISTORY_NO_EFFECT;
	switch (call->status) {
	case KV_OK:
	case KV_NOKEY:
		return HISTORY_DEFINITE;
	case KV_VERSION:
		return is_write ? HISTORY_DEFINITE : HISTORY_NO_EFFECT;
	case KV_MAYBE:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_EPOCH:
		/* The last three tell of one copy; another may have run. */
		return is_write ? HISTORY_INDETERMINATE : HISTORY_NO_EFFECT;
	case KV_UNMET:
		return call->op == HISTORY_CHECK && call->version != 0 ? HISTORY_DEFINITE
								       : HISTORY_NO_EFFECT;
	case KV_TIMEOUT:
	case KV_BADSESSION:
	case KV_TOOBIG:
	case KV_FULL:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_COMPACTED:
	case KV_BUSY:
	case KV_NOTHELD:
		break;
	}
	return HISTORY_NO_EFFECT;
}

const char *history_op_name(enum history_op op) {
	switch (op) {
	case HISTORY_GET:
		return "get";
	case HISTORY_PUT:
		return "put";
	case HISTORY_APPEND:
		return "append";
	case HISTORY_DELETE:
		return "delete";
	case HISTORY_TOUCH:
		return "touch";
	case HISTORY_CHECK:
		return "check";
	case HISTORY_HOLD:
		return "hold";
	}
	return "?";
}

const char *history_test_name(enum history_test test) {
	switch (test) {
	case HISTORY_AT:
		return "at";
	case HISTORY_EXISTS:
		return "exists";
	case HISTORY_HOLDS:
		return "holds";
	case HISTORY_FREE:
		return "free";
	}
	return "?";
}

bool history_is_write(enum history_op op) {
	return op != HISTORY_GET && op != HISTORY_CHECK && op != HISTORY_HOLD;
}

bool history_has_value(const struct history_call *call) {
	return call->op == HISTORY_PUT || call->op == HISTORY_APPEND ||
	       (call->op == HISTORY_CHECK &&
		(call->test == HISTORY_HOLDS || call->test == HISTORY_FREE));
}

static char *add_number(char *to, const char *name, uint64_t number) {
	return to + sprintf(to, ",\"%s\":%llu", name, (unsigned long long)number);
}

static char *add_bytes(char *to, const char *name, struct kv_bytes bytes) {
	*to++ = ',';
	return json_bytes_put(to, name, bytes);
}

static bool has_version(const struct history_call *call) {
	return call->version != 0 &&
	       (call->status == KV_OK || call->status == KV_VERSION || call->status == KV_UNMET);
}

char *history_line(const struct history_call *call, size_t *size) {
	bool has_value = history_has_value(call);
	bool is_open = call->return_ns == HISTORY_OPEN;
	bool has_got = !is_open && call->status == KV_OK && call->has_got;
	char *line = malloc(FIXED_SIZE + json_bytes_size(call->key) +
			    (has_value ? json_bytes_size(call->value) : 0) +
			    (has_got ? json_bytes_size(call->got) : 0));
	char *to = line;

	if (line == NULL)
		return NULL;
	to += sprintf(to, "{\"client\":%llu,\"op\":\"%s\"", (unsigned long long)call->client,
		      history_op_name(call->op));
	if (call->part != 0)
		to = add_number(to, "part", call->part);
	if (call->op == HISTORY_CHECK)
		to += sprintf(to, ",\"test\":\"%s\"", history_test_name(call->test));
	to = add_bytes(to, "key", call->key);
	if (has_value)
		to = add_bytes(to, "value", call->value);
	if (call->op != HISTORY_GET && call->expected != HISTORY_ANY)
		to = add_number(to, "expected", call->expected);
	if (call->ttl_ms != 0)
		to = add_number(to, "ttl", call->ttl_ms);
	if (!is_open) {
		to += sprintf(to, ",\"status\":\"%s\"", kv_status_name(call->status));
		if (has_got)
			to = add_bytes(to, call->op == HISTORY_GET ? "value" : "old", call->got);
		if (has_version(call))
			to = add_number(to, "version", call->version);
		if (call->position != 0 && call->status == KV_OK)
			to = add_number(to, "position", call->position);
	}
	if (call->boot != 0)
		to = add_number(to, "boot", call->boot);
	to = add_number(to, "call", call->call_ns);
	if (!is_open)
		to = add_number(to, "return", call->return_ns);
	*to++ = '}';
	*to++ = '\n';
	*size = (size_t)(to - line);
	return line;
}
