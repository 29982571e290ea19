/* SPDX-License-Identifier: BSD-3-Clause */
#include "durable_load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <kv/kv.h>

enum {
	FILE_SIZE = 64 << 20,
	SAMPLES_MAX = 1 << 20,
	FILL_HANDLES = 4,
	FILLERS = 256, /* many, for large batches: a slow disk is filled quickly, too */
};

void die(const char *what) {
	(void)fprintf(stderr, "durable: %s: %s\n", what, strerror(errno));
	exit(1);
}

double now_us(void) {
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

int compare_doubles(const void *a, const void *b) {
	const double *one = a;
	const double *other = b;

	return (*one > *other) - (*one < *other);
}

int connect_to(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
	    (int)sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	for (int tries = 0; tries < WAIT_S * 1000; tries++) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
		(void)usleep(1000);
	}
	die(path);
}

/* --- One thing after another, and how long each took --------------------------------------------
 */

struct series {
	double from_us; /* what began sooner is warm-up */
	double until_us;
	double sum_us;
	uint64_t count;
	double us[SAMPLES_MAX];
};

static struct series *begin_series(int for_ms) {
	static struct series series;

	series.from_us = now_us() + WARM_UP_MS * 1e3;
	series.until_us = series.from_us + for_ms * 1e3;
	series.sum_us = 0;
	series.count = 0;
	return &series;
}

static void add_to_series(struct series *series, double began_us, double ended_us) {
	if (began_us < series->from_us || series->count == SAMPLES_MAX)
		return;
	series->us[series->count++] = ended_us - began_us;
	series->sum_us += ended_us - began_us;
}

static double median_of(struct series *series) {
	qsort(series->us, series->count, sizeof(series->us[0]), compare_doubles);
	return series->count == 0 ? 0 : series->us[series->count / 2];
}

/* --- Clients ------------------------------------------------------------------------------------
 */

static void *call_until(void *context) {
	struct load *load = context;
	struct kv_options options = {.server = load->server};
	struct kv_client *client = NULL;
	char value[VALUE_SIZE] = {0};
	struct kv_value got;
	double began = now_us();
	char text[16];
	struct kv_bytes key = {text, (size_t)snprintf(text, sizeof(text), "%s%03d",
						      load->reads ? "own" : "key", load->number)};

	if (kv_open(&options, &client) != KV_OK ||
	    kv_put(client, key, (struct kv_bytes){value, sizeof(value)}, KV_ANY, NULL) != KV_OK)
		die("kv_open");
	while (began < load->until_us) {
		double ended;

		if (load->reads ? kv_get(client, key, &got) != KV_OK
				: kv_put(client, key, (struct kv_bytes){value, sizeof(value)},
					 KV_ANY, NULL) != KV_OK)
			die("a call");
		if (load->reads)
			kv_value_free(&got);
		ended = now_us();
		if (load->series != NULL)
			add_to_series(load->series, began, ended);
		began = ended;
		load->done++;
	}
	kv_close(client);
	return NULL;
}

static void *set_until(void *context) {
	struct load *load = context;
	char value[VALUE_SIZE + 1];
	char request[256];
	char answer[64];
	int fd = connect_to(load->path);
	int size;

	memset(value, 'v', VALUE_SIZE);
	value[VALUE_SIZE] = '\0';
	size =
	    snprintf(request, sizeof(request), "*3\r\n$3\r\nSET\r\n$6\r\nkey%03d\r\n$%d\r\n%s\r\n",
		     load->number, VALUE_SIZE, value);
	while (now_us() < load->until_us) {
		if (send(fd, request, (size_t)size, 0) != size ||
		    recv(fd, answer, sizeof(answer), 0) != 5 || memcmp(answer, "+OK\r\n", 5) != 0)
			die("SET");
		load->done++;
	}
	(void)close(fd);
	return NULL;
}

void begin_load(struct load *loads, const char *server, const char *path, int clients, int for_ms) {
	for (int i = 0; i < clients; i++) {
		loads[i] = (struct load){.server = server,
					 .path = path,
					 .number = i,
					 .until_us = now_us() + for_ms * 1e3};
		if (pthread_create(&loads[i].thread, NULL, server != NULL ? call_until : set_until,
				   &loads[i]) != 0)
			die("thread");
	}
}

