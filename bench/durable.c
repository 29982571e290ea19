/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * durable.c - how fast durable Puts are, beside what they are made of and beside Redis.
 *
 *	durable KVD DIR [REDIS-SERVER]
 *
 * Starts the servers on local sockets in DIR (a directory on the disk to be measured), and measures
 * in turns, several times: one write + fdatasync of the bytes that one Put logs; one round trip;
 *one client's Puts; 64 clients' Puts without a journal and with; batches of that size written and
 * synced alone; and Redis with appendfsync always under the same load. Prints medians and ratios.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kv/kv.h>

enum {
	ROUNDS = 5,
	CLIENTS = 64,
	VALUE_SIZE = 100,
	SINGLE_MS = 1000,
	MANY_MS = 2000,
	LOGGED_SIZE = 216, /* bytes of one such Put in the journal, its batch header included */
	LOGGED_MORE = 152, /* and of each further one in the batch */
	FILE_SIZE = 64 << 20,
};

enum figure { SYNC_US, TRIP_US, PUT_US, PUTS_MEMORY, PUTS_DURABLE, BATCHES_ALONE, REDIS, FIGURES };

static const char *const names[FIGURES] = {
    "one write + fdatasync (us)",
    "one round trip (us)",
    "one durable Put, one client (us)",
    "Puts a second, 64 clients, memory only",
    "Puts a second, 64 clients, durable",
    "the same batches written and synced alone (Puts a second)",
    "Redis SET a second, 64 clients, appendfsync always",
};

static void die(const char *what) {
	(void)fprintf(stderr, "durable: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_us(void) {
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
	const double *one = a;
	const double *other = b;

	return (*one > *other) - (*one < *other);
}

static double median(double *values, size_t count) {
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

/* --- Processes ----------------------------------------------------------------------------------
 */

static pid_t start(const char *const argv[]) {
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		(void)dup2(null, STDOUT_FILENO);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		die(argv[0]);
	}
	return pid;
}

static void stop(pid_t pid) {
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, NULL, 0);
}

static int connect_to(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	for (int tries = 0; tries < 500; tries++) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
		(void)usleep(10000);
	}
	die(path);
	return -1;
}

/* --- The load -----------------------------------------------------------------------------------
 */

struct load {
	const char *server; /* for libkv; NULL: Redis at `path` */
	const char *path;
	double until_us;
	pthread_t thread;
	int number;
	uint64_t done;
};

