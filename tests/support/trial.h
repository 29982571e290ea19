/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TRIAL_H
#define TRIAL_H

/*
 * trial.h - users of a server through a good or a bad network, each a thread with a client handle
 * of its own; all that they ask and are told is kept, and judged at the end.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <kv/kv.h>

#include "fault.h"
#include "suite.h"
#include "tape.h"

struct trial {
	struct server server;
	struct fault fault;
	struct tape tape;
	bool is_bad;
	bool is_stateless; /* the users open no sessions */
	uint64_t end_ms;   /* when the users are to come to an end; suite_now_ms() */
};

struct user {
	struct trial *trial;
	unsigned number;
	struct kv_client *client;
	pthread_t thread;
	void (*work)(struct user *user);
	unsigned done;	  /* what was answered KV_OK ... */
	unsigned unknown; /* ... and KV_MAYBE, as the user counts */
};

enum network { NETWORK_GOOD, NETWORK_BAD };

/*
 * Starts a server (`...` are more arguments for it, the last one NULL) and a network with routes
 * over tcp, udp and the local socket, in this order.
 */
void trial_begin(struct trial *trial, enum network network, ...);

/* Runs a thread for each of `count` users, numbered from 0; user i takes route i % 3. */
void trial_run(struct trial *trial, struct user users[], unsigned count,
	       void (*do_work)(struct user *));

/* The same in two steps: another thread may act meanwhile. */
void trial_start(struct trial *trial, struct user users[], unsigned count,
		 void (*do_work)(struct user *));
void trial_join(struct user users[], unsigned count);

/* Stops everything and judges what was kept. */
void trial_end(struct trial *trial, const char *what);

/* One more user, for the thread that calls this. */
void user_open(struct user *user, struct trial *trial, unsigned number);
void user_close(struct user *user);

/* As kv.h says, with strings. */
enum kv_status user_get(struct user *user, const char *key, struct kv_value *value);
enum kv_status user_put(struct user *user, const char *key, const char *value, uint64_t expected,
			uint64_t *version);
enum kv_status user_append(struct user *user, const char *key, const char *value, uint64_t expected,
			   struct kv_value *old, uint64_t *version);

/* Fails unless the key holds this string. */
void user_check(struct user *user, const char *key, const char *value);

/* $KV_LONG set: the long form. Else the short one. */
unsigned trial_ms(unsigned long_ms, unsigned short_ms);
bool trial_goes_on(const struct trial *trial);

/* Fails unless the status is this one, and names both. */
#define check_status(status, wanted)                                                               \
	ck_assert_str_eq(kv_status_name(status), kv_status_name(wanted))

#endif