uint64_t end_load(struct load *loads, int clients) {
	uint64_t done = 0;

	for (int i = 0; i < clients; i++) {
		(void)pthread_join(loads[i].thread, NULL);
		done += loads[i].done;
	}
	return done;
}

double run_load(const char *server, const char *path, int clients, int for_ms) {
	static struct load loads[CLIENTS];
	double began = now_us();

	begin_load(loads, server, path, clients, for_ms);
	return (double)end_load(loads, clients) / ((now_us() - began) / 1e6);
}

double call_us(const char *server, bool reads, int for_ms) {
	struct series *series = begin_series(for_ms);
	struct load load = {
	    .server = server, .reads = reads, .series = series, .until_us = series->until_us};

	(void)call_until(&load);
	return median_of(series);
}

/* Keys `first` .. first + count - 1; each client takes the next one. */
struct fill {
	struct kv_client *clients[FILL_HANDLES];
	uint64_t first;
	uint64_t count;
	size_t size;
	_Atomic uint64_t next;
	_Atomic unsigned joined;
};

static void *fill_some(void *context) {
	struct fill *fill = context;
	struct kv_client *client = fill->clients[atomic_fetch_add(&fill->joined, 1) % FILL_HANDLES];
	char *value = calloc(1, fill->size + 1);
	uint64_t number;
	char key[32];

	if (value == NULL)
		die("memory");
	while ((number = atomic_fetch_add(&fill->next, 1)) < fill->count) {
		int size = snprintf(key, sizeof(key), "%010" PRIu64, fill->first + number);

		if (kv_put(client, (struct kv_bytes){key, (size_t)size},
			   (struct kv_bytes){value, fill->size}, KV_ANY, NULL) != KV_OK)
			die("kv_put");
	}
	free(value);
	return NULL;
}

void fill_store(const char *server, uint64_t first, uint64_t count, size_t size) {
	struct kv_options options = {.server = server};
	struct fill fill = {.first = first, .count = count, .size = size};
	pthread_t threads[FILLERS];

	for (int i = 0; i < FILL_HANDLES; i++)
		if (kv_open(&options, &fill.clients[i]) != KV_OK)
			die("kv_open");
	for (int i = 0; i < FILLERS; i++)
		if (pthread_create(&threads[i], NULL, fill_some, &fill) != 0)
			die("thread");
	for (int i = 0; i < FILLERS; i++)
		(void)pthread_join(threads[i], NULL);
	for (int i = 0; i < FILL_HANDLES; i++)
		kv_close(fill.clients[i]);
}

struct sync time_sync(const char *path, size_t size, int for_ms) {
	static char bytes[1 << 20];
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	struct series *series;
	struct stat status;
	struct sync sync;
	off_t offset = 0;
	double last;

	if (fd < 0 || fstat(fd, &status) != 0)
		die(path);
	for (off_t at = status.st_size; at < FILE_SIZE; at += (off_t)sizeof(bytes))
		if (pwrite(fd, bytes, sizeof(bytes), at) < 0)
			die(path);
	if (fsync(fd) != 0)
		die(path);
	series = begin_series(for_ms);
	for (last = now_us(); last < series->until_us;) {
		double now;

		if (pwrite(fd, bytes, size, offset) != (ssize_t)size || fdatasync(fd) != 0)
			die(path);
		offset = (offset + (off_t)size) % (FILE_SIZE / 2);
		now = now_us();
		add_to_series(series, last, now);
		last = now;
	}
	sync.mean_us = series->sum_us / (double)series->count;
	sync.median_us = median_of(series);
	(void)close(fd);
	return sync;
}

double trip_us(const char *server, int for_ms) {
	struct kv_options options = {.server = server};
	struct kv_client *client = NULL;
	struct series *series;
	double last;

	if (kv_open(&options, &client) != KV_OK || kv_ping(client) != KV_OK)
		die("kv_ping");
	series = begin_series(for_ms);
	for (last = now_us(); last < series->until_us;) {
		double now;

		if (kv_ping(client) != KV_OK)
			die("kv_ping");
		now = now_us();
		add_to_series(series, last, now);
		last = now;
	}
	kv_close(client);
	return median_of(series);
}
