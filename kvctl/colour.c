/* SPDX-License-Identifier: BSD-3-Clause */
#include "colour.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_shown(int descriptor) {
	const char *none = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");

	return isatty(descriptor) == 1 && (none == NULL || none[0] == '\0') &&
	       (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

const char *colour_begin(int descriptor, enum colour colour) {
	if (!is_shown(descriptor))
		return "";
	switch (colour) {
	case COLOUR_ERROR:
		return "\033[31m";
	case COLOUR_KEY:
		return "\033[36m";
	case COLOUR_PROMPT:
		return "\033[1m";
	}
	return "";
}

const char *colour_end(int descriptor) {
	return is_shown(descriptor) ? "\033[0m" : "";
}
