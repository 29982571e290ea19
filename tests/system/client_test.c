/* SPDX-License-Identifier: BSD-3-Clause */
/* libkv against a real kvd: what a program that links it can rely on. */
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kv/kv.h>
#include <kv/lock.h>

#include "fixture.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

static struct kv_client *open_at(const char *address, unsigned timeout_ms) {
	struct kv_options options = {.server = address, .timeout_ms = timeout_ms};
	struct kv_client *client = NULL;

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

static struct kv_client *open_via(const struct server *server, enum via via) {
	char address[128];

	server_address(server, via, address);
	return open_at(address, 60000);
}

static void check_value(struct kv_client *client, const char *key, const char *text,
			uint64_t version) {
	struct kv_value value;

	ck_assert_int_eq(kv_get(client, bytes(key), &value), KV_OK);
	ck_assert_uint_eq(value.size, strlen(text));
	ck_assert(value.size == 0 || memcmp(value.data, text, value.size) == 0);
	ck_assert_uint_eq(value.version, version);
	kv_value_free(&value);
}

CASE(calls);

TEST(get_put_and_append_follow_the_version_table) {
	struct server server;
	uint64_t version = 99;

	server_start(&server, NULL);
	for (int via = 0; via < VIA_COUNT; via++) {
		if ((via == VIA_TCP6 || via == VIA_UDP6) && !server_has_ipv6()) {
			continue;
		}
		struct kv_client *client = open_via(&server, (enum via)via);
		struct kv_value old;
		char key[16];
		(void)snprintf(key, sizeof key, "key %d", via);
		ck_assert_int_eq(kv_get(client, bytes(key), &old), KV_NOKEY);
		ck_assert_int_eq(kv_put(client, bytes(key), bytes("x"), 3, &version), KV_NOKEY);
		ck_assert_uint_eq(version, 0);
		ck_assert_int_eq(kv_put(client, bytes(key), bytes("one"), 0, &version), KV_OK);
		ck_assert_uint_eq(version, 1);
		ck_assert_int_eq(kv_put(client, bytes(key), bytes("x"), 0, &version), KV_VERSION);
		ck_assert_uint_eq(version, 1);
		ck_assert_int_eq(kv_put(client, bytes(key), bytes("two"), 1, &version), KV_OK);
		ck_assert_int_eq(kv_put(client, bytes(key), bytes("x"), 1, &version), KV_VERSION);
		ck_assert_uint_eq(version, 2);
		ck_assert_int_eq(kv_put(client, bytes(key), bytes("3"), KV_ANY, NULL), KV_OK);
		ck_assert_int_eq(kv_append(client, bytes(key), bytes("x"), 2, NULL, &version),
				 KV_VERSION);
		ck_assert_int_eq(kv_append(client, bytes(key), bytes("4"), 3, &old, &version),
				 KV_OK);
		ck_assert_uint_eq(version, 4);
		ck_assert_uint_eq(old.version, 3);
		ck_assert_uint_eq(old.size, 1);
		ck_assert_int_eq(*(char *)old.data, '3');
		kv_value_free(&old);
		check_value(client, key, "34", 4);
		kv_close(client);
	}
	server_stop(&server);
}

enum { THREADS = 8, APPENDS = 500 };

struct appender {
	pthread_t thread;
	struct kv_client *client;
	int number;
};

static void *append_lines(void *context) {
	struct appender *appender = context;

	for (int i = 0; i < APPENDS; i++) {
		char line[32];
		(void)snprintf(line, sizeof line, "%d %d\n", appender->number, i);
		ck_assert_int_eq(
		    kv_append(appender->client, bytes("log"), bytes(line), KV_ANY, NULL, NULL),
		    KV_OK);
	}
	return NULL;
}

/* Each thread's lines are there once, and in its order. */
static void check_lines(struct kv_client *client) {
	struct kv_value value;
	int next[THREADS] = {0};

	ck_assert_int_eq(kv_get(client, bytes("log"), &value), KV_OK);
	ck_assert_uint_eq(value.version, THREADS * APPENDS);
	const char *at = value.data;
	const char *end = at + value.size;
	while (at < end) {
		int number;
		int i;
		int length;
		ck_assert_int_eq(sscanf(at, "%d %d\n%n", &number, &i, &length), 2);
		ck_assert(number >= 0 && number < THREADS);
		ck_assert_int_eq(i, next[number]);
		next[number]++;
		at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
	}
	for (int i = 0; i < THREADS; i++) {
		ck_assert_int_eq(next[i], APPENDS);
	}
	kv_value_free(&value);
}

TEST(threads_that_share_a_handle_append_each_line_once_and_in_order) {
	static const enum via ways[] = {VIA_TCP, VIA_LOCAL, VIA_UDP};

	for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
		struct server server;
		struct appender appenders[THREADS];
		server_start(&server, NULL);
		struct kv_client *client = open_via(&server, ways[way]);
		for (int i = 0; i < THREADS; i++) {
			appenders[i].client = client;
			appenders[i].number = i;
			ck_assert_int_eq(
			    pthread_create(&appenders[i].thread, NULL, append_lines, &appenders[i]),
			    0);
		}
		for (int i = 0; i < THREADS; i++) {
			ck_assert_int_eq(pthread_join(appenders[i].thread, NULL), 0);
		}
		check_lines(client);
		kv_close(client);
		server_stop(&server);
	}
}

