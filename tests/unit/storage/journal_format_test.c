/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of the journal: what was written by one kvd is read by every later one. */
#include "journal_fixture.h"
#include "storage/crc32c.h"
#include "test.h"

static const uint8_t nonce[NONCE_SIZE] = "0123456789abcdef";

static const struct change sample_changes[] = {
    {.kind = CHANGE_PUT, .key = {"key", 3}, .value = {"value", 5}, .ttl_ms = 0x4152535455},
    {.kind = CHANGE_DELETE, .key = {"other", 5}, .value = {"", 0}},
};
static const struct txn sample_txn = {
    .changes = sample_changes, .change_count = 2, .hash = 0x6162636465666768};

/* One of each kind, with a number of its own in every field. */
static struct operation sample(enum operation_kind kind) {
	struct operation operation = {.kind = kind, .client_id = 0x1112131415161718};

	switch (kind) {
	case OPERATION_OPEN:
		operation.slots = 0x21222324;
		memcpy(operation.nonce, nonce, sizeof(operation.nonce));
		break;
	case OPERATION_CLOSE:
	case OPERATION_EXPIRE:
		break;
	case OPERATION_APPEND:
		operation.want_old = true;
		__attribute__((fallthrough));
	case OPERATION_PUT:
		operation.slot = 5;
		operation.seq = 0x3132333435363738;
		operation.expected = 0x4142434445464748;
		operation.key = text("key");
		operation.value = text("value");
		break;
	case OPERATION_DELETE:
		operation.slot = 5;
		operation.seq = 0x3132333435363738;
		operation.expected = 0x4142434445464748;
		operation.key = text("key");
		break;
	case OPERATION_TXN:
		operation.slot = 5;
		operation.seq = 0x3132333435363738;
		operation.txn = &sample_txn;
		break;
	case OPERATION_END:
		operation.client_id = 0;
		operation.expected = 0x4142434445464748;
		operation.key = text("key");
		break;
	}
	return operation;
}

TEST(an_operation_is_these_bytes) {
	static const uint8_t append[] = {
	    56,	  0,	0,    0,			    /* size */
	    5,	  1,	3,    0,			    /* kind, old value wanted, key size */
	    5,	  0,	0,    0,			    /* slot */
	    5,	  0,	0,    0,			    /* value size */
	    8,	  7,	6,    5,    4,	  3,	2,    1,    /* time */
	    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, /* client id */
	    0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, /* seq */
	    0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41, /* expected */
	    'k',  'e',	'y',  'v',  'a',  'l',	'u',  'e',
	};
	static const uint8_t open[] = {
	    64,	 0,   0,   0,	1,   0,	  16,  0,   0x24, 0x23, 0x22, 0x21, 0,	  0,	0,    0,
	    8,	 7,   6,   5,	4,   3,	  2,   1,   0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
	    0,	 0,   0,   0,	0,   0,	  0,   0,   0,	  0,	0,    0,    0,	  0,	0,    0,
	    '0', '1', '2', '3', '4', '5', '6', '7', '8',  '9',	'a',  'b',  'c',  'd',	'e',  'f',
	};
	struct operation operation = sample(OPERATION_APPEND);
	uint8_t bytes[64];

	ck_assert_uint_eq(operation_encoded_size(&operation), sizeof(append));
	operation_encode(bytes, &operation, 0x0102030405060708);
	ck_assert_mem_eq(bytes, append, sizeof(append));

	operation = sample(OPERATION_OPEN);
	ck_assert_uint_eq(operation_encoded_size(&operation), sizeof(open));
	operation_encode(bytes, &operation, 0x0102030405060708);
	ck_assert_mem_eq(bytes, open, sizeof(open));
}

