/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PTY_H
#define PTY_H

/*
 * pty.h - a pseudo-terminal for a program to write to, with what it wrote. Any failure fails the
 * test.
 */

#include <stdbool.h>
#include <stddef.h>

struct terminal {
	int master;
	int slave; /* for the program; borrowed */
	char text[8192];
	size_t size; /* of the text, which ends in a NUL */
};

/* False: this machine has no terminals to give (no /dev/pts). Else terminal_close(). */
bool terminal_open(struct terminal *terminal);
void terminal_close(struct terminal *terminal);

/* Takes in what was written so far. */
void terminal_read(struct terminal *terminal);

/* Waits until this is part of the text; false: not within `timeout_ms`. */
bool terminal_await(struct terminal *terminal, const char *words, unsigned timeout_ms);

#endif
