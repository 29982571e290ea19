/* SPDX-License-Identifier: BSD-3-Clause */
#include "trouble.h"

#include <stdarg.h>

#include "suite.h"

static const double MIB = 1024 * 1024;

void trouble_begin(struct trouble *trouble, ...) {
	va_list extra;

	va_start(extra, trouble);
	server_start_with(&trouble->scene.server, extra);
	va_end(extra);
	peer_open(&trouble->scene.peer, &trouble->scene.server, VIA_TCP);
	trouble->scene.session = session_open(&trouble->scene.peer);
	prober_start(&trouble->prober, &trouble->scene.server);
	trouble->memory = server_memory(&trouble->scene.server);
}

void trouble_check_memory(const struct trouble *trouble, const char *what, uint64_t bytes) {
	uint64_t now = server_memory(&trouble->scene.server);
	uint64_t more = now > trouble->memory ? now - trouble->memory : 0;

	if (suite_is_instrumented()) {
		return;
	}
	suite_figure("%s: %.2f MiB more memory", what, (double)more / MIB);
	ck_assert_uint_le(more, bytes);
}

void trouble_end(struct trouble *trouble, const char *what) {
	server_check_alive(&trouble->scene.server);
	peer_ping(&trouble->scene.peer);
	prober_stop(&trouble->prober, what);
	scene_end(&trouble->scene);
}
