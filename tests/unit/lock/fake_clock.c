/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_clock.h"

#include <check.h>
#include <stdio.h>

#include "fake_kv.h"
#include "lock_platform.h"

enum { EVENTS_MAX = 16, PAUSES_MAX = 1024 };

struct event {
	uint64_t at_ms;
	void (*act)(void);
};

static struct {
	bool (*end_leases)(void);
	uint64_t now_ms;
	uint64_t suspended_ms;
	struct event events[EVENTS_MAX];
	unsigned event_count;
	uint64_t pauses[PAUSES_MAX];
	unsigned pause_count;
	int chance;
	uint64_t chance_state;
} fake_clock;

/* It is called millions of times, so arrays are left as they are. */
void fake_clock_reset(bool (*end_leases)(void)) {
	fake_clock.end_leases = end_leases;
	fake_clock.now_ms = fake_clock.suspended_ms = fake_clock.chance_state = 0;
	fake_clock.event_count = fake_clock.pause_count = 0;
	fake_clock.chance = -1;
}

void fake_at(uint64_t at_ms, void (*act)(void)) {
	if (fake_clock.event_count == EVENTS_MAX)
		ck_abort_msg("too many for the fake");
	fake_clock.events[fake_clock.event_count++] = (struct event){at_ms, act};
}

uint64_t fake_now_ms(void) {
	return fake_clock.now_ms;
}

static void pass(uint64_t time_ms) {
	uint64_t until_ms = fake_clock.now_ms + time_ms;

	for (;;) {
		struct event *next = NULL;

		for (unsigned i = 0; i < fake_clock.event_count; i++) {
			struct event *event = &fake_clock.events[i];

			if (event->act != NULL && event->at_ms <= until_ms &&
			    (next == NULL || event->at_ms < next->at_ms))
				next = event;
		}
		if (next == NULL)
			break;
		fake_clock.now_ms =
		    next->at_ms > fake_clock.now_ms ? next->at_ms : fake_clock.now_ms;
		void (*act)(void) = next->act;
		next->act = NULL;
		act();
	}
	fake_clock.now_ms = until_ms;
}

/* Leases end in small steps. */
void fake_pass(uint64_t time_ms) {
	for (; time_ms > 0 && fake_clock.end_leases(); time_ms--)
		pass(1);
	pass(time_ms);
	(void)fake_clock.end_leases();
}

void fake_suspend(uint64_t time_ms) {
	fake_clock.suspended_ms += time_ms;
	(void)fake_clock.end_leases();
}

uint64_t fake_boot_ms(void) {
	return fake_clock.now_ms + fake_clock.suspended_ms;
}

uint64_t lock_platform_now_ms(void) {
	return fake_clock.now_ms;
}

uint64_t lock_platform_boot_ms(void) {
	return fake_boot_ms();
}

uint64_t lock_platform_calendar_ms(void) {
	return 1700000000000U + fake_boot_ms();
}

size_t lock_platform_describe(const char *program, char *text, size_t size) {
	return (size_t)snprintf(text, size, "host h program %s", program != NULL ? program : "own");
}

void lock_platform_sleep_ms(uint64_t pause_ms) {
	if (fake_clock.pause_count < PAUSES_MAX)
		fake_clock.pauses[fake_clock.pause_count++] = pause_ms;
	fake_pass(pause_ms);
}

uint64_t fake_pause_ms(unsigned n) {
	return n < fake_clock.pause_count ? fake_clock.pauses[n] : 0;
}

void fake_chance(int byte) {
	fake_clock.chance = byte;
}

bool lock_platform_random(void *data, size_t size) {
	unsigned char *bytes = data;

	if (fake_clock.chance == FAKE_NO_CHANCE)
		return false;
	for (size_t i = 0; i < size; i++) {
		/* Weyl's sequence, stirred: different every time and the same in every run. */
		fake_clock.chance_state += 0x9e3779b97f4a7c15U;
		bytes[i] = fake_clock.chance >= 0
			       ? (unsigned char)fake_clock.chance
			       : (unsigned char)((fake_clock.chance_state *
						  (fake_clock.chance_state >> 32 | 1)) >>
						 40);
	}
	return true;
}
