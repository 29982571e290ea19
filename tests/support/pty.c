/* SPDX-License-Identifier: BSD-3-Clause */
#include "pty.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "suite.h"

bool terminal_open(struct terminal *terminal) {
	char name[64];

	*terminal = (struct terminal){.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
	if (terminal->master < 0)
		return false;
	terminal->slave = -1;
	if (grantpt(terminal->master) == 0 && unlockpt(terminal->master) == 0 &&
	    ptsname_r(terminal->master, name, sizeof name) == 0)
		terminal->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal->slave < 0) {
		(void)close(terminal->master);
		return false;
	}
	ck_assert_int_eq(fcntl(terminal->master, F_SETFL, O_NONBLOCK), 0);
	return true;
}

void terminal_close(struct terminal *terminal) {
	(void)close(terminal->slave);
	(void)close(terminal->master);
}

void terminal_read(struct terminal *terminal) {
	for (;;) {
		size_t room = sizeof terminal->text - 1 - terminal->size;
		ssize_t got = read(terminal->master, terminal->text + terminal->size, room);

		if (got <= 0)
			return;
		terminal->size += (size_t)got;
		terminal->text[terminal->size] = '\0';
		ck_assert_uint_lt(terminal->size, sizeof terminal->text - 1);
	}
}

bool terminal_await(struct terminal *terminal, const char *words, unsigned timeout_ms) {
	uint64_t deadline_ms = suite_now_ms() + timeout_ms;

	for (;;) {
		terminal_read(terminal);
		if (strstr(terminal->text, words) != NULL)
			return true;
		if (suite_now_ms() >= deadline_ms)
			return false;
		suite_pause_ms(2);
	}
}
