/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/last_error.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local char reason[512];

void last_error_clear(void) {
	reason[0] = '\0';
}

void last_error_set(const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
}

const char *last_error_text(void) {
	return reason;
}
