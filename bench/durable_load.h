/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DURABLE_LOAD_H
#define DURABLE_LOAD_H

/*
 * durable_load.h - the clients of the measurement, each a thread with calls one after another, and
 * what one durable call is made of. Whatever fails ends the program.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CLIENTS = 64,
	VALUE_SIZE = 100,
	WAIT_S = 60, /* for a server to come */
	/* Until processes stay where they are and processors sleep no deeper than they must; what
	   is measured one at a time begins later by so much. */
	WARM_UP_MS = 150,
};

/* Says why (errno), and ends the program. */
_Noreturn void die(const char *what);

double now_us(void);

/* For qsort(): numbers from the least on. */
int compare_doubles(const void *a, const void *b);

/* A stream to the local socket at `path`, as soon as it is there. */
int connect_to(const char *path);

struct series;

/* One client. */
struct load {
	const char *server; /* for libkv; NULL: Redis at `path` */
	const char *path;
	double until_us;
	bool reads;
	struct series *series; /* how long its calls took; NULL: nobody asks */
	pthread_t thread;
	int number;
	uint64_t done;
};

/* Starts clients that put, each its own key, for so long; end_load() answers how many calls. */
void begin_load(struct load *loads, const char *server, const char *path, int clients, int for_ms);
uint64_t end_load(struct load *loads, int clients);

/* Calls a second of that many clients. */
double run_load(const char *server, const char *path, int clients, int for_ms);

/* Median microseconds of one client's Puts, or Gets. */
double call_us(const char *server, bool reads, int for_ms);

/* Median microseconds of a call that does nothing. */
double trip_us(const char *server, int for_ms);

/* Puts `count` different keys, from number `first` on, by all clients. */
void fill_store(const char *server, uint64_t first, uint64_t count, size_t size);

struct sync {
	double median_us;
	double mean_us;
};

/* Writes of `size` bytes, each with its fdatasync, in a file that is all there. */
struct sync time_sync(const char *path, size_t size, int for_ms);

#endif
