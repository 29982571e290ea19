/* SPDX-License-Identifier: BSD-3-Clause */
#include "crash_run.h"

#include <malloc.h>

#include "crash_snapshot.h"
#include "log.h"

enum { MMAP_THRESHOLD_MAX = 32 << 20 }; /* more is refused by glibc */

uint64_t run_draw(struct run *run, uint64_t below) {
	return prng_below(&run->prng, below);
}

void run_keep_memory(void) {
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
	(void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_MAX);
}

/* --- Predicting ------------------------------------------------------------------------------ */

/* What a write must be answered if it is sent now; `is_new`: it will be recorded. */
static struct crash_reply predict(struct run *run, const struct operation *operation,
				  bool *is_new) {
	const struct crash_entry *entry = model_entry(&run->model, operation->key);
	const struct crash_session *session =
	    operation->client_id == 0 ? NULL : model_session(&run->model, operation->client_id);
	struct crash_reply reply = {.status = KV_OK, .current = entry->version};

	*is_new = false;
	if (operation->client_id != 0 && session == NULL)
		return (struct crash_reply){.status = KV_BADSESSION};
	if (session != NULL && operation->seq < session->taken[operation->slot])
		return (struct crash_reply){.status = KV_STALE};
	if (session != NULL && operation->seq == session->taken[operation->slot])
		return run->replies[session->last[operation->slot] - 1];
	if (operation->expected != VERSION_ANY && operation->expected != entry->version)
		reply.status = entry->version == 0 ? KV_NOKEY : KV_VERSION;
	else if (operation->kind == OPERATION_APPEND &&
		 entry->size + operation->value.size > RUN_VALUE_MAX)
		reply.status = KV_TOOBIG;
	*is_new = reply.status == KV_OK;
	return reply;
}

static void assert_answer(const struct reply *reply, const struct crash_reply *expected,
			  const char *complain) {
	if (reply->status != expected->status)
		ck_abort_msg("%s: %s, not %s", complain, kv_status_name(reply->status),
			     kv_status_name(expected->status));
	if (reply->current != expected->current || reply->old_version != expected->old_version ||
	    !same_bytes(view_bytes(reply->value), expected->old))
		ck_abort_msg("%s: another reply", complain);
}

/* --- Recording ------------------------------------------------------------------------------ */

static bool reserve(void *journal, const struct operation *operation) {
	(void)journal;
	(void)operation;
	return true;
}

static uint64_t record(void *journal, const struct operation *operation, uint64_t now_ms) {
	struct run *run = journal;

	world_gather(&run->journal, operation, now_ms);
	if (run->journal.tape.count > run->replies_room) {
		run->replies_room = 2 * run->replies_room + 16;
		run->replies = realloc(run->replies, run->replies_room * sizeof(*run->replies));
		must(run->replies != NULL, "no memory");
	}
	model_apply(&run->model, operation, run->journal.tape.count,
		    &run->replies[run->journal.tape.count - 1]);
	return run->journal.tape.count;
}

/* NULL: no memory. */
static struct service *make_service(struct run *run) {
	struct server_identity identity = {.epoch = EPOCH, .seed = 1};
	const struct service_limits limits = {.value_max = RUN_VALUE_MAX,
					      .memory_max = 1 << 30,
					      .sessions_max = RUN_SESSIONS,
					      .lease_ms = RUN_LEASE_MS};
	const struct journal_sink recorder = {.journal = run, .reserve = reserve, .record = record};

	memcpy(identity.store, run->recovery.store, STORE_ID_SIZE);
	return service_new(&identity, &limits, &recorder);
}

/* --- Clients -------------------------------------------------------------------------------- */

/* Sends a write: it is answered as predicted. */
static void send_write(struct run *run, const struct operation *operation, const char *complain) {
	struct crash_session *session =
	    operation->client_id == 0 ? NULL : model_session(&run->model, operation->client_id);
	uint64_t recorded = run->journal.tape.count;
	struct crash_reply expected;
	struct reply reply;
	bool is_new;

	expected = predict(run, operation, &is_new);
	service_run(run->service, EPOCH, operation, ALL, run->now_ms, &reply);
	if (run->journal.tape.count != recorded + is_new)
		ck_abort_msg("%s: %s", complain, is_new ? "it did not run" : "it ran again");
	if (is_new)
		expected = run->replies[recorded];
	assert_answer(&reply, &expected, complain);
	if (session != NULL && operation->seq > session->taken[operation->slot])
		session->taken[operation->slot] = operation->seq;
	reply_drop(service_memory(run->service), &reply);
}

