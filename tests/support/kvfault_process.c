/* SPDX-License-Identifier: BSD-3-Clause */
#include "kvfault_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "suite.h"

enum { WAIT_MAX_MS = 60000, STOP_SECONDS = 60, LINE_MAX_SIZE = 2048, ROUTE_TEXT = 300 };

uint64_t fault_seed(void) {
	const char *wanted = getenv("SEED");
	uint32_t seed;

	if (wanted != NULL)
		return strtoull(wanted, NULL, 10);
	ck_assert_int_eq(getrandom(&seed, sizeof seed, 0), sizeof seed);
	return seed;
}

/* Reads up to the end of a line, which it leaves out. */
static void read_line(int fd, char line[LINE_MAX_SIZE]) {
	uint64_t deadline = suite_now_ms() + WAIT_MAX_MS;
	size_t size = 0;

	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		uint64_t now = suite_now_ms();

		ck_assert_msg(now < deadline && size < LINE_MAX_SIZE, "kvfault does not answer");
		if (poll(&ready, 1, (int)(deadline - now)) <= 0)
			continue;
		ck_assert_msg(read(fd, line + size, 1) == 1, "kvfault has ended");
		if (line[size] == '\n')
			break;
		size++;
	}
	line[size] = '\0';
}

static void learn_addresses(struct fault *fault) {
	char line[LINE_MAX_SIZE];
	char *rest = line;

	read_line(fault->out, line);
	ck_assert_msg(strncmp(line, "kvfault: ready ", 15) == 0, "not ready: %s", line);
	rest += 15;
	for (size_t i = 0; i < fault->count; i++) {
		char *word = strtok_r(rest, " ", &rest);

		ck_assert_ptr_nonnull(word);
		(void)snprintf(fault->addresses[i], sizeof fault->addresses[i], "%s", word);
	}
}

static void connect_control(struct fault *fault, const char *path) {
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	(void)snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	fault->control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fault->control, 0);
	ck_assert_int_eq(connect(fault->control, (struct sockaddr *)&at, sizeof at), 0);
}

static void write_route(const struct server *server, enum via via, const char *dir, size_t number,
			char text[ROUTE_TEXT]) {
	static const char *const listens[VIA_COUNT] = {
	    [VIA_TCP] = "tcp:127.0.0.1:0",
	    [VIA_TCP6] = "tcp:[::1]:0",
	    [VIA_UDP] = "udp:127.0.0.1:0",
	    [VIA_UDP6] = "udp:[::1]:0",
	};
	char to[128];

	server_address(server, via, to);
	if (via == VIA_LOCAL)
		(void)snprintf(text, ROUTE_TEXT, "local:%s/%zu=%s", dir, number, to);
	else
		(void)snprintf(text, ROUTE_TEXT, "%s=%s", listens[via], to);
}

void fault_start(struct fault *fault, const struct server *server, const enum via ways[],
		 size_t count) {
	const char *argv[FAULT_ROUTES_MAX + 6];
	char routes[FAULT_ROUTES_MAX][ROUTE_TEXT];
	char program[512], dir[64], control[80], seed[32];
	int out[2];
	size_t words = 0;

	*fault = (struct fault){.count = count, .seed = fault_seed()};
	ck_assert_uint_le(count, FAULT_ROUTES_MAX);
	server_program("tests/kvfault", program);
	suite_directory(dir);
	(void)snprintf(control, sizeof control, "%s/control", dir);
	(void)snprintf(seed, sizeof seed, "%llu", (unsigned long long)fault->seed);
	argv[words++] = program;
	argv[words++] = "-c";
	argv[words++] = control;
	argv[words++] = "-s";
	argv[words++] = seed;
	for (size_t i = 0; i < count; i++) {
		write_route(server, ways[i], dir, i, routes[i]);
		argv[words++] = routes[i];
	}
	argv[words] = NULL;
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	/* It says its seed there: seen if the test fails. */
	struct command command = {.argv = argv, .in = -1, .out = out[1], .err = STDERR_FILENO};
	process_start(&fault->process, &command);
	ck_assert_int_eq(close(out[1]), 0);
	fault->out = out[0];
	learn_addresses(fault);
	connect_control(fault, control);
}

void fault_stop(struct fault *fault) {
	process_signal(&fault->process, SIGTERM);
	ck_assert_int_eq(process_wait(&fault->process, STOP_SECONDS), 0);
	ck_assert_int_eq(close(fault->control), 0);
	ck_assert_int_eq(close(fault->out), 0);
}

static void ask(struct fault *fault, const char *line, char answer[LINE_MAX_SIZE]) {
	size_t size = strlen(line);

	ck_assert_int_eq(send(fault->control, line, size, MSG_NOSIGNAL), (ssize_t)size);
	read_line(fault->control, answer);
}

static void say(struct fault *fault, const char *line, char answer[LINE_MAX_SIZE]) {
	ask(fault, line, answer);
	ck_assert_msg(strncmp(answer, "ok", 2) == 0, "%s: %s", line, answer);
}

void fault_tell(struct fault *fault, const char *format, ...) {
	char line[256], answer[LINE_MAX_SIZE];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	ck_assert_int_lt(size, (int)sizeof line - 1);
	line[size] = '\n';
	line[size + 1] = '\0';
	say(fault, line, answer);
}

void fault_mistake(struct fault *fault, const char *command, const char *says) {
	char line[256], answer[LINE_MAX_SIZE];

	(void)snprintf(line, sizeof line, "%s\n", command);
	ask(fault, line, answer);
	ck_assert_msg(strncmp(answer, "error: ", 7) == 0 && strstr(answer, says) != NULL, "%s: %s",
		      command, answer);
}

uint64_t fault_count(struct fault *fault, unsigned route, const char *name) {
	char line[64] = "status\n", answer[LINE_MAX_SIZE], wanted[32];
	const char *found;

	if (route > 0)
		(void)snprintf(line, sizeof line, "@%u status\n", route);
	say(fault, line, answer);
	(void)snprintf(wanted, sizeof wanted, " %s=", name);
	found = strstr(answer, wanted);
	ck_assert_msg(found != NULL, "no %s in: %s", name, answer);
	return strtoull(found + strlen(wanted), NULL, 10);
}

void fault_await(struct fault *fault, unsigned route, const char *name, uint64_t least) {
	uint64_t deadline = suite_now_ms() + WAIT_MAX_MS;

	while (fault_count(fault, route, name) < least) {
		ck_assert_msg(suite_now_ms() < deadline, "%s does not come to %llu", name,
			      (unsigned long long)least);
		suite_pause_ms(1);
	}
}

uint64_t fault_total(struct fault *fault) {
	static const char *const kinds[] = {"lost", "repeated", "reordered", "cut", "kept"};
	uint64_t total = 0;

	for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		total += fault_count(fault, 0, kinds[i]);
	return total;
}