static void *put_until(void *context) {
	struct load *load = context;
	struct kv_options options = {.server = load->server};
	struct kv_client *client = NULL;
	char value[VALUE_SIZE] = {0};
	char key[16];
	int size = snprintf(key, sizeof(key), "key%03d", load->number);

	if (kv_open(&options, &client) != KV_OK)
		die("kv_open");
	while (now_us() < load->until_us) {
		if (kv_put(client, (struct kv_bytes){key, (size_t)size},
			   (struct kv_bytes){value, sizeof(value)}, KV_ANY, NULL) != KV_OK)
			die("kv_put");
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

/* Calls a second of that many clients, closed loop. */
static double run_load(const char *server, const char *path, int clients, int for_ms) {
	static struct load loads[CLIENTS];
	double began = now_us();
	uint64_t done = 0;

	for (int i = 0; i < clients; i++) {
		loads[i] = (struct load){
		    .server = server, .path = path, .number = i, .until_us = began + for_ms * 1e3};
		if (pthread_create(&loads[i].thread, NULL, server != NULL ? put_until : set_until,
				   &loads[i]) != 0)
			die("thread");
	}
	for (int i = 0; i < clients; i++) {
		(void)pthread_join(loads[i].thread, NULL);
		done += loads[i].done;
	}
	return (double)done / ((now_us() - began) / 1e6);
}

/* --- What a durable Put is made of --------------------------------------------------------------
 */

/* Microseconds for one write of `size` bytes and its fdatasync, in a file that is all there. */
static double sync_us(const char *path, size_t size, int for_ms) {
	static char bytes[1 << 20];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	double began;
	off_t offset = 0;
	int count = 0;

	if (fd < 0)
		die(path);
	for (off_t at = 0; at < FILE_SIZE; at += (off_t)sizeof(bytes))
		if (pwrite(fd, bytes, sizeof(bytes), at) < 0)
			die(path);
	if (fsync(fd) != 0)
		die(path);
	began = now_us();
	while (now_us() - began < for_ms * 1e3) {
		if (pwrite(fd, bytes, size, offset) != (ssize_t)size || fdatasync(fd) != 0)
			die(path);
		offset = (offset + (off_t)size) % (FILE_SIZE / 2);
		count++;
	}
	began = (now_us() - began) / count;
	(void)close(fd);
	(void)unlink(path);
	return began;
}

static double trip_us(const char *server, int for_ms) {
	struct kv_options options = {.server = server};
	struct kv_client *client = NULL;
	double began;
	int count = 0;

	if (kv_open(&options, &client) != KV_OK || kv_ping(client) != KV_OK)
		die("kv_ping");
	began = now_us();
	while (now_us() - began < for_ms * 1e3) {
		(void)kv_ping(client);
		count++;
	}
	began = (now_us() - began) / count;
	kv_close(client);
	return began;
}

int main(int argc, char **argv) {
	char data[256], durable[300], memory[300], redis[300], file[300];
	char durable_address[320], memory_address[320];
	double figures[FIGURES][ROUNDS] = {{0}};
	double medians[FIGURES];
	bool has_redis = argc > 3;
	pid_t pids[3] = {0};
	double batch;

	if (argc < 3) {
		(void)fputs("usage: durable KVD DIR [REDIS-SERVER]\n", stderr);
		return 2;
	}
	(void)snprintf(data, sizeof(data), "%s/data", argv[2]);
	(void)snprintf(durable, sizeof(durable), "%s/durable", argv[2]);
	(void)snprintf(memory, sizeof(memory), "%s/memory", argv[2]);
	(void)snprintf(redis, sizeof(redis), "%s/redis", argv[2]);
	(void)snprintf(file, sizeof(file), "%s/file", argv[2]);
	(void)snprintf(durable_address, sizeof(durable_address), "local:%s", durable);
	(void)snprintf(memory_address, sizeof(memory_address), "local:%s", memory);
	if (mkdir(data, 0700) != 0)
		die(data);
	pids[0] = start((const char *[]){argv[1], "-n", "-d", data, "-l", durable_address, NULL});
	pids[1] = start((const char *[]){argv[1], "-n", "-l", memory_address, NULL});
	if (has_redis)
		pids[2] = start((const char *[]){argv[3], "--port", "0", "--unixsocket", redis,
						 "--dir", argv[2], "--save", "", "--appendonly",
						 "yes", "--appendfsync", "always", NULL});
	for (int round = 0; round < ROUNDS; round++) {
		figures[SYNC_US][round] = sync_us(file, LOGGED_SIZE, SINGLE_MS);
		figures[TRIP_US][round] = trip_us(durable_address, SINGLE_MS);
		figures[PUT_US][round] = 1e6 / run_load(durable_address, NULL, 1, SINGLE_MS);
		figures[PUTS_MEMORY][round] = run_load(memory_address, NULL, CLIENTS, MANY_MS);
		figures[PUTS_DURABLE][round] = run_load(durable_address, NULL, CLIENTS, MANY_MS);
		batch = sync_us(file, LOGGED_SIZE + (CLIENTS - 1) * LOGGED_MORE, SINGLE_MS);
		figures[BATCHES_ALONE][round] = CLIENTS * 1e6 / batch;
		if (has_redis)
			figures[REDIS][round] = run_load(NULL, redis, CLIENTS, MANY_MS);
		(void)fprintf(stderr, "round %d of %d\n", round + 1, ROUNDS);
	}
	for (int i = 0; i < FIGURES; i++) {
		medians[i] = median(figures[i], ROUNDS);
		if (i != REDIS || has_redis)
			(void)printf("%-60s %10.0f\n", names[i], medians[i]);
	}
	batch = medians[PUTS_MEMORY] < medians[BATCHES_ALONE] ? medians[PUTS_MEMORY]
							      : medians[BATCHES_ALONE];
	(void)printf("%-60s %10.2f\n", "one client: Put / (sync + round trip)",
		     medians[PUT_US] / (medians[SYNC_US] + medians[TRIP_US]));
	(void)printf("%-60s %10.2f\n", "64 clients: of min(memory only, batches alone)",
		     medians[PUTS_DURABLE] / batch);
	if (has_redis)
		(void)printf("%-60s %10.2f\n", "64 clients: of Redis",
			     medians[PUTS_DURABLE] / medians[REDIS]);
	for (int i = 0; i < 3; i++)
		if (pids[i] > 0)
			stop(pids[i]);
	return 0;
}
