/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAKE_KV_H
#define FAKE_KV_H

/*
 * fake_kv.h - the world of a lock, owned by a test: kv_get() and its kin over a store in memory, a
 * clock that moves only when a thread pauses or waits for a reply, and random numbers.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kv/kv.h>

/* What becomes of a call. A Put is also a delete, a Get a LIST or a WAIT. A Put's change, if any,
 * is subject to its expected version. */
enum fate {
	FATE_ANSWERED, /* it runs and is answered */
	FATE_DONE,     /* a Put: it runs, the caller is told KV_MAYBE. A Get: KV_TIMEOUT */
	FATE_LOST,     /* a Put: it never runs, KV_MAYBE. A Get: KV_TIMEOUT */
	FATE_LATE,     /* a Put: it runs at fake_land(), KV_MAYBE. A Get: KV_TIMEOUT */
	FATE_UNSENT,   /* it never runs: KV_TIMEOUT */
};

enum { FAKE_TEXT_MAX = 127 };

enum fake_kind { FAKE_GET, FAKE_PUT, FAKE_DELETE, FAKE_TXN, FAKE_SETTLE, FAKE_LIST, FAKE_WAIT };

struct fake_call {
	enum fake_kind kind;
	bool is_put;		      /* or a delete */
	char key[FAKE_TEXT_MAX + 1];  /* of a LIST the prefix */
	char text[FAKE_TEXT_MAX + 1]; /* a Put's value */
	uint64_t expected;
	unsigned timeout_ms; /* 0: for ever */
	unsigned wait_ms;

	/* Of a TXN; `expected` too if the condition is KV_AT, and `text` if it puts the key. */
	enum kv_test test;
	enum kv_change_kind change;
	char change_key[FAKE_TEXT_MAX + 1];
	uint64_t ttl_ms;
	enum kv_change_kind note_change;
	char note_key[FAKE_TEXT_MAX + 1]; /* "": it has one change */
	char note[FAKE_TEXT_MAX + 1];
	const struct kv_client *client;
};

struct fake_answer {
	enum kv_status status;
	const char *text; /* a Get's value; the one key of a LIST, NULL if there is none */
	uint64_t version;
};

/* An empty store, time 0, nothing planned. Returns the client, which has no time limit. */
struct kv_client *fake_reset(void);

/*
 * From now on there are transactions, which wait, and leases. Before, the server is older than
 * that: KV_UNAVAILABLE. `waits`: KV_OK, or what a transaction that waits comes to.
 */
void fake_use_txn(enum kv_status waits);

/* Another client of the same store, for tests that need a limit of its own. */
struct kv_client *fake_client(unsigned timeout_ms);

/* The fates of the next calls, in order; then all are answered. */
void fake_plan(enum fate fate);

/* The next call after those planned runs nothing and answers `status`. */
void fake_plan_status(enum kv_status status);

/* The next call after those planned is answered, but first `act` happens. */
void fake_plan_act(void (*act)(void));

/* While frozen, a call lasts as long as its time limit; a Put is late. */
void fake_freeze(bool is_frozen);

/* kv_with_timeout() answers that from now on. */
void fake_refuse_views(enum kv_status status);

/* The machine sleeps: only CLOCK_BOOTTIME, and the server, go on. */
void fake_suspend(uint64_t time_ms);

/* The last hold that was noted in the history, or its end. */
struct fake_hold {
	uint64_t token;
	uint64_t from_ms;
	uint64_t until_ms; /* 0: it has not ended */
};
struct fake_hold fake_last_hold(void);

/* kv_wait() comes to that from now on. */
void fake_refuse_waits(enum kv_status status);

/* Calls of kv_txn() and kv_settle() that were sent; kv_interrupt()s; the last transaction. */
unsigned fake_txns(void);
unsigned fake_settles(void);
const struct fake_call *fake_last_txn(void);

/* What LIST shows of calls that wait. */
void fake_waiting(uint32_t waiting);

/* How long a call lasts that is answered. */
void fake_round_trip(unsigned trip_ms);

/* At that time `act` happens. */
void fake_at(uint64_t at_ms, void (*act)(void));

/* All late Puts and transactions run, in the order in which they were sent. How many changed
 * something. */
unsigned fake_land(void);

/* Another client writes or deletes a key. */
void fake_write(const char *key, const char *text);
void fake_delete(const char *key);

/*
 * The store is replaced by an empty one. Each client that knew the old one is told at its next
 * call, KV_BADSESSION, and so is one by a call under way: KV_MAYBE, if that is a Put.
 */
void fake_exchange(void);

/* Whether a key holds this text at this version; false says on standard error what it holds. */
bool fake_holds(const char *key, const char *text, uint64_t version);

uint64_t fake_now_ms(void);
unsigned fake_gets(void);
unsigned fake_puts(void);
unsigned fake_open_views(void);

/* The n-th pause, from 0; 0 if there were no more. */
uint64_t fake_pause_ms(unsigned n);

/* All random bytes from now on are `byte`; negative: different ones; FAKE_NO_CHANCE: there are
 * none. */
void fake_chance(int byte);
#define FAKE_NO_CHANCE 256

/* From now on `serve` answers every call, whatever is planned. It may leave by longjmp(). */
void fake_serve(void (*serve)(const struct fake_call *call, struct fake_answer *answer));

/* Time passes. */
void fake_pass(uint64_t time_ms);

#endif
