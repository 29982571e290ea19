/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <nettle/base64.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "history.h"
#include "line_reader.h"

enum {
	PROGRESS_EACH = 1024,
};

struct reader {
	struct history *history;
	struct history_input *input;
	char *error;
	uint64_t line;	/* its number, from 1 */
	bool is_stuck;	/* what is wrong is no line of the file: none can be left out for it */
	void *owned[3]; /* bytes decoded from the line at hand */
	size_t owned_count;
};

__attribute__((format(printf, 2, 3))) static bool wrong(struct reader *reader, const char *format,
							...) {
	va_list arguments;
	char text[HISTORY_ERROR_MAX];

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	(void)snprintf(reader->error, HISTORY_ERROR_MAX, "%.80s:%" PRIu64 ": %.150s",
		       reader->input->name, reader->line, text);
	return false;
}

static bool get_number(struct reader *reader, const json_t *object, const char *name,
		       bool is_needed, uint64_t *number) {
	const json_t *member = json_object_get(object, name);

	if (member == NULL)
		return !is_needed || wrong(reader, "\"%s\" is missing: a number is wanted", name);
	if (!json_is_integer(member) || json_integer_value(member) < 0)
		return wrong(reader, "\"%s\" is not a whole number from 0 to 2^63 - 1", name);
	*number = (uint64_t)json_integer_value(member);
	return true;
}

static bool decode(struct reader *reader, const char *name, const json_t *member,
		   struct kv_bytes *bytes) {
	size_t size = json_string_length(member);
	struct base64_decode_ctx context;
	uint8_t *data = malloc(BASE64_DECODE_LENGTH(size) + 1);

	if (data == NULL) {
		reader->is_stuck = true;
		return wrong(reader, "no memory for the line");
	}
	reader->owned[reader->owned_count++] = data;
	base64_decode_init(&context);
	if (!base64_decode_update(&context, &bytes->size, data, size, json_string_value(member)) ||
	    !base64_decode_final(&context))
		return wrong(reader, "\"%s_base64\" is not base64", name);
	bytes->data = data;
	return true;
}

/* *found, unless NULL, tells whether it was there; without it the member is needed. */
static bool get_bytes(struct reader *reader, const json_t *object, const char *name,
		      size_t size_max, bool *found, struct kv_bytes *bytes) {
	char other[32];
	const json_t *plain = json_object_get(object, name);
	(void)snprintf(other, sizeof(other), "%s_base64", name);
	const json_t *encoded = json_object_get(object, other);
	const json_t *member = plain != NULL ? plain : encoded;

	if (found != NULL)
		*found = member != NULL;
	if (member == NULL)
		return found != NULL || wrong(reader, "\"%s\" is missing", name);
	if (plain != NULL && encoded != NULL)
		return wrong(reader, "\"%s\" and \"%s\" are the same: give one of them", name,
			     other);
	if (!json_is_string(member))
		return wrong(reader, "\"%s\" is not a string", plain != NULL ? name : other);
	*bytes = (struct kv_bytes){json_string_value(member), json_string_length(member)};
	if (plain == NULL && !decode(reader, name, member, bytes))
		return false;
	if (bytes->size > size_max)
		return wrong(reader, "\"%s\" has %zu bytes, more than %zu", name, bytes->size,
			     size_max);
	return true;
}

static bool get_op(struct reader *reader, const json_t *object, enum history_op *op) {
	static const enum history_op all[] = {HISTORY_GET,    HISTORY_PUT,   HISTORY_APPEND,
					      HISTORY_DELETE, HISTORY_TOUCH, HISTORY_CHECK,
					      HISTORY_HOLD};
	const char *text = json_string_value(json_object_get(object, "op"));

	for (size_t i = 0; text != NULL && i < sizeof(all) / sizeof(all[0]); i++) {
		*op = all[i];
		if (strcmp(text, history_op_name(*op)) == 0)
			return true;
	}
	return wrong(reader, "\"op\" is not \"get\", \"put\", \"append\", \"delete\", \"touch\", "
			     "\"check\" or \"hold\"");
}

static bool get_test(struct reader *reader, const json_t *object, enum history_test *test) {
	const char *text = json_string_value(json_object_get(object, "test"));

	for (int i = HISTORY_AT; text != NULL && i <= HISTORY_FREE; i++) {
		*test = (enum history_test)i;
		if (strcmp(text, history_test_name(*test)) == 0)
			return true;
	}
	return wrong(reader, "\"test\" is not \"at\", \"exists\", \"holds\" or \"free\"");
}

