/* SPDX-License-Identifier: BSD-3-Clause */
/* A server that is stopped for longer than a lease, and calls that come meanwhile. */
#include <signal.h>
#include <string.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"

enum { STALL_MS = 2500, OTHERS = 800, NEW = 200, CALLS_A_LEASE = 16 };

CASE(stall, .teardown = fixture_end);

/* Stops the server for longer than a lease of a second. */
static void stop_server(void) {
	process_signal(&fx.server.process, SIGSTOP);
}

static void continue_server(void) {
	suite_pause_ms(STALL_MS);
	process_signal(&fx.server.process, SIGCONT);
}

TEST(a_session_whose_call_came_on_a_new_connection_meanwhile_goes_on) {
	struct peer others[NEW]; /* a turn does not accept them all */

	fixture_open(&fx, "--session-lease", "1", NULL);
	struct change change = put(&fx.session, 0, 1, "k", "v");
	stop_server();
	for (int i = 0; i < NEW; i++) {
		peer_open(&others[i], &fx.server, VIA_TCP);
	}
	uint32_t xid = change_send(&others[NEW - 1], &change);
	continue_server();
	ck_assert_int_eq(change_await(&others[NEW - 1], &change, xid).status, KV1_OK);
	ck_assert_uint_eq(counter(&fx.peer, "sessions_expired"), 0);
	for (int i = 0; i < NEW; i++) {
		peer_close(&others[i]);
	}
}

TEST(nor_does_it_end_if_very_many_others_call_as_well) {
	static struct peer others[OTHERS];
	struct change change;
	uint32_t seq = 0;

	if (suite_raise_files(2 * OTHERS) < 2 * OTHERS) {
		suite_skip("%d connections: the limit of open files (ulimit -n)", OTHERS);
		return;
	}
	fixture_open(&fx, "--session-lease", "1", NULL);
	/* Its lease is the one that the server sleeps for; it must not end while the others come.
	 */
	for (uint32_t i = 0; i < OTHERS; i++) {
		if (i % CALLS_A_LEASE == 0) {
			change = put(&fx.session, 0, ++seq, "k", "v");
			ck_assert_int_eq(change_status(&fx.peer, &change), KV1_OK);
		}
		peer_open(&others[i], &fx.server, VIA_TCP);
		peer_ping(&others[i]);
	}
	change = put(&fx.session, 0, ++seq, "k", "w");
	stop_server();
	for (int i = 0; i < OTHERS - 1; i++) {
		struct call_header header = call_header(peer_xid(&others[i]), KVPROC_NULL);
		peer_send(&others[i], message_call(&header, NULL, NULL));
	}
	uint32_t xid = change_send(&others[OTHERS - 1], &change);
	continue_server();
	ck_assert_int_eq(change_await(&others[OTHERS - 1], &change, xid).status, KV1_OK);
	for (int i = 0; i < OTHERS; i++) {
		peer_close(&others[i]);
	}
}
