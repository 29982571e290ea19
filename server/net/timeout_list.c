/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/timeout_list.h"

void timeout_list_remove(struct pacing *pacing, struct paced *paced) {
	if (!paced->is_pacing)
		return;
	if (paced->previous != NULL)
		paced->previous->next = paced->next;
	else
		pacing->first = paced->next;
	if (paced->next != NULL)
		paced->next->previous = paced->previous;
	else
		pacing->last = paced->previous;
	paced->next = paced->previous = NULL;
	paced->is_pacing = false;
}

void timeout_list_touch(struct pacing *pacing, struct paced *paced, uint64_t now_ms) {
	timeout_list_remove(pacing, paced);
	paced->since_ms = now_ms;
	paced->bytes = 0;
	paced->previous = pacing->last;
	if (pacing->last != NULL)
		pacing->last->next = paced;
	else
		pacing->first = paced;
	pacing->last = paced;
	paced->is_pacing = true;
}
