/* SPDX-License-Identifier: BSD-3-Clause */
#include "fixture.h"

#include <stdarg.h>

#include "suite.h"
#include "test.h"

static const double MIB = 1024 * 1024;

struct fixture fx;

static void open_with(struct fixture *fixture, va_list extra) {
	server_start_with(&fixture->server, extra);
	peer_open(&fixture->peer, &fixture->server, VIA_TCP);
	fixture->session = session_open(&fixture->peer);
	fixture->is_open = true;
	fixture->is_probed = false;
}

void fixture_open(struct fixture *fixture, ...) {
	va_list extra;

	va_start(extra, fixture);
	open_with(fixture, extra);
	va_end(extra);
}

void fixture_open_probed(struct fixture *fixture, ...) {
	va_list extra;

	va_start(extra, fixture);
	open_with(fixture, extra);
	va_end(extra);
	latency_probe_start(&fixture->probe, &fixture->server);
	fixture->memory = server_memory(&fixture->server);
	fixture->is_probed = true;
}

void fixture_close(struct fixture *fixture) {
	if (fixture->is_probed) {
		server_check_alive(&fixture->server);
		peer_ping(&fixture->peer);
		latency_probe_stop(&fixture->probe, test_name);
	}
	peer_close(&fixture->peer);
	server_stop(&fixture->server);
	fixture->is_open = false;
}

void fixture_plain(void) {
	fixture_open(&fx, NULL);
}

void fixture_durable(void) {
	suite_directory(fx.dir);
	fixture_open(&fx, "-d", fx.dir, NULL);
}

void fixture_probed(void) {
	fixture_open_probed(&fx, NULL);
}

void fixture_end(void) {
	if (fx.is_open)
		fixture_close(&fx);
}

void fixture_kill(void) {
	peer_close(&fx.peer);
	server_kill(&fx.server);
	fx.is_open = false;
}

void fixture_await_end(void) {
	ck_assert_int_eq(server_wait(&fx.server), 0);
	peer_close(&fx.peer);
	fx.is_open = false;
}

void fixture_check_memory(const char *what, uint64_t bytes) {
	uint64_t now = server_memory(&fx.server);
	uint64_t more = now > fx.memory ? now - fx.memory : 0;

	if (suite_is_instrumented())
		return;
	suite_figure("%s: %.2f MiB more memory", what, (double)more / MIB);
	ck_assert_uint_le(more, bytes);
}
