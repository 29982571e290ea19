/* SPDX-License-Identifier: BSD-3-Clause */
/* What a load does to which key. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "test.h"
#include "workload.h"

enum { DRAWS = 400000 };

static struct workload workload;
static uint64_t seed;

static void begin(void) {
	memset(&workload, 0, sizeof(workload));
	seed = 7;
}

static void is_read(const char *text, uint64_t keys) {
	ck_assert_ptr_null(workload_parse(text, &workload));
	workload_init(&workload, keys);
}

CASE(workload, .setup = begin);

TEST(kinds_of_work_come_in_their_shares) {
	unsigned counts[WORKS] = {0};
	uint64_t key = 0;

	is_read("get=70,put=20,modify=10", 10);
	for (int i = 0; i < DRAWS; i++)
		counts[workload_next(&workload, &seed, &key)]++;
	ck_assert_double_eq_tol((double)counts[WORK_GET] / DRAWS, 0.7, 0.01);
	ck_assert_double_eq_tol((double)counts[WORK_PUT] / DRAWS, 0.2, 0.01);
	ck_assert_double_eq_tol((double)counts[WORK_MODIFY] / DRAWS, 0.1, 0.01);
	ck_assert_uint_eq(counts[WORK_NULL] + counts[WORK_APPEND] + counts[WORK_INSERT], 0);
}

TEST(uniform_keys_come_equally_often) {
	unsigned counts[8] = {0};

	is_read("get", 8);
	for (int i = 0; i < DRAWS; i++) {
		uint64_t key = 0;
		(void)workload_next(&workload, &seed, &key);
		ck_assert_uint_lt(key, 8);
		counts[key]++;
	}
	for (int i = 0; i < 8; i++)
		ck_assert_double_eq_tol(counts[i] * 8.0 / DRAWS, 1, 0.03);
}

/* With the newest as rank 1, the ranks are to be seen. */
TEST(zipfian_ranks_come_as_often_as_the_law_says) {
	enum { KEYS = 1000 };
	static unsigned counts[KEYS];
	double sum = 0;

	is_read("get", KEYS);
	workload.distribution = DISTRIBUTION_LATEST;
	for (int i = 0; i < DRAWS; i++) {
		uint64_t key = 0;
		(void)workload_next(&workload, &seed, &key);
		ck_assert_uint_lt(key, KEYS);
		counts[KEYS - 1 - key]++;
	}
	for (int rank = 1; rank <= KEYS; rank++)
		sum += pow(rank, -0.99);
	for (int rank = 1; rank <= 20; rank++)
		ck_assert_double_eq_tol(counts[rank - 1] / (DRAWS * pow(rank, -0.99) / sum), 1,
					0.08);
}

TEST(zipfian_favourites_lie_scattered) {
	uint64_t low = 0;

	is_read("c", 1000000);
	for (int i = 0; i < 10000; i++) {
		uint64_t key = 0;
		(void)workload_next(&workload, &seed, &key);
		low += key < 500000;
	}
	ck_assert_uint_gt(low, 1000);
	ck_assert_uint_lt(low, 9000);
}

TEST(an_insert_is_a_new_key_and_later_the_newest) {
	uint64_t key = 0;

	is_read("insert", 5);
	ck_assert_int_eq(workload_next(&workload, &seed, &key), WORK_INSERT);
	ck_assert_uint_eq(key, 5);
	(void)workload_next(&workload, &seed, &key);
	ck_assert_uint_eq(key, 6);
}

static const char *const wrong[] = {
    "",	      "e",	 "get,",	"get=",	 "get=0", "read",    "get=-1",
    "get=1x", "get,get", "get=1000001", "a,put", ",get",  "get put", "get=99999999999999999999"};

LOOP_TEST(a_mix_that_cannot_be_read_is_told, 0, sizeof(wrong) / sizeof(wrong[0])) {
	ck_assert_ptr_nonnull(workload_parse(wrong[_i], &workload));
}

TEST(a_mix_knows_whether_it_writes) {
	is_read("get,null", 1);
	ck_assert(!workload_writes(&workload));
	is_read("get=99,append", 1);
	ck_assert(workload_writes(&workload));
	is_read("c", 1);
	ck_assert(!workload_writes(&workload));
	is_read("d", 1);
	ck_assert(workload_writes(&workload));
}

TEST(a_key_has_its_number_in_digits) {
	char digits[WORKLOAD_DIGITS];

	workload_digits(4711, digits);
	ck_assert_mem_eq(digits, "000000004711", WORKLOAD_DIGITS);
}
