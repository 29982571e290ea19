/* SPDX-License-Identifier: BSD-3-Clause */
/* Suggestions for mistyped words. */

#include "closest_word.h"
#include "test.h"

static const char *const words[] = {"listen", "max-memory", "max-value", "open", "help"};

static const struct {
	const char *word;
	const char *closest;
} cases[] = {
    {"max-memroy", "max-memory"},
    {"maxmemory", "max-memory"},
    {"max-values", "max-value"},
    {"lsiten", "listen"},
    {"opne", "open"},
    {"hlep", "help"},
    {"frobnicate", NULL},
    {"", NULL},
    {"x", NULL},
    {"hello", NULL},
    {"a-word-that-is-much-longer-than-any-option", NULL},
};

LOOP_TEST(the_closest_word_is_found, 0, sizeof(cases) / sizeof(cases[0])) {
	const char *closest = closest_word(cases[_i].word, words, 5);

	if (cases[_i].closest == NULL)
		ck_assert_ptr_null(closest);
	else
		ck_assert_pstr_eq(closest, cases[_i].closest);
}
