/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: getrandom */
/* Random bits where getrandom(2) gives few at a time, is interrupted, or is refused. */
#include "random.h"
#include "test.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static int error;	  /* that getrandom(2) fails with; 0: none */
static unsigned failures; /* how often, before it works */
static unsigned calls;

ssize_t __real_getrandom(void *data, size_t size, unsigned flags);
ssize_t __wrap_getrandom(void *data, size_t size, unsigned flags);

ssize_t __wrap_getrandom(void *data, size_t size, unsigned flags) {
	calls++;
	if (error != 0 && failures > 0) {
		failures--;
		errno = error;
		return -1;
	}
	return __real_getrandom(data, size > 5 ? 5 : size, flags);
}

/* Each byte of so many is set: in 64 fills each place is other than 0 at least once. */
static void check_fills(void) {
	unsigned char seen[64] = {0};

	for (int round = 0; round < 64; round++) {
		unsigned char bytes[sizeof(seen)] = {0};

		random_bytes(bytes, sizeof(bytes));
		for (size_t i = 0; i < sizeof(bytes); i++)
			seen[i] |= bytes[i];
	}
	for (size_t i = 0; i < sizeof(seen); i++)
		ck_assert_uint_ne(seen[i], 0);
}

CASE(random);

TEST(bits_that_come_in_pieces_are_put_together) {
	check_fills();
	ck_assert_uint_ge(calls, 64 * 13);
}

TEST(a_signal_is_no_error) {
	error = EINTR;
	failures = 1000;
	check_fills();
}

TEST(the_device_serves_where_the_call_is_refused) {
	error = ENOSYS;
	failures = UINT32_MAX;
	check_fills();
	ck_assert_uint_ne(random_id(), 0);
}
