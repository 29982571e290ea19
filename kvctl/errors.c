/* SPDX-License-Identifier: BSD-3-Clause */
#include "errors.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

enum { LINE_SIZE = 2048, REASON_SIZE = 400 };

/* One write for one line, so that the lines of several processes do not mix. */
static FAILURE_FORMAT(2, 0) void print_line(const char *command, const char *format,
					    va_list arguments, const char *end) {
	char text[LINE_SIZE];
	if (vsnprintf(text, sizeof(text), format, arguments) < 0)
		text[0] = '\0';
	(void)fprintf(stderr, "kvctl: %s%s%s%s\n", command != NULL ? command : "",
		      command != NULL ? ": " : "", text, end);
}

int error_usage(const char *command, const char *format, ...) {
	char hint[64];
	(void)snprintf(hint, sizeof(hint), " (see kvctl %s%s--help)",
		       command != NULL ? command : "", command != NULL ? " " : "");
	va_list arguments;
	va_start(arguments, format);
	print_line(command, format, arguments, hint);
	va_end(arguments);
	return CODE_USAGE;
}

int error_report(int code, const char *command, const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	print_line(command, format, arguments, "");
	va_end(arguments);
	return code;
}

void notice(const struct settings *settings, const char *command, const char *format, ...) {
	if (settings->is_quiet)
		return;
	va_list arguments;
	va_start(arguments, format);
	print_line(command, format, arguments, "");
	va_end(arguments);
}

void printable(struct kv_bytes bytes, char text[FAILURE_TEXT_MAX]) {
	const char *from = bytes.data;
	size_t left = bytes.size;
	char *to = text;
	char *last = text + FAILURE_TEXT_MAX - sizeof("...") - MB_LEN_MAX;
	mbstate_t state;
	memset(&state, 0, sizeof(state));

	while (left > 0 && to < last) {
		wchar_t character = 0;
		size_t size = mbrtowc(&character, from, left, &state);
		bool is_character = size != 0 && size <= left && iswprint((wint_t)character);
		if (is_character && *from != '\\') {
			memcpy(to, from, size);
			to += size;
		} else {
			memset(&state, 0, sizeof(state));
			size = 1;
			to += sprintf(to, "\\x%02x", (unsigned)(unsigned char)*from);
		}
		from += size;
		left -= size;
	}
	strcpy(to, left > 0 ? "..." : "");
}

static int code_of(enum kv_status status) {
	switch (status) {
	case KV_OK:
		return CODE_DONE;
	case KV_NOKEY:
		return CODE_NOKEY;
	case KV_VERSION:
		return CODE_VERSION;
	case KV_MAYBE:
		return CODE_MAYBE;
	case KV_TIMEOUT:
		return CODE_UNREACHED;
	case KV_TOOBIG:
	case KV_FULL:
		return CODE_LIMIT;
	case KV_DENIED:
		return CODE_DENIED;
	case KV_BADSESSION:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_INVALID:
	case KV_UNAVAILABLE:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		return CODE_REFUSED;
	}
	return CODE_REFUSED;
}

/* What the user of "lock" can do about it, where it differs from the user of a key. */
static const char *lock_cure_of(enum kv_status status) {
	if (status == KV_NOKEY)
		return "there is no such lock";
	if (status == KV_VERSION)
		return "it changed hands meanwhile: break it again if it should be free";
	if (status == KV_MAYBE)
		return "it may be free, or may become so: break it again to be sure";
	if (status == KV_INVALID)
		return "the key holds what no lock writes";
	return NULL;
}

/* What the user can do about it; NULL: the status says all there is. */
static const char *cure_of(const struct action *action, enum kv_status status) {
	bool is_get = strcmp(action->command, values_get.name) == 0;

	switch (status) {
	case KV_NOKEY:
		return action->expected != KV_ANY ? "leave --expect away to create it" : NULL;
	case KV_MAYBE:
		return "it may have happened, or may still: get the key before you write it again";
	case KV_TIMEOUT:
		return "is kvd running? -s names a server";
	case KV_BADSESSION:
		return "what you knew of versions may be wrong: get the key again";
	case KV_TOOBIG:
		return is_get
			   ? "over udp an answer must fit a datagram: use tcp"
			   : "at most 16 MiB, or what kvd --max-value says; over udp, a datagram";
	case KV_FULL:
		return "make room on its disk, or start kvd with more --max-memory or "
		       "--max-sessions";
	case KV_DENIED:
		return "are you who you should be? is it the right server?";
	case KV_UNAVAILABLE:
		return "kvd is older than kvctl: upgrade it";
	case KV_PROTOCOL:
		return "is it a kv server? -s and -P choose it";
	case KV_OK:
	case KV_VERSION:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_INVALID:
	case KV_NOMEM:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		return NULL;
	}
	return NULL;
}

/* What failed, in front of the cure. */
static void describe(const struct settings *settings, struct kv_client *client,
		     const struct action *action, enum kv_status status, char text[LINE_SIZE]) {
	char reason[REASON_SIZE] = "";
	if (client != NULL)
		kv_reason(client, reason, sizeof(reason));
	const char *colon = reason[0] != '\0' ? ": " : "";

	if (status == KV_VERSION && action->expected == 0)
		(void)snprintf(text, LINE_SIZE, "the key exists already, at version %llu",
			       (unsigned long long)action->current);
	else if (status == KV_VERSION && action->expected != KV_ANY)
		(void)snprintf(text, LINE_SIZE,
			       "the key is at version %llu, not %llu (read it again, or leave "
			       "--expect away)",
			       (unsigned long long)action->current,
			       (unsigned long long)action->expected);
	else if (status == KV_TIMEOUT && settings->timeout_ms > 0)
		(void)snprintf(text, LINE_SIZE, "no answer in %g s%s%s",
			       settings->timeout_ms / 1000.0, colon, reason);
	else if (status == KV_MAYBE)
		(void)snprintf(text, LINE_SIZE, "the outcome is unknown%s%s", colon, reason);
	else if (status == KV_INVALID && client != NULL && kv_history_error(client) != 0)
		(void)snprintf(text, LINE_SIZE, "nothing was sent: %s", reason);
	else if (status == KV_PROTOCOL || status == KV_UNAVAILABLE || status == KV_DENIED)
		(void)snprintf(text, LINE_SIZE, "%s%s%s", kv_status_text(status), colon, reason);
	else
		(void)snprintf(text, LINE_SIZE, "%s", kv_status_text(status));
}

int error_status(const struct settings *settings, struct kv_client *client,
		   const struct action *action, enum kv_status status) {
	char text[LINE_SIZE];
	char key[FAILURE_TEXT_MAX];
	bool is_lock = strcmp(action->command, lock_command.name) == 0;
	const char *cure = is_lock ? lock_cure_of(status) : NULL;
	if (cure == NULL)
		cure = cure_of(action, status);

	describe(settings, client, action, status, text);
	printable(action->key, key);
	(void)fprintf(stderr, "kvctl: %s%s%s: %s%s%s%s\n", action->command,
		      action->key.size > 0 ? " " : "", key, text, cure != NULL ? " (" : "",
		      cure != NULL ? cure : "", cure != NULL ? ")" : "");
	return code_of(status);
}
