/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every schedule of handles that share a lock and handles that exclude them, with leases: each
 * order of their calls, with time that passes at every moment, calls that fail in every way,
 * transactions left in doubt that land at every moment or never, and leases that end once their
 * time is there. See explorer.h.
 */
#include <kv/lock.h>

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "explorer.h"
#include "fake_kv.h"
#include "test.h"

enum { LATE_MAX = 6, TTL_MS = 320, TICK_MS = 100, SHORT_MS = 12, LONG_MS = 250, CALL_MS = 500 };

/* A key: the lock, or the share of handle 0, 1, ... */
enum { GATE = -1 };

/* What the lock's key holds: the id of a handle, or one of these. */
enum { FREE = EXPLORER_IDS, MISSING };

struct answer {
	enum kv_status status;
	int content; /* of a Get; of a LIST the handle whose share it shows, or MISSING */
	uint64_t version;
	uint64_t at_ms; /* when it came */
};

enum want {
	WANT_GET,
	WANT_LIST,  /* of shares */
	WANT_WAIT,  /* for another version of a share */
	WANT_FREE,  /* Put of "__unlocked", or delete of a share */
	WANT_TAKE,  /* TXN{FREE; put id} */
	WANT_RENEW, /* TXN{AT; touch} */
	WANT_SETTLE,
	WANT_WORK, /* the lock was taken; leave to go on */
	WANT_REST, /* an operation has ended without the lock; leave to go on */
	WANT_NOTHING,
};

struct handle {
	/* a, w: acquire, for short or long; t: try; n: renew; r: release. It shares if upper case.
	 */
	const char *program;
	struct answer answers[EXPLORER_ANSWERS_MAX];
	unsigned answer_count;
	uint64_t history; /* a hash of them */

	/* Where they led to. */
	enum want want;
	int key; /* that the call is about */
	uint64_t expected;
	unsigned wait_ms;
	uint64_t now_ms;
	enum kv_status result; /* of the last operation that ended */
	bool met_a_fault;      /* in the operation under way, or the last one */
	uint64_t token;	       /* 0: does not hold it, or takes or releases it */
	uint64_t held_to_ms;   /* with a token: until then it believes to hold the lock */
};

struct late {
	int handle;
	enum want kind;
	int key;
	uint64_t expected;
};

struct entry {
	int content;
	uint64_t version; /* 0: missing */
	uint64_t ends_ms; /* of the lease; 0: none */
};

struct world {
	struct handle handles[EXPLORER_IDS];
	int handle_count;
	struct entry gate;
	struct entry shares[EXPLORER_IDS];
	uint64_t highest;
	uint64_t now_ms;
	struct late late[LATE_MAX];
	unsigned late_count;
	unsigned faults_left;
	unsigned ticks_left;
};

static const struct kv_bytes name = {"lock", 4};
static const char share_prefix[] = "lock/__share/";

/* Of the handle that runs. */
static struct handle *running;
static struct kv_lock *lock;
static unsigned answers_used;

static bool shares(const struct handle *handle) {
	return isupper((unsigned char)handle->program[0]);
}

static struct entry *entry_of(struct world *world, int key) {
	return key == GATE ? &world->gate : &world->shares[key];
}

/* --- Running one handle -------------------------------------------------------------------- */

static void set_clock(uint64_t at_ms) {
	if (at_ms > fake_now_ms())
		fake_pass(at_ms - fake_now_ms());
}

/* The next answer that the handle got, or the end of this run. */
static const struct answer *next_answer(enum want want) {
	const struct answer *answer;

	running->want = want;
	running->now_ms = fake_now_ms();
	if (answers_used == running->answer_count)
		explorer_stop();
	answer = &running->answers[answers_used++];
	set_clock(answer->at_ms);
	return answer;
}

static int key_of(const char *key) {
	if (strcmp(key, "lock") == 0)
		return GATE;
	explorer_must(strncmp(key, share_prefix, strlen(share_prefix)) == 0, "another key");
	return key[strlen(share_prefix) + 1] - '0';
}

