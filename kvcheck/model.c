/* SPDX-License-Identifier: BSD-3-Clause */
#include "model.h"

static bool is_value(const struct place *place, struct digest value) {
	return !place->is_known || digest_equal(place->value, value);
}

/* A Get. */
static bool is_found(const struct step *step, const struct place *place) {
	if (step->status == KV_NOKEY)
		return place->version == 0;
	return place->version != 0 && (step->version == 0 || step->version == place->version) &&
	       (!step->has_got || is_value(place, step->got_digest));
}

/*
 *	expected	key exists at v			key missing
 *	KV_ANY		writes v + 1			writes 1
 *	0		KV_VERSION			writes 1
 *	n > 0		n = v: writes v + 1,		KV_NOKEY
 *			else KV_VERSION
 */
static enum kv_status judge(uint64_t expected, uint64_t version) {
	if (expected == HISTORY_ANY || expected == version)
		return KV_OK;
	return version == 0 ? KV_NOKEY : KV_VERSION;
}

bool model_matches_read(const struct step *step, const struct place *place) {
	if (step->op == HISTORY_GET)
		return is_found(step, place);
	return judge(step->expected, place->version) == step->status &&
	       (step->status == KV_NOKEY || step->version == 0 || step->version == place->version);
}

bool model_can_apply(const struct step *step, const struct place *place) {
	if (judge(step->expected, place->version) != KV_OK)
		return false;
	if (step->kind != STEP_WRITE)
		return true;
	return (step->version == 0 || step->version == place->version + 1) &&
	       (!step->has_got || is_value(place, step->got_digest));
}

void model_apply(const struct step *step, struct place *place) {
	place->version++;
	if (step->op == HISTORY_PUT) {
		place->value = step->value_digest;
		place->is_known = true;
	} else {
		/* Of a missing key the value is empty. */
		place->value = rolling_hash_concat(place->value, step->value_digest);
	}
}
