/* SPDX-License-Identifier: BSD-3-Clause */
#include "server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "suite.h"

enum {
	READY_SECONDS = 60,
	STOP_SECONDS = 60,
	WRAPPER_WORDS = 16,
	ARGUMENTS_MAX = 48,
};

static const char *const via_prefix[VIA_COUNT] = {
    [VIA_TCP] = "tcp:127.0.0.1:", [VIA_TCP6] = "tcp:[::1]:", [VIA_UDP] = "udp:127.0.0.1:",
    [VIA_UDP6] = "udp:[::1]:",	  [VIA_LOCAL] = "local:",
};

void server_program(const char *name, char path[512]) {
	char self[400];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);

	ck_assert_int_gt(length, 0);
	self[length] = '\0';
	/* BUILD/tests/system/NAME_test: three names up. */
	for (int i = 0; i < 3; i++) {
		char *slash = strrchr(self, '/');
		ck_assert_ptr_nonnull(slash);
		*slash = '\0';
	}
	(void)snprintf(path, 512, "%s/%s", self, name);
}

void server_share_kvd(void) {
	char kvd[512], dir[64], copy[80];

	server_program("kvd", kvd);
	suite_directory(dir);
	(void)snprintf(copy, sizeof(copy), "%s/kvd", dir);
	struct run run = run_program(
	    (const char *const[]){"cp", getenv("KVD") != NULL ? getenv("KVD") : kvd, copy, NULL});
	ck_assert_msg(run.status == 0, "%s", run.err);
	run_free(&run);
	ck_assert_int_eq(chmod(copy, 0755), 0);
	ck_assert_int_eq(setenv("KVD", copy, 1), 0);
}

bool server_has_ipv6(void) {
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;

	if (fd >= 0) {
		(void)close(fd);
	}
	return has;
}

char *server_said(const struct server *server) {
	return process_read_file(server->log);
}