static void send_open(struct run *run, const uint8_t nonce[NONCE_SIZE]) {
	struct operation open = {
	    .kind = OPERATION_OPEN, .client_id = run->next_id++, .slots = RUN_SLOTS};
	struct reply reply;

	memcpy(open.nonce, nonce, NONCE_SIZE);
	service_run(run->service, EPOCH, &open, ALL, run->now_ms, &reply);
	must(reply.status == KV_FULL ||
		 (reply.status == KV_OK && model_session(&run->model, reply.client_id) != NULL),
	     "an OPEN that is not answered as it should be");
}

static void step_write(struct run *run) {
	struct crash_session *session = &run->model.sessions[run_draw(run, RUN_SESSIONS)];
	struct crash_entry *entry = &run->model.entries[run_draw(run, RUN_KEYS)];
	uint8_t value[RUN_VALUE_MAX];
	struct operation call = {.kind = run_draw(run, 2) == 0 ? OPERATION_PUT : OPERATION_APPEND,
				 .client_id = session->client_id,
				 .slot = (uint32_t)run_draw(run, RUN_SLOTS),
				 .seq = ++run->seq,
				 .expected = VERSION_ANY,
				 .key = text(model_keys[entry - run->model.entries]),
				 .want_old = run_draw(run, 2) == 0};

	call.value = (struct kv_bytes){value, run_draw(run, run_draw(run, 8) == 0 ? 500 : 60)};
	for (size_t i = 0; i < call.value.size; i++)
		value[i] = (uint8_t)run_draw(run, 256);
	if (run_draw(run, 3) == 0 || call.client_id == 0)
		call.expected = entry->version + (run_draw(run, 4) == 0);
	if (call.client_id == 0) {
		call.kind = OPERATION_PUT; /* all that is allowed without a session */
		call.seq = call.slot = 0;
	}
	call.want_old = call.want_old && call.kind == OPERATION_APPEND;
	send_write(run, &call, "a call");
}

/* A client that heard nothing sends its last call again. */
static void step_copy(struct run *run) {
	struct crash_session *session = &run->model.sessions[run_draw(run, RUN_SESSIONS)];
	uint64_t last = session->last[run_draw(run, RUN_SLOTS)];

	if (session->client_id != 0 && last != 0)
		send_write(run, &run->journal.tape.operations[last - 1], "a copy");
}

static void step(struct run *run) {
	uint8_t nonce[NONCE_SIZE] = {0};
	struct operation end;
	struct reply reply;

	run->now_ms += run_draw(run, 10);
	switch (run_draw(run, 20)) {
	case 0:
		nonce[0] = (uint8_t)run_draw(run, 16);
		send_open(run, nonce);
		break;
	case 1:
		end = close_call(run->model.sessions[run_draw(run, RUN_SESSIONS)].client_id);
		if (end.client_id != 0 && run_draw(run, 4) == 0)
			service_run(run->service, EPOCH, &end, ALL, run->now_ms, &reply);
		break;
	case 2:
		run->now_ms += run_draw(run, RUN_LEASE_MS / 3);
		(void)service_expire(run->service, 2, run->now_ms);
		break;
	case 3:
	case 4:
		step_copy(run);
		break;
	default:
		step_write(run);
	}
}

bool run_product(const struct run *run, bool begins) {
	return run->product != NULL && run->product(begins);
}

/* As the journal does: the next segment is made first. */
static bool append(struct run *run) {
	struct journal_world *journal = &run->journal;
	bool written;

	(void)run_product(run, true);
	written = world_append(journal);
	(void)run_product(run, false);
	return written;
}

bool run_answer(struct run *run) {
	run->has_failed = run->has_failed || (run->journal.count > 0 && !append(run));
	if (!run->has_failed)
		run->durable = run->model;
	return !run->has_failed;
}

/* For one more call in this batch. */
static bool has_room(const struct run *run) {
	size_t more = OPERATION_HEADER_SIZE + KEY_MAX + RUN_VALUE_MAX;

	return batch_size(run->journal.payload + more) <=
	       journal_file_segment_room(run->journal.file);
}

