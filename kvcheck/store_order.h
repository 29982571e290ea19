/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STORE_ORDER_H
#define STORE_ORDER_H

/*
 * store_order.h - what must hold of several keys at once, beside the order of each key's calls: a
 * transaction happens at one moment, and the versions of a key that begins are above all that ended
 * before.
 */

#include "checker.h"

enum store_order {
	STORE_ORDERED,
	STORE_NOT, /* the report has the reason and the calls */
	STORE_NO_MEMORY,
};

/* Of a history whose keys are each linearizable. */
enum store_order store_order_check(const struct history *history, struct checker_report *report);

#endif