TEST(another_store_at_the_address_ends_the_session_and_the_next_call_starts_afresh) {
	static const enum via ways[] = {VIA_TCP, VIA_LOCAL, VIA_UDP};
	struct kv_value value;

	for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++) {
		struct server server;
		server_start(&server, NULL);
		struct kv_client *client = open_via(&server, ways[way]);
		ck_assert_int_eq(kv_put(client, bytes("k"), bytes("v"), 0, NULL), KV_OK);
		server_restart(&server);
		/* KV_MAYBE: it was handed to a connection not yet known to be dead. */
		enum kv_status status = kv_put(client, bytes("k"), bytes("w"), 1, NULL);
		ck_assert(status == KV_BADSESSION || status == KV_MAYBE);
		ck_assert_int_eq(kv_get(client, bytes("k"), &value), KV_NOKEY);
		ck_assert_int_eq(kv_put(client, bytes("k"), bytes("w"), 0, NULL), KV_OK);
		server_restart(&server);
		ck_assert_int_eq(kv_get(client, bytes("k"), &value), KV_BADSESSION);
		ck_assert_int_eq(kv_get(client, bytes("k"), &value), KV_NOKEY);
		kv_close(client);
		server_stop(&server);
	}
}

CASE(handles);

TEST(a_view_with_a_time_limit_tells_timeout_from_maybe) {
	struct server server;
	struct kv_value value;
	struct kv_client *view;

	server_start(&server, NULL);
	struct kv_client *client = open_via(&server, VIA_TCP);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("one"), 0, NULL), KV_OK);
	ck_assert_int_eq(kv_with_timeout(client, 300, &view), KV_OK);
	process_signal(&server.process, SIGSTOP);
	uint64_t start = suite_now_ms();
	ck_assert_int_eq(kv_get(view, bytes("k"), &value), KV_TIMEOUT);
	/* It was handed to the kernel: it is unknown whether the server will run it. */
	ck_assert_int_eq(kv_put(view, bytes("k"), bytes("two"), 1, NULL), KV_MAYBE);
	uint64_t took = suite_now_ms() - start;
	ck_assert_uint_ge(took, 600);
	suite_figure("two calls of 300 ms each took %llu ms", (unsigned long long)took);
	process_signal(&server.process, SIGCONT);

	/* The first handle waits for as long as it takes; the late write ran, once. */
	ck_assert_int_eq(kv_put(client, bytes("other"), bytes("x"), 0, NULL), KV_OK);
	check_value(client, "k", "two", 2);
	kv_close(view);
	kv_close(client);
	server_stop(&server);
}

TEST(a_handle_belongs_to_the_process_that_opened_it) {
	struct server server;

	server_start(&server, NULL);
	struct kv_client *client = open_via(&server, VIA_TCP);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("v"), 0, NULL), KV_OK);
	pid_t child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		struct kv_value value;
		bool is_refused =
		    kv_get(client, bytes("k"), &value) == KV_INVALID &&
		    kv_put(client, bytes("k"), bytes("child"), KV_ANY, NULL) == KV_INVALID &&
		    kv_ping(client) == KV_INVALID;
		kv_close(client);
		_exit(is_refused ? 0 : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* The child's close ended neither the session nor the connection. */
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("w"), 1, NULL), KV_OK);
	kv_close(client);
	server_stop(&server);
}

