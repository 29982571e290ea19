/* SPDX-License-Identifier: BSD-3-Clause */
#include "workload.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* YCSB's, and that of most measurements since. */
static const double exponent = 0.99;

static const char *const names[WORKS] = {
    [WORK_NULL] = "null", [WORK_GET] = "get",	    [WORK_INSERT] = "insert",
    [WORK_PUT] = "put",	  [WORK_APPEND] = "append", [WORK_MODIFY] = "modify",
};

static const struct {
	char letter;
	enum distribution distribution;
	const char *mix;
} letters[] = {
    {'a', DISTRIBUTION_ZIPFIAN, "get=50,put=50"},
    {'b', DISTRIBUTION_ZIPFIAN, "get=95,put=5"},
    {'c', DISTRIBUTION_ZIPFIAN, "get"},
    {'d', DISTRIBUTION_LATEST, "get=95,insert=5"},
    {'f', DISTRIBUTION_ZIPFIAN, "get=50,modify=50"},
};

static const char *const wrong_mix =
    "a mix is a letter of YCSB (a, b, c, d, f), or some of null, get, put, append, insert, modify "
    "with their shares, such as get=95,put=5";

/* One "name" or "name=share" of `size` bytes. */
static bool parse_part(const char *text, size_t size, struct workload *workload) {
	const char *equal = memchr(text, '=', size);
	size_t name_size = equal == NULL ? size : (size_t)(equal - text);
	unsigned long share = 1;
	char *end = NULL;

	if (equal != NULL) {
		if (equal[1] < '0' || equal[1] > '9')
			return false;
		share = strtoul(equal + 1, &end, 10);
		if (end != text + size || share == 0 || share > WORKLOAD_SHARE_MAX)
			return false;
	}
	for (size_t i = 0; i < WORKS; i++) {
		if (strlen(names[i]) == name_size && memcmp(names[i], text, name_size) == 0) {
			if (workload->shares[i] != 0)
				return false;
			workload->shares[i] = (unsigned)share;
			workload->share_sum += (unsigned)share;
			return true;
		}
	}
	return false;
}

static bool parse_parts(const char *text, struct workload *workload) {
	for (;;) {
		size_t size = strcspn(text, ",");
		if (!parse_part(text, size, workload))
			return false;
		if (text[size] == '\0')
			return true;
		text += size + 1;
	}
}

const char *workload_parse(const char *text, struct workload *workload) {
	memset(workload->shares, 0, sizeof(workload->shares));
	workload->share_sum = 0;
	if (strcmp(text, "e") == 0)
		return "YCSB's e scans, and there is no scan; a, b, c, d and f there are";
	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
		if (text[0] == letters[i].letter && text[1] == '\0') {
			workload->distribution = letters[i].distribution;
			return parse_parts(letters[i].mix, workload) ? NULL : wrong_mix;
		}
	}
	return parse_parts(text, workload) ? NULL : wrong_mix;
}

bool workload_parse_distribution(const char *text, enum distribution *distribution) {
	if (strcmp(text, "uniform") == 0)
		*distribution = DISTRIBUTION_UNIFORM;
	else if (strcmp(text, "zipfian") == 0)
		*distribution = DISTRIBUTION_ZIPFIAN;
	else if (strcmp(text, "latest") == 0)
		*distribution = DISTRIBUTION_LATEST;
	else
		return false;
	return true;
}

bool workload_writes(const struct workload *workload) {
	return workload->share_sum > workload->shares[WORK_NULL] + workload->shares[WORK_GET];
}

const char *workload_name(enum op_type work) {
	return names[work];
}

void workload_digits(uint64_t key, char digits[WORKLOAD_DIGITS]) {
	for (size_t i = WORKLOAD_DIGITS; i-- > 0; key /= 10)
		digits[i] = (char)('0' + key % 10);
}

/* --- Chance --------------------------------------------------------------------------------- */

static uint64_t mix_bits(uint64_t bits) {
	bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
	return bits ^ (bits >> 31);
}

/* SplitMix64 (Steele, Lea, Flood, OOPSLA'14). */
uint64_t workload_random(uint64_t *seed) {
	*seed += UINT64_C(0x9e3779b97f4a7c15);
	return mix_bits(*seed);
}

/* From 0 to limit - 1; the bias is below limit / 2^64. */
static uint64_t draw_below(uint64_t *seed, uint64_t limit) {
	return (uint64_t)(((unsigned __int128)workload_random(seed) * limit) >> 64);
}

/*
 * Zipfian ranks by rejection-inversion (Hörmann, Derflinger, 1996): invert the integral of the
 * curve 1/x^exponent, round to a rank, and take it if the point lies under that rank's bar. No
 * table, so that it begins at once with any number of keys.
 */
static double height(double x) {
	return pow(x, -exponent);
}

static double area(double x) {
	return (pow(x, 1 - exponent) - 1) / (1 - exponent);
}

static double area_inverse(double a) {
	return pow(1 + a * (1 - exponent), 1 / (1 - exponent));
}

void workload_init(struct workload *workload, uint64_t keys) {
	workload->keys = keys;
	atomic_store(&workload->key_count, keys);
	workload->curve_begin = area(1.5) - 1;
	workload->curve_end = area((double)keys + 0.5);
	/* So near above a rank, the point is under its bar for certain. */
	workload->curve_sure = 2 - area_inverse(area(2.5) - height(2));
}

/* From 0, which is the most frequent, to keys - 1. */
static uint64_t draw_rank(const struct workload *workload, uint64_t *seed) {
	for (;;) {
		double chance = (double)(workload_random(seed) >> 11) * 0x1p-53;
		double a =
		    workload->curve_end + chance * (workload->curve_begin - workload->curve_end);
		double x = area_inverse(a);
		double rank = floor(x + 0.5);

		if (rank < 1)
			rank = 1;
		if (rank > (double)workload->keys)
			rank = (double)workload->keys;
		if (rank - x <= workload->curve_sure || a >= area(rank + 0.5) - height(rank))
			return (uint64_t)rank - 1;
	}
}

static uint64_t draw_key(struct workload *workload, uint64_t *seed) {
	switch (workload->distribution) {
	case DISTRIBUTION_UNIFORM:
		return draw_below(seed,
				  atomic_load_explicit(&workload->key_count, memory_order_relaxed));
	case DISTRIBUTION_ZIPFIAN:
		return mix_bits(draw_rank(workload, seed)) % workload->keys;
	case DISTRIBUTION_LATEST:
		return atomic_load_explicit(&workload->key_count, memory_order_relaxed) - 1 -
		       draw_rank(workload, seed);
	}
	return 0;
}

enum op_type workload_next(struct workload *workload, uint64_t *seed, uint64_t *key) {
	unsigned draw = (unsigned)draw_below(seed, workload->share_sum);
	enum op_type work = WORK_NULL;

	while (draw >= workload->shares[work]) {
		draw -= workload->shares[work];
		work++;
	}
	if (work == WORK_INSERT)
		*key = atomic_fetch_add_explicit(&workload->key_count, 1, memory_order_relaxed);
	else
		*key = draw_key(workload, seed);
	return work;
}
