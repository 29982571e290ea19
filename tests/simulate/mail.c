/* SPDX-License-Identifier: BSD-3-Clause */
#include "mail.h"

#include <stdlib.h>

#include "world.h"

void mail_open(struct mail *mail) {
	mail->first = NULL;
	mail->end = &mail->first;
}

void mail_put(struct mail *mail, struct wire *wire, uint8_t *bytes, size_t size) {
	struct letter *letter = or_die(calloc(1, sizeof(*letter)));

	*letter = (struct letter){.wire = wire, .bytes = bytes, .size = size};
	*mail->end = letter;
	mail->end = &letter->next;
}

struct letter *mail_take(struct mail *mail) {
	struct letter *letter = mail->first;

	if (letter == NULL)
		return NULL;
	mail->first = letter->next;
	if (mail->first == NULL)
		mail->end = &mail->first;
	return letter;
}

void mail_drop(struct mail *mail) {
	struct letter *letter;

	while ((letter = mail_take(mail)) != NULL)
		letter_free(letter);
}

void letter_free(struct letter *letter) {
	free(letter->bytes);
	free(letter);
}