/* Its number is that of its parent: both are the first process of a PID namespace. */
static int in_another_namespace(const struct server *server) {
	struct kv_client *client = open_via(server, VIA_TCP);
	struct kv_lock *lock;
	int status = 1;

	if (kv_lock_open(client, bytes("L"), &lock) != KV_OK ||
	    kv_lock_acquire(lock, 60000) != KV_OK || unshare(CLONE_NEWPID) != 0)
		return 1;
	pid_t child = fork();
	if (child == 0) {
		bool is_refused =
		    getpid() == 1 && !kv_is_owner(client) && kv_lock_token(lock) == 0 &&
		    kv_lock_acquire(lock, 1000) == KV_INVALID && kv_lock_try(lock) == KV_INVALID &&
		    kv_lock_release(lock) == KV_INVALID && kv_ping(client) == KV_INVALID;
		_exit(is_refused ? 0 : 1);
	}
	if (getpid() != 1 || waitpid(child, &status, 0) != child || status != 0)
		return 1;
	return kv_is_owner(client) && kv_lock_token(lock) == 1 && kv_lock_release(lock) == KV_OK
		   ? 0
		   : 1;
}

TEST(a_child_with_the_number_of_its_parent_holds_no_lock) {
	struct server server;
	int status;

	server_start(&server, NULL);
	pid_t starter = fork();
	ck_assert_int_ge(starter, 0);
	if (starter == 0) {
		if (geteuid() != 0 || unshare(CLONE_NEWPID) != 0)
			_exit(77);
		pid_t first = fork();
		if (first == 0)
			_exit(in_another_namespace(&server));
		_exit(first > 0 && waitpid(first, &status, 0) == first && status == 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(starter, &status, 0), starter);
	ck_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		suite_skip("only root may have a PID namespace");
	else
		ck_assert_int_eq(WEXITSTATUS(status), 0);
	server_stop(&server);
}

CASE(handles_plain, .setup = fixture_plain, .teardown = fixture_end);

TEST(a_stateless_handle_puts_conditionally_and_opens_no_session) {
	char address[128];
	uint64_t version;

	server_address(&fx.server, VIA_TCP, address);
	struct kv_options options = {.server = address, .timeout_ms = 60000, .stateless = true};
	struct kv_client *client;
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("v"), KV_ANY, NULL), KV_INVALID);
	ck_assert_int_eq(kv_append(client, bytes("k"), bytes("v"), 0, NULL, NULL), KV_INVALID);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("v"), 0, &version), KV_OK);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("w"), 0, &version), KV_VERSION);
	ck_assert_uint_eq(version, 1);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("w"), 1, &version), KV_OK);
	check_value(client, "k", "w", 2);
	ck_assert_uint_eq(counter(&fx.peer, "sessions"), 1);
	kv_close(client);
}

CASE(handles);

TEST(a_dead_address_in_the_list_is_passed_over) {
	struct server server;
	struct sockaddr_in dead = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof dead;
	char address[128];
	char list[300];

	/* Bound, so that no other program has it, but it does not listen. */
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&dead, size), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&dead, &size), 0);
	server_start(&server, NULL);
	server_address(&server, VIA_TCP, address);
	(void)snprintf(list, sizeof list, "tcp:127.0.0.1:%u,local:%s/no,%s", ntohs(dead.sin_port),
		       server.dir, address);
	struct kv_client *client = open_at(list, 60000);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("v"), 0, NULL), KV_OK);
	kv_close(client);

	/* If all are dead, the reason names one. */
	char reason[200];
	server_kill(&server);
	client = open_at(list, 500);
	ck_assert_int_eq(kv_put(client, bytes("k"), bytes("v"), 0, NULL), KV_TIMEOUT);
	kv_last_error(client, reason, sizeof reason);
	ck_assert_str_ne(reason, "");
	kv_close(client);
	ck_assert_int_eq(close(fd), 0);
}

CASE(handles_plain, .setup = fixture_plain, .teardown = fixture_end);

TEST(closing_a_handle_ends_its_session) {
	for (int via = VIA_TCP; via <= VIA_UDP; via += VIA_UDP - VIA_TCP) {
		struct kv_client *client = open_via(&fx.server, (enum via)via);
		struct kv_value value;
		/* One that only reads opens none. */
		ck_assert_int_eq(kv_get(client, bytes("none"), &value), KV_NOKEY);
		ck_assert_uint_eq(counter(&fx.peer, "sessions"), 1);
		ck_assert_int_eq(kv_put(client, bytes("k"), bytes("v"), KV_ANY, NULL), KV_OK);
		ck_assert_uint_eq(counter(&fx.peer, "sessions"), 2);
		kv_close(client);
		ck_assert_uint_eq(counter(&fx.peer, "sessions"), 1);
	}
}

