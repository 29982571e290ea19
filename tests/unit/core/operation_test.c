/* SPDX-License-Identifier: BSD-3-Clause */
/* The hash of a call: snapshots hold it, so a change of it is a new format of them. */
#include "fixture.h"

#include <xxhash.h>

#include "le.h"
#include "test.h"

TEST(the_hash_is_of_the_bytes_that_the_header_tells) {
	unsigned char bytes[32] = {
	    5, 0, 0, 0,		    /* kind: APPEND */
	    1, 0, 0, 0,		    /* want_old */
	    8, 7, 6, 5, 4, 3, 2, 1, /* expected */
	};
	struct operation call = append_call(1, 1, "key", "value");

	le_put64(bytes + 16, XXH3_64bits("key", 3));
	le_put64(bytes + 24, XXH3_64bits("value", 5));

	call.expected = 0x0102030405060708;
	ck_assert_uint_eq(operation_hash(&call), XXH3_64bits(bytes, sizeof(bytes)));
}

TEST(the_hash_is_the_same_for_ever) {
	const struct operation put = put_call(1, 1, "key", "value");
	const struct operation append = append_call(1, 1, "key", "");
	struct operation large = put_call(1, 1, "key", "");

	large.value = zeros(1000000);
	ck_assert_uint_eq(operation_hash(&put), 0x3aa9c9f45344f224U);
	ck_assert_uint_eq(operation_hash(&append), 0xd064e54535293e1cU);
	ck_assert_uint_eq(operation_hash(&large), 0xf388bb100d401874U);
}

TEST(who_sends_it_and_where_is_not_in_the_hash) {
	const struct operation call = put_call(1, 1, "key", "value");
	struct operation another = call;

	another.client_id = 2;
	another.slot = 3;
	another.seq = 4;
	another.want_old = true; /* means nothing to a Put */
	memset(another.nonce, 5, NONCE_SIZE);
	another.slots = 6;
	ck_assert_uint_eq(operation_hash(&another), operation_hash(&call));
}
