/* SPDX-License-Identifier: BSD-3-Clause */
#include "rules.h"

#include <string.h>

static const struct {
	const char *name;
	unsigned most;
} settings[SETTINGS] = {
    [LOSE_REQUESTS] = {"lose-requests", PERCENT_MAX},
    [LOSE_REPLIES] = {"lose-replies", PERCENT_MAX},
    [DELAY_REQUESTS] = {"delay-requests", DELAY_MS_MAX},
    [DELAY_REPLIES] = {"delay-replies", DELAY_MS_MAX},
    [REPEAT] = {"repeat", PERCENT_MAX},
    [LATE] = {"late", PERCENT_MAX},
    [REORDER] = {"reorder", PERCENT_MAX},
    [FAR] = {"far", DELAY_MS_MAX},
    [CUT] = {"cut", PERCENT_MAX},
    [FRAGMENT] = {"fragment", PERCENT_MAX},
};

enum {
	FRAGMENT_MAX = 64, /* bytes; small ones, so that there are several */
	/* Fragments are for small records: a large one would become hundreds of thousands. */
	FRAGMENT_RECORD_MAX = 65536,
};

void rules_good(struct rules *rules) {
	*rules = (struct rules){0};
}

void rules_bad(struct rules *rules, bool is_stream) {
	static const unsigned stream[SETTINGS] = {
	    [LOSE_REQUESTS] = 10, [LOSE_REPLIES] = 10, [DELAY_REQUESTS] = 26};
	static const unsigned datagram[SETTINGS] = {
	    [LOSE_REQUESTS] = 10, [LOSE_REPLIES] = 10, [DELAY_REQUESTS] = 26, [REPEAT] = 10,
	    [LATE] = 5,		  [REORDER] = 5,       [FAR] = 2000};

	memcpy(rules->settings, is_stream ? stream : datagram, sizeof rules->settings);
}

enum setting rules_setting(const char *name) {
	unsigned setting = 0;

	while (setting < SETTINGS && strcmp(settings[setting].name, name) != 0)
		setting++;
	return (enum setting)setting;
}

unsigned rules_setting_max(enum setting setting) {
	return settings[setting].most;
}

bool rules_order(struct rules *rules, struct order order) {
	for (unsigned i = 0; i < ORDERS_MAX; i++) {
		if (rules->orders[i].count == 0) {
			/* Those used up are ahead of it: the oldest that fits counts. */
			memmove(&rules->orders[i], &rules->orders[i + 1],
				(ORDERS_MAX - 1 - i) * sizeof order);
			rules->orders[ORDERS_MAX - 1] = order;
			return true;
		}
	}
	return false;
}

void rules_forget_orders(struct rules *rules) {
	memset(rules->orders, 0, sizeof rules->orders);
}

static struct order *find_order(struct rules *rules, enum direction direction, int procedure) {
	for (unsigned i = 0; i < ORDERS_MAX; i++) {
		struct order *order = &rules->orders[i];

		if (order->count > 0 && order->direction == direction &&
		    (order->procedure == PROCEDURE_ANY || order->procedure == procedure))
			return order;
	}
	return NULL;
}

static struct fate obey(struct order *order) {
	struct fate fate = {0};

	order->count--;
	switch (order->deed) {
	case DEED_PASS:
		break;
	case DEED_LOSE:
		fate.is_lost = true;
		break;
	case DEED_HOLD:
		fate.is_held = true;
		break;
	case DEED_REPEAT:
		fate.copies = 1;
		fate.copy_after_ms[0] = order->number;
		break;
	case DEED_DELAY:
		fate.delay_ms = order->number;
		fate.may_overtake = true;
		break;
	case DEED_CUT:
		fate.is_cut = true;
		fate.cut_at = order->number;
		break;
	}
	return fate;
}

struct prng rules_prng(uint64_t seed, uint64_t route, uint64_t link, uint64_t direction,
		       uint64_t index) {
	const uint64_t which[] = {route, link, direction, index};
	struct prng prng = {seed};

	for (unsigned i = 0; i < sizeof which / sizeof which[0]; i++)
		prng.state = prng_next(&prng) ^ which[i];
	return prng;
}

static unsigned draw_to(struct prng *prng, unsigned max) {
	return (unsigned)prng_between(prng, 0, max);
}

static bool happens(struct prng *prng, unsigned percent) {
	return prng_below(prng, 100) < percent;
}

/* Every message draws the same numbers, so that one setting does not change what another does. */
static struct fate chance(const struct rules *rules, struct prng *prng, enum direction direction,
			  size_t size) {
	const unsigned *of = rules->settings;
	bool is_request = direction == REQUESTS;
	struct fate fate = {0};
	unsigned near_ms, far_ms[2];
	bool comes_twice, comes_late, is_fragmented;

	fate.is_lost = happens(prng, of[is_request ? LOSE_REQUESTS : LOSE_REPLIES]);
	fate.delay_ms = draw_to(prng, of[is_request ? DELAY_REQUESTS : DELAY_REPLIES]);
	near_ms = draw_to(prng, of[DELAY_REQUESTS]);
	for (unsigned i = 0; i < 2; i++)
		far_ms[i] = draw_to(prng, of[FAR]);
	comes_twice = happens(prng, of[REPEAT]);
	comes_late = happens(prng, of[LATE]);
	fate.may_overtake = happens(prng, of[REORDER]);
	fate.is_cut = happens(prng, of[CUT]);
	fate.cut_at = draw_to(prng, size < UINT32_MAX - 4 ? (unsigned)size + 4 : UINT32_MAX - 1);
	is_fragmented = happens(prng, of[FRAGMENT]);
	fate.fragment = 1 + draw_to(prng, FRAGMENT_MAX - 1);
	if (!is_fragmented || size > FRAGMENT_RECORD_MAX)
		fate.fragment = 0;
	if (fate.may_overtake)
		fate.delay_ms += far_ms[0];
	if (comes_twice)
		fate.copy_after_ms[fate.copies++] = near_ms;
	if (comes_late)
		fate.copy_after_ms[fate.copies++] = far_ms[1];
	return fate;
}

struct fate rules_judge(struct rules *rules, struct prng *prng, enum direction direction,
			int procedure, size_t size) {
	struct order *order = find_order(rules, direction, procedure);

	return order != NULL ? obey(order) : chance(rules, prng, direction, size);
}
