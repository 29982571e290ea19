/* SPDX-License-Identifier: BSD-3-Clause */
#include "judge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

enum { WORKERS = 256 };

/* --- Single answers ----------------------------------------------------------------------------
 */

static bool is_conditional(const struct deed *deed) {
	return deed->kind != DEED_GET && deed->expected != KV_ANY;
}

/* Whether there is such an answer at all. */
static bool is_possible(const struct terms *terms, const struct deed *deed) {
	switch (deed->status) {
	case KV_OK:
		return true;
	case KV_NOKEY:
		return deed->kind == DEED_GET || (is_conditional(deed) && deed->expected > 0);
	case KV_VERSION:
		return is_conditional(deed);
	case KV_MAYBE:
		return deed->kind != DEED_GET;
	case KV_TIMEOUT:
		return !terms->is_for_ever;
	case KV_BADSESSION:
		return !terms->is_durable;
	case KV_FULL:
	case KV_TOOBIG:
		return terms->may_be_full && deed->kind != DEED_GET;
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		break;
	}
	return false;
}

bool judge_answer(const struct terms *terms, const struct deed *deed) {
	if (!is_possible(terms, deed))
		world_fail("worker %u: a call on %s was answered %s", deed->worker, deed->key,
			   kv_status_name(deed->status));
	/*
	 * "With a session the duplicate cache removes nearly every KV_MAYBE; what remains is a lost
	 * session or a deadline of the caller's own."
	 */
	return deed->status == KV_MAYBE && terms->is_durable && terms->is_for_ever &&
	       !terms->is_stateless;
}

void judge_lock(const struct terms *terms, enum lock_use use, enum kv_status status) {
	bool is_possible_too = false;

	switch (status) {
	case KV_OK:
	case KV_MAYBE:
		return;
	case KV_TIMEOUT:
		is_possible_too = use == USE_ACQUIRE || !terms->is_for_ever;
		break;
	case KV_BUSY:
		is_possible_too = use == USE_TRY;
		break;
	case KV_NOTHELD:
		is_possible_too = use == USE_RELEASE;
		break;
	case KV_BADSESSION:
		is_possible_too = !terms->is_durable;
		break;
	case KV_FULL:
	case KV_TOOBIG:
		is_possible_too = terms->may_be_full;
		break;
	case KV_NOKEY:
	case KV_VERSION:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_EPOCH:
		break;
	}
	if (!is_possible_too)
		world_fail("a lock answered %s", kv_status_name(status));
}

/* --- Tokens ------------------------------------------------------------------------------------
 */

/* How often the token stands in the text, both ending with ';'; *at is behind the last of them. */
static unsigned count_token(const char *text, const char *token, size_t *at) {
	size_t size = strlen(token);
	unsigned count = 0;

	for (const char *found = strstr(text, token); found != NULL;
	     found = strstr(found + size, token))
		if (found == text || found[-1] == ';') {
			count++;
			*at = (size_t)(found - text) + size;
		}
	return count;
}

static bool is_refused(const struct deed *deed) {
	return !deed->is_open && deed->status != KV_OK && deed->status != KV_MAYBE;
}

static bool is_sure(const struct deed *deed) {
	return !deed->is_open && deed->status == KV_OK;
}

static void judge_token(const struct deed *deed, const char *text, uint64_t first_life,
			size_t *found, size_t *before) {
	const char *token = (const char *)deed->value;
	size_t at = 0;
	unsigned count = count_token(text, token, &at);
	bool is_of_old_store = is_sure(deed) && deed->heard_life < first_life;

	if (count > 1)
		world_fail("%s holds \"%s\" %u times", deed->key, token, count);
	if (count > 0 && is_refused(deed))
		world_fail("%s holds \"%s\", which was refused (%s)", deed->key, token,
			   kv_status_name(deed->status));
	if (count > 0 && is_of_old_store)
		world_fail("%s holds \"%s\", which another store answered", deed->key, token);
	if (count == 0 && is_sure(deed) && !is_of_old_store)
		world_fail("%s does not hold \"%s\", which was answered KV_OK", deed->key, token);
	if (count == 0)
		return;
	/* A write in doubt may take effect after later ones of its worker. */
	if (is_sure(deed)) {
		if (at <= before[deed->worker])
			world_fail("%s holds \"%s\" before what its worker wrote before", deed->key,
				   token);
		before[deed->worker] = at;
	}
	*found += strlen(token);
}

void judge_tokens(const struct deeds *deeds, const char *key, const struct kv_value *value,
		  uint64_t first_life) {
	char *text = malloc(value->size + 1);
	size_t before[WORKERS] = {0};
	size_t found = 0;

	if (text == NULL) {
		world_fail("no memory to look at %s", key);
		return;
	}
	if (value->size > 0)
		memcpy(text, value->data, value->size);
	text[value->size] = '\0';
	for (size_t i = 0; i < deeds_count(deeds); i++) {
		const struct deed *deed = deeds_at(deeds, i);

		if (deed->kind == DEED_APPEND && strcmp(deed->key, key) == 0)
			judge_token(deed, text, first_life, &found, before);
	}
	if (found != value->size)
		world_fail("%s holds %zu bytes that nobody appended", key, value->size - found);
	free(text);
}