TEST(every_operation_is_read_as_it_was_written) {
	for (int kind = OPERATION_OPEN; kind <= OPERATION_END; kind++) {
		struct operation written = sample((enum operation_kind)kind);
		struct operation read;
		uint64_t time_ms;
		struct decoded_txn txn;
		uint8_t bytes[128];
		size_t size = operation_encoded_size(&written);

		operation_encode(bytes, &written, 99);
		ck_assert_uint_eq(operation_decode((struct kv_bytes){bytes, sizeof(bytes)}, &read,
						   &txn, &time_ms),
				  size);
		ck_assert(same_operation(&read, &written));
		ck_assert_uint_eq(time_ms, 99);
		for (size_t shorter = 0; shorter < size; shorter++) {
			uint8_t *exact = malloc(shorter + 1);

			ck_assert_ptr_nonnull(exact);
			memcpy(exact, bytes, shorter);
			ck_assert_uint_eq(operation_decode((struct kv_bytes){exact, shorter}, &read,
							   &txn, &time_ms),
					  0);
			free(exact);
		}
	}
}

TEST(the_owner_of_a_session_is_read_as_it_was_written) {
	static char owner[PRINCIPAL_SIZE_MAX + 1] = "uid:1000";
	static const size_t sizes[] = {0, 8, PRINCIPAL_SIZE_MAX, PRINCIPAL_SIZE_MAX + 1};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct operation written = sample(OPERATION_OPEN), read;
		uint8_t bytes[512];
		uint64_t time_ms;
		struct decoded_txn txn;
		bool fits = sizes[i] <= PRINCIPAL_SIZE_MAX;

		written.principal = (struct kv_bytes){owner, sizes[i]};
		operation_encode(bytes, &written, 99);
		ck_assert_uint_eq(operation_decode((struct kv_bytes){bytes, sizeof(bytes)}, &read,
						   &txn, &time_ms),
				  fits ? operation_encoded_size(&written) : 0);
		if (!fits)
			continue;
		ck_assert_mem_eq(read.nonce, written.nonce, NONCE_SIZE);
		ck_assert_uint_eq(read.principal.size, sizes[i]);
		ck_assert_mem_eq(read.principal.data, owner, sizes[i]);
		ck_assert_uint_eq(read.value.size, 0);
	}
}

TEST(what_makes_no_sense_is_no_operation) {
	static const struct {
		enum operation_kind kind;
		size_t offset;
		uint8_t byte;
	} wrong[] = {
	    {OPERATION_PUT, 4, 0},     /* no kind */
	    {OPERATION_PUT, 4, 6},     /* nor this */
	    {OPERATION_PUT, 5, 2},     /* wanted: yes or no */
	    {OPERATION_PUT, 6, 4},     /* the sizes do not make the sum */
	    {OPERATION_PUT, 8, 64},    /* no such slot */
	    {OPERATION_PUT, 15, 1},    /* a value of 16 MiB and 5 bytes */
	    {OPERATION_OPEN, 6, 15},   /* the nonce's size */
	    {OPERATION_CLOSE, 6, 1},   /* a key */
	    {OPERATION_EXPIRE, 12, 1}, /* a value */
	    {OPERATION_DELETE, 8, 64}, /* no such slot */
	    {OPERATION_TXN, 48, 4},    /* no such change */
	    {OPERATION_TXN, 49, 1},    /* what is zero */
	    {OPERATION_TXN, 50, 9},    /* a key beyond the record */
	    {OPERATION_TXN, 63, 1},    /* a ttl of more than ten years */
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct operation operation = sample(wrong[i].kind);
		uint8_t bytes[128] = {0};
		uint64_t time_ms;
		struct decoded_txn txn;

		operation_encode(bytes, &operation, 99);
		bytes[wrong[i].offset] = wrong[i].byte;
		ck_assert_msg(operation_decode((struct kv_bytes){bytes, sizeof(bytes)}, &operation,
					       &txn, &time_ms) == 0,
			      "number %zu", i);
	}
}

TEST(the_checksum_is_crc32c) {
	uint8_t bytes[32];

	/* RFC 3720, B.4 */
	memset(bytes, 0, sizeof(bytes));
	ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
	for (uint8_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = i;
	ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
	ck_assert_uint_eq(crc32c(crc32c(0, bytes, 5), bytes + 5, sizeof(bytes) - 5), 0x46dd794e);
}
