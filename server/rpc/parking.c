/* SPDX-License-Identifier: BSD-3-Clause */
/* parking.c - calls in, out, woken, timed out: see parking.h. */
#include <stdlib.h>
#include <string.h>

#include "core/txn.h"
#include "rpc/call.h"
#include "rpc/parking_private.h"

static uint64_t hash_slot(uint64_t seed, const void *element) {
	const struct parked_txn *txn = element;
	const uint64_t words[] = {txn->client_id, txn->slot};

	return hash_bytes(seed, words, sizeof(words));
}

static bool has_slot(const void *element, const void *wanted) {
	const struct parked_txn *txn = element;
	const struct parked_txn *other = wanted;

	return txn->client_id == other->client_id && txn->slot == other->slot;
}

/* NULL: no call is parked in this slot. */
static struct parked_txn *find_slot(const struct parking *parking, uint64_t client_id,
				    uint32_t slot) {
	const struct parked_txn wanted = {.client_id = client_id, .slot = slot};

	if (parking->by_slot.count == 0)
		return NULL;
	return hash_table_find(&parking->by_slot, hash_slot(parking->by_slot.seed, &wanted),
			       has_slot, &wanted);
}

/* --- What the core applied ------------------------------------------------------------------- */

static void end_in(struct parking *parking, struct parked *parked, uint64_t time_ms) {
	pairing_heap_remove(&parking->deadlines, &parked->deadline);
	parked->deadline.key = time_ms;
	pairing_heap_insert(&parking->deadlines, &parked->deadline);
}

/* The calls of a session that has ended are looked at, and refused, as if their time were up. */
static void session_ended(struct parking *parking, uint64_t client_id) {
	for (uint32_t slot = 0; slot < SLOTS_MAX && parking->by_slot.count > 0; slot++) {
		struct parked_txn *txn = find_slot(parking, client_id, slot);

		if (txn != NULL)
			end_in(parking, &txn->base, 0);
	}
}

static void applied(void *context, const struct operation *operation) {
	struct parking *parking = context;

	if (parking->count == 0)
		return;
	switch (operation->kind) {
	case OPERATION_OPEN:
		break;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		session_ended(parking, operation->client_id);
		break;
	case OPERATION_PUT:
	case OPERATION_APPEND:
	case OPERATION_DELETE:
	case OPERATION_END:
		wait_index_changed(&parking->index, operation->key);
		break;
	case OPERATION_TXN:
		for (uint32_t i = 0; i < operation->txn->change_count; i++)
			wait_index_changed(&parking->index, operation->txn->changes[i].key);
		break;
	}
}

/* --- The parking ----------------------------------------------------------------------------- */

struct parking *parking_new(struct service *service, struct change_ring *changes, size_t bytes_max,
			    const struct parking_hooks *hooks) {
	uint64_t seed = service_identity(service)->seed;
	struct parking *parking = calloc(1, sizeof(*parking));

	if (parking == NULL)
		return NULL;
	parking->service = service;
	parking->changes = changes;
	parking->hooks = *hooks;
	parking->max = PARKING_MAX;
	parking->bytes_max = bytes_max;
	if (!wait_index_init(&parking->index, service, seed))
		goto no_index;
	if (!hash_table_init(&parking->by_slot, &parking->index.memory, hash_slot, seed))
		goto no_slots;
	service_observe(service,
			&(struct service_observer){.context = parking, .applied = applied});
	return parking;

no_slots:
	wait_index_destroy(&parking->index);
no_index:
	free(parking);
	return NULL;
}

void parking_set_max(struct parking *parking, unsigned max) {
	parking->max = max;
}

void parking_begin_turn(struct parking *parking, uint64_t now_ms) {
	parking->now_ms = now_ms;
	parking->txns_left = parking->waits_left = parking->ends_left = PARKING_RUNS_PER_TURN;
}

static size_t bytes_used(const struct parking *parking) {
	return parking->bytes + parking->index.memory.used;
}