static enum want want_of_txn(const struct fake_call *call) {
	const bool is_renewal = call->test == KV_AT;

	explorer_must(call->ttl_ms == TTL_MS, "another ttl");
	if (is_renewal) {
		explorer_must(call->change == KV_CHANGE_TOUCH, "no renewal");
		explorer_must(strcmp(call->key, call->change_key) == 0, "renews another key");
		return WANT_RENEW;
	}
	explorer_must(call->change == KV_CHANGE_PUT, "no take");
	explorer_must(strcmp(call->key, "lock") == 0, "takes what may not be free");
	explorer_must((key_of(call->change_key) != GATE) == shares(running), "takes another key");
	return WANT_TAKE;
}

static enum want want_of(const struct fake_call *call) {
	switch (call->kind) {
	case FAKE_GET:
		return WANT_GET;
	case FAKE_PUT:
		explorer_must(strcmp(call->text, "__unlocked") == 0, "a Put of the id");
		explorer_must(key_of(call->key) == GATE, "a Put of a share");
		return WANT_FREE;
	case FAKE_DELETE:
		explorer_must(key_of(call->key) != GATE, "a delete of the lock");
		return WANT_FREE;
	case FAKE_SETTLE:
		return WANT_SETTLE;
	case FAKE_LIST:
		explorer_must(strcmp(call->key, share_prefix) == 0, "a LIST of others");
		return WANT_LIST;
	case FAKE_WAIT:
		return WANT_WAIT;
	case FAKE_TXN:
		break;
	}
	return want_of_txn(call);
}

static void note_belief(void) {
	running->token = kv_lock_token(lock);
	running->held_to_ms = fake_now_ms() + kv_lock_left_ms(lock);
}

static const char *shown(enum want want, const struct answer *answer) {
	static char key[FAKE_TEXT_MAX + 1];

	if (answer->content == FREE)
		return "__unlocked";
	if (answer->content == MISSING)
		return want == WANT_LIST ? NULL : "";
	if (want != WANT_LIST)
		return explorer_id(answer->content);
	(void)snprintf(key, sizeof(key), "%s%s", share_prefix, explorer_id(answer->content));
	return key;
}

static void serve(const struct fake_call *call, struct fake_answer *reply) {
	const enum want want = want_of(call);
	const struct answer *answer;

	running->token = 0;
	if (want == WANT_RENEW)
		note_belief();
	if (want == WANT_GET || want == WANT_FREE || want == WANT_WAIT)
		running->key = key_of(call->key);
	else if (want == WANT_TAKE || want == WANT_RENEW)
		running->key = key_of(call->change_key);
	running->expected = call->expected;
	running->wait_ms = call->wait_ms;
	answer = next_answer(want);
	running->met_a_fault |= answer->status == KV_MAYBE || answer->status == KV_TIMEOUT;
	reply->status = answer->status;
	reply->text = shown(want, answer);
	reply->version = answer->version;
}

static enum kv_status operate(char operation) {
	switch (tolower((unsigned char)operation)) {
	case 'a':
		return kv_lock_acquire(lock, SHORT_MS);
	case 'w':
		return kv_lock_acquire(lock, LONG_MS);
	case 't':
		return kv_lock_try(lock);
	case 'n':
		return kv_lock_renew(lock);
	default:
		return kv_lock_release(lock);
	}
}

static void run_program(void) {
	for (const char *operation = running->program; *operation != '\0'; operation++) {
		const char kind = (char)tolower((unsigned char)*operation);

		running->met_a_fault = false;
		running->result = operate(kind);
		note_belief();
		if (kind == 'r')
			explorer_must(running->result != KV_OK || running->token == 0,
				      "released and still held");
		else if (running->result == KV_OK)
			explorer_must(running->token != 0, "held without a token");
		else if (kind != 'n')
			explorer_must(running->token == 0, "a token without the lock");
		(void)next_answer(running->token != 0 ? WANT_WORK : WANT_REST);
	}
	running->want = WANT_NOTHING;
}

