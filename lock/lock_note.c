/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_note.h"

#include <string.h>

#include "lock_platform.h"

enum { SINCE_AT = LOCK_ID_DIGITS + 1 };

/* The time of thirteen digits lasts until the year 2286. */
void lock_note_stamp(struct kv_lock *lock) {
	uint64_t since_ms = lock_platform_calendar_ms();

	for (size_t i = LOCK_SINCE_DIGITS; i > 0; i--) {
		lock->note_bytes[SINCE_AT + i - 1] = (char)('0' + since_ms % 10);
		since_ms /= 10;
	}
}

/* Of a note at `data`; 0: these are no digits. */
static uint64_t read_since(const char *data) {
	uint64_t since_ms = 0;

	for (size_t i = SINCE_AT; i < SINCE_AT + LOCK_SINCE_DIGITS; i++) {
		if (data[i] < '0' || data[i] > '9')
			return 0;
		since_ms = 10 * since_ms + (uint64_t)(data[i] - '0');
	}
	return since_ms;
}

/* Writes to *info what the value says if it is a note of the holder with that id. */
static void read_text(const struct kv_value *value, struct kv_lock_info *info) {
	const char *data = value->data;

	if (value->size <= LOCK_NOTE_HEAD || value->size > LOCK_NOTE_HEAD + KV_LOCK_NOTE_MAX ||
	    memcmp(data, info->id, LOCK_ID_DIGITS) != 0 || data[LOCK_ID_DIGITS] != ' ' ||
	    data[LOCK_NOTE_HEAD - 1] != ' ')
		return;
	info->since_ms = read_since(data);
	info->note_size = value->size - LOCK_NOTE_HEAD;
	memcpy(info->note, data + LOCK_NOTE_HEAD, info->note_size);
}

static void set_head(struct kv_lock *lock, size_t text_size) {
	memcpy(lock->note_bytes, lock->id, LOCK_ID_DIGITS);
	lock->note_bytes[LOCK_ID_DIGITS] = lock->note_bytes[LOCK_NOTE_HEAD - 1] = ' ';
	lock->note = (struct kv_bytes){lock->note_bytes, LOCK_NOTE_HEAD + text_size};
}

enum kv_status kv_lock_set_note(struct kv_lock *lock, struct kv_bytes note) {
	const bool is_none = note.data != NULL && note.size == 0;

	if (note.data == NULL && note.size == 0)
		return kv_lock_describe(lock, NULL);
	if (!lock_state_is_idle(lock) || note.data == NULL || note.size > KV_LOCK_NOTE_MAX ||
	    (!is_none && lock->note_key.size == 0))
		return KV_INVALID;
	lock->note = (struct kv_bytes){0};
	if (is_none)
		return KV_OK;
	memcpy(lock->note_bytes + LOCK_NOTE_HEAD, note.data, note.size);
	set_head(lock, note.size);
	return KV_OK;
}

enum kv_status kv_lock_describe(struct kv_lock *lock, const char *program) {
	if (!lock_state_is_idle(lock) || lock->note_key.size == 0)
		return KV_INVALID;
	set_head(lock, lock_platform_describe(program, lock->note_bytes + LOCK_NOTE_HEAD,
					      KV_LOCK_NOTE_MAX));
	return KV_OK;
}

/* --- Looking at a lock ------------------------------------------------------------------------
 */

/* *seen is what LIST shows of the key. KV_NOKEY: there is none. */
static enum kv_status look_up(struct kv_client *client, struct kv_bytes name, struct kv_key *seen) {
	struct kv_list list;
	enum kv_status status = kv_list(client, name, (struct kv_bytes){0}, 1, &list);

	if (status != KV_OK)
		return status;
	/* The first of those that begin with the name is the name itself, if it is there. */
	if (list.count == 0 || list.keys[0].key.size != name.size)
		status = KV_NOKEY;
	else
		*seen = list.keys[0];
	kv_list_free(&list);
	return status;
}

static enum kv_status read_note(struct kv_client *client, struct kv_bytes name,
				struct kv_lock_info *info) {
	unsigned char key[KV_KEY_MAX];
	struct kv_value value;
	enum kv_status status;

	if (!info->is_held || name.size + LOCK_NOTE_SUFFIX_SIZE > sizeof(key))
		return KV_OK;
	memcpy(key, name.data, name.size);
	memcpy(key + name.size, LOCK_NOTE_SUFFIX, LOCK_NOTE_SUFFIX_SIZE);
	status = kv_get(client, (struct kv_bytes){key, name.size + LOCK_NOTE_SUFFIX_SIZE}, &value);
	if (status != KV_OK)
		return status == KV_NOKEY ? KV_OK : status;
	read_text(&value, info);
	kv_value_free(&value);
	return KV_OK;
}

/* KV_VERSION: it has changed since `seen`. */
static enum kv_status read_holder(struct kv_client *client, struct kv_bytes name,
				  const struct kv_key *seen, struct kv_lock_info *info) {
	struct kv_value value;
	enum kv_status status = kv_get(client, name, &value);
	enum content content;

	if (status != KV_OK)
		return status == KV_NOKEY ? KV_VERSION : status;
	content = lock_state_content(&value, "");
	*info = (struct kv_lock_info){.is_held = content == CONTENT_OTHER_ID,
				      .token = value.version,
				      .ttl_left_ms = seen->ttl_left_ms,
				      .waiting = seen->waiting};
	if (info->is_held)
		memcpy(info->id, value.data, LOCK_ID_DIGITS);
	kv_value_free(&value);
	if (info->token != seen->version)
		return KV_VERSION;
	return content == CONTENT_INVALID ? KV_INVALID : KV_OK;
}

enum kv_status kv_lock_inspect(struct kv_client *client, struct kv_bytes name,
			       struct kv_lock_info *info) {
	enum kv_status status = KV_VERSION;

	*info = (struct kv_lock_info){0};
	if (name.size == 0 || name.data == NULL || name.size > KV_KEY_MAX)
		return KV_INVALID;
	for (unsigned step = 0; step < LOCK_STEPS_MAX && status == KV_VERSION; step++) {
		struct kv_key seen = {0};

		status = look_up(client, name, &seen);
		if (status == KV_OK)
			status = read_holder(client, name, &seen, info);
		if (status == KV_OK)
			status = read_note(client, name, info);
	}
	if (status != KV_OK)
		*info = (struct kv_lock_info){0};
	return status;
}
