/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Holders of a lock with a lease are killed, or stopped beyond it and continued, again and again,
 * while they write what names their token: no write of an older token comes after one of a newer.
 * ROUNDS=n in the environment makes it longer: `make torture`. SEED=n repeats it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kv/lock.h>

#include "fixture.h"
#include "prng.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

enum { ROUNDS = 6, TTL_MS = 200, CALL_MS = 60000, ALIVE_MS_MAX = 120, ROUNDS_MAX = 100000 };
enum { LOOK_EACH = 100 /* before the value is too large */ };

static unsigned number_from(const char *name, unsigned otherwise) {
	const char *wanted = getenv(name);

	return wanted == NULL ? otherwise : (unsigned)strtoul(wanted, NULL, 10);
}

static uint64_t now_ms(void) {
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct kv_lock *open_lock(struct kv_client **client) {
	char address[128];
	struct kv_options options = {.server = address, .timeout_ms = CALL_MS};
	struct kv_lock *lock = NULL;

	server_address(&fx.server, VIA_TCP, address);
	ck_assert_int_eq(kv_open(&options, client), KV_OK);
	ck_assert_int_eq(kv_lock_open(*client, bytes("lock"), &lock), KV_OK);
	ck_assert_int_eq(kv_lock_set_ttl(lock, TTL_MS), KV_OK);
	return lock;
}

/* Adds the token to "data", if it is that of the holder still. */
static enum kv_status write_token(struct kv_client *client, const struct kv_lock *lock) {
	const struct kv_condition fence = kv_lock_fence(lock);
	char text[32];
	struct kv_change change = {.kind = KV_CHANGE_APPEND, .key = bytes("data")};
	struct kv_txn txn = {
	    .conditions = &fence, .condition_count = 1, .changes = &change, .change_count = 1};

	(void)snprintf(text, sizeof(text), "%llu ", (unsigned long long)fence.version);
	change.value = bytes(text);
	return kv_txn(client, &txn);
}

/* Holds the lock, renews it and writes, until it is killed or has lost it. A byte says that it
 * holds. */
static int hold(int says) {
	struct kv_client *client = NULL;
	struct kv_lock *lock = open_lock(&client);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (kv_lock_acquire(lock, 0) != KV_OK || write(says, "h", 1) != 1)
		return 1;
	while (write_token(client, lock) == KV_OK && kv_lock_renew(lock) == KV_OK)
		suite_pause_ms(1);
	/* Whatever was refused, it holds the lock no more, and knows it. */
	if (kv_lock_renew(lock) != KV_NOTHELD || kv_lock_left_ms(lock) != 0)
		return 2;
	return kv_lock_release(lock) == KV_NOTHELD ? 0 : 3;
}

static pid_t begin_holder(void) {
	int said[2];
	char byte;

	ck_assert_int_eq(pipe(said), 0);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(hold(said[1]));
	(void)close(said[1]);
	ck_assert_int_eq(read(said[0], &byte, 1), 1);
	(void)close(said[0]);
	return child;
}

static struct kv_client *client;
static struct kv_lock *lock;

/* Returns how long after its end, or stop, the lock came to the next. */
static unsigned play_round(bool is_stop, unsigned alive_ms) {
	const pid_t child = begin_holder();
	uint64_t since_ms;
	unsigned taken_ms;
	int how = 0;

	suite_pause_ms(alive_ms);
	since_ms = now_ms();
	ck_assert_int_eq(kill(child, is_stop ? SIGSTOP : SIGKILL), 0);
	if (!is_stop)
		ck_assert_int_eq(waitpid(child, &how, 0), child);
	ck_assert_int_eq(kv_lock_acquire(lock, 0), KV_OK);
	taken_ms = (unsigned)(now_ms() - since_ms);
	/* On a busy machine its own lease may have ended: then it is refused. */
	(void)write_token(client, lock);
	if (is_stop) {
		ck_assert_int_eq(kill(child, SIGCONT), 0);
		ck_assert_int_eq(waitpid(child, &how, 0), child);
		ck_assert(WIFEXITED(how));
		ck_assert_int_eq(WEXITSTATUS(how), 0);
	}
	(void)kv_lock_release(lock);
	return taken_ms;
}

/* In all that was written since the last time. Returns how many writes there were. */
static unsigned tokens_grow(uint64_t *before) {
	struct kv_value value = {0};
	unsigned count = 0;

	ck_assert_int_eq(kv_get(client, bytes("data"), &value), KV_OK);
	char *text = calloc(1, value.size + 1);
	ck_assert_ptr_nonnull(text);
	memcpy(text, value.data, value.size);
	for (char *rest = NULL, *word = strtok_r(text, " ", &rest); word != NULL;
	     word = strtok_r(NULL, " ", &rest)) {
		const uint64_t token = strtoull(word, NULL, 10);

		ck_assert_uint_ge(token, *before);
		*before = token;
		count++;
	}
	free(text);
	kv_value_free(&value);
	ck_assert_int_eq(kv_delete(client, bytes("data"), KV_ANY, NULL), KV_OK);
	return count;
}

static int compare(const void *a, const void *b) {
	const unsigned left = *(const unsigned *)a;
	const unsigned right = *(const unsigned *)b;

	return (left > right) - (left < right);
}

static void set_up(void) {
	fixture_plain();
	lock = open_lock(&client);
}

static void tear_down(void) {
	kv_lock_close(lock);
	kv_close(client);
	fixture_end();
}

CASE(torture, .setup = set_up, .teardown = tear_down, .seconds = 3600);

TEST(holders_that_are_killed_or_stopped_never_write_after_the_next) {
	const unsigned rounds = number_from("ROUNDS", ROUNDS);
	const unsigned seed = number_from("SEED", (unsigned)getpid());
	struct prng prng = {seed};
	uint64_t token = 0;
	unsigned writes = 0;
	unsigned *taken_ms = calloc(rounds, sizeof(*taken_ms));

	ck_assert(rounds > 0 && rounds <= ROUNDS_MAX);
	ck_assert_ptr_nonnull(taken_ms);
	(void)printf("SEED=%u ROUNDS=%u\n", seed, rounds);
	for (unsigned i = 0; i < rounds; i++) {
		const bool is_stop = prng_below(&prng, 2) == 0;

		taken_ms[i] = play_round(is_stop, (unsigned)prng_below(&prng, ALIVE_MS_MAX));
		if ((i + 1) % LOOK_EACH == 0 || i + 1 == rounds)
			writes += tokens_grow(&token);
	}
	qsort(taken_ms, rounds, sizeof(*taken_ms), compare);
	(void)printf(
	    "figure: %u holders killed or stopped, lease %d ms: the next after %u ms in the "
	    "median, %u ms at most; %u writes in the order of tokens\n",
	    rounds, TTL_MS, taken_ms[rounds / 2], taken_ms[rounds - 1], writes);
	free(taken_ms);
}
