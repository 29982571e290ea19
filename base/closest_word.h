/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CLOSEST_WORD_H
#define CLOSEST_WORD_H

/* closest_word.h - spelling suggestion for a mistyped option or command. */

#include <stddef.h>

/*
 * Returns the word of `words` (`count` of them) that takes the fewest edits to become: letters
 * inserted, removed, changed or swapped with the next. NULL if none is at most 2 edits away, or a
 * third of the word's length if that is less than 2.
 */
const char *closest_word(const char *word, const char *const *words, size_t count);

#endif
