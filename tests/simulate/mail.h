/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef MAIL_H
#define MAIL_H

/* mail.h - messages that wait for a turn: records that came, answers that leave at its end. */

#include "net.h"

struct letter {
	struct letter *next;
	struct wire *wire;
	uint8_t *bytes; /* owned */
	size_t size;
};

/* First come, first taken. */
struct mail {
	struct letter *first;
	struct letter **end;
};

/* It is empty. */
void mail_open(struct mail *mail);
/* The bytes are the mail's now. */
void mail_put(struct mail *mail, struct wire *wire, uint8_t *bytes, size_t size);
/* The next one, to be freed with letter_free(); NULL: there is none. */
struct letter *mail_take(struct mail *mail);
/* Frees all there is. */
void mail_drop(struct mail *mail);

void letter_free(struct letter *letter);

#endif
