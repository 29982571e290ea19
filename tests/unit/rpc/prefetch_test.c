/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of calls that came together are found, and only in the bytes that are there. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

#include "rpc/prefetch.h"
#include "test.h"

enum {
	MARK = 4, /* bytes before each record: RFC 5531, 11 */
	BYTES_MAX = 64 * 1024,
	CREDENTIAL_SIZE = 21, /* takes padding */
};

static uint8_t bytes[BYTES_MAX];
static size_t size;
static struct kv_bytes keys[STORE_PREFETCH_MAX];
static size_t end;

static void start(void) {
	size = 0;
}

static unsigned foresee(void) {
	return prefetch_keys((struct kv_bytes){.data = bytes, .size = size}, keys, &end);
}

static void add(uint32_t procedure, xdrproc_t encode, void *arguments, u_int credential_size) {
	char credential[CREDENTIAL_SIZE] = "";
	struct rpc_msg message = {.rm_direction = CALL};
	uint32_t mark;
	XDR xdrs;

	message.rm_call.cb_rpcvers = RPC_MSG_VERSION;
	message.rm_call.cb_prog = KV_PROGRAM;
	message.rm_call.cb_vers = KV_V1;
	message.rm_call.cb_proc = procedure;
	message.rm_call.cb_cred = (struct opaque_auth){
	    .oa_flavor = AUTH_SYS, .oa_base = credential, .oa_length = credential_size};
	xdrmem_create(&xdrs, (char *)bytes + size + MARK, (u_int)(BYTES_MAX - size - MARK),
		      XDR_ENCODE);
	ck_assert(xdr_callmsg(&xdrs, &message) && encode(&xdrs, arguments));
	mark = htonl(0x80000000U | XDR_GETPOS(&xdrs));
	memcpy(bytes + size, &mark, sizeof(mark));
	size += MARK + XDR_GETPOS(&xdrs);
}

static kv1_key key_of(const char *text) {
	return (kv1_key){.kv1_key_val = (char *)(uintptr_t)text,
			 .kv1_key_len = (u_int)strlen(text)};
}

static void add_get(const char *key, u_int credential_size) {
	kv1_get_args arguments = {.epoch = 7, .key = key_of(key)};

	add(KVPROC_GET, (xdrproc_t)xdr_kv1_get_args, &arguments, credential_size);
}

static void add_put(const char *key) {
	kv1_put_args arguments = {.expected = 5, .key = key_of(key)};

	arguments.value.kv1_value_val = (char *)(uintptr_t) "value";
	arguments.value.kv1_value_len = 5;
	add(KVPROC_PUT, (xdrproc_t)xdr_kv1_put_args, &arguments, 0);
}

static void add_append(const char *key) {
	kv1_append_args arguments = {.expected = 5, .key = key_of(key)};

	add(KVPROC_APPEND, (xdrproc_t)xdr_kv1_append_args, &arguments, CREDENTIAL_SIZE);
}

static void add_close(void) {
	kv1_close_args arguments = {.client_id = 1};

	add(KVPROC_CLOSE, (xdrproc_t)xdr_kv1_close_args, &arguments, 0);
}

static void assert_key(unsigned at, const char *key) {
	ck_assert_uint_eq(keys[at].size, strlen(key));
	ck_assert_mem_eq(keys[at].data, key, strlen(key));
}

CASE(prefetch, .setup = start);

TEST(the_keys_of_gets_puts_and_appends_are_found_with_any_credential) {
	add_get("a", 0);
	add_put("some key");
	add_close();
	add_append("key");
	add_get("another key", CREDENTIAL_SIZE);
	ck_assert_uint_eq(foresee(), 4);
	ck_assert_uint_eq(end, size);
	assert_key(0, "a");
	assert_key(1, "some key");
	assert_key(2, "key");
	assert_key(3, "another key");
}

TEST(of_many_calls_the_first_are_looked_at_and_then_the_next) {
	char key[16];

	for (int i = 0; i < STORE_PREFETCH_MAX + 3; i++) {
		(void)snprintf(key, sizeof(key), "key %d", i);
		add_put(key);
	}
	ck_assert_uint_eq(foresee(), STORE_PREFETCH_MAX);
	assert_key(STORE_PREFETCH_MAX - 1, "key 31");
	ck_assert_uint_eq(end, size / (STORE_PREFETCH_MAX + 3) * STORE_PREFETCH_MAX);
	struct kv_bytes rest = {.data = bytes + end, .size = size - end};
	ck_assert_uint_eq(prefetch_keys(rest, keys, &end), 3);
	assert_key(0, "key 32");
}

TEST(a_call_that_is_not_all_there_ends_the_look) {
	add_get("a", 0);
	size_t first = size;
	add_put("b");
	for (size_t whole = size--; size > first; size--) {
		ck_assert_uint_eq(foresee(), 1);
		ck_assert_uint_eq(end, first);
		ck_assert_uint_lt(size, whole);
	}
	size = first - 1;
	ck_assert_uint_eq(foresee(), 0);
	ck_assert_uint_eq(end, 0);
}

TEST(a_call_of_several_fragments_ends_the_look) {
	add_get("a", 0);
	size_t first = size;
	add_get("b", 0);
	bytes[first] = 0;
	ck_assert_uint_eq(foresee(), 1);
	ck_assert_uint_eq(end, first);
}

/* Each byte becomes each other one; a sanitizer sees a look outside of a block as large. */
TEST(what_is_found_lies_in_the_bytes_whatever_they_are) {
	add_get("a key", CREDENTIAL_SIZE);
	add_append("another key");
	uint8_t *copy = malloc(size);
	ck_assert_ptr_nonnull(copy);
	for (size_t at = 0; at < size; at++) {
		for (unsigned value = 0; value < 256; value++) {
			memcpy(copy, bytes, size);
			copy[at] = (uint8_t)value;
			struct kv_bytes all = {.data = copy, .size = size};
			unsigned count = prefetch_keys(all, keys, &end);
			ck_assert_uint_le(end, size);
			for (unsigned i = 0; i < count; i++) {
				const uint8_t *key = keys[i].data;
				ck_assert(key >= copy && keys[i].size > 0 &&
					  keys[i].size <= (size_t)(copy + size - key));
			}
		}
	}
	free(copy);
}
