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
	FIRST_OPENS = 64, /* a power of two */
	PROGRESS_EACH = 1024,
};

/* An open call that a later line may complete. */
struct open_call {
	uint64_t client;
	uint64_t call_ns;
	size_t number; /* its index + 1; 0: this place is free */
};

/* Opens are never removed: one that was completed is not looked for again. */
struct reader {
	struct history *history;
	const struct history_input *input;
	char *error;
	uint64_t line; /* its number, from 1 */
	struct open_call *opens;
	size_t open_count;
	size_t open_room;
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

	if (data == NULL)
		return wrong(reader, "no memory for the line");
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
	static const enum history_op all[] = {HISTORY_GET, HISTORY_PUT, HISTORY_APPEND};
	const char *text = json_string_value(json_object_get(object, "op"));

	for (size_t i = 0; text != NULL && i < sizeof(all) / sizeof(all[0]); i++) {
		*op = all[i];
		if (strcmp(text, history_op_name(*op)) == 0)
			return true;
	}
	return wrong(reader, "\"op\" is not \"get\", \"put\" or \"append\"");
}

static bool get_status(struct reader *reader, const json_t *object, enum kv_status *status) {
	const char *text = json_string_value(json_object_get(object, "status"));

	for (int i = KV_OK; text != NULL && i <= KV_EPOCH; i++) {
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
	    !get_number(reader, object, "version", false, &call->version))
		return false;
	if (call->return_ns < call->call_ns)
		return wrong(reader, "it returned before it was called");
	if (call->status == KV_OK && json_object_get(object, "version") != NULL &&
	    call->version == 0)
		return wrong(reader, "version 0 with KV_OK: no key is at it; leave \"version\" out "
				     "if it is not known");
	if (call->op != HISTORY_PUT && call->status == KV_OK &&
	    !get_bytes(reader, object, name, HISTORY_VALUE_MAX, &call->has_got, &call->got))
		return false;
	return true;
}

/* A member under another name, "verison", would go unjudged. */
static bool check_names(struct reader *reader, json_t *object) {
	static const char *const names[] = {
	    "client", "op",	 "key", "key_base64", "value", "value_base64", "expected",
	    "status", "version", "old", "old_base64", "call",  "return",
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
	    !get_number(reader, object, "call", true, &call->call_ns))
		return false;
	if (call->key.size == 0)
		return wrong(reader, "\"key\" is empty");
	if (call->op != HISTORY_GET &&
	    (!get_bytes(reader, object, "value", HISTORY_VALUE_MAX, NULL, &call->value) ||
	     !get_number(reader, object, "expected", false, &call->expected)))
		return false;
	if (json_object_get(object, "return") != NULL)
		return get_answer(reader, object, call);
	/* An open call has neither: as one, an answer that lacks its time would go unjudged. */
	return json_object_get(object, "status") == NULL ||
	       wrong(reader, "a call with \"status\" needs a \"return\"");
}

/* Where the open call is, or would be. */
static size_t find(const struct reader *reader, uint64_t client, uint64_t call_ns) {
	uint64_t hash = (client * 0x9e3779b97f4a7c15u ^ call_ns) * 0xbf58476d1ce4e5b9u;
	size_t at = (size_t)(hash >> 32) & (reader->open_room - 1);

	while (reader->opens[at].number != 0 &&
	       (reader->opens[at].client != client || reader->opens[at].call_ns != call_ns))
		at = (at + 1) & (reader->open_room - 1);
	return at;
}

static bool make_room(struct reader *reader) {
	struct open_call *old = reader->opens;
	size_t old_room = reader->open_room;

	if (reader->open_count < old_room / 2)
		return true;
	reader->open_room = old_room == 0 ? FIRST_OPENS : old_room * 2;
	reader->opens = calloc(reader->open_room, sizeof(*reader->opens));
	if (reader->opens == NULL) {
		reader->opens = old;
		reader->open_room = old_room;
		return false;
	}
	for (size_t i = 0; i < old_room; i++) {
		if (old[i].number != 0)
			reader->opens[find(reader, old[i].client, old[i].call_ns)] = old[i];
	}
	free(old);
	return true;
}

static bool is_same_call(const struct history_call *a, const struct history_call *b) {
	return a->op == b->op && a->expected == b->expected && a->key.size == b->key.size &&
	       memcmp(a->key.data, b->key.data, a->key.size) == 0 &&
	       a->value.size == b->value.size &&
	       (a->value.size == 0 || memcmp(a->value.data, b->value.data, a->value.size) == 0);
}

/* Adds the call, or completes the one that it is the rest of. */
static bool add(struct reader *reader, const struct history_call *call) {
	bool is_open = call->return_ns == HISTORY_OPEN;
	struct open_call *open;

	if (!make_room(reader))
		return wrong(reader, "no memory for so many calls");
	open = &reader->opens[find(reader, call->client, call->call_ns)];
	if (!is_open && open->number != 0) {
		const struct history_call *begun = history_at(reader->history, open->number - 1);
		if (begun->return_ns != HISTORY_OPEN || !is_same_call(begun, call))
			return wrong(reader, "client %" PRIu64 " made another call at %" PRIu64,
				     call->client, call->call_ns);
		return history_complete(reader->history, open->number - 1, call) ||
		       wrong(reader, "no memory for so many calls");
	}
	if (!history_add(reader->history, call))
		return wrong(reader, "there is no room for so many calls or bytes");
	if (is_open && open->number == 0) {
		*open =
		    (struct open_call){call->client, call->call_ns, history_count(reader->history)};
		reader->open_count++;
	}
	return true;
}

/* `is_rest`: the file ends in it, so that it may be half a line, if it begins like one. */
static enum history_answer take_line(struct reader *reader, const char *text, size_t size,
				     bool is_rest) {
	struct history_call call;
	json_error_t error;
	json_t *object;
	bool is_taken;

	while (size > 0 && (text[size - 1] == ' ' || text[size - 1] == '\r'))
		size--;
	if (size == 0)
		return HISTORY_READ;
	object = json_loadb(text, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
	is_rest = is_rest && text[0] == '{';
	if (object == NULL) {
		if (!is_rest)
			(void)wrong(reader, "this is not JSON: %.100s (character %d)", error.text,
				    error.position);
		return is_rest ? HISTORY_CUT : HISTORY_WRONG;
	}
	is_taken =
	    check_names(reader, object) && get_call(reader, object, &call) && add(reader, &call);
	while (reader->owned_count > 0)
		free(reader->owned[--reader->owned_count]);
	json_decref(object);
	return is_taken ? HISTORY_READ : HISTORY_WRONG;
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
	return HISTORY_WRONG;
}

enum history_answer history_read(struct history *history, const struct history_input *input,
				 char error[HISTORY_ERROR_MAX]) {
	struct reader reader = {.history = history, .input = input, .error = error};
	enum history_answer answer = HISTORY_READ;
	struct lines lines;
	bool is_over = false;

	line_reader_init(&lines, input->file, HISTORY_LINE_MAX);
	while (answer == HISTORY_READ && !is_over) {
		answer = read_line(&reader, &lines, &is_over);
		if (input->progress != NULL && reader.line % PROGRESS_EACH == 0)
			input->progress(input->context, lines.bytes);
	}
	line_reader_destroy(&lines);
	free(reader.opens);
	return answer;
}
