/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RULES_H
#define RULES_H

/*
 * rules.h - the rules for messages: random faults (settings), and faults by command (orders).
 *
 * No sockets and no clock: the input is a message's direction, procedure and random numbers, and
 * the output its fate.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prng.h"

enum direction { REQUESTS, REPLIES, DIRECTIONS };

enum {
	ORDERS_MAX = 32,
	PERCENT_MAX = 100,
	DELAY_MS_MAX = 60000,
	ORDER_COUNT_MAX = 1000000,
	PROCEDURE_ANY = -1,
};

enum setting {
	LOSE_REQUESTS, /* percent */
	LOSE_REPLIES,
	DELAY_REQUESTS, /* each by up to so many ms */
	DELAY_REPLIES,
	REPEAT,	  /* percent that come twice */
	LATE,	  /* percent of which another copy comes up to FAR ms later */
	REORDER,  /* percent that are overtaken, for up to FAR ms */
	FAR,	  /* ms */
	CUT,	  /* percent within which a connection ends, at any byte */
	FRAGMENT, /* percent that are sent in fragments */
	SETTINGS,
};

enum deed { DEED_PASS, DEED_LOSE, DEED_HOLD, DEED_REPEAT, DEED_DELAY, DEED_CUT };

/* "The next `count` messages of this kind: this becomes of them." */
struct order {
	enum deed deed;
	enum direction direction;
	int procedure;	 /* or PROCEDURE_ANY */
	unsigned count;	 /* 0: free */
	unsigned number; /* ms for REPEAT and DELAY, bytes for CUT */
};

struct rules {
	unsigned settings[SETTINGS];
	bool is_cut_off[DIRECTIONS]; /* a partition */
	struct order orders[ORDERS_MAX];
};

/* What becomes of one message. */
struct fate {
	bool is_lost;
	bool is_held;	   /* until it is released by hand */
	bool may_overtake; /* on a stream: does not wait for those before it */
	bool is_cut;	   /* the connection ends within it, after cut_at bytes */
	unsigned cut_at;
	unsigned fragment; /* bytes in a fragment; 0: in one */
	unsigned delay_ms;
	unsigned copies;	   /* further ones: 0 .. 2 */
	unsigned copy_after_ms[2]; /* each */
};

/* No faults, no orders, no partition. */
void rules_good(struct rules *rules);

/*
 * Requests delayed 0 to 26 ms, 10 % of them lost, and 10 % of the replies; datagrams also repeated,
 * copied late and reordered, up to 2 s. Orders and partitions stay.
 */
void rules_bad(struct rules *rules, bool is_stream);

/* The setting of this name; SETTINGS if there is none. */
enum setting rules_setting(const char *name);
unsigned rules_setting_max(enum setting setting);

/* False: there are ORDERS_MAX already. */
bool rules_order(struct rules *rules, struct order order);
void rules_forget_orders(struct rules *rules);

/*
 * The random numbers of the message `index` of a conversation: its own, so that they depend on the
 * seed and its place only, and not on when other messages come.
 */
struct prng rules_prng(uint64_t seed, uint64_t route, uint64_t link, uint64_t direction,
		       uint64_t index);

/* Judges one message of `size` bytes. Uses up orders. */
struct fate rules_judge(struct rules *rules, struct prng *prng, enum direction direction,
			int procedure, size_t size);

#endif
