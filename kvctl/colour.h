/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef COLOUR_H
#define COLOUR_H

/*
 * colour.h - Colours of what is printed: none if the descriptor is no terminal, $NO_COLOR is set to
 * anything (no-color.org), or $TERM is "dumb".
 */

enum colour { COLOUR_ERROR, COLOUR_KEY, COLOUR_PROMPT };

/* The bytes that begin a colour on a descriptor, and those that end it; "" if there are none. */
const char *colour_begin(int descriptor, enum colour colour);
const char *colour_end(int descriptor);

#endif