bool run_go_on(struct run *run, unsigned steps) {
	for (unsigned i = 0; i < steps; i++) {
		bool has_spare;

		(void)run_product(run, true);
		/* "A batch is applied only if its bytes are already reserved on disk." */
		has_spare = run->journal.count > 0 || world_make_spare(&run->journal) ||
			    world_make_spare(&run->journal);
		(void)run_product(run, false);
		if (!has_spare)
			return false;
		step(run);
		if (!snapshots_step(run))
			return false;
		if ((run_draw(run, 3) == 0 || !has_room(run)) && !run_answer(run))
			return false;
	}
	return run_answer(run);
}

/* --- Taking up ------------------------------------------------------------------------------ */

/* As kvd starts. False: it does not. */
static bool start(struct run *run, struct fake_disk *disk, uint64_t segment_size) {
	const struct journal_file_options options = {segment_size, world_chance};
	bool started;

	run->journal.disk = disk;
	run->journal.options = options;
	(void)run_product(run, true);
	started = recovery_open_disk(&run->recovery, fake_disk_of(disk), &options);
	run->service = started ? make_service(run) : NULL;
	started = run->service != NULL && recovery_run(&run->recovery, run->service);
	(void)run_product(run, false);
	run->journal.file = run->recovery.file;
	return started;
}

/* Why it does not start, once more and aloud. */
static void abort_start(const struct run *from, const struct fake_disk *disk,
			const char *complain) {
	struct fake_disk *copy = fake_disk_copy(disk);
	struct run run = {.journal = {.disk = copy}};

	log_open("recovery", 0);
	(void)start(&run, copy, from->journal.options.segment_size);
	ck_abort_msg("%s: it does not start", complain);
}

/*
 * The seq that a slot had in the snapshot, perhaps that of a refusal: those behind the snapshot are
 * in no journal, and the slot is as before them. 0: there was none.
 */
static uint64_t taken_by_snapshot(struct run *run, uint64_t client_id, size_t slot) {
	uint64_t position = run->recovery.snapshot.position;
	const struct crash_model *saved = snapshots_find(run, position);

	must(position == 0 || saved != NULL, "a snapshot that was not taken");
	for (size_t i = 0; saved != NULL && i < RUN_SESSIONS; i++)
		if (saved->sessions[i].client_id == client_id)
			return saved->sessions[i].taken[slot];
	return 0;
}

/* Every entry, and every remembered reply. */
static void assert_same_state(struct run *run, const char *complain) {
	uint64_t sessions = 0;
	uint64_t entries = 0;
	struct reply reply;

	for (size_t i = 0; i < RUN_KEYS; i++) {
		const struct crash_entry *entry = &run->model.entries[i];
		struct crash_reply expected = {.status = entry->version == 0 ? KV_NOKEY : KV_OK,
					       .current = entry->version,
					       .old = {entry->bytes, entry->size}};

		service_get(run->service, EPOCH, text(model_keys[i]), ALL, &reply);
		assert_answer(&reply, &expected, complain);
		reply_drop(service_memory(run->service), &reply);
		entries += entry->version != 0;
	}
	for (size_t i = 0; i < RUN_SESSIONS; i++) {
		struct crash_session *session = &run->model.sessions[i];

		sessions += session->client_id != 0;
		for (size_t j = 0; j < RUN_SLOTS && session->client_id != 0; j++) {
			struct operation copy;

			session->taken[j] = taken_by_snapshot(run, session->client_id, j);
			if (session->last[j] == 0)
				continue;
			copy = run->journal.tape.operations[session->last[j] - 1];
			if (copy.seq > session->taken[j])
				session->taken[j] = copy.seq;
			send_write(run, &copy, complain);
			copy.seq--;
			if (copy.seq > 0)
				send_write(run, &copy, complain);
		}
	}
	if (run->model.ended_id != 0) {
		struct operation late =
		    put_call(run->model.ended_id, UINT64_MAX, model_keys[0], "late");

		send_write(run, &late, complain);
	}
	if (service_key_count(run->service) != entries ||
	    service_session_count(run->service) != sessions)
		ck_abort_msg("%s: other keys or sessions", complain);
}

/* The clients do not know which of these were done. */
static void send_again(struct run *run, const struct run *from, const char *complain) {
	const struct tape *tape = &from->journal.tape;

	for (uint64_t i = from->journal.durable; i < tape->count; i++) {
		const struct operation *operation = &tape->operations[i];

		if (operation->kind == OPERATION_OPEN)
			send_open(run, operation->nonce);
		else if (operation->client_id != 0 && operation->kind != OPERATION_CLOSE &&
			 operation->kind != OPERATION_EXPIRE)
			send_write(run, operation, complain);
	}
}

