/* SPDX-License-Identifier: BSD-3-Clause */
#include "history_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "random.h"
#include "clock.h"

enum {
	/* Every reader of JSON keeps a number below 2^53 (RFC 8259, 6). */
	CLIENT_SHIFT = 64 - 53,
};

struct recorder {
	int file;
	uint64_t client;
	atomic_uint_fast64_t last_ns; /* the latest call_ns that was given out */
	atomic_int error;	      /* the first */
};

enum kv_status history_log_open(const char *path, struct recorder **recorder) {
	*recorder = NULL;
	if (path == NULL)
		return KV_OK;
	*recorder = calloc(1, sizeof(**recorder));
	if (*recorder == NULL)
		return KV_NOMEM;
	(*recorder)->file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if ((*recorder)->file < 0) {
		int error = errno;
		free(*recorder);
		*recorder = NULL;
		errno = error;
		return KV_INVALID;
	}
	(*recorder)->client = random_id() >> CLIENT_SHIFT;
	atomic_init(&(*recorder)->last_ns, 0);
	atomic_init(&(*recorder)->error, 0);
	return KV_OK;
}

void history_log_close(struct recorder *recorder) {
	if (recorder == NULL)
		return;
	(void)close(recorder->file);
	free(recorder);
}

static bool fail(struct recorder *recorder, int error) {
	int none = 0;

	(void)atomic_compare_exchange_strong(&recorder->error, &none, error);
	return false;
}

/* The rest of a line whose beginning was written goes after it, or the line is of no use. */
static bool note(struct recorder *recorder, const struct history_call *call) {
	size_t size = 0;
	char *line = history_line(call, &size);
	size_t done = 0;
	int error = ENOMEM;

	while (line != NULL && done < size) {
		ssize_t written = write(recorder->file, line + done, size - done);
		if (written > 0) {
			done += (size_t)written;
			continue;
		}
		error = written == 0 ? EIO : errno;
		if (error != EINTR)
			break;
	}
	free(line);
	return (line != NULL && done == size) || fail(recorder, error);
}

/*
 * Client and call tell one call from another, so no two have the same time. A later time than that
 * of the clock does no harm: the call is sent afterwards.
 */
static uint64_t next_time(struct recorder *recorder) {
	uint_fast64_t last_ns = atomic_load(&recorder->last_ns);
	uint64_t now_ns;

	do {
		now_ns = clock_ns();
		if (now_ns <= last_ns)
			now_ns = last_ns + 1;
	} while (!atomic_compare_exchange_weak(&recorder->last_ns, &last_ns, now_ns));
	return now_ns;
}

enum kv_status history_log_begin(struct recorder *recorder, struct history_call *call) {
	if (recorder == NULL)
		return KV_OK;
	call->client = recorder->client;
	call->call_ns = next_time(recorder);
	call->return_ns = HISTORY_OPEN;
	if (call->op == HISTORY_GET || note(recorder, call))
		return KV_OK;
	return KV_INVALID;
}

void history_log_end(struct recorder *recorder, struct history_call *call) {
	if (recorder == NULL)
		return;
	call->return_ns = clock_ns();
	/* next_time() may have been ahead of the clock. */
	if (call->return_ns < call->call_ns)
		call->return_ns = call->call_ns;
	(void)note(recorder, call);
}

int history_log_error(const struct recorder *recorder) {
	return recorder != NULL ? atomic_load(&recorder->error) : 0;
}
