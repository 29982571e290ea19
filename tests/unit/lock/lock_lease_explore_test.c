/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every schedule of two handles that use transactions and leases: each order of their calls, with
 * time that passes at every moment, calls that fail in every way, transactions left in doubt that
 * land at every moment or never, and leases that end once their time is there.
 *
 * See explorer.h. Each answer has the time at which it came, and the handle's clock is set to that.
 */
#include <kv/lock.h>

#include <string.h>

#include "explorer.h"
#include "fake_kv.h"
#include "test.h"

enum { HANDLES = 2, LATE_MAX = 6 };
enum { TTL_MS = 320, TICK_MS = 100, SHORT_MS = 12, LONG_MS = 250, CALL_MS = 500 };

/* What the key holds: the id of handle 0 or 1, or one of these. */
enum { FREE = HANDLES, MISSING };

struct answer {
	enum kv_status status;
	int content;
	uint64_t version;
	uint64_t at_ms; /* when it came */
};

enum want {
	WANT_GET,
	WANT_PUT,    /* of "__unlocked" */
	WANT_TAKE,   /* TXN{FREE; put id} */
	WANT_RENEW,  /* TXN{AT; touch} */
	WANT_SETTLE, /* nothing that it has sent runs any more */
	WANT_WORK,   /* the lock was taken; leave to go on */
	WANT_REST,   /* an operation has ended without the lock; leave to go on */
	WANT_NOTHING,
};

struct handle {
	const char *program; /* a, w: acquire, for short or long; t: try, n: renew, r: release */
	struct answer answers[EXPLORER_ANSWERS_MAX];
	unsigned answer_count;
	uint64_t history; /* a hash of them */

	/* Where they led to. */
	enum want want;
	uint64_t expected;
	unsigned wait_ms;
	uint64_t now_ms;
	enum kv_status result; /* of the last operation that ended */
	bool met_a_fault;      /* in the operation under way, or the last one */
	uint64_t token;	       /* 0: does not hold it, or takes or releases it */
	uint64_t held_to_ms;   /* with a token: until then it believes to hold the lock */

	uint64_t last_token;
};

struct late {
	int handle;
	enum want kind;
	uint64_t expected;
};

struct world {
	struct handle handles[HANDLES];
	int content;
	uint64_t version; /* 0: missing */
	uint64_t highest;
	uint64_t ends_ms; /* of the lease; 0: none */
	uint64_t now_ms;
	struct late late[LATE_MAX];
	unsigned late_count;
	unsigned faults_left;
	unsigned ticks_left;
	uint64_t top_token;
};

static const struct kv_bytes name = {"lock", 4};

/* Of the handle that runs. */
static struct handle *running;
static struct kv_lock *lock;
static unsigned answers_used;