/* Fills a run with what `from` knew after its first `count` operations. */
static void remember(struct run *run, const struct run *from, uint64_t count) {
	struct tape *tape = &run->journal.tape;

	tape->count = tape->room = run->replies_room = run->borrowed = count;
	tape->operations = malloc((count + 1) * sizeof(*tape->operations));
	tape->times_ms = malloc((count + 1) * sizeof(*tape->times_ms));
	run->replies = malloc((count + 1) * sizeof(*run->replies));
	must(tape->operations != NULL && tape->times_ms != NULL && run->replies != NULL,
	     "no memory");
	if (count > 0) {
		memcpy(tape->operations, from->journal.tape.operations,
		       count * sizeof(*tape->operations));
		memcpy(tape->times_ms, from->journal.tape.times_ms,
		       count * sizeof(*tape->times_ms));
		memcpy(run->replies, from->replies, count * sizeof(*run->replies));
	}
	run->durable = run->model = count == from->journal.durable ? from->durable : from->model;
	run->journal.durable = count;
	run->prng.state = from->prng.state;
	run->now_ms = from->now_ms;
	run->next_id = from->next_id;
	run->seq = from->seq;
}

/* All that was answered, or that and all that was sent. */
static void check_found(const struct run *run, const struct run *from, const char *complain) {
	uint64_t last = run->recovery.last;

	if (last != from->journal.durable && last != from->journal.tape.count)
		ck_abort_msg("%s: %llu operations were answered, %llu sent, and %llu are there",
			     complain, (unsigned long long)from->journal.durable,
			     (unsigned long long)from->journal.tape.count,
			     (unsigned long long)last);
	/* Clients that only read remember it, too. */
	if (memcmp(run->recovery.store, from->recovery.store, STORE_ID_SIZE) != 0)
		ck_abort_msg("%s: another store", complain);
	/* Leases go by the time of what was kept, not by that of the start. */
	if (service_time(run->service) > from->now_ms ||
	    (last > 0 && service_time(run->service) < from->journal.tape.times_ms[last - 1]))
		ck_abort_msg("%s: another time", complain);
}

struct run *run_take_up(const struct run *from, struct fake_disk *disk, const char *complain) {
	struct run *run = calloc(1, sizeof(*run));

	must(run != NULL, "run");
	run->product = from->product;
	if (!start(run, disk, from->journal.options.segment_size)) {
		bool may_refuse = run_product(run, true);

		(void)run_product(run, false);
		if (!may_refuse && !fake_disk_struck(disk))
			abort_start(from, disk, complain);
		recovery_close(&run->recovery);
		service_free(run->service);
		free(run);
		return NULL;
	}
	check_found(run, from, complain);
	remember(run, from, run->recovery.last);
	snapshots_begin(run, from);
	assert_same_state(run, complain);
	send_again(run, from, complain);
	return run;
}

/* --- Beginning and end ---------------------------------------------------------------------- */

struct run *run_new(uint64_t seed, uint64_t segment_size) {
	struct run *run = calloc(1, sizeof(*run));

	must(run != NULL, "run");
	run->prng.state = seed;
	run->now_ms = 1;
	run->next_id = 1000;
	log_open("recovery", -1);
	must(start(run, fake_disk_new(seed), segment_size), "it does not start with nothing");
	snapshots_begin(run, NULL);
	return run;
}

void run_stop(struct run *run, bool is_clean) {
	snapshots_end(run);
	journal_file_close(run->journal.file, is_clean);
	run->journal.file = NULL;
	recovery_close(&run->recovery);
}

void run_free(struct run *run) {
	struct tape *tape;

	if (run == NULL)
		return;
	tape = &run->journal.tape;
	run_stop(run, false);
	service_free(run->service);
	for (size_t i = run->borrowed; i < tape->count; i++) {
		free((void *)tape->operations[i].key.data);
		free((void *)tape->operations[i].value.data);
		free((void *)run->replies[i].old.data);
	}
	free(tape->operations);
	free(tape->times_ms);
	free(run->replies);
	fake_disk_free(run->journal.disk);
	free(run->journal.batch);
	free(run);
}
