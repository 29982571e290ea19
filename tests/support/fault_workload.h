/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef FAULT_WORKLOAD_H
#define FAULT_WORKLOAD_H

/*
 * fault_workload.h - a workload of client threads over a good or a bad network, each with a handle
 * of its own; all operations and replies are recorded, and checked at the end.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

#include "history_capture.h"
#include "kvfault_process.h"
#include "suite.h"

struct fault_workload {
	struct server server;
	struct fault fault;
	struct history_capture capture;
	bool is_bad;
	bool is_stateless; /* the users open no sessions */
	uint64_t end_ms;   /* when the users are to come to an end; suite_now_ms() */
};

struct client_thread {
	struct fault_workload *workload;
	unsigned number;
	struct kv_client *client;
	pthread_t thread;
	void (*work)(struct client_thread *user);
	unsigned done;	  /* what was answered KV_OK ... */
	unsigned unknown; /* ... and KV_MAYBE, as the user counts */
};

enum network { NETWORK_GOOD, NETWORK_BAD };

/*
 * Starts a server (`...` are more arguments for it, the last one NULL) and a network with routes
 * over tcp, udp and the local socket, in this order.
 */
void fault_workload_begin(struct fault_workload *workload, enum network network, ...);

/* Runs a thread for each of `count` users, numbered from 0; user i takes route i % 3. */
void fault_workload_run(struct fault_workload *workload, struct client_thread users[],
			unsigned count, void (*do_work)(struct client_thread *));

/* The way of that user. */
enum via fault_workload_way(unsigned user);

/* The same in two steps: another thread may act meanwhile. */
void fault_workload_start(struct fault_workload *workload, struct client_thread users[],
			  unsigned count, void (*do_work)(struct client_thread *));
void fault_workload_join(struct client_thread users[], unsigned count);

/* Stops everything and judges what was kept. */
void fault_workload_end(struct fault_workload *workload, const char *what);

/* One more user, for the thread that calls this. */
void user_open(struct client_thread *user, struct fault_workload *workload, unsigned number);
void user_close(struct client_thread *user);

/* As kv.h says, with strings. */
enum kv_status user_get(struct client_thread *user, const char *key, struct kv_value *value);
enum kv_status user_put(struct client_thread *user, const char *key, const char *value,
			uint64_t expected, uint64_t *version);
enum kv_status user_append(struct client_thread *user, const char *key, const char *value,
			   uint64_t expected, struct kv_value *old, uint64_t *version);

/* Fails unless the key holds this string. */
void user_check(struct client_thread *user, const char *key, const char *value);

/* $KV_LONG set: the long form. Else the short one. */
unsigned fault_workload_ms(unsigned long_ms, unsigned short_ms);
bool fault_workload_goes_on(const struct fault_workload *workload);

/* Fails unless the status is this one, and names both. */
#define check_status(status, wanted)                                                               \
	ck_assert_str_eq(kv_status_name(status), kv_status_name(wanted))

#endif
