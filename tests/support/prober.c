/* SPDX-License-Identifier: BSD-3-Clause */
#include "prober.h"

#include "calls.h"
#include "suite.h"

/* The aim is 50 ms; a shared machine may hold both processes up for much longer. */
enum { WORST_US = 5000000, WORST_INSTRUMENTED_US = 30000000 };

static void *probe(void *context) {
	struct prober *prober = context;

	/* At least one call, however short the trouble was. */
	do {
		uint64_t start = suite_now_us();
		check_no_key(&prober->peer, "no such key");
		uint64_t took = suite_now_us() - start;
		prober->worst_us = took > prober->worst_us ? took : prober->worst_us;
		prober->calls++;
	} while (!atomic_load(&prober->is_over));
	return NULL;
}

void prober_start(struct prober *prober, const struct server *server) {
	*prober = (struct prober){0};
	peer_open(&prober->peer, server, VIA_TCP);
	check_no_key(&prober->peer, "no such key");
	ck_assert_int_eq(pthread_create(&prober->thread, NULL, probe, prober), 0);
}

void prober_stop(struct prober *prober, const char *what) {
	uint64_t limit = suite_is_instrumented() ? WORST_INSTRUMENTED_US : WORST_US;

	atomic_store(&prober->is_over, true);
	ck_assert_int_eq(pthread_join(prober->thread, NULL), 0);
	peer_close(&prober->peer);
	suite_figure("%s: another client's worst wait %.2f ms in %llu calls", what,
		     (double)prober->worst_us / 1000, (unsigned long long)prober->calls);
	ck_assert_uint_le(prober->worst_us, limit);
}
