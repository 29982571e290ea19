/* SPDX-License-Identifier: BSD-3-Clause */
/* A kvd that keeps everything in memory starts anew: what the users of one client hear of it. */
#include <stdio.h>
#include <string.h>

#include <kv/lock.h>

#include "server.h"
#include "suite.h"
#include "test.h"

static const struct kv_bytes name = {"lock", 4};

static struct server server;
static struct kv_client *client;

static void set_up(void) {
	struct kv_options options = {.timeout_ms = 60000};
	char address[128];

	server_start(&server, NULL);
	server_address(&server, VIA_LOCAL, address);
	options.server = address;
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
}

static void tear_down(void) {
	kv_close(client);
	server_stop(&server);
}

static struct kv_lock *open_lock(void) {
	struct kv_lock *lock;

	ck_assert_int_eq(kv_lock_open(client, name, &lock), KV_OK);
	return lock;
}

static enum kv_status get(struct kv_client *handle) {
	struct kv_value value;
	enum kv_status status = kv_get(handle, name, &value);

	kv_value_free(&value);
	return status;
}

static void check_held_by(const struct kv_lock *lock) {
	struct kv_value value;

	ck_assert_int_eq(kv_get(client, name, &value), KV_OK);
	ck_assert_uint_eq(value.size, strlen(kv_lock_id(lock)));
	ck_assert_int_eq(memcmp(value.data, kv_lock_id(lock), value.size), 0);
	ck_assert_uint_eq(value.version, kv_lock_token(lock));
	kv_value_free(&value);
}

CASE(exchange, .setup = set_up, .teardown = tear_down);

TEST(a_lock_held_in_the_old_store_never_unlocks_anothers_in_the_new_one) {
	struct kv_lock *old = open_lock();
	struct kv_lock *new = open_lock();

	ck_assert_int_eq(get(client), KV_NOKEY);
	ck_assert_int_eq(kv_lock_acquire(old, 60000), KV_OK);
	server_restart(&server);

	/* Another user of the client hears of it first. */
	ck_assert_int_eq(get(client), KV_BADSESSION);
	ck_assert_int_eq(kv_lock_acquire(new, 60000), KV_OK);
	ck_assert_uint_eq(kv_lock_token(new), kv_lock_token(old));

	ck_assert_int_eq(kv_lock_release(old), KV_BADSESSION);
	check_held_by(new);
	ck_assert_int_eq(kv_lock_release(old), KV_NOTHELD);
	ck_assert_int_eq(kv_lock_try(old), KV_BUSY);
	check_held_by(new);
	ck_assert_int_eq(kv_lock_release(new), KV_OK);
	ck_assert_int_eq(kv_lock_try(old), KV_OK);
	kv_lock_close(new);
	kv_lock_close(old);
}

TEST(a_lock_known_to_be_free_in_the_old_store_is_not_taken_from_another_in_the_new_one) {
	struct kv_lock *old = open_lock();
	struct kv_lock *new = open_lock();

	ck_assert_int_eq(get(client), KV_NOKEY);
	ck_assert_int_eq(kv_lock_acquire(old, 60000), KV_OK);
	ck_assert_int_eq(kv_lock_release(old), KV_OK);
	server_restart(&server);

	/* The key comes to the same version: but it is held there. */
	ck_assert_int_eq(get(client), KV_BADSESSION);
	ck_assert_int_eq(kv_put(client, name, (struct kv_bytes){"__unlocked", 10}, 0, NULL), KV_OK);
	ck_assert_int_eq(kv_lock_acquire(new, 60000), KV_OK);
	ck_assert_uint_eq(kv_lock_token(new), 2);
	ck_assert_int_eq(kv_lock_try(old), KV_BUSY);
	check_held_by(new);
	kv_lock_close(new);
	kv_lock_close(old);
}

TEST(each_view_that_knew_the_old_store_is_told_once_and_no_other) {
	struct kv_client *reader, *unused;

	ck_assert_int_eq(kv_with_timeout(client, 60000, &reader), KV_OK);
	ck_assert_int_eq(kv_with_timeout(client, 60000, &unused), KV_OK);
	ck_assert_int_eq(kv_put(client, name, name, 0, NULL), KV_OK);
	ck_assert_int_eq(get(reader), KV_OK);
	server_restart(&server);
	/* The one that knew nothing is the one that finds out. */
	ck_assert_int_eq(get(unused), KV_NOKEY);
	ck_assert_int_eq(get(reader), KV_BADSESSION);
	ck_assert_int_eq(get(reader), KV_NOKEY);
	ck_assert_int_eq(kv_put(client, name, name, 1, NULL), KV_BADSESSION);
	ck_assert_int_eq(kv_put(client, name, name, 0, NULL), KV_OK);
	kv_close(unused);
	kv_close(reader);
}

TEST(addresses_of_the_list_without_a_server_hide_nothing) {
	struct kv_options options = {.timeout_ms = 20000};
	struct kv_client *other;
	char address[128], list[400], reason[200];

	/* As the default list has them: sockets that are not there. */
	server_address(&server, VIA_LOCAL, address);
	(void)snprintf(list, sizeof(list), "local:%s/none,%s,local:%s/neither", server.dir, address,
		       server.dir);
	options.server = list;
	ck_assert_int_eq(kv_open(&options, &other), KV_OK);
	ck_assert_int_eq(kv_put(other, name, name, 0, NULL), KV_OK);
	server_restart(&server);
	ck_assert_int_eq(kv_put(other, name, name, 1, NULL), KV_BADSESSION);
	kv_last_error(other, reason, sizeof(reason));
	ck_assert_ptr_nonnull(strstr(reason, "another store"));
	ck_assert_int_eq(kv_put(other, name, name, 0, NULL), KV_OK);
	kv_close(other);
}
