/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every schedule of two handles: each order of their calls, with a number of calls that fail, each
 * in every way, and each Put left in doubt landing at every moment, or never; and the store
 * exchanged for an empty one at every moment. See explorer.h.
 */
#include <kv/lock.h>

#include <string.h>

#include "explorer.h"
#include "fake_kv.h"
#include "test.h"

enum { HANDLES = 2, LATE_MAX = 6, ACQUIRE_MS = 12, CALL_MS = 500 };

/* What the key holds, or a Put writes: the id of handle 0 or 1, or one of these. */
enum { FREE = HANDLES, MISSING };

struct answer {
	enum kv_status status;
	int content;
	uint64_t version;
	bool takes_all_its_time;
};

enum want {
	WANT_GET,
	WANT_PUT,
	WANT_WORK, /* the lock was taken; leave to go on */
	WANT_REST, /* an operation has ended without the lock; leave to go on */
	WANT_NOTHING,
};

struct handle {
	const char *program; /* a: acquire, t: try, r: release */
	struct answer answers[EXPLORER_ANSWERS_MAX];
	unsigned answer_count;
	uint64_t history; /* a hash of them */

	/* Where they led to. */
	enum want want;
	int content; /* of the Put that it wants */
	uint64_t expected;
	enum kv_status result; /* of the last operation that ended */
	bool met_a_fault;      /* in the operation under way, or the last one */
	uint64_t token;	       /* 0: does not hold it, or an operation is under way */

	uint64_t last_token;
	unsigned knows; /* the store, by its number; 0: none */
};

struct late {
	int content;
	uint64_t expected;
};