/* What a part of a transaction has, and what only such a part may be. */
static bool get_part(struct reader *reader, const json_t *object, struct history_call *call) {
	uint64_t part = 0;

	if (!get_number(reader, object, "part", false, &part) ||
	    !get_number(reader, object, "ttl", call->op == HISTORY_TOUCH, &call->ttl_ms))
		return false;
	call->part = (unsigned)part;
	if (part > HISTORY_PARTS_MAX)
		return wrong(reader, "\"part\" is above %d", HISTORY_PARTS_MAX);
	if (part == 0 && (call->op == HISTORY_CHECK || call->op == HISTORY_TOUCH))
		return wrong(reader, "a %s needs a \"part\": it is of a transaction",
			     history_op_name(call->op));
	if (call->ttl_ms != 0 && call->op != HISTORY_PUT && call->op != HISTORY_TOUCH)
		return wrong(reader, "a %s has no \"ttl\"", history_op_name(call->op));
	if (call->op == HISTORY_CHECK && !get_test(reader, object, &call->test))
		return false;
	return true;
}

static bool get_status(struct reader *reader, const json_t *object, enum kv_status *status) {
	const char *text = json_string_value(json_object_get(object, "status"));

	for (int i = KV_OK; text != NULL && i <= KV_UNMET; i++) {
		*status = (enum kv_status)i;
		if (strcmp(text, kv_status_name(*status)) == 0)
			return true;
	}
	if (text == NULL)
		return wrong(reader,
			     "a call with \"return\" needs a \"status\", such as \"KV_OK\"");
	return wrong(reader, "there is no status \"%.40s\"", text);
}

static bool get_answer(struct reader *reader, const json_t *object, struct history_call *call) {
	const char *name = call->op == HISTORY_GET ? "value" : "old";

	if (!get_number(reader, object, "return", true, &call->return_ns) ||
	    !get_status(reader, object, &call->status) ||
	    !get_number(reader, object, "version", false, &call->version) ||
	    !get_number(reader, object, "position", false, &call->position))
		return false;
	if (call->return_ns < call->call_ns)
		return wrong(reader, "it returned before it was called");
	if (call->op == HISTORY_HOLD && (call->status != KV_OK || call->version != 0))
		return wrong(reader, "a hold has the status KV_OK, and no \"version\"");
	if (call->status == KV_OK && call->op != HISTORY_CHECK &&
	    json_object_get(object, "version") != NULL && call->version == 0)
		return wrong(reader, "version 0 with KV_OK: no key is at it; leave \"version\" out "
				     "if it is not known");
	if (call->position != 0 && call->part == 0)
		return wrong(reader, "a call without \"part\" has no \"position\"");
	if ((call->op == HISTORY_GET || call->op == HISTORY_APPEND) && call->status == KV_OK &&
	    !get_bytes(reader, object, name, HISTORY_VALUE_MAX, &call->has_got, &call->got))
		return false;
	return true;
}

/* A member under another name, "verison", would go unjudged. */
static bool check_names(struct reader *reader, json_t *object) {
	static const char *const names[] = {
	    "client",	"op",	  "key",    "key_base64", "value", "value_base64",
	    "expected", "part",	  "status", "version",	  "old",   "old_base64",
	    "call",	"return", "boot",   "test",	  "ttl",   "position",
	};
	json_t *member;
	const char *name;

	json_object_foreach(object, name, member) {
		size_t i = 0;

		while (i < sizeof(names) / sizeof(names[0]) && strcmp(name, names[i]) != 0)
			i++;
		if (i == sizeof(names) / sizeof(names[0]))
			return wrong(reader, "a call has no \"%.40s\": see kvcheck(1)", name);
	}
	return true;
}

static bool get_call(struct reader *reader, const json_t *object, struct history_call *call) {
	*call = (struct history_call){.expected = HISTORY_ANY, .return_ns = HISTORY_OPEN};
	if (!json_is_object(object))
		return wrong(reader, "this is not an object");
	if (!get_number(reader, object, "client", true, &call->client) ||
	    !get_op(reader, object, &call->op) ||
	    !get_bytes(reader, object, "key", HISTORY_KEY_MAX, NULL, &call->key) ||
	    !get_number(reader, object, "boot", false, &call->boot) ||
	    !get_number(reader, object, "call", true, &call->call_ns))
		return false;
	if (call->key.size == 0)
		return wrong(reader, "\"key\" is empty");
	if (!get_part(reader, object, call))
		return false;
	if (history_has_value(call) &&
	    !get_bytes(reader, object, "value", HISTORY_VALUE_MAX, NULL, &call->value))
		return false;
	if (call->op != HISTORY_GET &&
	    !get_number(reader, object, "expected",
			call->op == HISTORY_HOLD ||
			    (call->op == HISTORY_CHECK && call->test == HISTORY_AT),
			&call->expected))
		return false;
	if (call->op == HISTORY_HOLD && (call->expected == 0 || call->part != 0))
		return wrong(reader, "a hold has the token in \"expected\", above 0, and no "
				     "\"part\"");
	if (json_object_get(object, "return") != NULL)
		return get_answer(reader, object, call);
	/* An open call has neither: as one, an answer that lacks its time would go unjudged. */
	return json_object_get(object, "status") == NULL ||
	       wrong(reader, "a call with \"status\" needs a \"return\"");
}