/* Runs a handle with the answers that it has, to see what it wants next. */
static void run(struct world *world, int index) {
	running = &world->handles[index];
	answers_used = 0;
	(void)fake_reset();
	fake_use_txn(KV_OK);
	fake_serve(serve);
	fake_chance(index);
	explorer_must(kv_lock_open(fake_client(CALL_MS), name, &lock) == KV_OK, "no handle");
	explorer_must(kv_lock_set_ttl(lock, TTL_MS) == KV_OK, "no ttl");
	explorer_must(
	    kv_lock_set_mode(lock, shares(running) ? KV_LOCK_SHARED : KV_LOCK_EXCLUSIVE) == KV_OK,
	    "no mode");
	fake_chance(0);
	explorer_run(run_program);
	kv_lock_close(lock);
	/* A pause takes everybody's time. */
	if (running->now_ms > world->now_ms)
		world->now_ms = running->now_ms;
}

/* --- What must hold ------------------------------------------------------------------------ */

static bool believes(const struct world *world, int index) {
	const struct handle *handle = &world->handles[index];

	return handle->token != 0 && world->now_ms < handle->held_to_ms;
}

/* In every state. */
static void check(struct world *world, unsigned depth) {
	int readers = 0;
	int writers = 0;

	for (int i = 0; i < world->handle_count; i++) {
		const struct handle *handle = &world->handles[i];
		const bool is_reader = shares(handle);
		const struct entry *entry = entry_of(world, is_reader ? i : GATE);
		const bool has_it = entry->version != 0 && entry->content == i;

		if (believes(world, i)) {
			if (!has_it || entry->version != handle->token)
				explorer_violated(
				    depth, "a handle believes to hold what the key does not say");
			readers += is_reader;
			writers += !is_reader;
		}
		if (handle->want < WANT_WORK)
			continue;
		if (handle->token == 0 && handle->result != KV_MAYBE && has_it)
			explorer_violated(
			    depth, "the key says that a handle holds it that was told otherwise");
		if (handle->result == KV_MAYBE && !handle->met_a_fault)
			explorer_violated(depth, "an operation without a fault ended in doubt");
	}
	if (writers > 1 || (writers > 0 && readers > 0))
		explorer_violated(depth, "one that excludes the others is not alone");
}

/* --- The search ---------------------------------------------------------------------------- */

static uint64_t mix_entry(uint64_t hash, const struct entry *entry) {
	hash = explorer_mix(hash, (uint64_t)entry->content);
	return explorer_mix(explorer_mix(hash, entry->version), entry->ends_ms);
}

static bool was_seen(const struct world *world) {
	uint64_t hash = mix_entry(0, &world->gate);
	uint64_t late = 0;

	for (unsigned i = 0; i < world->late_count; i++) {
		const struct late *one = &world->late[i];
		uint64_t part = explorer_mix(explorer_mix(1, (uint64_t)one->handle), one->kind);

		late += explorer_mix(explorer_mix(part, (uint64_t)one->key), one->expected);
	}
	hash = explorer_mix(explorer_mix(hash, late), world->faults_left);
	hash = explorer_mix(explorer_mix(hash, world->now_ms), world->highest);
	for (int i = 0; i < world->handle_count; i++) {
		hash = mix_entry(hash, &world->shares[i]);
		hash = explorer_mix(hash, world->handles[i].history);
		hash = explorer_mix(hash, world->handles[i].answer_count);
	}
	return explorer_was_seen(hash);
}

static void change(struct world *world, int key, int content, uint64_t ends_ms) {
	*entry_of(world, key) =
	    (struct entry){.content = content, .version = ++world->highest, .ends_ms = ends_ms};
}

static void end_entry(struct world *world, int key) {
	*entry_of(world, key) = (struct entry){.content = MISSING};
	world->highest++;
}

/* A call that writes reaches the store. */
static enum kv_status arrive(struct world *world, const struct late *call) {
	struct entry *entry = entry_of(world, call->key);