/* --- Copies ---------------------------------------------------------------------------------- */

/* While it has a connection a TXN has its turn, and its session does not end. */
static void set_connected(struct parking *parking, struct parked *parked, bool is_connected) {
	struct parked_txn *txn = parking_txn(parked);

	if (txn == NULL || heap_node_is_listed(&parked->turn) == is_connected)
		return;
	if (is_connected)
		wait_index_queue(&parking->index, parked);
	else
		wait_index_pass_over(&parking->index, parked);
	service_hold_session(parking->service, txn->client_id, is_connected);
}

static void add_copy(struct parking *parking, struct parked *parked, struct call *call) {
	call->parked = parked;
	call->next = parked->copies;
	parked->copies = call;
	parking->bytes += sizeof(*call);
	call->park_ops->park(call);
	set_connected(parking, parked, true);
}

static void unlink_copy(struct parking *parking, struct call *call) {
	struct call **link = &call->parked->copies;

	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
	call->parked = NULL;
	parking->bytes -= sizeof(*call);
}

static void drop_copy(struct parking *parking, struct call *call) {
	unlink_copy(parking, call);
	call->park_ops->unpark(call, false);
	parking->hooks.drop(parking->hooks.context, call);
}

/* A copy over the same connection takes the place of the one before, as the oldest of many does. */
static void make_way(struct parking *parking, struct parked *parked, const struct call *newer) {
	struct call *oldest = NULL;
	unsigned count = 0;

	for (struct call *call = parked->copies; call != NULL; call = call->next) {
		if (call->stream == newer->stream) {
			drop_copy(parking, call);
			return;
		}
		oldest = call;
		count++;
	}
	if (count == PARKING_COPIES_MAX)
		drop_copy(parking, oldest);
}

/* Drops the copies whose connection has ended. Returns whether one is left. */
static bool is_connected(struct parking *parking, struct parked *parked) {
	struct call *next;

	for (struct call *call = parked->copies; call != NULL; call = next) {
		next = call->next;
		if (call->park_ops->is_connected(call))
			continue;
		parking->lost++;
		drop_copy(parking, call);
	}
	if (parked->copies == NULL)
		set_connected(parking, parked, false);
	return parked->copies != NULL;
}

/* --- In and out ------------------------------------------------------------------------------ */

static void start_waiting(struct parking *parking, struct parked *parked, uint32_t wait_ms) {
	uint64_t time_ms = wait_ms < PARKING_TIME_MAX_MS ? wait_ms : PARKING_TIME_MAX_MS;

	end_in(parking, parked, parking->now_ms + time_ms);
}

struct call *parking_take_out(struct parking *parking, struct parked *parked) {
	struct parked_txn *txn = parking_txn(parked);
	struct call *copies = parked->copies;

	for (struct call *call = copies; call != NULL; call = call->next) {
		call->parked = NULL;
		parking->bytes -= sizeof(*call);
		call->park_ops->unpark(call, true);
	}
	parked->copies = NULL;
	set_connected(parking, parked, false);
	pairing_heap_remove(&parking->deadlines, &parked->deadline);
	if (txn != NULL)
		hash_table_remove(&parking->by_slot, txn);
	wait_index_remove(&parking->index, parked);
	parking->count--;
	parking->bytes -= parked->size;
	return copies;
}

static void answer(struct parking *parking, struct call *call) {
	parking->hooks.answer(parking->hooks.context, call);
}

/* Looks at each copy as if it had just come, without time to wait. */
static void run_txn(struct parking *parking, struct parked_txn *txn) {
	struct call *next = parking_take_out(parking, &txn->base);
	struct operation operation = parking_operation(txn);

	for (struct call *call = next; call != NULL; call = next) {
		next = call->next;
		parking_run_copy(parking, call, &operation);
		answer(parking, call);
	}
	free(txn);
}