static bool merge(struct reader *reader, const struct history_call *call) {
	switch (history_merge(reader->history, call)) {
	case HISTORY_MERGED:
		return true;
	case HISTORY_CONFLICT:
		return wrong(
		    reader, "another line tells otherwise of client %" PRIu64 "'s call at %" PRIu64,
		    call->client, call->call_ns);
	case HISTORY_NO_ROOM:
		break;
	}
	reader->is_stuck = true;
	return wrong(reader, "no memory for so many calls or bytes");
}

static bool take_object(struct reader *reader, json_t *object) {
	struct history_call call;
	bool is_taken =
	    check_names(reader, object) && get_call(reader, object, &call) && merge(reader, &call);

	while (reader->owned_count > 0)
		free(reader->owned[--reader->owned_count]);
	json_decref(object);
	return is_taken;
}

static json_t *parse(const char *text, size_t size, json_error_t *error) {
	return json_loadb(text, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, error);
}

/*
 * A complete line with another writer's half line before it, which a full disk kept from its end;
 * NULL: this is none. No text of a line looks like the beginning of one: its quotes have a \\.
 */
static json_t *parse_behind_half(const char *text, size_t size) {
	static const char begin[] = "{\"client\":";
	const size_t length = sizeof(begin) - 1;
	json_error_t error;

	for (size_t at = size > length ? size - length : 0; at > 0; at--)
		if (memcmp(text + at, begin, length) == 0)
			return memcmp(text, begin, at < length ? at : length) == 0
				   ? parse(text + at, size - at, &error)
				   : NULL;
	return NULL;
}

static void leave_out(const struct reader *reader) {
	if (reader->input->left_out != NULL)
		reader->input->left_out(reader->input->context, reader->error);
}

/* `is_rest`: the file ends in it, so that it may be half a line, if it begins like one. */
static enum history_answer take_line(struct reader *reader, const char *text, size_t size,
				     bool is_rest) {
	enum history_answer answer = HISTORY_READ;
	json_error_t error;
	json_t *object;

	while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\r'))
		size--;
	if (size == 0)
		return HISTORY_READ;
	object = parse(text, size, &error);
	if (object == NULL) {
		object = parse_behind_half(text, size);
		if (object == NULL && (!is_rest || text[0] != '{'))
			return wrong(reader, "this is not JSON: %.100s (character %d)", error.text,
				     error.position)
				   ? HISTORY_READ
				   : HISTORY_WRONG;
		(void)wrong(reader, "half a line is left out: its writer was stopped before the "
				    "call was sent, or its reply recorded");
		leave_out(reader);
		answer = HISTORY_CUT;
	}
	return object == NULL || take_object(reader, object) ? answer : HISTORY_WRONG;
}

/* *is_over: there is no more to read. */
static enum history_answer read_line(struct reader *reader, struct lines *lines, bool *is_over) {
	const char *text = NULL;
	size_t size = 0;

	reader->line++;
	switch (line_reader_next(lines, &text, &size)) {
	case LINES_LINE:
		return take_line(reader, text, size, false);
	case LINES_REST:
		*is_over = true;
		return take_line(reader, text, size, true);
	case LINES_END:
		*is_over = true;
		return HISTORY_READ;
	case LINES_TOO_LONG:
		(void)wrong(reader, "the line is longer than %d bytes", HISTORY_LINE_MAX);
		break;
	case LINES_NOMEM:
		(void)wrong(reader, "no memory for the line");
		break;
	case LINES_FAILED:
		(void)wrong(reader, "cannot be read: %s", strerror(errno));
		break;
	}
	reader->is_stuck = true;
	return HISTORY_WRONG;
}

enum history_answer history_read(struct history *history, struct history_input *input,
				 char error[HISTORY_ERROR_MAX]) {
	struct reader reader = {.history = history, .input = input, .error = error};
	enum history_answer answer = HISTORY_READ;
	struct lines lines;
	bool is_over = false;

	input->skipped = 0;
	line_reader_init(&lines, input->file, HISTORY_LINE_MAX);
	while (answer != HISTORY_WRONG && !is_over) {
		enum history_answer one = read_line(&reader, &lines, &is_over);

		if (one == HISTORY_WRONG && input->is_lenient && !reader.is_stuck) {
			input->skipped++;
			leave_out(&reader);
		} else if (one != HISTORY_READ) {
			answer = one;
		}
		if (input->progress != NULL && reader.line % PROGRESS_EACH == 0)
			input->progress(input->context, lines.bytes);
	}
	line_reader_destroy(&lines);
	return answer;
}