	if (call->kind == WANT_TAKE) {
		if (world->gate.content < FREE)
			return KV_UNMET;
		change(world, call->key, call->handle, world->now_ms + TTL_MS);
		return KV_OK;
	}
	if (entry->version != call->expected)
		return call->kind == WANT_RENEW ? KV_UNMET
		       : entry->version == 0	? KV_NOKEY
						: KV_VERSION;
	if (call->kind == WANT_FREE && call->key == GATE)
		change(world, GATE, FREE, 0);
	else if (call->kind == WANT_FREE)
		end_entry(world, call->key);
	else if (entry->ends_ms < world->now_ms + TTL_MS)
		entry->ends_ms = world->now_ms + TTL_MS;
	return KV_OK;
}

static void explore(const struct world *world, unsigned depth);

static void go_on(struct world *world, int index, struct answer answer, unsigned depth,
		  const char *how) {
	static const char *const wants[] = {"Get",   "LIST",   "WAIT", "free", "take",
					    "renew", "settle", "work", "rest", ""};
	struct handle *handle = &world->handles[index];

	explorer_must(handle->answer_count < EXPLORER_ANSWERS_MAX, "a program that does not end");
	explorer_tell(depth, "%d: %s %s: %s at %u", index, wants[handle->want], how,
		      kv_status_name(answer.status), (unsigned)answer.at_ms);
	handle->answers[handle->answer_count++] = answer;
	handle->history = explorer_mix(handle->history, (uint64_t)answer.status);
	handle->history = explorer_mix(handle->history, (uint64_t)answer.content);
	handle->history = explorer_mix(handle->history, answer.version);
	handle->history = explorer_mix(handle->history, answer.at_ms);
	run(world, index);
	explore(world, depth + 1);
}

static void forget_late_of(struct world *world, int index) {
	unsigned kept = 0;

	for (unsigned i = 0; i < world->late_count; i++)
		if (world->late[i].handle != index)
			world->late[kept++] = world->late[i];
	world->late_count = kept;
}

static struct late call_of(const struct handle *handle, int index) {
	return (struct late){index, handle->want, handle->key, handle->expected};
}

/* It waits until its time is up. */
static void pass_wait(struct world *world, const struct handle *handle) {
	if (handle->wait_ms > 0 && handle->now_ms + handle->wait_ms > world->now_ms)
		world->now_ms = handle->now_ms + handle->wait_ms;
}

static void list_shares(const struct world *world, struct answer *answer) {
	for (int i = 0; i < world->handle_count && answer->content == MISSING; i++)
		if (world->shares[i].version != 0) {
			answer->content = i;
			answer->version = world->shares[i].version;
		}
}

static void be_answered(const struct world *world, int index, unsigned depth) {
	struct world next = *world;
	struct handle *handle = &next.handles[index];
	struct answer answer = {.status = KV_OK, .content = MISSING};

	if (handle->want == WANT_GET || handle->want == WANT_WAIT) {
		const struct entry *entry = entry_of(&next, handle->key);

		answer.content = entry->content;
		answer.version = entry->version;
		answer.status = entry->version == 0 ? KV_NOKEY : KV_OK;
		if (handle->want == WANT_WAIT && entry->version == handle->expected) {
			answer.status = KV_TIMEOUT;
			pass_wait(&next, handle);
		}
	} else if (handle->want == WANT_LIST) {
		list_shares(&next, &answer);
	} else if (handle->want == WANT_SETTLE) {
		forget_late_of(&next, index);
	} else if (handle->want < WANT_WORK) {
		const struct late call = call_of(handle, index);

		answer.status = arrive(&next, &call);
		answer.version = entry_of(&next, handle->key)->version;
		if (answer.status == KV_UNMET)
			pass_wait(&next, handle);
	}
	answer.at_ms = next.now_ms;
	go_on(&next, index, answer, depth, "answered");
}