static void refuse_txn(struct parking *parking, struct parked_txn *txn, enum kv_status status) {
	struct call *next = parking_take_out(parking, &txn->base);

	for (struct call *call = next; call != NULL; call = next) {
		next = call->next;
		call->reply.status = status;
		answer(parking, call);
	}
	free(txn);
}

static void run_wait(struct parking *parking, struct parked *parked) {
	uint64_t seen = parked->list->seen;
	unsigned char key[KEY_MAX];
	struct kv_bytes bytes = {key, parked->key->size};

	memcpy(key, parked->key->key, bytes.size);
	struct call *call = parking_take_out(parking, parked);
	if (parking_may_read(parking, call, bytes))
		service_wait(parking->service, 0, bytes, seen, call->reply_max, &call->reply);
	free(parked);
	answer(parking, call);
}

void parking_disconnect(struct parking *parking, struct call *call) {
	struct parked *parked = call->parked;

	parking->lost++;
	unlink_copy(parking, call);
	if (parked->kind != PARKED_TXN) {
		(void)parking_take_out(parking, parked);
		free(parked);
	} else if (parked->copies == NULL) {
		set_connected(parking, parked, false);
	}
	parking->hooks.drop(parking->hooks.context, call);
}

void parking_free(struct parking *parking) {
	struct heap_node *first;

	if (parking == NULL)
		return;
	service_observe(parking->service, &(struct service_observer){0});
	while ((first = parking->deadlines.first) != NULL) {
		struct parked *parked = (struct parked *)(void *)first;

		while (parked->copies != NULL)
			drop_copy(parking, parked->copies);
		(void)parking_take_out(parking, parked);
		free(parked);
	}
	hash_table_destroy(&parking->by_slot);
	wait_index_destroy(&parking->index);
	free(parking);
}

/* --- WAIT ------------------------------------------------------------------------------------ */

struct parked *parking_make(const struct parking *parking, const struct call *call,
			    enum parked_kind kind) {
	struct parked *parked;

	if (parking->count >= parking->max ||
	    bytes_used(parking) + sizeof(*parked) + sizeof(*call) > parking->bytes_max)
		return NULL;
	parked = calloc(1, sizeof(*parked));
	if (parked != NULL)
		*parked = (struct parked){.kind = kind, .size = sizeof(*parked)};
	return parked;
}

void parking_park(struct parking *parking, struct parked *parked, struct call *call,
		  uint32_t wait_ms) {
	parking->bytes += parked->size;
	parking->count++;
	parking->parked++;
	add_copy(parking, parked, call);
	start_waiting(parking, parked, wait_ms);
}

static enum kv_status park_wait(struct parking *parking, struct call *call, struct kv_bytes key,
				uint64_t seen, uint32_t wait_ms) {
	struct parked *parked = parking_make(parking, call, PARKED_WAIT);

	if (parked == NULL || wait_index_add_watcher(&parking->index, parked, key, seen) != KV_OK) {
		free(parked);
		return KV_FULL;
	}
	parking_park(parking, parked, call, wait_ms);
	return KV_OK;
}

bool parking_wait(struct parking *parking, struct call *call, uint64_t epoch, struct kv_bytes key,
		  uint64_t seen, uint32_t wait_ms) {
	struct reply *reply = &call->reply;

	service_wait(parking->service, epoch, key, seen, call->reply_max, reply);
	if (wait_ms == 0 || reply->status == KV_EPOCH)
		return true;
	if (!call_may_wait(call)) {
		reply_drop(service_memory(parking->service), reply);
		*reply = (struct reply){.status = KV_INVALID};
		return true;
	}
	if (reply->status != KV_UNMET)
		return true;
	reply->status = park_wait(parking, call, key, seen, wait_ms);
	if (reply->status == KV_OK)
		return false;
	parking->refused++;
	return true;
}

/* --- TXN ------------------------------------------------------------------------------------- */

