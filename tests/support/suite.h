/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SUITE_H
#define SUITE_H

/* suite.h - helpers of all system tests: directories, printed figures, time, skipped parts. */

#include <stdbool.h>
#include <stdint.h>

#include "test.h"

#define SUITE_FORMAT __attribute__((format(printf, 1, 2)))

/* Makes a fresh directory below $TMPDIR that all users may enter, and writes its path into `path`.
 */
void suite_directory(char path[64]);

/* Prints a measured figure, "figure: ...". */
void suite_figure(const char *format, ...) SUITE_FORMAT;

/* Prints "skip: ..." with the reason why a test, or a part of it, is left out. */
void suite_skip(const char *format, ...) SUITE_FORMAT;

/* Whether the server runs under a sanitizer or a wrapper, so that its memory and speed are not its
   own. */
bool suite_is_instrumented(void);

/* Time since some fixed moment. */
uint64_t suite_now_us(void);
uint64_t suite_now_ms(void);

/* Lets `ms` pass between two looks at something that cannot be waited for otherwise. */
void suite_pause_ms(unsigned ms);

/* Raises the limit of open files to `wanted`, or as far as it goes; answers the limit. */
unsigned suite_raise_files(unsigned wanted);

#endif
