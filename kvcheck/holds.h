/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HOLDS_H
#define HOLDS_H

/*
 * holds.h - who counted on holding which lock when: no two at once, and tokens that grow. A hold
 * without an end is judged by its beginning only.
 */

#include "store_order.h"

/* STORE_NOT: the report has the reason, and the two holds. */
enum store_order holds_check(const struct history *history, struct checker_report *report);

#endif
