/* SPDX-License-Identifier: BSD-3-Clause */
#include "crash_run.h"

static const char *const keys[RUN_KEYS] = {"a", "b", "key", "another key", "k5", "k6"};

uint64_t run_draw(struct run *run, uint64_t below) {
	uint64_t z = run->chance += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % below;
}

/* --- The model ------------------------------------------------------------------------------ */

static struct crash_session *model_session(struct crash_model *model, uint64_t client_id) {
	for (size_t i = 0; i < RUN_SESSIONS; i++)
		if (model->sessions[i].client_id == client_id)
			return &model->sessions[i];
	return NULL;
}

static struct crash_entry *model_entry(struct crash_model *model, struct kv_bytes key) {
	for (size_t i = 0; i < RUN_KEYS; i++)
		if (same_bytes(text(keys[i]), key))
			return &model->entries[i];
	ck_abort_msg("no such key");
	return NULL;
}

static void model_write(struct crash_model *model, const struct operation *operation,
			uint64_t position, struct crash_reply *reply) {
	struct crash_entry *entry = model_entry(model, operation->key);
	struct kv_bytes value = operation->value;
	struct crash_session *session;

	if (operation->kind == OPERATION_APPEND) {
		reply->old_version = entry->version;
		if (operation->want_old)
			reply->old = tape_copy((struct kv_bytes){entry->bytes, entry->size});
	} else {
		entry->size = 0;
	}
	must(entry->size + value.size <= RUN_VALUE_MAX, "an Append above the limit");
	memcpy(entry->bytes + entry->size, value.data, value.size);
	entry->size += value.size;
	reply->current = ++entry->version;
	session = operation->client_id == 0 ? NULL : model_session(model, operation->client_id);
	if (session != NULL) {
		session->last[operation->slot] = position;
		session->taken[operation->slot] = operation->seq;
	}
}

static void model_apply(struct crash_model *model, const struct operation *operation,
			uint64_t position, struct crash_reply *reply) {
	struct crash_session *session;

	*reply = (struct crash_reply){.status = KV_OK};
	switch (operation->kind) {
	case OPERATION_OPEN:
		session = model_session(model, 0);
		must(session != NULL, "session");
		*session = (struct crash_session){.client_id = operation->client_id};
		break;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		session = model_session(model, operation->client_id);
		must(session != NULL, "session");
		session->client_id = 0;
		model->ended_id = operation->client_id;
		break;
	case OPERATION_PUT:
	case OPERATION_APPEND:
		model_write(model, operation, position, reply);
		break;
	}
}

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

static struct service *make_service(struct run *run) {
	const struct identity identity = {.epoch = EPOCH, .seed = 1};
	const struct service_limits limits = {.value_max = RUN_VALUE_MAX,
					      .memory_max = 1 << 30,
					      .sessions_max = RUN_SESSIONS,
					      .lease_ms = RUN_LEASE_MS};
	const struct recorder recorder = {.journal = run, .reserve = reserve, .record = record};
	struct service *service = service_new(&identity, &limits, &recorder);

	must(service != NULL, "service");
	return service;
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
				 .key = text(keys[entry - run->model.entries]),
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

/* The batch becomes durable, and its calls are answered. */
static bool answer(struct run *run) {
	if (run->journal.count > 0 && !world_append(&run->journal))
		return false;
	run->durable = run->model;
	return true;
}

/* For one more call in this batch. */
static bool has_room(const struct run *run) {
	size_t more = CODEC_HEADER_SIZE + KEY_MAX + RUN_VALUE_MAX;

	return journal_file_batch_size(run->journal.payload + more) <=
	       journal_file_segment_room(run->journal.file);
}

bool run_go_on(struct run *run, unsigned steps) {
	for (unsigned i = 0; i < steps; i++) {
		/* "A batch is applied only if its bytes are already reserved on disk." */
		if (run->journal.count == 0 && !world_make_spare(&run->journal) &&
		    !world_make_spare(&run->journal))
			return false;
		step(run);
		if ((run_draw(run, 3) == 0 || !has_room(run)) && !answer(run))
			return false;
	}
	return answer(run);
}

/* --- Taking up ------------------------------------------------------------------------------ */

/* What is read, compared with what was recorded, and applied to a service if there is one. */
struct recovery {
	const struct run *from;
	struct service *service; /* may be NULL */
	uint64_t next;
	const char *complain;
};

static bool recover_one(void *context, uint64_t position, const struct operation *operation,
			uint64_t time_ms) {
	struct recovery *recovery = context;
	const struct tape *tape = &recovery->from->journal.tape;
	struct reply reply;

	if (position != recovery->next++)
		ck_abort_msg("%s: position %llu is out of order", recovery->complain,
			     (unsigned long long)position);
	if (position > tape->count || time_ms != tape->times_ms[position - 1] ||
	    !same_operation(operation, &tape->operations[position - 1]))
		ck_abort_msg("%s: operation %llu was never sent", recovery->complain,
			     (unsigned long long)position);
	if (recovery->service == NULL)
		return true;
	must(service_apply(recovery->service, operation, time_ms, &reply), "no memory");
	if (operation->kind == OPERATION_PUT || operation->kind == OPERATION_APPEND)
		assert_answer(&reply, &recovery->from->replies[position - 1], recovery->complain);
	reply_drop(service_memory(recovery->service), &reply);
	return true;
}

/* Reads a disk; NULL: it struck, or the message is in `why`. */
static struct journal_file *recover(struct recovery *recovery, struct fake_disk *disk,
				    struct journal_found *found, char why[JOURNAL_WHY_SIZE]) {
	const struct run *from = recovery->from;
	uint8_t store[STORE_ID_SIZE];
	struct journal_file *file;