/* KV_OK; KV_FULL or KV_TOOBIG, and nothing is parked. */
static enum kv_status park_txn(struct parking *parking, struct call *call,
			       const struct operation *operation, struct parked_txn **made) {
	const struct txn *txn = operation->txn;
	size_t arguments = txn_bytes(txn);
	size_t size = sizeof(struct parked_txn) + txn_copy_size(txn);
	struct parked_txn *parked;

	if (arguments > PARKING_ARGUMENTS_MAX)
		return KV_TOOBIG;
	if (parking->count >= parking->max ||
	    bytes_used(parking) + size + sizeof(*call) > parking->bytes_max ||
	    !hash_table_reserve_one(&parking->by_slot))
		return KV_FULL;
	parked = calloc(1, size);
	if (parked == NULL)
		return KV_FULL;
	txn_copy(&parked->txn, parked + 1, txn);
	parked->base.kind = PARKED_TXN;
	parked->client_id = operation->client_id;
	parked->slot = operation->slot;
	parked->seq = operation->seq;
	if (wait_index_add_txn(&parking->index, &parked->base, &parked->txn.conditions[0]) !=
	    KV_OK) {
		free(parked);
		return KV_FULL;
	}
	hash_table_insert(&parking->by_slot, parked);
	parked->base.turn.key = ++parking->txns;
	parked->base.size = (uint32_t)size;
	parking->bytes += size;
	parking->count++;
	parking->parked++;
	*made = parked;
	return KV_OK;
}

/* Whether calls that wait for the same came before, and are still to run. */
static bool is_behind_others(const struct parking *parking, const struct operation *operation) {
	const struct awaited *awaited =
	    wait_index_find_condition(&parking->index, &operation->txn->conditions[0]);

	return awaited != NULL && awaited->queue.first != NULL;
}

static bool has_to_wait(const struct parking *parking, uint64_t epoch,
			const struct operation *operation) {
	return service_may_park(parking->service, epoch, operation) &&
	       (!service_condition_holds(parking->service, &operation->txn->conditions[0]) ||
		is_behind_others(parking, operation));
}

/* The write and the call that is parked in its slot. False: it has its reply. */
static bool may_go_on(struct parking *parking, struct parked_txn **parked,
		      const struct operation *operation, struct reply *reply) {
	if (*parked == NULL)
		return true;
	if (operation->seq < (*parked)->seq) {
		*reply = (struct reply){.status = KV_STALE};
		return false;
	}
	if (operation->seq > (*parked)->seq) {
		refuse_txn(parking, *parked, KV_STALE);
		*parked = NULL;
		return true;
	}
	uint64_t hash = operation_hash(operation);
	if (hash == (*parked)->txn.hash || hash == HASH_UNREAD)
		return true;
	*reply = (struct reply){.status = KV_FALSE_RETRY};
	return false;
}

bool parking_write(struct parking *parking, struct call *call, uint64_t epoch,
		   const struct operation *operation, uint32_t wait_ms) {
	struct operation now;
	struct parked_txn *parked = NULL;

	if (wait_ms == 0 && parking->by_slot.count == 0) {
		service_run(parking->service, epoch, operation, call->reply_max, parking->now_ms,
			    &call->reply);
		return true;
	}
	now = *operation;
	if (service_is_epoch(parking->service, epoch) && operation->client_id != 0 &&
	    service_owns_session(parking->service, operation)) {
		if (wait_ms > 0 && !call_may_wait(call)) {
			call->reply = (struct reply){.status = KV_INVALID};
			return true;
		}
		parked = find_slot(parking, operation->client_id, operation->slot);
		if (!may_go_on(parking, &parked, operation, &call->reply))
			return true;
		if (wait_ms > 0 && operation->refusal == KV_OK &&
		    has_to_wait(parking, epoch, operation)) {
			if (parked == NULL)
				now.refusal = park_txn(parking, call, operation, &parked);
			if (now.refusal == KV_OK) {
				make_way(parking, &parked->base, call);
				add_copy(parking, &parked->base, call);
				start_waiting(parking, &parked->base, wait_ms);
				return false;
			}
			parking->refused++;
		}
	}
	service_run(parking->service, epoch, &now, call->reply_max, parking->now_ms, &call->reply);
	/* Now or never: the one that is parked ends as this copy of it does. */
	if (parked != NULL)
		run_txn(parking, parked);
	return true;
}