static void launch(struct server *server, const char *const arguments[]) {
	char kvd[512];
	char words[512] = "";
	const char *argv[WRAPPER_WORDS + ARGUMENTS_MAX + 2];
	int count = 0;
	char *rest = words;

	server_program("kvd", kvd);
	if (getenv("KVD_WRAPPER") != NULL) {
		(void)snprintf(words, sizeof words, "%s", getenv("KVD_WRAPPER"));
	}
	while (count < WRAPPER_WORDS && (argv[count] = strtok_r(rest, " ", &rest)) != NULL) {
		count++;
	}
	argv[count++] = getenv("KVD") != NULL ? getenv("KVD") : kvd;
	for (int i = 0; arguments[i] != NULL; i++) {
		ck_assert_int_lt(i, ARGUMENTS_MAX);
		argv[count++] = arguments[i];
	}
	argv[count] = NULL;

	int out[2];
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	int err = open(server->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(err, 0);
	struct command command = {.argv = argv, .in = -1, .out = out[1], .err = err};
	process_start(&server->process, &command);
	ck_assert_int_eq(close(out[1]), 0);
	ck_assert_int_eq(close(err), 0);
	server->out = out[0];
}

void server_launch(struct server *server, const char *const arguments[]) {
	*server = (struct server){.out = -1};
	suite_directory(server->dir);
	(void)snprintf(server->log, sizeof server->log, "%s/log", server->dir);
	launch(server, arguments);
}

/* Takes the ports and the path out of "kvd: ready tcp:127.0.0.1:35123 local:/tmp/s". */
static void learn_addresses(struct server *server) {
	static const char start[] = "kvd: ready ";
	char copy[sizeof server->ready];
	char *rest = copy;
	char *word;

	ck_assert_msg(strncmp(server->ready, start, sizeof start - 1) == 0, "not ready: %s",
		      server->ready);
	(void)snprintf(copy, sizeof copy, "%s", server->ready + sizeof start - 1);
	while ((word = strtok_r(rest, " ", &rest)) != NULL) {
		for (int via = 0; via < VIA_COUNT; via++) {
			size_t prefix = strlen(via_prefix[via]);
			if (strncmp(word, via_prefix[via], prefix) != 0) {
				continue;
			}
			if (via == VIA_LOCAL) {
				(void)snprintf(server->socket, sizeof server->socket, "%s",
					       word + prefix);
			} else {
				long port = strtol(word + prefix, NULL, 10);
				ck_assert_msg(port > 0 && port <= UINT16_MAX, "no port: %s", word);
				server->port[via] = (uint16_t)port;
			}
		}
	}
}

bool server_await_ready(struct server *server) {
	uint64_t deadline = suite_now_ms() + READY_SECONDS * 1000;
	size_t size = 0;

	while (memchr(server->ready, '\n', size) == NULL && size < sizeof server->ready - 1) {
		uint64_t now = suite_now_ms();
		struct pollfd ready = {.fd = server->out, .events = POLLIN};
		int found = now < deadline ? poll(&ready, 1, (int)(deadline - now)) : 0;
		if (found != 1) {
			process_describe(&server->process);
			char *said = server_said(server);
			ck_abort_msg("no ready line within %d s; kvd said: %s", READY_SECONDS,
				     said);
		}
		ssize_t got =
		    read(server->out, server->ready + size, sizeof server->ready - 1 - size);
		if (got <= 0) {
			return false;
		}
		size += (size_t)got;
	}
	char *end = memchr(server->ready, '\n', size);
	ck_assert_msg(end == server->ready + size - 1, "more than one line: %s", server->ready);
	*end = '\0';
	learn_addresses(server);
	return true;
}

static void require_ready(struct server *server) {
	if (!server_await_ready(server)) {
		char *said = server_said(server);
		ck_abort_msg("kvd did not start: %s", said);
	}
}

void server_start_with(struct server *server, va_list extra) {
	static const char *const listen[] = {"-n", "-l", "tcp:127.0.0.1:0", "-l",
					     "udp:127.0.0.1:0"};
	static const char *const listen6[] = {"-l", "tcp:[::1]:0", "-l", "udp:[::1]:0"};
	const char *arguments[ARGUMENTS_MAX];
	char socket[128];
	size_t count = sizeof listen / sizeof listen[0];

	*server = (struct server){.out = -1};
	suite_directory(server->dir);
	(void)snprintf(server->log, sizeof server->log, "%s/log", server->dir);
	memcpy(arguments, listen, sizeof listen);
	if (server_has_ipv6()) {
		memcpy(arguments + count, listen6, sizeof listen6);
		count += sizeof listen6 / sizeof listen6[0];
	}
	(void)snprintf(socket, sizeof socket, "local:%s/s", server->dir);
	arguments[count++] = "-l";
	arguments[count++] = socket;

	size_t extras = 0;
	const char *argument;
	while ((argument = va_arg(extra, const char *)) != NULL) {
		ck_assert_uint_lt(extras, SERVER_EXTRA_MAX);
		server->extra[extras++] = argument;
		arguments[count++] = argument;
	}
	arguments[count] = NULL;
	launch(server, arguments);
	require_ready(server);
}

void server_start(struct server *server, ...) {
	va_list extra;

	va_start(extra, server);
	server_start_with(server, extra);
	va_end(extra);
}

static void close_output(struct server *server) {
	if (server->out >= 0) {
		ck_assert_int_eq(close(server->out), 0);
		server->out = -1;
	}
}

void server_restart(struct server *server) {
	const char *arguments[ARGUMENTS_MAX] = {"-n"};
	char addresses[VIA_COUNT][128];
	size_t count = 1;

	server_kill(server);
	for (int via = 0; via < VIA_COUNT; via++) {
		if (via == VIA_LOCAL ? server->socket[0] != '\0' : server->port[via] != 0) {
			server_address(server, (enum via)via, addresses[via]);
			arguments[count++] = "-l";
			arguments[count++] = addresses[via];
		}
	}
	for (size_t i = 0; server->extra[i] != NULL; i++) {
		arguments[count++] = server->extra[i];
	}
	arguments[count] = NULL;
	memset(server->ready, 0, sizeof server->ready);
	launch(server, arguments);
	require_ready(server);
}

int server_wait(struct server *server) {
	int status = process_wait(&server->process, STOP_SECONDS);

	close_output(server);
	return status;
}

void server_stop(struct server *server) {
	process_signal(&server->process, SIGTERM);
	int status = server_wait(server);
	if (status != 0) {
		char *said = server_said(server);
		ck_abort_msg("kvd ended with %d: %s", status, said);
	}
}

void server_kill(struct server *server) {
	process_signal(&server->process, SIGKILL);
	ck_assert_int_eq(server_wait(server), 128 + SIGKILL);
}

void server_check_alive(const struct server *server) {
	if (!process_is_alive(&server->process)) {
		char *said = server_said(server);
		ck_abort_msg("kvd died: %s", said);
	}
}

void server_address(const struct server *server, enum via via, char address[128]) {
	if (via == VIA_LOCAL) {
		(void)snprintf(address, 128, "local:%s", server->socket);
	} else {
		(void)snprintf(address, 128, "%s%u", via_prefix[via], server->port[via]);
	}
}

uint64_t server_memory(const struct server *server) {
	static const char name[] = "\nAnonymous:";
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)server->process.pid);
	char *text = process_read_file(path);
	const char *line = strstr(text, name);
	ck_assert_msg(line != NULL, "%s tells no memory", path);
	uint64_t memory = strtoull(line + sizeof name - 1, NULL, 10) * 1024;
	free(text);
	return memory;
}

struct run server_kvctl(const struct server *server, const char *const words[]) {
	const char *argv[16] = {NULL};
	char path[512];
	char address[128];
	size_t count = 3;

	server_program("kvctl", path);
	server_address(server, VIA_LOCAL, address);
	argv[0] = getenv("KVCTL") != NULL ? getenv("KVCTL") : path;
	argv[1] = "-s";
	argv[2] = address;
	for (size_t i = 0; words[i] != NULL; i++)
		argv[count++] = words[i];
	return run_program(argv);
}
