/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEXT_REPORT_H
#define TEXT_REPORT_H

/* text_report.h - the reports of the checker: lines of text, and an HTML page with a timeline. */

#include "checker.h"

enum { REPORT_CALLS_MAX = 500 }; /* so many calls of a part are shown */

/*
 * The verdict in one line and, of a history that cannot be ordered, the part that shows it. Write
 * errors are left to ferror().
 */
void report_print(FILE *file, const struct history *history, const struct checker_report *report);

/*
 * The same as a page of HTML that needs nothing else: a timeline with a lane for each client.
 * False: the file could not be written, or there is no memory.
 */
bool report_html(FILE *file, const struct history *history, const struct checker_report *report);

#endif
