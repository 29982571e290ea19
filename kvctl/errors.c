/* SPDX-License-Identifier: BSD-3-Clause */
#include "errors.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "colour.h"
#include "escape.h"
#include "output.h"

enum {
	LINE_SIZE = 4096,
	REASON_SIZE = 1280,
	LIMITS_TIMEOUT_MS = 1000,
	SESSION_BYTES = 512, /* about twice what a session with one slot reserves */
};

/* --- Lines ----------------------------------------------------------------------------------- */

static const char *place;

void errors_set_place(const char *new_place) {
	place = new_place;
}

/* One write for one line, so that the lines of several processes do not mix. */
static ERROR_FORMAT(2, 0) void print_line(const char *command, const char *format,
					  va_list arguments, const char *end) {
	char text[LINE_SIZE];
	char safe[LINE_SIZE];
	int size = snprintf(text, sizeof(text), "%s%s%s%s", place != NULL ? place : "",
			    place != NULL ? ": " : "", command != NULL ? command : "",
			    command != NULL ? ": " : "");
	if (size < 0 || (size_t)size >= sizeof(text) ||
	    vsnprintf(text + size, sizeof(text) - (size_t)size, format, arguments) < 0)
		return;
	size_t length = strlen(text);
	(void)snprintf(text + length, sizeof(text) - length, "%s", end);
	size = snprintf(safe, sizeof(safe), "%skvctl:%s ",
			colour_begin(STDERR_FILENO, COLOUR_ERROR), colour_end(STDERR_FILENO));
	(void)escape_bytes((struct kv_bytes){text, strlen(text)}, ESCAPE_LINE, safe + size,
			   sizeof(safe) - (size_t)size - 1);
	strcat(safe, "\n");
	/* A line that cannot be written does not change how the command ends. */
	(void)output_write(STDERR_FILENO, (struct kv_bytes){safe, strlen(safe)});
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

/* --- Statuses -------------------------------------------------------------------------------- */

static const struct {
	enum code code;
	bool has_reason;       /* kv_last_error() belongs to it */
	const char *hint;      /* NULL: the status says all there is */
	const char *lock_hint; /* for the user of `lock`; NULL: as the hint */
} statuses[] = {
    [KV_OK] = {CODE_DONE, false, NULL, NULL},
    [KV_NOKEY] = {CODE_NOKEY, false, NULL, "there is no such lock"},
    [KV_VERSION] = {CODE_VERSION, false, NULL,
		    "it changed hands meanwhile: break it again if it should be free"},
    [KV_MAYBE] = {CODE_MAYBE, true,
		  "it may have happened, or may still: get the key before you write it again",
		  "it may be free, or may become so: break it again to be sure"},
    [KV_TIMEOUT] = {CODE_UNREACHED, true, "use -s or $KV_SERVER to name a server", NULL},
    [KV_BADSESSION] = {CODE_REFUSED, false,
		       "versions that you know may be wrong: get the key again", NULL},
    [KV_STALE] = {CODE_REFUSED, false, NULL, NULL},
    [KV_FALSE_RETRY] = {CODE_REFUSED, false, NULL, NULL},
    [KV_TOOBIG] = {CODE_LIMIT, false, NULL, NULL},
    [KV_FULL] = {CODE_LIMIT, false, NULL, NULL},
    [KV_DENIED] = {CODE_DENIED, true, "check your credentials and the server address", NULL},
    [KV_INVALID] = {CODE_REFUSED, false, NULL, NULL},
    [KV_UNAVAILABLE] = {CODE_REFUSED, true, "kvd is older than kvctl: upgrade it", NULL},
    [KV_PROTOCOL] = {CODE_REFUSED, true, "is it a kv server? -s and -P choose it", NULL},
    [KV_NOMEM] = {CODE_REFUSED, false, NULL, NULL},
    [KV_BUSY] = {CODE_REFUSED, false, NULL, NULL},
    [KV_NOTHELD] = {CODE_REFUSED, false, NULL, NULL},
    [KV_EPOCH] = {CODE_REFUSED, false, NULL, NULL},
    [KV_UNMET] = {CODE_VERSION, false, NULL, NULL},
    [KV_COMPACTED] = {CODE_REFUSED, false, NULL, NULL},
};
enum { STATUS_COUNT = sizeof(statuses) / sizeof(statuses[0]) };

/* --- KV_TOOBIG and KV_FULL: which limit is meant --------------------------------------------- */

/* The server's limits and how far they are used; 0: not known. */
struct limits {
	uint64_t value_max, memory_used, memory_max, sessions, sessions_max, disk_full;
	uint64_t sessions_memory_reserved, sessions_memory_max; /* bytes */
	uint64_t calls_waiting, calls_waiting_max;
	bool is_udp;
};

static struct limits read_limits(struct kv_client *client) {
	struct limits limits = {.value_max = 0};
	const struct {
		const char *name;
		uint64_t *value;
	} wanted[] = {
	    {"value_max", &limits.value_max},
	    {"memory_used", &limits.memory_used},
	    {"memory_max", &limits.memory_max},
	    {"sessions", &limits.sessions},
	    {"sessions_max", &limits.sessions_max},
	    {"disk_full", &limits.disk_full},
	    {"sessions_memory_reserved", &limits.sessions_memory_reserved},
	    {"sessions_memory_max", &limits.sessions_memory_max},
	    {"calls_waiting", &limits.calls_waiting},
	    {"calls_waiting_max", &limits.calls_waiting_max},
	};
	struct kv_client *view = NULL;
	struct kv_stats stats;

	if (client == NULL || kv_with_timeout(client, LIMITS_TIMEOUT_MS, &view) != KV_OK)
		return limits;
	if (kv_stats(view, &stats) == KV_OK) {
		limits.is_udp = strncmp(stats.server, "udp:", 4) == 0;
		for (size_t i = 0; i < stats.counter_count; i++)
			for (size_t j = 0; j < sizeof(wanted) / sizeof(wanted[0]); j++)
				if (strcmp(stats.counters[i].name, wanted[j].name) == 0)
					*wanted[j].value = stats.counters[i].value;
		kv_stats_free(&stats);
	}
	kv_close(view);
	return limits;
}

static void describe_toobig(const struct limits *limits, const struct attempted *attempted,
			    char text[LINE_SIZE]) {
	uint64_t value_max = limits->value_max != 0 ? limits->value_max : KV_VALUE_MAX;
	bool is_get = strcmp(attempted->command, get_command.name) == 0 ||
		      strcmp(attempted->command, mget_command.name) == 0;

	if (attempted->value_size > value_max)
		(void)snprintf(text, LINE_SIZE,
			       "the value has %zu bytes, and the server takes at most %llu "
			       "(kvd --max-value)",
			       attempted->value_size, (unsigned long long)value_max);
	else if (limits->is_udp)
		(void)snprintf(text, LINE_SIZE, "the %s does not fit a datagram (use tcp)",
			       is_get ? "answer" : "value or the answer");
	else if (attempted->waits)
		(void)snprintf(text, LINE_SIZE,
			       "all keys and values of a call that waits, or one value, or what an "
			       "append would make, are too big (kvctl(1), txn)");
	else if (attempted->appends)
		(void)snprintf(text, LINE_SIZE,
			       "the result would be larger than the %llu bytes that the server "
			       "takes (kvd --max-value)",
			       (unsigned long long)value_max);
	else
		(void)snprintf(text, LINE_SIZE, "the key, the value or the answer is too big");
}

static void describe_full(const struct limits *limits, const struct attempted *attempted,
			  char text[LINE_SIZE]) {
	if (limits->disk_full != 0)
		(void)snprintf(text, LINE_SIZE, "the server's disk is full (free space there)");
	else if (limits->sessions_max != 0 && limits->sessions >= limits->sessions_max)
		(void)snprintf(text, LINE_SIZE,
			       "the server has all its %llu sessions in use (close clients, or "
			       "start kvd with more --max-sessions)",
			       (unsigned long long)limits->sessions_max);
	else if (limits->sessions_memory_max != 0 &&
		 limits->sessions_memory_reserved + SESSION_BYTES > limits->sessions_memory_max)
		(void)snprintf(text, LINE_SIZE,
			       "the server's %llu sessions take all of the %llu bytes that are for "
			       "sessions (close clients, or start kvd with more --max-memory)",
			       (unsigned long long)limits->sessions,
			       (unsigned long long)limits->sessions_memory_max);
	else if (attempted->waits && limits->memory_max != 0)
		(void)snprintf(text, LINE_SIZE,
			       "the server has no room for a call that waits: %llu of %llu do, and "
			       "%llu of %llu bytes are used (start kvd with more --max-waiting or "
			       "--max-memory)",
			       (unsigned long long)limits->calls_waiting,
			       (unsigned long long)limits->calls_waiting_max,
			       (unsigned long long)limits->memory_used,
			       (unsigned long long)limits->memory_max);
	else if (limits->memory_max != 0)
		(void)snprintf(text, LINE_SIZE,
			       "the server's memory is full: %llu of %llu bytes are used (start "
			       "kvd with more --max-memory)",
			       (unsigned long long)limits->memory_used,
			       (unsigned long long)limits->memory_max);
	else
		(void)snprintf(text, LINE_SIZE, "%s", kv_status_text(KV_FULL));
}

/* --- KV_DENIED: which right is meant ---------------------------------------------------------- */

/* The least right that the command needs; NULL: a key decides. */
static const char *right_for(const char *command) {
	static const struct {
		const struct command *command;
		const char *right;
	} rights[] = {
	    {&get_command, "ro"},	    {&mget_command, "ro"},	  {&ls_command, "ro"},
	    {&watch_command, "ro"},	    {&dump_command, "ro"},	  {&put_command, "rw"},
	    {&append_command, "add or rw"}, {&del_command, "rw"},	  {&touch_command, "rw"},
	    {&load_command, "rw"},	    {&lock_command, "lock"},	  {&elect_command, "lock"},
	    {&backup_command, "admin"},	    {&snapshot_command, "admin"},
	};

	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		if (strcmp(command, rights[i].command->name) == 0)
			return rights[i].right;
	return NULL;
}

/* False: the server has no rules, or did not say. */
static bool describe_denied(struct kv_client *client, const struct attempted *attempted,
			    char text[LINE_SIZE]) {
	const char *right = right_for(attempted->command);
	struct kv_client *view = NULL;
	struct kv_identity identity = {.has_rules = false};
	bool has_rules;

	if (client == NULL || kv_with_timeout(client, LIMITS_TIMEOUT_MS, &view) != KV_OK)
		return false;
	has_rules = kv_whoami(view, &identity) == KV_OK && identity.has_rules;
	if (has_rules)
		(void)snprintf(
		    text, LINE_SIZE,
		    "denied: the server knows this client as \"%s\", which lacks a right "
		    "to it%s%s%s (kvctl whoami lists its rights; the file of kvd --acl "
		    "gives them)",
		    identity.principal, right == NULL ? "" : " (", right == NULL ? "" : right,
		    right == NULL ? "" : " is needed)");
	kv_identity_free(&identity);
	kv_close(view);
	return has_rules;
}

/* --- The line of a failed call --------------------------------------------------------------- */

static bool is_about_lock(const struct attempted *attempted) {
	return strcmp(attempted->command, lock_command.name) == 0 ||
	       strcmp(attempted->command, elect_command.name) == 0;
}

static void describe_version(const struct attempted *attempted, char text[LINE_SIZE]) {
	if (attempted->expected == 0)
		(void)snprintf(text, LINE_SIZE, "the key exists already, at version %llu",
			       (unsigned long long)attempted->current);
	else
		(void)snprintf(text, LINE_SIZE,
			       "the key is at version %llu, not %llu (read it again, or omit "
			       "--expect)",
			       (unsigned long long)attempted->current,
			       (unsigned long long)attempted->expected);
}

/*
 * Whether the reason is one of TLS: its files cannot be used, or one side refused the other. Then
 * it says all, and which side it was.
 */
static bool is_about_tls(struct kv_client *client, char reason[REASON_SIZE]) {
	if (client != NULL)
		kv_last_error(client, reason, REASON_SIZE);
	return strncmp(reason, "tls:", 4) == 0;
}

/* What failed, in front of the hint. */
static void describe(const struct settings *settings, struct kv_client *client,
		     const struct attempted *attempted, enum kv_status status,
		     char text[LINE_SIZE]) {
	char reason[REASON_SIZE] = "";
	if (client != NULL && statuses[status].has_reason)
		kv_last_error(client, reason, sizeof(reason));
	const char *colon = reason[0] != '\0' ? ": " : "";

	if (status == KV_VERSION && attempted->expected != KV_ANY) {
		describe_version(attempted, text);
	} else if (status == KV_TIMEOUT && settings->waits && settings->timeout_ms > 0) {
		(void)snprintf(text, LINE_SIZE, "no kvd reached in %g s%s%s",
			       settings->timeout_ms / 1000.0, colon, reason);
	} else if (status == KV_TIMEOUT) {
		(void)snprintf(text, LINE_SIZE, "no kvd reached%s%s", colon, reason);
	} else if (status == KV_MAYBE) {
		(void)snprintf(text, LINE_SIZE, "the outcome is unknown%s%s", colon, reason);
	} else if (status == KV_INVALID && client != NULL && kv_history_error(client) != 0) {
		(void)snprintf(text, LINE_SIZE,
			       "nothing was sent: the history cannot be written: %s",
			       strerror(kv_history_error(client)));
	} else if ((status == KV_INVALID || status == KV_DENIED) && is_about_tls(client, reason)) {
		(void)snprintf(text, LINE_SIZE, "%s%s", status == KV_DENIED ? "denied: " : "",
			       reason);
	} else if (status == KV_INVALID && is_about_lock(attempted)) {
		(void)snprintf(text, LINE_SIZE,
			       "the key exists but is not a lock (its value was not written by a "
			       "lock)");
	} else if (status == KV_TOOBIG || status == KV_FULL) {
		struct limits limits = read_limits(client);
		if (status == KV_FULL)
			describe_full(&limits, attempted, text);
		else
			describe_toobig(&limits, attempted, text);
	} else {
		(void)snprintf(text, LINE_SIZE, "%s%s%s", kv_status_text(status), colon, reason);
	}
}

int error_status(const struct settings *settings, struct kv_client *client,
		 const struct attempted *attempted, enum kv_status status) {
	char text[LINE_SIZE];
	char name[ESCAPE_WORD_SIZE + 32];
	char key[ESCAPE_WORD_SIZE];
	bool is_lock = is_about_lock(attempted);
	bool is_known = (unsigned)status < STATUS_COUNT;
	const char *hint = is_known ? statuses[status].hint : NULL;
	const char *ticket_error = client != NULL ? kv_ticket_error(client) : NULL;
	if (is_known && is_lock && statuses[status].lock_hint != NULL)
		hint = statuses[status].lock_hint;
	if (status == KV_NOKEY && attempted->expected != KV_ANY)
		hint = "omit --expect to create it";

	/* As long as nothing is wrong with the ticket the same command resolves it. */
	if (status == KV_MAYBE && settings->ticket != NULL)
		hint = "run the same command again: it goes on, and happens once";
	if (ticket_error != NULL)
		hint = NULL;

	if (ticket_error != NULL)
		(void)snprintf(text, sizeof(text), "%s", ticket_error);
	else if (status == KV_DENIED && describe_denied(client, attempted, text))
		hint = NULL;
	else if (is_known)
		describe(settings, client, attempted, status, text);
	else
		(void)snprintf(text, sizeof(text), "%s", kv_status_text(status));
	escape_word(attempted->key, key);
	(void)snprintf(name, sizeof(name), "%s%s%s", attempted->command,
		       attempted->key.size > 0 ? " " : "", key);
	int code = is_known ? (int)statuses[status].code : CODE_REFUSED;
	/* Another process may be making the write. */
	if (ticket_error != NULL && status == KV_BUSY)
		code = CODE_MAYBE;
	return error_report(code, name, "%s%s%s%s", text, hint != NULL ? " (" : "",
			    hint != NULL ? hint : "", hint != NULL ? ")" : "");
}
