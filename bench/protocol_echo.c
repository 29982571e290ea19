/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * protocol_echo.c - as many bytes there and back as a call of kv has, and nothing in them but their
 * number: the size of the call and of the answer wanted, 4 bytes each; an answer begins with its
 * size.
 */
#include "protocol.h"

#include <stdlib.h>
#include <string.h>

struct talk {
	uint32_t sizes[WORKS][2];
	struct kv_bytes value;
	uint8_t padding[PROTOCOL_HEAD_MAX];
};

static struct talk *open_talk(const struct speech *speech, int fd) {
	struct talk *talk = calloc(1, sizeof(*talk));

	(void)fd;
	for (unsigned work = 0; talk != NULL && work < WORKS; work++) {
		size_t call = 0;
		size_t answer = 0;
		protocol_kv_sizes((enum work)work, speech->value.size, &call, &answer);
		talk->sizes[work][0] = (uint32_t)call;
		talk->sizes[work][1] = (uint32_t)answer;
	}
	if (talk != NULL)
		talk->value = speech->value;
	return talk;
}

static void close_talk(struct talk *talk) {
	free(talk);
}

static bool encode(struct talk *talk, const struct request *request, struct outgoing *out) {
	const uint32_t *sizes = talk->sizes[request->work];
	size_t left = sizes[0] - sizeof(talk->sizes[0]);
	size_t lent = left > talk->value.size ? talk->value.size : 0;

	return outgoing_add(out, sizes, sizeof(talk->sizes[0])) &&
	       outgoing_add(out, talk->padding, left - lent) &&
	       (lent == 0 || outgoing_lend(out, (struct kv_bytes){talk->value.data, lent}));
}

static enum decoding decode(struct talk *talk, const uint8_t *bytes, size_t size,
			    struct answer *answer) {
	uint32_t told = 0;

	(void)talk;
	if (size < sizeof(told))
		return DECODING_MORE;
	memcpy(&told, bytes, sizeof(told));
	*answer = (struct answer){.outcome = OUTCOME_DONE, .size = told};
	return told < sizeof(told) ? DECODING_RUBBISH : DECODING_DONE;
}

const struct protocol protocol_echo = {
    .name = "echo",
    .is_ordered = true,
    .open = open_talk,
    .close = close_talk,
    .encode = encode,
    .decode = decode,
};
