/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/prefetch.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "record_marking.h"

enum {
	WORD = 4, /* bytes */
	/* Places in a call's header, in words: RFC 5531, 9. */
	WORD_PROCEDURE = 5,
	WORD_CREDENTIAL_SIZE = 7,
	/* Behind the credential: the verifier's flavor and size. */
	VERIFIER_WORDS = 2,
	/* Ahead of the key's size, in words: kv1_get_args; kv1_put_args and kv1_append_args. */
	READ_WORDS = 2,
	WRITE_WORDS = 9,
	LAST_FRAGMENT = 0x80, /* in the first byte of a mark */
};

static uint32_t word_at(const uint8_t *bytes) {
	uint32_t word;

	memcpy(&word, bytes, sizeof(word));
	return ntohl(word);
}

/* Of the fragment behind a mark. */
static size_t size_at(const uint8_t *mark) {
	return word_at(mark) & 0x7fffffff;
}

/* False: it names none, or is not of the usual form. */
static bool find_key(const uint8_t *call, size_t size, struct kv_bytes *key) {
	size_t at = (WORD_CREDENTIAL_SIZE + 1) * WORD;

	if (size < at)
		return false;
	uint32_t procedure = word_at(call + (size_t)WORD_PROCEDURE * WORD);
	uint32_t credential_size = word_at(call + (size_t)WORD_CREDENTIAL_SIZE * WORD);
	if (credential_size > MAX_AUTH_BYTES)
		return false;
	at += RNDUP(credential_size) + (size_t)VERIFIER_WORDS * WORD;
	if (procedure == KVPROC_GET)
		at += (size_t)READ_WORDS * WORD;
	else if (procedure == KVPROC_PUT || procedure == KVPROC_APPEND)
		at += (size_t)WRITE_WORDS * WORD;
	else
		return false;
	if (size < at + WORD)
		return false;
	*key = (struct kv_bytes){.data = call + at + WORD, .size = word_at(call + at)};
	return key->size > 0 && key->size <= KEY_MAX && key->size <= size - at - WORD;
}

unsigned prefetch_keys(struct kv_bytes bytes, struct kv_bytes keys[STORE_PREFETCH_MAX],
		       size_t *end) {
	const uint8_t *at = bytes.data;
	size_t left = bytes.size;
	unsigned count = 0;

	while (count < STORE_PREFETCH_MAX && left > RECORD_MARK_SIZE &&
	       (at[0] & LAST_FRAGMENT) != 0) {
		size_t size = size_at(at);

		if (size > left - RECORD_MARK_SIZE)
			break;
		count += find_key(at + RECORD_MARK_SIZE, size, &keys[count]) ? 1 : 0;
		at += RECORD_MARK_SIZE + size;
		left -= RECORD_MARK_SIZE + size;
	}
	*end = bytes.size - left;
	return count;
}

bool prefetch_key(struct kv_bytes bytes, struct kv_bytes *key) {
	const uint8_t *call = (const uint8_t *)bytes.data + RECORD_MARK_SIZE;

	return bytes.size > RECORD_MARK_SIZE &&
	       size_at(bytes.data) == bytes.size - RECORD_MARK_SIZE &&
	       find_key(call, bytes.size - RECORD_MARK_SIZE, key);
}

size_t prefetch_records(const struct service *service, const void *bytes, size_t size) {
	struct kv_bytes keys[STORE_PREFETCH_MAX];
	size_t end;

	/* One alone has nothing to be fetched beside it. */
	if (size <= RECORD_MARK_SIZE || size_at(bytes) >= size - RECORD_MARK_SIZE)
		return 0;
	unsigned count = prefetch_keys((struct kv_bytes){.data = bytes, .size = size}, keys, &end);
	service_prefetch(service, keys, count);
	return end;
}
