/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CHECK_WORLD_H
#define CHECK_WORLD_H

/* check_world.h - what the tests of the checker share. */

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"

static inline int check_run(const char *name, TCase *cases) {
	Suite *suite = suite_create(name);
	suite_add_tcase(suite, cases);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}

#endif
