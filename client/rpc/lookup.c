/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/lookup.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PROCESS_SHIFT = 32 };

/*
 * The helper threads of this process, below the number of the process that counts them: in one
 * word, so that the first two threads that count at once begin anew but once. A child of fork()
 * has none of its parent's, so it counts from 0. One that has its parent's number, in a PID
 * namespace of its own, may count too many.
 */
static _Atomic uint64_t threads;

struct lookup {
	atomic_uint references; /* the caller's and the thread's */
	sem_t done;
	atomic_bool is_done; /* for the thread sanitizer, which does not know sem_clockwait() */
	int socktype;
	int result; /* this and what follows: the thread's until it is done */
	int error;  /* errno, if the result is EAI_SYSTEM */
	struct addrinfo *found;
	char host[];
};

static void unref(struct lookup *lookup) {
	if (atomic_fetch_sub(&lookup->references, 1) != 1)
		return;
	if (lookup->found != NULL)
		freeaddrinfo(lookup->found);
	(void)sem_destroy(&lookup->done);
	free(lookup);
}

void lookup_abandon(struct lookup *pending) {
	if (pending != NULL)
		unref(pending);
}

static void *run(void *argument) {
	struct lookup *lookup = argument;
	const struct addrinfo hints = {.ai_socktype = lookup->socktype};

	lookup->result = getaddrinfo(lookup->host, NULL, &hints, &lookup->found);
	lookup->error = errno;
	atomic_store(&lookup->is_done, true);
	(void)sem_post(&lookup->done);
	unref(lookup);
	(void)atomic_fetch_sub(&threads, 1);
	return NULL;
}

/* 0, or an errno. The thread inherits the mask: no signal of the program is handled in it. */
static int start_thread(struct lookup *lookup) {
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, before;
	int failure = pthread_attr_init(&attributes);

	if (failure != 0)
		return failure;
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	failure = pthread_create(&thread, &attributes, run, lookup);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return failure;
}

static bool count_thread(void) {
	const uint64_t none = (uint64_t)getpid() << PROCESS_SHIFT;
	uint64_t before = atomic_load(&threads);
	uint64_t count;

	do {
		count = before >> PROCESS_SHIFT == none >> PROCESS_SHIFT ? before - none : 0;
		if (count >= LOOKUP_THREADS_MAX) {
			errno = EAGAIN;
			return false;
		}
	} while (!atomic_compare_exchange_weak(&threads, &before, none + count + 1));
	return true;
}

/* NULL with errno set: no memory, or no thread. */
static struct lookup *start(const char *host, int socktype) {
	struct lookup *lookup;
	int failure;

	if (!count_thread())
		return NULL;
	lookup = calloc(1, sizeof(*lookup) + strlen(host) + 1);
	if (lookup == NULL) {
		(void)atomic_fetch_sub(&threads, 1);
		return NULL;
	}
	atomic_init(&lookup->references, 2);
	atomic_init(&lookup->is_done, false);
	(void)sem_init(&lookup->done, 0, 0);
	lookup->socktype = socktype;
	memcpy(lookup->host, host, strlen(host) + 1);
	failure = start_thread(lookup);
	if (failure == 0)
		return lookup;
	(void)atomic_fetch_sub(&threads, 1);
	(void)sem_destroy(&lookup->done);
	free(lookup);
	errno = failure;
	return NULL;
}

static bool await(struct lookup *lookup, uint64_t deadline_ms) {
	const struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000),
				       .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
	int result;

	do
		result = sem_clockwait(&lookup->done, CLOCK_MONOTONIC, &until);
	while (result < 0 && errno == EINTR);
	return result == 0 && atomic_load(&lookup->is_done);
}

int lookup_host(struct lookup **pending, const char *host, int socktype, uint64_t deadline_ms,
		struct addrinfo **found) {
	const struct addrinfo numeric = {.ai_socktype = socktype, .ai_flags = AI_NUMERICHOST};
	struct lookup *lookup = *pending;
	int result;

	*found = NULL;
	if (lookup == NULL) {
		result = getaddrinfo(host, NULL, &numeric, found);
		if (result != EAI_NONAME)
			return result;
		lookup = start(host, socktype);
		if (lookup == NULL)
			return EAI_SYSTEM;
	}
	*pending = lookup;
	if (!await(lookup, deadline_ms))
		return LOOKUP_PENDING;
	*pending = NULL;
	result = lookup->result;
	*found = lookup->found;
	lookup->found = NULL;
	errno = lookup->error;
	unref(lookup);
	return result;
}
