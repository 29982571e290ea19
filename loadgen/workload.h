/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WORKLOAD_H
#define WORKLOAD_H

/*
 * workload.h - A mix of operations over numbered keys, after the core workloads of YCSB (Cooper et
 * al., SoCC'10). No I/O; random numbers come from the caller's seed. Threads may share one.
 *
 * E of YCSB is not here: it scans, and kv has no scan.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum op_type {
	WORK_NULL,   /* an empty call */
	WORK_GET,    /* of an existing key, as all but the next one */
	WORK_INSERT, /* a Put of a key that did not exist */
	WORK_PUT,
	WORK_APPEND,
	WORK_MODIFY, /* a Get, then a Put */
};
enum { WORKS = WORK_MODIFY + 1 };

enum distribution {
	DISTRIBUTION_UNIFORM,
	DISTRIBUTION_ZIPFIAN, /* exponent 0.99; the frequent keys lie scattered over all keys */
	DISTRIBUTION_LATEST,  /* zipfian, and the newest keys are the most frequent */
};

enum {
	WORKLOAD_SHARE_MAX = 1000000,
	WORKLOAD_DIGITS = 12, /* of a key's number in its name */
};
#define WORKLOAD_KEYS_MAX UINT64_C(1000000000)

struct workload {
	unsigned shares[WORKS];
	unsigned share_sum;
	enum distribution distribution;
	uint64_t keys;		    /* at the start: numbers 0 to keys - 1 */
	_Atomic uint64_t key_count; /* now; threads share it */
	/* Where the curve of the zipfian distribution begins and ends: see workload.c. */
	double curve_begin, curve_end, curve_sure;
};

/*
 * Reads "get", "get=95,put=5" or one of YCSB's letters "a" to "f", which choose a distribution as
 * well. NULL, or what is wrong and how to fix it: a constant string.
 */
const char *workload_parse(const char *text, struct workload *workload);

/* "uniform", "zipfian", "latest". False: none of them. */
bool workload_parse_distribution(const char *text, enum distribution *distribution);

/* Call it once the distribution is chosen, with 1 to WORKLOAD_KEYS_MAX keys. */
void workload_init(struct workload *workload, uint64_t keys);

/* Whether any work of it writes. */
bool workload_writes(const struct workload *workload);

/* The next random number of a sequence that *seed (any number) begins. */
uint64_t workload_random(uint64_t *seed);

/* Draws what to do next, and to which key. */
enum op_type workload_next(struct workload *workload, uint64_t *seed, uint64_t *key);

/* "get" and so on. */
const char *workload_name(enum op_type work);

/* The key's number in decimal, with leading zeros, without a NUL. */
void workload_digits(uint64_t key, char digits[WORKLOAD_DIGITS]);

#endif