static const char *text_of(int content) {
	return content < HANDLES ? explorer_id(content) : content == FREE ? "__unlocked" : "";
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

static enum want want_of(const struct fake_call *call) {
	switch (call->kind) {
	case FAKE_GET:
		return WANT_GET;
	case FAKE_PUT:
		explorer_must(strcmp(call->text, "__unlocked") == 0, "a Put of the id");
		return WANT_PUT;
	case FAKE_SETTLE:
		return WANT_SETTLE;
	case FAKE_DELETE:
	case FAKE_LIST:
	case FAKE_WAIT:
		explorer_must(false, "a call that is about shares");
		break;
	case FAKE_TXN:
		break;
	}
	if (call->test == KV_AT)
		explorer_must(call->change == KV_CHANGE_TOUCH && call->ttl_ms == TTL_MS,
			      "no renewal");
	else
		explorer_must(call->change == KV_CHANGE_PUT && call->ttl_ms == TTL_MS, "no take");
	return call->test == KV_AT ? WANT_RENEW : WANT_TAKE;
}

static void note_belief(void) {
	running->token = kv_lock_token(lock);
	running->held_to_ms = fake_now_ms() + kv_lock_left_ms(lock);
}

static void serve(const struct fake_call *call, struct fake_answer *reply) {
	const enum want want = want_of(call);
	const struct answer *answer;

	running->token = 0;
	if (want == WANT_RENEW)
		note_belief();
	running->expected = call->expected;
	running->wait_ms = call->wait_ms;
	answer = next_answer(want);
	running->met_a_fault |= answer->status == KV_MAYBE || answer->status == KV_TIMEOUT;
	reply->status = answer->status;
	reply->text = text_of(answer->content);
	reply->version = answer->version;
}

static enum kv_status operate(char operation) {
	switch (operation) {
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
		running->met_a_fault = false;
		running->result = operate(*operation);
		note_belief();
		if (*operation == 'r')
			explorer_must(running->result != KV_OK || running->token == 0,
				      "released and still held");
		else if (running->result == KV_OK)
			explorer_must(running->token != 0, "held without a token");
		else if (*operation != 'n')
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
	fake_chance(0);
	explorer_run(run_program);
	kv_lock_close(lock);
	/* A pause takes everybody's time. */
	if (running->now_ms > world->now_ms)
		world->now_ms = running->now_ms;
}

/* --- What must hold ------------------------------------------------------------------------ */

/* In every state. */
static void check(const struct world *world, unsigned depth) {
	for (int i = 0; i < HANDLES; i++) {
		const struct handle *handle = &world->handles[i];

		/* So no two hold it at once: a key holds one id. */
		if (handle->token != 0 && world->now_ms < handle->held_to_ms &&
		    (world->content != i || world->version != handle->token))
			explorer_violated(depth,
					  "a handle believes to hold what the key does not say");
		if (handle->want < WANT_WORK)
			continue;
		if (handle->token == 0 && handle->result != KV_MAYBE && world->content == i)
			explorer_violated(
			    depth, "the key says that a handle holds it that was told otherwise");
		if (handle->result == KV_MAYBE && !handle->met_a_fault)
			explorer_violated(depth, "an operation without a fault ended in doubt");
	}
}

/* When a handle has come to its next stop. */
static void check_token(struct world *world, int index, unsigned depth) {
	struct handle *handle = &world->handles[index];

	if (handle->token == 0 || handle->token == handle->last_token)
		return;
	if (handle->token <= world->top_token)
		explorer_violated(depth, "a token did not grow");
	world->top_token = handle->last_token = handle->token;
}

/* --- The search ---------------------------------------------------------------------------- */

static bool was_seen(const struct world *world) {
	uint64_t hash = explorer_mix(explorer_mix(0, (uint64_t)world->content), world->version);
	uint64_t late = 0;

	for (unsigned i = 0; i < world->late_count; i++)
		late += explorer_mix(explorer_mix(explorer_mix(1, (uint64_t)world->late[i].handle),
						  world->late[i].kind),
				     world->late[i].expected);
	hash = explorer_mix(explorer_mix(explorer_mix(hash, late), world->faults_left),
			    world->top_token);
	hash = explorer_mix(explorer_mix(explorer_mix(hash, world->now_ms), world->ends_ms),
			    world->highest);
	for (int i = 0; i < HANDLES; i++)
		hash = explorer_mix(explorer_mix(hash, world->handles[i].history),
				    world->handles[i].answer_count);
	return explorer_was_seen(hash);
}

static void change(struct world *world, int content, uint64_t ends_ms) {
	world->content = content;
	world->version = ++world->highest;
	world->ends_ms = ends_ms;
}

/* A call reaches the store. */
static enum kv_status arrive(struct world *world, int index, enum want kind, uint64_t expected) {
	if (kind == WANT_TAKE) {
		if (world->content < HANDLES)
			return KV_UNMET;
		change(world, index, world->now_ms + TTL_MS);
		return KV_OK;
	}
	if (world->version != expected)
		return kind == WANT_RENEW ? KV_UNMET : world->version == 0 ? KV_NOKEY : KV_VERSION;
	if (kind == WANT_PUT)
		change(world, FREE, 0);
	else if (world->ends_ms < world->now_ms + TTL_MS)
		world->ends_ms = world->now_ms + TTL_MS;
	return KV_OK;
}

static void explore(const struct world *world, unsigned depth);

static void go_on(struct world *world, int index, struct answer answer, unsigned depth,
		  const char *how) {
	static const char *const wants[] = {"Get",    "Put",  "take", "renew",
					    "settle", "work", "rest", ""};
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
	check_token(world, index, depth + 1);
	explore(world, depth + 1);
}

static void forget_late_of(struct world *world, int index) {
	unsigned kept = 0;

	for (unsigned i = 0; i < world->late_count; i++)
		if (world->late[i].handle != index)
			world->late[kept++] = world->late[i];
	world->late_count = kept;
}

static void be_answered(const struct world *world, int index, unsigned depth) {
	struct world next = *world;
	struct handle *handle = &next.handles[index];
	struct answer answer = {.status = KV_OK, .content = MISSING};

	if (handle->want == WANT_GET) {
		answer.content = next.content;
		answer.version = next.version;
		answer.status = next.content == MISSING ? KV_NOKEY : KV_OK;
	} else if (handle->want == WANT_SETTLE) {
		forget_late_of(&next, index);
	} else if (handle->want < WANT_WORK) {
		answer.status = arrive(&next, index, handle->want, handle->expected);
		answer.version = next.version;
		/* It waits until it is free, or its time is up. */
		if (answer.status == KV_UNMET && handle->wait_ms > 0)
			next.now_ms = handle->now_ms + handle->wait_ms > next.now_ms
					  ? handle->now_ms + handle->wait_ms
					  : next.now_ms;
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
		next.late[next.late_count++] = (struct late){index, handle->want, handle->expected};
	}
	go_on(&next, index,
	      (struct answer){.status = status, .content = MISSING, .at_ms = next.now_ms}, depth,
	      "broken off");
}

static void land(const struct world *world, unsigned at, unsigned depth) {
	struct world next = *world;
	struct late late = world->late[at];

	next.late[at] = next.late[--next.late_count];
	if (arrive(&next, late.handle, late.kind, late.expected) != KV_OK)
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

static void end_lease(const struct world *world, unsigned depth) {
	struct world next = *world;

	next.content = MISSING;
	next.version = next.ends_ms = 0;
	next.highest++;
	explorer_tell(depth, "the lease ends");
	explore(&next, depth + 1);
}

static void explore(const struct world *world, unsigned depth) {
	bool is_end = true;

	check(world, depth);
	if (was_seen(world))
		return;
	for (int i = 0; i < HANDLES; i++) {
		enum want want = world->handles[i].want;

		if (want == WANT_NOTHING)
			continue;
		is_end = false;
		be_answered(world, i, depth);
		if (world->faults_left == 0 || want >= WANT_WORK)
			continue;
		meet_a_fault(world, i, KV_TIMEOUT, depth);
		if (want != WANT_GET)
			meet_a_fault(world, i, KV_MAYBE, depth);
	}
	for (unsigned i = 0; i < world->late_count; i++)
		land(world, i, depth);
	if (!is_end && world->ticks_left > 0)
		let_time_pass(world, depth);
	if (world->ends_ms != 0 && world->ends_ms <= world->now_ms)
		end_lease(world, depth);
	if (is_end)
		explorer_ends();
}

static void explore_programs(const char *first, const char *second, unsigned faults,
			     unsigned ticks) {
	struct world world = {.content = FREE,
			      .version = 1,
			      .highest = 1,
			      .faults_left = faults,
			      .ticks_left = ticks};

	explorer_begin();
	world.handles[0].program = first;
	world.handles[1].program = second;
	run(&world, 0);
	run(&world, 1);
	explore(&world, 0);
	explorer_end("leases, handles %s beside %s, up to %u faults and %u ticks", first, second,
		     faults, ticks);
}

CASE(leases, .seconds = 120);

TEST(two_handles_with_leases_exclude_each_other_and_tokens_grow) {
	explore_programs("ar", "ar", 1, 3);
}

TEST(so_they_do_when_one_waits_for_longer_than_its_lease) {
	explore_programs("an", "w", 1, 3);
}

TEST(so_they_do_when_one_renews_and_the_other_tries) {
	explore_programs("an", "t", 1, 4);
}

TEST(so_they_do_when_one_acquires_again_what_it_holds) {
	explore_programs("aa", "t", 1, 4);
}

TEST(so_they_do_when_one_goes_on_from_doubt) {
	explore_programs("tar", "t", 2, 1);
}
