/* SPDX-License-Identifier: BSD-3-Clause */
#include "history_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "random.h"

enum {
	/* Every reader of JSON keeps a number below 2^53 (RFC 8259, 6). */
	CLIENT_SHIFT = 64 - 53,
};

struct history_log {
	int fd;
	uint64_t client;
	uint64_t boot;
	atomic_uint_fast64_t last_ns; /* the latest call_ns that was used */
	atomic_int error;	      /* the first */
};

/* FNV-1a of what is in the file; 0 if it cannot be read. */
static uint64_t hash_file(const char *path) {
	FILE *file = fopen(path, "re");
	uint64_t hash = 14695981039346656037u;

	if (file == NULL)
		return 0;
	for (int byte; (byte = fgetc(file)) != EOF;)
		hash = (hash ^ (uint64_t)byte) * 1099511628211u;
	(void)fclose(file);
	return hash;
}

/*
 * A number for the clock that clock_ns() reads: that of this boot of the machine, as it is set in
 * this time namespace. 0 if it is not known.
 */
static uint64_t clock_number(void) {
	uint64_t boot = hash_file("/proc/sys/kernel/random/boot_id");

	return boot == 0 ? 0 : (boot ^ hash_file("/proc/self/timens_offsets")) >> CLIENT_SHIFT;
}

/*
 * -1 with errno set. A pipe is refused: opening it may block, and writing to it raises SIGPIPE.
 */
static int open_file(const char *path) {
	int fd =
	    open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	struct stat info;

	if (fd < 0) {
		/* A pipe that no process reads. */
		if (errno == ENXIO)
			errno = EINVAL;
		return -1;
	}
	if (fstat(fd, &info) == 0 && (S_ISREG(info.st_mode) || S_ISCHR(info.st_mode)) &&
	    fcntl(fd, F_SETFL, O_APPEND) == 0)
		return fd;
	(void)close(fd);
	errno = EINVAL;
	return -1;
}

enum kv_status history_log_open(const char *path, struct history_log **log) {
	int fd = open_file(path);

	*log = NULL;
	if (fd < 0)
		return KV_INVALID;
	*log = calloc(1, sizeof(**log));
	if (*log == NULL) {
		(void)close(fd);
		return KV_NOMEM;
	}
	(*log)->fd = fd;
	(*log)->client = random_id() >> CLIENT_SHIFT;
	(*log)->boot = clock_number();
	atomic_init(&(*log)->last_ns, 0);
	atomic_init(&(*log)->error, 0);
	return KV_OK;
}

void history_log_close(struct history_log *log, bool is_child) {
	if (log == NULL)
		return;
	if (!is_child)
		(void)close(log->fd);
	free(log);
}

/* write(2) that raises no SIGXFSZ where the size of files is limited (setrlimit(2)). */
static ssize_t write_quietly(int fd, const char *data, size_t size) {
	const struct timespec now = {0};
	sigset_t too_big, before;
	ssize_t written;
	int error;

	(void)sigemptyset(&too_big);
	(void)sigaddset(&too_big, SIGXFSZ);
	(void)pthread_sigmask(SIG_BLOCK, &too_big, &before);
	written = write(fd, data, size);
	error = errno;
	if (written < 0 && error == EFBIG && sigismember(&before, SIGXFSZ) == 0)
		(void)sigtimedwait(&too_big, NULL, &now);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return written;
}

static bool fail(struct history_log *log, int error) {
	int none = 0;

	(void)atomic_compare_exchange_strong(&log->error, &none, error);
	return false;
}

/* The rest of a note whose beginning was written goes after it, or the line is of no use. */
static bool write_all(struct history_log *log, const char *text, size_t size) {
	size_t done = 0;

	while (done < size) {
		ssize_t written = write_quietly(log->fd, text + done, size - done);
		if (written > 0)
			done += (size_t)written;
		else if (written == 0 || errno != EINTR)
			return fail(log, written == 0 ? EIO : errno);
	}
	return true;
}

static bool note(struct history_log *log, const struct history_call *parts, size_t count) {
	char *text = NULL;
	size_t size = 0;
	bool is_noted = true;

	for (size_t i = 0; i < count && is_noted; i++) {
		size_t length = 0;
		char *line = history_line(&parts[i], &length);
		char *longer = line == NULL ? NULL : realloc(text, size + length);

		is_noted = longer != NULL || fail(log, ENOMEM);
		if (longer != NULL) {
			text = longer;
			memcpy(text + size, line, length);
			size += length;
		}
		free(line);
	}
	is_noted = is_noted && write_all(log, text, size);
	free(text);
	return is_noted;
}

/*
 * Client and time identify a call, so no two have the same time. A later time than that of the
 * clock does no harm: the call is sent afterwards.
 */
static uint64_t next_time(struct history_log *log) {
	uint_fast64_t last_ns = atomic_load(&log->last_ns);
	uint64_t now_ns;

	do {
		now_ns = clock_ns();
		if (now_ns <= last_ns)
			now_ns = last_ns + 1;
	} while (!atomic_compare_exchange_weak(&log->last_ns, &last_ns, now_ns));
	return now_ns;
}

enum kv_status history_log_begin(struct history_log *log, struct history_call *parts,
				 size_t count) {
	uint64_t call_ns = next_time(log);

	for (size_t i = 0; i < count; i++) {
		parts[i].client = log->client;
		parts[i].boot = log->boot;
		parts[i].call_ns = call_ns;
		parts[i].return_ns = HISTORY_OPEN;
	}
	if (parts[0].op == HISTORY_GET || note(log, parts, count))
		return KV_OK;
	return KV_INVALID;
}

void history_log_end(struct history_log *log, struct history_call *parts, size_t count) {
	uint64_t return_ns = clock_ns();

	/* next_time() may have been ahead of the clock. */
	if (return_ns < parts[0].call_ns)
		return_ns = parts[0].call_ns;
	for (size_t i = 0; i < count; i++)
		parts[i].return_ns = return_ns;
	(void)note(log, parts, count);
}

uint64_t history_log_hold(struct history_log *log, struct kv_bytes name, uint64_t token) {
	struct history_call hold = {.op = HISTORY_HOLD, .key = name, .expected = token};

	(void)history_log_begin(log, &hold, 1);
	return hold.call_ns;
}

void history_log_hold_end(struct history_log *log, struct kv_bytes name, uint64_t token,
			  uint64_t began, uint64_t late_ms) {
	const uint64_t now_ns = clock_ns();
	const uint64_t late_ns = late_ms * 1000000;
	struct history_call hold = {.client = log->client,
				    .boot = log->boot,
				    .op = HISTORY_HOLD,
				    .key = name,
				    .expected = token,
				    .call_ns = began,
				    .return_ns = began};

	if (now_ns > began && now_ns - began > late_ns)
		hold.return_ns = now_ns - late_ns;
	(void)note(log, &hold, 1);
}

int history_log_error(const struct history_log *log) {
	return atomic_load(&log->error);
}
