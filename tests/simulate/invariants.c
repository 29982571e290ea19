/* SPDX-License-Identifier: BSD-3-Clause */
#include "invariants.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

enum { WORKERS = 256 };

/* --- Single answers ----------------------------------------------------------------------------
 */

static bool is_conditional(const struct op *op) {
	return op->kind != OP_GET && op->kind != OP_CHECK && op->expected != KV_ANY;
}

/* Whether there is such an answer at all. */
static bool is_possible(const struct client_contract *contract, const struct op *op) {
	switch (op->status) {
	case KV_OK:
		return true;
	case KV_NOKEY:
		return op->kind == OP_GET || op->kind == OP_DELETE || op->kind == OP_TOUCH ||
		       op->kind == OP_CHECK || (is_conditional(op) && op->expected > 0);
	case KV_VERSION:
		return is_conditional(op);
	case KV_UNMET:
		return op->part > 0;
	case KV_MAYBE:
		return op->kind != OP_GET;
	case KV_TIMEOUT:
		return !contract->is_for_ever;
	case KV_BADSESSION:
		return !contract->is_durable;
	case KV_FULL:
	case KV_TOOBIG:
		return contract->may_be_full && op->kind != OP_GET;
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_COMPACTED:
	case KV_BUSY:
	case KV_NOTHELD:
	case KV_EPOCH:
		break;
	}
	return false;
}

bool invariant_status(const struct client_contract *contract, const struct op *op) {
	if (!is_possible(contract, op))
		sim_fail("worker %u: a call on %s was answered %s", op->worker, op->key,
			 kv_status_name(op->status));
	/*
	 * "With a session the duplicate cache removes nearly every KV_MAYBE; what remains is a lost
	 * session or a deadline of the caller's own."
	 */
	return op->status == KV_MAYBE && contract->is_durable && contract->is_for_ever &&
	       !contract->is_stateless;
}

void invariant_lock_status(const struct client_contract *contract, enum lock_use use,
			   enum kv_status status) {
	bool is_possible_too = false;

	switch (status) {
	case KV_OK:
	case KV_MAYBE:
		return;
	case KV_TIMEOUT:
		is_possible_too = use == USE_ACQUIRE || !contract->is_for_ever;
		break;
	case KV_BUSY:
		is_possible_too = use == USE_TRY;
		break;
	case KV_NOTHELD:
		is_possible_too = use == USE_RELEASE;
		break;
	case KV_BADSESSION:
		is_possible_too = !contract->is_durable;
		break;
	case KV_FULL:
	case KV_TOOBIG:
		is_possible_too = contract->may_be_full;
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
	case KV_UNMET:
	case KV_COMPACTED:
	case KV_EPOCH:
		break;
	}
	if (!is_possible_too)
		sim_fail("a lock answered %s", kv_status_name(status));
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

static bool is_refused(const struct op *op) {
	return !op->is_open && op->status != KV_OK && op->status != KV_MAYBE;
}

static bool is_sure(const struct op *op) {
	return !op->is_open && op->status == KV_OK;
}

static void check_token(const struct op *op, const char *text, uint64_t first_generation,
			size_t *found, size_t *before) {
	const char *token = (const char *)op->value;
	size_t at = 0;
	unsigned count = count_token(text, token, &at);
	bool is_of_old_store = is_sure(op) && op->heard_generation < first_generation;

	if (count > 1)
		sim_fail("%s holds \"%s\" %u times", op->key, token, count);
	if (count > 0 && is_refused(op))
		sim_fail("%s holds \"%s\", which was refused (%s)", op->key, token,
			 kv_status_name(op->status));
	if (count > 0 && is_of_old_store)
		sim_fail("%s holds \"%s\", which another store answered", op->key, token);
	if (count == 0 && is_sure(op) && !is_of_old_store)
		sim_fail("%s does not hold \"%s\", which was answered KV_OK", op->key, token);
	if (count == 0)
		return;
	/* A write in doubt may take effect after later ones of its worker. */
	if (is_sure(op)) {
		if (at <= before[op->worker])
			sim_fail("%s holds \"%s\" before what its worker wrote before", op->key,
				 token);
		before[op->worker] = at;
	}
	*found += strlen(token);
}

void invariant_tokens(const struct op_log *op_log, const char *key, const struct kv_value *value,
		      uint64_t first_generation) {
	char *text = malloc(value->size + 1);
	size_t before[WORKERS] = {0};
	size_t found = 0;

	if (text == NULL) {
		sim_fail("no memory to look at %s", key);
		return;
	}
	if (value->size > 0)
		memcpy(text, value->data, value->size);
	text[value->size] = '\0';
	for (size_t i = 0; i < op_log_count(op_log); i++) {
		const struct op *op = op_log_at(op_log, i);

		if (op->kind == OP_APPEND && strcmp(op->key, key) == 0)
			check_token(op, text, first_generation, &found, before);
	}
	if (found != value->size)
		sim_fail("%s holds %zu bytes that no client appended", key, value->size - found);
	free(text);
}

/* --- Transactions -------------------------------------------------------------------------------
 */

static bool holds_token(const struct kv_value *value, const struct op *op) {
	const char *text = value->data;

	for (size_t at = 0; at + op->value_size <= value->size; at++)
		if (memcmp(text + at, op->value, op->value_size) == 0 &&
		    (at == 0 || text[at - 1] == ';'))
			return true;
	return false;
}

void invariant_both(const struct op_log *op_log, const char *const keys[2],
		    const struct kv_value values[2]) {
	for (size_t i = 1; i < op_log_count(op_log); i++) {
		const struct op *second = op_log_at(op_log, i);
		const struct op *first = op_log_at(op_log, i - 1);

		if (second->part < 2 || second->kind != OP_APPEND || first->kind != OP_APPEND ||
		    strcmp(first->key, keys[0]) != 0 || strcmp(second->key, keys[1]) != 0)
			continue;
		if (holds_token(&values[0], first) != holds_token(&values[1], second))
			sim_fail("half of a transaction survived: \"%s\" is in %s only",
				 (const char *)first->value,
				 holds_token(&values[0], first) ? keys[0] : keys[1]);
	}
}