CASE(calls);

TEST(a_large_value_travels_both_ways_and_is_refused_over_udp) {
	struct server server;
	struct kv_value found;
	char *large = malloc(KV_VALUE_MAX + 1);

	ck_assert_ptr_nonnull(large);
	for (size_t i = 0; i <= KV_VALUE_MAX; i++) {
		large[i] = (char)(i * 2654435761u >> 7);
	}
	server_start(&server, NULL);
	struct kv_client *client = open_via(&server, VIA_TCP);
	struct kv_bytes value = {large, KV_VALUE_MAX};
	kv_set_timeout(client, 300000);
	ck_assert_int_eq(kv_put(client, bytes("k"), value, KV_ANY, NULL), KV_OK);
	ck_assert_int_eq(kv_append(client, bytes("k"), bytes(""), KV_ANY, &found, NULL), KV_OK);
	ck_assert_uint_eq(found.size, KV_VALUE_MAX);
	ck_assert_int_eq(memcmp(found.data, large, KV_VALUE_MAX), 0);
	kv_value_free(&found);
	value.size++;
	ck_assert_int_eq(kv_put(client, bytes("k"), value, KV_ANY, NULL), KV_TOOBIG);
	kv_close(client);

	client = open_via(&server, VIA_UDP);
	ck_assert_int_eq(kv_get(client, bytes("k"), &found), KV_TOOBIG);
	value.size = 70000;
	ck_assert_int_eq(kv_put(client, bytes("u"), value, KV_ANY, NULL), KV_TOOBIG);
	value.size = 60000;
	ck_assert_int_eq(kv_put(client, bytes("u"), value, KV_ANY, NULL), KV_OK);
	ck_assert_int_eq(kv_get(client, bytes("u"), &found), KV_OK);
	ck_assert_uint_eq(found.size, 60000);
	kv_value_free(&found);
	kv_close(client);
	free(large);
	server_stop(&server);
}

TEST(many_keys_are_read_at_once_over_every_transport) {
	enum { KEYS = 300, LARGE = 1 << 20 };
	static struct kv_value values[KEYS];
	static enum kv_status statuses[KEYS];
	static char names[KEYS][16];
	struct kv_bytes keys[KEYS];
	struct server server;
	char *large = calloc(1, LARGE);

	ck_assert_ptr_nonnull(large);
	server_start(&server, NULL);
	struct kv_client *writer = open_via(&server, VIA_LOCAL);
	for (int i = 0; i < KEYS; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "key %d", i);
		keys[i] = bytes(names[i]);
		if (i % 7 != 0)
			ck_assert_int_eq(kv_put(writer, keys[i], keys[i], KV_ANY, NULL), KV_OK);
	}
	ck_assert_int_eq(kv_put(writer, keys[3], (struct kv_bytes){large, LARGE}, KV_ANY, NULL),
			 KV_OK);
	kv_close(writer);
	for (int via = 0; via < VIA_COUNT; via++) {
		const bool is_udp = via == VIA_UDP || via == VIA_UDP6;

		if ((via == VIA_TCP6 || via == VIA_UDP6) && !server_has_ipv6())
			continue;
		struct kv_client *client = open_via(&server, (enum via)via);
		ck_assert_int_eq(kv_get_many(client, keys, KEYS, values, statuses),
				 is_udp ? KV_TOOBIG : KV_OK);
		for (int i = 0; i < KEYS; i++) {
			if (i == 3) {
				ck_assert_int_eq(statuses[i], is_udp ? KV_TOOBIG : KV_OK);
				ck_assert_uint_eq(values[i].size, is_udp ? 0 : LARGE);
			} else if (i % 7 == 0) {
				ck_assert_int_eq(statuses[i], KV_NOKEY);
			} else {
				ck_assert_int_eq(statuses[i], KV_OK);
				ck_assert_uint_eq(values[i].size, keys[i].size);
				ck_assert_mem_eq(values[i].data, names[i], keys[i].size);
				ck_assert_uint_eq(values[i].version, 1);
			}
			kv_value_free(&values[i]);
		}
		kv_close(client);
	}
	free(large);
	server_stop(&server);
}