static void meet_a_fault(const struct world *world, int index, enum kv_status status,
			 unsigned depth) {
	struct world next = *world;
	struct handle *handle = &next.handles[index];

	next.faults_left--;
	/* A late call that lands at once is one that happened; that never lands, one that was lost.
	 */
	if (status == KV_MAYBE && handle->want != WANT_SETTLE) {
		explorer_must(next.late_count < LATE_MAX, "too many late calls");
		next.late[next.late_count++] = call_of(handle, index);
	}
	go_on(&next, index,
	      (struct answer){.status = status, .content = MISSING, .at_ms = next.now_ms}, depth,
	      "broken off");
}

static void land(const struct world *world, unsigned at, unsigned depth) {
	struct world next = *world;
	const struct late late = world->late[at];

	next.late[at] = next.late[--next.late_count];
	if (arrive(&next, &late) != KV_OK)
		return;
	explorer_tell(depth, "%d: a late call lands", late.handle);
	explore(&next, depth + 1);
}

static void let_time_pass(const struct world *world, unsigned depth) {
	struct world next = *world;

	next.ticks_left--;
	next.now_ms += TICK_MS;
	explorer_tell(depth, "time passes");
	explore(&next, depth + 1);
}

static void end_lease(const struct world *world, int key, unsigned depth) {
	struct world next = *world;
	const struct entry *entry = entry_of(&next, key);

	if (entry->ends_ms == 0 || entry->ends_ms > next.now_ms)
		return;
	end_entry(&next, key);
	explorer_tell(depth, "the lease of %d ends", key);
	explore(&next, depth + 1);
}

static void explore(const struct world *world, unsigned depth) {
	struct world checked = *world;
	bool is_end = true;

	check(&checked, depth);
	if (was_seen(world))
		return;
	for (int i = 0; i < world->handle_count; i++) {
		enum want want = world->handles[i].want;

		if (want == WANT_NOTHING)
			continue;
		is_end = false;
		be_answered(world, i, depth);
		if (world->faults_left == 0 || want >= WANT_WORK)
			continue;
		meet_a_fault(world, i, KV_TIMEOUT, depth);
		if (want >= WANT_FREE)
			meet_a_fault(world, i, KV_MAYBE, depth);
	}
	for (unsigned i = 0; i < world->late_count; i++)
		land(world, i, depth);
	if (!is_end && world->ticks_left > 0)
		let_time_pass(world, depth);
	for (int key = GATE; key < world->handle_count; key++)
		end_lease(world, key, depth);
	if (is_end)
		explorer_ends();
}

static void explore_programs(unsigned faults, unsigned ticks, const char *first, const char *second,
			     const char *third) {
	struct world world = {.gate = {.content = FREE, .version = 1},
			      .handle_count = third != NULL ? 3 : 2,
			      .highest = 1,
			      .faults_left = faults,
			      .ticks_left = ticks};

	explorer_begin();
	world.handles[0].program = first;
	world.handles[1].program = second;
	world.handles[2].program = third;
	for (int i = 0; i < world.handle_count; i++) {
		world.shares[i].content = MISSING;
		run(&world, i);
	}
	explore(&world, 0);
	explorer_end("shares, handles %s, %s, %s, up to %u faults and %u ticks", first, second,
		     third != NULL ? third : "-", faults, ticks);
}

CASE(shares, .seconds = 120);

TEST(a_reader_and_a_writer_exclude_each_other) {
	explore_programs(1, 2, "AR", "ar", NULL);
}

TEST(so_they_do_when_the_writer_waits_for_longer_than_a_lease) {
	explore_programs(1, 2, "AN", "w", NULL);
}

TEST(so_they_do_when_the_writer_tries_and_the_reader_waits) {
	explore_programs(1, 2, "WR", "tr", NULL);
}

TEST(so_they_do_when_the_reader_goes_on_from_doubt) {
	explore_programs(2, 1, "TAR", "t", NULL);
}

TEST(so_they_do_when_the_writer_goes_on_from_doubt) {
	explore_programs(2, 1, "T", "tar", NULL);
}

TEST(two_readers_share_beside_a_writer) {
	explore_programs(0, 1, "AR", "AR", "ar");
}

TEST(two_writers_exclude_each_other_beside_a_reader) {
	explore_programs(0, 1, "AR", "ar", "tr");
}
