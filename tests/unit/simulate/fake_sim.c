/* SPDX-License-Identifier: BSD-3-Clause */
#include "fake_sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "op_log.h"
#include "sim.h"

static struct sim the_sim;
static uint64_t moment;

void fake_sim_reset(void) {
	the_sim = (struct sim){.now_ms = 1000};
	moment = 0;
}

void fake_sim_pass(uint64_t time_ms) {
	the_sim.now_ms += time_ms;
}

bool fake_sim_failed(void) {
	const bool failed = the_sim.failure[0] != '\0';

	the_sim.failure[0] = '\0';
	return failed;
}

bool fake_sim_failed_with(const char *words) {
	const bool is_found = strstr(the_sim.failure, words) != NULL;

	if (!is_found)
		fprintf(stderr, "found \"%s\", not \"%s\"\n", the_sim.failure, words);
	the_sim.failure[0] = '\0';
	return is_found;
}

struct sim *sim(void) {
	return &the_sim;
}

void sim_log(const char *format, ...) {
	(void)format;
}

void sim_fail(const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	if (the_sim.failure[0] == '\0')
		(void)vsnprintf(the_sim.failure, sizeof(the_sim.failure), format, arguments);
	va_end(arguments);
}

bool sim_has_failed(void) {
	return the_sim.failure[0] != '\0';
}

uint64_t op_log_moment(void) {
	return ++moment;
}