	/* What the snapshot would bring. */
	for (uint64_t i = 1; i <= from->snapshot && recovery->service != NULL; i++)
		must(service_apply(recovery->service, &from->journal.tape.operations[i - 1],
				   from->journal.tape.times_ms[i - 1], NULL),
		     "no memory");
	memcpy(store, from->journal.store, sizeof(store));
	recovery->next = from->snapshot + 1;
	file = journal_file_open(fake_disk_of(disk), &from->journal.options, store, from->snapshot,
				 recover_one, recovery, found, why);
	if (file == NULL && !fake_disk_struck(disk))
		ck_abort_msg("%s: %s", recovery->complain, why);
	if (file == NULL)
		return NULL;
	must(memcmp(store, from->journal.store, sizeof(store)) == 0, "another store");
	if (found->last != from->journal.durable && found->last != from->journal.tape.count)
		ck_abort_msg("%s: %llu operations were answered, %llu sent, and %llu are there",
			     recovery->complain, (unsigned long long)from->journal.durable,
			     (unsigned long long)from->journal.tape.count,
			     (unsigned long long)found->last);
	return file;
}

/* Every entry, and every remembered reply. */
static void assert_same_state(struct run *run, const char *complain) {
	struct service_counters counters;
	uint64_t sessions = 0;
	uint64_t entries = 0;
	struct reply reply;

	for (size_t i = 0; i < RUN_KEYS; i++) {
		const struct crash_entry *entry = &run->model.entries[i];
		struct crash_reply expected = {.status = entry->version == 0 ? KV_NOKEY : KV_OK,
					       .current = entry->version,
					       .old = {entry->bytes, entry->size}};

		service_get(run->service, EPOCH, text(keys[i]), ALL, &reply);
		assert_answer(&reply, &expected, complain);
		reply_drop(service_memory(run->service), &reply);
		entries += entry->version != 0;
	}
	for (size_t i = 0; i < RUN_SESSIONS; i++) {
		struct crash_session *session = &run->model.sessions[i];

		sessions += session->client_id != 0;
		for (size_t j = 0; j < RUN_SLOTS && session->client_id != 0; j++) {
			struct operation copy;

			/* Refusals are not in the journal: the slot is as before them. */
			session->taken[j] = 0;
			if (session->last[j] == 0)
				continue;
			copy = run->journal.tape.operations[session->last[j] - 1];
			session->taken[j] = copy.seq;
			send_write(run, &copy, complain);
			copy.seq--;
			if (copy.seq > 0)
				send_write(run, &copy, complain);
		}
	}
	if (run->model.ended_id != 0) {
		struct operation late = put_call(run->model.ended_id, UINT64_MAX, keys[0], "late");

		send_write(run, &late, complain);
	}
	service_count(run->service, &counters);
	if (counters.keys != entries || counters.sessions != sessions)
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
	struct service *service = run->service;
	struct tape *tape = &run->journal.tape;

	*run = *from;
	run->service = service;
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
	run->journal.batch = NULL;
	run->journal.payload = run->journal.count = 0;
}

struct run *run_take_up(const struct run *from, struct fake_disk *disk, const char *complain) {
	struct run *run = calloc(1, sizeof(*run));
	struct recovery recovery = {.from = from, .complain = complain};
	struct journal_file *file;
	struct journal_found found;
	char why[JOURNAL_WHY_SIZE];

	must(run != NULL, "run");
	run->service = recovery.service = make_service(run);
	file = recover(&recovery, disk, &found, why);
	if (file == NULL) {
		service_free(run->service);
		free(run);
		return NULL;
	}
	remember(run, from, found.last);
	run->journal.disk = disk;
	run->journal.file = file;
	run->journal.found = found;
	assert_same_state(run, complain);
	send_again(run, from, complain);
	return run;
}

void run_look(struct run *from, struct fake_disk *disk, const char *complain) {
	struct recovery recovery = {.from = from, .complain = complain};
	struct journal_found found;
	char why[JOURNAL_WHY_SIZE];

	journal_file_close(recover(&recovery, disk, &found, why), false);
	fake_disk_free(disk);
}

/* --- Beginning and end ---------------------------------------------------------------------- */

struct run *run_new(uint64_t seed, uint64_t segment_size) {
	struct run *run = calloc(1, sizeof(*run));

	must(run != NULL, "run");
	journal_world_open(&run->journal, segment_size, seed);
	run->chance = seed;
	run->now_ms = 1;
	run->next_id = 1000;
	run->service = make_service(run);
	world_start(&run->journal);
	return run;
}

void run_stop(struct run *run, bool is_clean) {
	journal_file_close(run->journal.file, is_clean);
	run->journal.file = NULL;
}

void run_forget(struct run *run) {
	run->snapshot = run->journal.durable;
	journal_file_forget(run->journal.file, run->snapshot);
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
