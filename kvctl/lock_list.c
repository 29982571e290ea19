/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_list.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <kv/lock.h>

#include "errors.h"
#include "escape.h"
#include "output.h"

enum {
	ID_SIZE = sizeof(((struct kv_lock_info *)0)->id) - 1,
	TIME_SIZE = 32,
	NOTE_TEXT_SIZE = 4 * KV_LOCK_NOTE_MAX + ESCAPE_SIZE_MIN
};

struct locks {
	const struct settings *settings;
	struct kv_client *client;
	enum kv_status status; /* of the last call that failed */
	int code;
};

static json_t *json_lock(struct kv_bytes name, const struct kv_lock_info *info) {
	json_t *object = json_object();
	struct kv_bytes note = {info->note, info->note_size};

	if (output_add_bytes(object, "name", name) &&
	    output_add_number(object, "token", info->token) &&
	    (info->ttl_left_ms == 0 ||
	     output_add_number(object, "ttl_left_ms", info->ttl_left_ms)) &&
	    output_add_number(object, "waiting", info->waiting) &&
	    output_add_bytes(object, "holder", (struct kv_bytes){info->id, strlen(info->id)}) &&
	    (info->since_ms == 0 || output_add_number(object, "since_ms", info->since_ms)) &&
	    (note.size == 0 || output_add_bytes(object, "note", note)))
		return object;
	json_decref(object);
	return NULL;
}

/* In UTC, or "-". */
static void tell_since(const struct kv_lock_info *info, char text[TIME_SIZE]) {
	const time_t since = (time_t)(info->since_ms / 1000);
	struct tm parts;

	if (info->since_ms == 0 || gmtime_r(&since, &parts) == NULL ||
	    strftime(text, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		(void)snprintf(text, TIME_SIZE, "-");
}

static int print_lock(const struct settings *settings, struct kv_bytes name,
		      const struct kv_lock_info *info) {
	char shown[4 * KV_KEY_MAX + ESCAPE_SIZE_MIN];
	char note[NOTE_TEXT_SIZE];
	char left[24] = "-";
	char since[TIME_SIZE];

	if (settings->format == FORMAT_JSON)
		return output_json(json_lock(name, info));
	(void)escape_bytes(name, ESCAPE_WORD, shown, sizeof(shown));
	(void)escape_bytes((struct kv_bytes){info->note, info->note_size}, ESCAPE_WORD, note,
			   sizeof(note));
	if (info->ttl_left_ms > 0)
		(void)snprintf(left, sizeof(left), "%.1f", (double)info->ttl_left_ms / 1e3);
	tell_since(info, since);
	return output_text("%s\t%llu\t%s\t%u\t%s\t%s\t%s\n", shown, (unsigned long long)info->token,
			   left, info->waiting, info->id, note[0] != '\0' ? note : "-", since);
}

/* A lock that is held has an id's size; whether it is one, its value says. */
static bool show_lock(void *context, const struct kv_key *key) {
	struct locks *locks = context;
	struct kv_lock_info info;

	if (key->size != ID_SIZE)
		return true;
	enum kv_status status = kv_lock_inspect(locks->client, key->key, &info);
	/* It ended, is no lock, or changes hands too fast to be shown. */
	if (status == KV_NOKEY || status == KV_INVALID || status == KV_VERSION)
		return true;
	if (status != KV_OK) {
		locks->status = status;
		return false;
	}
	if (info.is_held)
		locks->code = print_lock(locks->settings, key->key, &info);
	return locks->code == CODE_DONE;
}

int lock_list_print(const struct settings *settings, struct kv_bytes prefix) {
	struct attempted attempted = {
	    .command = lock_command.name, .key = prefix, .expected = KV_ANY};
	struct locks locks = {.settings = settings, .status = KV_OK, .code = CODE_DONE};
	int code = kvctl_open(settings, attempted.command, settings->timeout_ms, &locks.client);
	if (code != CODE_DONE)
		return code;

	enum kv_status status = kv_list_each(locks.client, prefix, show_lock, &locks);
	if (status == KV_OK)
		status = locks.status;
	code =
	    status == KV_OK ? locks.code : error_status(settings, locks.client, &attempted, status);
	kvctl_close(settings, attempted.command, locks.client, status == KV_OK);
	return code;
}

static int report_other(struct kv_bytes name, uint64_t token, const struct kv_lock_info *info) {
	char label[ESCAPE_WORD_SIZE + 8];
	char shown[ESCAPE_WORD_SIZE];

	escape_word(name, shown);
	(void)snprintf(label, sizeof(label), "lock %s", shown);
	if (!info->is_held)
		return error_report(CODE_VERSION, label, "not held with token %llu: it is free",
				    (unsigned long long)token);
	return error_report(CODE_VERSION, label, "not held with token %llu, but with %llu",
			    (unsigned long long)token, (unsigned long long)info->token);
}

int lock_list_check(const struct settings *settings, struct kv_bytes name, uint64_t token) {
	struct attempted attempted = {
	    .command = lock_command.name, .key = name, .expected = KV_ANY};
	struct kv_lock_info info;
	struct kv_client *client = NULL;
	int code = kvctl_open(settings, attempted.command, settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;

	enum kv_status status = kv_lock_inspect(client, name, &info);
	if (status != KV_OK && status != KV_NOKEY)
		code = error_status(settings, client, &attempted, status);
	else if (!info.is_held || info.token != token)
		code = report_other(name, token, &info);
	kvctl_close(settings, attempted.command, client, status == KV_OK);
	return code;
}
