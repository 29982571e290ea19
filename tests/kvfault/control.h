/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONTROL_H
#define CONTROL_H

/* control.h - the control socket: each line is a command, and has one line as its reply. */

#include "network.h"

enum { CONTROL_LINE_MAX = 512, CONTROL_ANSWER_MAX = 640 };

struct control;

/* Listens at the path. NULL with errno. control_close() ends it. */
struct control *control_open(struct network *network, const char *path);
void control_close(struct control *control);

/*
 * Does what one command says. Writes the answer, "ok ..." or "error: ..." without a newline. False:
 * it was an error, and nothing was changed.
 */
bool control_obey(struct network *network, const char *command, char answer[CONTROL_ANSWER_MAX]);

/* What --help says of the commands. */
extern const char control_help[];

#endif
