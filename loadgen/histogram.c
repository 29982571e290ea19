/* SPDX-License-Identifier: BSD-3-Clause */
#include "histogram.h"

#include <math.h>
#include <stddef.h>

/* What stands above the lowest STEP_BITS + 1 bits of a value is its power of two. */
static size_t bin_of(uint64_t value) {
	unsigned bits = value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
	unsigned shift = bits > HISTOGRAM_STEP_BITS + 1 ? bits - (HISTOGRAM_STEP_BITS + 1) : 0;

	return (size_t)shift * HISTOGRAM_STEPS + (size_t)(value >> shift);
}

/* The greatest value that is counted there. */
static uint64_t max_of_bin(size_t place) {
	size_t shift = place < (size_t)2 * HISTOGRAM_STEPS ? 0 : place / HISTOGRAM_STEPS - 1;
	uint64_t step = place - shift * HISTOGRAM_STEPS;

	return ((step + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value) {
	if (value > HISTOGRAM_MAX)
		value = HISTOGRAM_MAX;
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->bins[bin_of(value)]++;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other) {
	histogram->count += other->count;
	histogram->sum += other->sum;
	if (other->max > histogram->max)
		histogram->max = other->max;
	for (size_t i = 0; i < HISTOGRAM_BINS; i++)
		histogram->bins[i] += other->bins[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double share) {
	double wanted = ceil(share * (double)histogram->count);
	uint64_t seen = 0;

	for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
		seen += histogram->bins[i];
		if (seen > 0 && (double)seen >= wanted) {
			uint64_t value = max_of_bin(i);
			return value < histogram->max ? value : histogram->max;
		}
	}
	return 0;
}

double histogram_mean(const struct histogram *histogram) {
	return histogram->count == 0 ? 0 : (double)histogram->sum / (double)histogram->count;
}