/* --- Waking ---------------------------------------------------------------------------------- */

static bool is_behind(const struct parking *parking) {
	return parking->hooks.is_behind != NULL && parking->hooks.is_behind(parking->hooks.context);
}

static bool run_next_txn(struct parking *parking) {
	struct parked *parked = wait_index_first_able(&parking->index);

	if (parked == NULL || parking->txns_left == 0)
		return false;
	parking->txns_left--;
	if (is_connected(parking, parked)) {
		parking->woken++;
		run_txn(parking, parking_txn(parked));
	}
	return true;
}

static bool run_next_wait(struct parking *parking) {
	const struct watch_list *list = parking->index.woken;
	struct parked *parked;

	if (list == NULL || parking->waits_left == 0)
		return false;
	parking->waits_left--;
	parked = list->first;
	/* It went and was made again and went, so that it is as the client knows it. */
	if (service_version(parking->service,
			    (struct kv_bytes){parked->key->key, parked->key->size}) == list->seen &&
	    wait_index_watch_again(&parking->index, parked))
		return true;
	parking->woken++;
	run_wait(parking, parked);
	return true;
}

/* Apart from parking_run(), which each call passes, so that a call pays a comparison. */
static bool __attribute__((noinline)) run_able(struct parking *parking) {
	bool has_run = false;

	while (!is_behind(parking) &&
	       (run_next_txn(parking) || run_next_wait(parking) || parking_run_changes(parking)))
		has_run = true;
	return has_run;
}

static bool is_woken(const struct parking *parking) {
	return parking->index.able.first != NULL || parking->index.woken != NULL ||
	       parking->index.woken_changes.first != NULL;
}

bool parking_run(struct parking *parking) {
	return is_woken(parking) && run_able(parking);
}

static bool end_next(struct parking *parking) {
	struct heap_node *first = parking->deadlines.first;
	struct parked *parked = (struct parked *)(void *)first;

	if (first == NULL || first->key > parking->now_ms || parking->ends_left == 0)
		return false;
	parking->ends_left--;
	parking->timed_out++;
	switch (parked->kind) {
	case PARKED_WAIT:
		run_wait(parking, parked);
		break;
	case PARKED_CHANGES:
		parking_end_changes(parking, parked);
		break;
	case PARKED_TXN:
		run_txn(parking, parking_txn(parked));
		break;
	}
	return true;
}

void parking_end_turn(struct parking *parking) {
	while (!is_behind(parking) && end_next(parking))
		;
	(void)parking_run(parking);
}

uint64_t parking_due(const struct parking *parking) {
	const struct heap_node *first = parking->deadlines.first;

	if (first == NULL || is_behind(parking))
		return UINT64_MAX;
	if (is_woken(parking))
		return 0;
	return first->key > parking->now_ms ? first->key - parking->now_ms : 0;
}

uint32_t parking_count_at(const struct parking *parking, struct kv_bytes key) {
	const struct waited_key *waited = wait_index_find(&parking->index, key);

	return waited == NULL ? 0 : waited->waiting;
}

void parking_add_stats(const struct parking *parking, struct stats *stats) {
	stats_add(stats, "calls_waiting", parking->count);
	stats_add(stats, "calls_waiting_max", parking->max);
	stats_add(stats, "calls_waiting_bytes", bytes_used(parking));
	stats_add(stats, "calls_waiting_bytes_max", parking->bytes_max);
	stats_add(stats, "waits_begun", parking->parked);
	stats_add(stats, "waits_woken", parking->woken);
	stats_add(stats, "waits_timed_out", parking->timed_out);
	stats_add(stats, "waits_refused", parking->refused);
	stats_add(stats, "waits_disconnected", parking->lost);
}
