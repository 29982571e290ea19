/* SPDX-License-Identifier: BSD-3-Clause */
#include "closest_word.h"

#include <string.h>

enum { WORD_MAX = 32, EDITS_MAX = 2 };

static unsigned min(unsigned one, unsigned other) {
	return one < other ? one : other;
}

/* Edit distance with transpositions; both words have at most WORD_MAX bytes. */
static unsigned distance(const char *from, size_t from_size, const char *to, size_t to_size) {
	unsigned cost[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= from_size; i++)
		for (size_t j = 0; j <= to_size; j++) {
			if (i == 0 || j == 0) {
				cost[i][j] = (unsigned)(i + j);
				continue;
			}
			cost[i][j] = min(min(cost[i - 1][j], cost[i][j - 1]) + 1,
					 cost[i - 1][j - 1] + (from[i - 1] != to[j - 1]));
			if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
				cost[i][j] = min(cost[i][j], cost[i - 2][j - 2] + 1);
		}
	return cost[from_size][to_size];
}

const char *closest_word(const char *word, const char *const *words, size_t count) {
	const char *closest = NULL;
	size_t size = strlen(word);
	unsigned edits = min(EDITS_MAX, (unsigned)size / 3) + 1;

	if (size > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		size_t other = strlen(words[i]);
		unsigned found = other > WORD_MAX ? edits : distance(word, size, words[i], other);

		if (found < edits) {
			edits = found;
			closest = words[i];
		}
	}
	return closest;
}