struct world {
	struct handle handles[HANDLES];
	int content;
	uint64_t version;
	struct late late[LATE_MAX];
	unsigned late_count;
	unsigned faults_left;
	unsigned exchanges_left;
	unsigned store; /* 1, 2, ... */
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

static int content_of(const char *text) {
	int content = 0;

	while (content < MISSING && strcmp(text, text_of(content)) != 0)
		content++;
	explorer_must(content < MISSING, "a Put of what no lock writes");
	return content;
}

/* --- Running one handle -------------------------------------------------------------------- */

/* The next answer that the handle got, or the end of this run. */
static const struct answer *next_answer(enum want want) {
	running->want = want;
	if (answers_used == running->answer_count)
		explorer_stop();
	return &running->answers[answers_used++];
}

static void serve(const struct fake_call *call, struct fake_answer *reply) {
	const struct answer *answer;

	running->token = 0;
	if (call->is_put) {
		running->content = content_of(call->text);
		running->expected = call->expected;
	}
	answer = next_answer(call->is_put ? WANT_PUT : WANT_GET);
	running->met_a_fault |= answer->status == KV_MAYBE || answer->status == KV_TIMEOUT;
	if (answer->takes_all_its_time)
		fake_pass(call->timeout_ms);
	reply->status = answer->status;
	reply->text = text_of(answer->content);
	reply->version = answer->version;
}

static void run_program(void) {
	for (const char *operation = running->program; *operation != '\0'; operation++) {
		running->met_a_fault = false;
		if (*operation == 'a')
			running->result = kv_lock_acquire(lock, ACQUIRE_MS);
		else if (*operation == 't')
			running->result = kv_lock_try(lock);
		else
			running->result = kv_lock_release(lock);
		running->token = kv_lock_token(lock);
		if (*operation == 'r')
			explorer_must(running->result != KV_OK || running->token == 0,
				      "released and still held");
		else
			explorer_must((running->result == KV_OK) == (running->token != 0),
				      "a token without the lock, or the lock without");
		(void)next_answer(running->token != 0 ? WANT_WORK : WANT_REST);
	}
	running->want = WANT_NOTHING;
}

/* Runs a handle with the answers that it has, to see what it wants next. */
static void run(struct world *world, int index) {
	struct kv_client *client;

	running = &world->handles[index];
	answers_used = 0;
	(void)fake_reset();
	client = fake_client(CALL_MS);
	fake_serve(serve);
	fake_chance(index);
	explorer_must(kv_lock_open(client, name, &lock) == KV_OK, "no handle");
	explorer_must(strcmp(kv_lock_id(lock), text_of(index)) == 0, "another id than chance gave");
	fake_chance(0);
	explorer_run(run_program);
	kv_lock_close(lock);
}

/* --- What must hold ------------------------------------------------------------------------ */

/* It knows a store that is gone, and was not told. */
static bool is_untold(const struct world *world, const struct handle *handle) {
	return handle->knows != 0 && handle->knows != world->store;
}

/* In every state. */
static void check(const struct world *world, unsigned depth) {
	for (int i = 0; i < HANDLES; i++) {
		const struct handle *handle = &world->handles[i];

		if (handle->want == WANT_GET || handle->want == WANT_PUT)
			continue;
		if (is_untold(world, handle))
			continue;
		/* So no two hold it at once: a key holds one id. */
		if (handle->token != 0 && (world->content != i || world->version != handle->token))
			explorer_violated(depth, "a handle holds what the key does not say");
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

	if (handle->token == 0 || handle->token == handle->last_token || is_untold(world, handle))
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
		late += explorer_mix(explorer_mix(1, (uint64_t)world->late[i].content),
				     world->late[i].expected);
	hash = explorer_mix(explorer_mix(explorer_mix(hash, late), world->faults_left),
			    world->top_token);
	hash = explorer_mix(hash, world->store);
	for (int i = 0; i < HANDLES; i++) {
		hash = explorer_mix(explorer_mix(hash, world->handles[i].history),
				    world->handles[i].answer_count);
		hash = explorer_mix(hash, world->handles[i].knows);
	}
	return explorer_was_seen(hash);
}

/* A Put reaches the store. False: it is refused. */
static bool write_if(struct world *world, int content, uint64_t expected) {
	unsigned kept = 0;

	if (world->version != expected)
		return false;
	world->content = content;
	world->version++;
	/* Those that expected it are dead. */
	for (unsigned i = 0; i < world->late_count; i++) {
		if (world->late[i].expected == world->version)
			world->late[kept++] = world->late[i];
	}
	world->late_count = kept;
	return true;
}

static void explore(const struct world *world, unsigned depth);

static void go_on(struct world *world, int index, struct answer answer, unsigned depth,
		  const char *how) {
	static const char *const wants[] = {"Get", "Put", "work", "rest", ""};
	struct handle *handle = &world->handles[index];

	explorer_must(handle->answer_count < EXPLORER_ANSWERS_MAX, "a program that does not end");
	explorer_tell(depth, "%d: %s %s%s: %s", index, wants[handle->want],
		      handle->want != WANT_PUT	? ""
		      : handle->content == FREE ? "__unlocked "
						: "id ",
		      how, kv_status_name(answer.status));
	handle->answers[handle->answer_count++] = answer;
	handle->history = explorer_mix(handle->history, (uint64_t)answer.status);
	handle->history = explorer_mix(handle->history, (uint64_t)answer.content);
	handle->history =
	    explorer_mix(handle->history, answer.version * 2 + answer.takes_all_its_time);
	run(world, index);
	check_token(world, index, depth + 1);
	explore(world, depth + 1);
}

/* What the client does for its user: each handle that knew the store is told of it once. */
static void be_told(struct world *world, int index, enum kv_status status, unsigned depth) {
	struct handle *handle = &world->handles[index];

	handle->knows = 0;
	handle->last_token = 0;
	go_on(world, index, (struct answer){status, MISSING, 0, false}, depth, "told");
}

static void be_answered(const struct world *world, int index, unsigned depth) {
	struct world next = *world;
	struct handle *handle = &next.handles[index];
	struct answer answer = {.status = KV_OK, .content = MISSING};

	if (handle->want == WANT_GET || handle->want == WANT_PUT) {
		if (is_untold(&next, handle)) {
			be_told(&next, index, KV_BADSESSION, depth);
			return;
		}
		handle->knows = next.store;
	}
	if (handle->want == WANT_GET) {
		answer.content = next.content;
		answer.version = next.version;
		answer.status = next.content == MISSING ? KV_NOKEY : KV_OK;
	} else if (handle->want == WANT_PUT) {
		if (!write_if(&next, handle->content, handle->expected))
			answer.status = KV_VERSION;
		answer.version = next.version;
	}
	go_on(&next, index, answer, depth, "answered");
}

static void meet_a_fault(const struct world *world, int index, struct answer answer,
			 unsigned depth) {
	struct world next = *world;
	struct handle *handle = &next.handles[index];

	next.faults_left--;
	if (is_untold(&next, handle)) {
		/* Its Put was under way when the store went. */
		if (answer.status == KV_MAYBE)
			be_told(&next, index, KV_MAYBE, depth);
		return;
	}
	if (answer.status == KV_MAYBE)
		handle->knows = next.store;
	/* A late Put that lands at once is one that happened; that never lands, one that was lost.
	 */
	if (answer.status == KV_MAYBE && handle->expected == next.version) {
		explorer_must(next.late_count < LATE_MAX, "too many late Puts");
		next.late[next.late_count++] = (struct late){handle->content, handle->expected};
	}
	go_on(&next, index, answer, depth, answer.takes_all_its_time ? "slow" : "broken off");
}

static void exchange_store(const struct world *world, unsigned depth) {
	struct world next = *world;

	explorer_tell(depth, "the store is exchanged");
	next.exchanges_left--;
	next.store++;
	next.content = MISSING;
	next.version = next.top_token = 0;
	next.late_count = 0;
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
		if (world->faults_left == 0 || (want != WANT_GET && want != WANT_PUT))
			continue;
		meet_a_fault(world, i, (struct answer){KV_TIMEOUT, MISSING, 0, true}, depth);
		if (want == WANT_GET)
			continue;
		meet_a_fault(world, i, (struct answer){KV_MAYBE, MISSING, 0, true}, depth);
		meet_a_fault(world, i, (struct answer){KV_MAYBE, MISSING, 0, false}, depth);
	}
	for (unsigned i = 0; i < world->late_count; i++) {
		struct world next = *world;
		struct late landing = world->late[i];

		explorer_tell(depth, "a late Put of %s lands", text_of(landing.content));
		explorer_must(write_if(&next, landing.content, landing.expected),
			      "a late Put that is dead");
		explore(&next, depth + 1);
	}
	if (!is_end && world->exchanges_left > 0)
		exchange_store(world, depth);
	if (is_end)
		explorer_ends();
}

/* The lock is missing, or there is one that is free. */
static void explore_programs(int content, const char *first, const char *second, unsigned faults,
			     unsigned exchanges) {
	struct world world = {.content = content,
			      .version = content == MISSING ? 0 : 1,
			      .faults_left = faults,
			      .exchanges_left = exchanges,
			      .store = 1};

	explorer_begin();
	world.handles[0].program = first;
	world.handles[1].program = second;
	run(&world, 0);
	run(&world, 1);
	explore(&world, 0);
	explorer_end("lock handles %s beside %s, up to %u faults and %u exchanges of the store",
		     first, second, faults, exchanges);
}

CASE(schedules, .seconds = 120);

TEST(two_handles_exclude_each_other_and_tokens_grow) {
	explore_programs(FREE, "ar", "ar", 2, 0);
}

TEST(so_they_do_when_the_lock_is_missing) {
	explore_programs(MISSING, "ar", "ar", 2, 0);
}

TEST(so_they_do_over_and_over_and_when_one_only_tries) {
	explore_programs(FREE, "arar", "trtr", 1, 0);
}

TEST(so_they_do_when_one_takes_again_what_it_did_not_release_for_sure) {
	explore_programs(FREE, "araarr", "t", 2, 0);
}

TEST(so_they_do_when_one_goes_on_from_doubt_in_every_way) {
	explore_programs(FREE, "attrr", "tr", 2, 0);
}

TEST(so_they_do_whenever_the_store_is_exchanged) {
	explore_programs(FREE, "ar", "ar", 1, 2);
}

TEST(so_they_do_over_and_over_whenever_the_store_is_exchanged) {
	explore_programs(FREE, "arar", "tr", 1, 1);
}
