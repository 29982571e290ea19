/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_note.h"

#include <string.h>

#include "lock_platform.h"

struct kv_bytes lock_note_text(const struct kv_value *value, const char *id) {
	const size_t head = LOCK_ID_DIGITS + 1;
	const char *data = value->data;

	if (value->size <= head || value->size > head + KV_LOCK_NOTE_MAX ||
	    memcmp(data, id, LOCK_ID_DIGITS) != 0 || data[LOCK_ID_DIGITS] != ' ')
		return (struct kv_bytes){0};
	return (struct kv_bytes){data + head, value->size - head};
}

enum kv_status kv_lock_set_note(struct kv_lock *lock, struct kv_bytes note) {
	const size_t head = LOCK_ID_DIGITS + 1;
	const bool is_none = note.data != NULL && note.size == 0;
	char *text = lock->note_bytes + head;

	if (!kv_is_owner(lock->view) || lock->state == LOCK_HELD || lock_state_is_unknown(lock) ||
	    (note.data == NULL && note.size > 0) || note.size > KV_LOCK_NOTE_MAX ||
	    (!is_none && lock->note_key.size == 0))
		return KV_INVALID;
	if (is_none) {
		lock->note = (struct kv_bytes){0};
		return KV_OK;
	}
	if (note.data == NULL)
		note = (struct kv_bytes){text, lock_platform_describe(text, KV_LOCK_NOTE_MAX)};
	else
		memcpy(text, note.data, note.size);
	memcpy(lock->note_bytes, lock->id, LOCK_ID_DIGITS);
	lock->note_bytes[LOCK_ID_DIGITS] = ' ';
	lock->note = (struct kv_bytes){lock->note_bytes, head + note.size};
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
	struct kv_bytes text;
	enum kv_status status;

	if (!info->is_held || name.size + LOCK_NOTE_SUFFIX_SIZE > sizeof(key))
		return KV_OK;
	memcpy(key, name.data, name.size);
	memcpy(key + name.size, LOCK_NOTE_SUFFIX, LOCK_NOTE_SUFFIX_SIZE);
	status = kv_get(client, (struct kv_bytes){key, name.size + LOCK_NOTE_SUFFIX_SIZE}, &value);
	if (status != KV_OK)
		return status == KV_NOKEY ? KV_OK : status;
	text = lock_note_text(&value, info->id);
	if (text.size > 0)
		memcpy(info->note, text.data, text.size);
	info->note_size = text.size;
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
