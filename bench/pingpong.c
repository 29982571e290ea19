/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pingpong.c - one call at a time to the raw echo, with blocking calls and nothing else: the least
 * latency that a client on this machine can have.
 *
 *	pingpong ADDRESS get|put VALUE_BYTES MS
 *
 * Prints the latencies in microseconds, a name and a value on a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "connection.h"
#include "histogram.h"
#include "log.h"
#include "protocol.h"

enum { SIZE_MAX_BYTES = 1 << 20 };

static bool play(int fd, const uint32_t sizes[2], uint8_t *bytes, unsigned ms,
		 struct histogram *latencies) {
	uint64_t begin_ns = clock_ns();
	uint64_t end_ns = begin_ns + (uint64_t)ms * 1000000;

	while (begin_ns < end_ns) {
		uint64_t now_ns = 0;
		memcpy(bytes, sizes, 2 * sizeof(sizes[0]));
		if (!protocol_send(fd, bytes, sizes[0]) || !protocol_receive(fd, bytes, sizes[1]))
			return false;
		now_ns = clock_ns();
		histogram_add(latencies, now_ns - begin_ns);
		begin_ns = now_ns;
	}
	return true;
}

int main(int argc, char **argv) {
	static uint8_t bytes[SIZE_MAX_BYTES];
	static struct histogram latencies;
	struct address server;
	enum op_type work = WORK_GET;
	size_t call = 0;
	size_t reply = 0;
	int fd = -1;

	log_open("pingpong", 0);
	if (argc != 5 || address_parse(argv[1], &server) != NULL) {
		log_error("usage: pingpong ADDRESS get|put VALUE_BYTES MS");
		return 2;
	}
	if (strcmp(argv[2], "put") == 0)
		work = WORK_PUT;
	protocol_kv_sizes(work, strtoul(argv[3], NULL, 10), &call, &reply);
	if (call > sizeof(bytes) || reply > sizeof(bytes)) {
		log_error("the value has at most half a megabyte");
		return 2;
	}
	fd = connection_dial(&server);
	if (fd < 0 || !play(fd, (uint32_t[]){(uint32_t)call, (uint32_t)reply}, bytes,
			    (unsigned)strtoul(argv[4], NULL, 10), &latencies))
		return 1;
	(void)close(fd);
	printf("mean_us %.2f\np50_us %.2f\np99_us %.2f\n", histogram_mean(&latencies) / 1e3,
	       (double)histogram_quantile(&latencies, 0.5) / 1e3,
	       (double)histogram_quantile(&latencies, 0.99) / 1e3);
	return 0;
}
