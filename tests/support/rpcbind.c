/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpcbind.h"

#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "suite.h"

enum { WAIT_MAX_MS = 60000 };

static const char socket_path[] = "/run/rpcbind.sock";

static bool set_loopback_up(void) {
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;

	if (fd >= 0) {
		(void)close(fd);
	}
	return is_up;
}

bool rpcbind_enter_own_network(void) {
	/* Should only the first step work, nothing is lost: the test runs without rpcbind then. */
	return geteuid() == 0 && unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", "/run", "tmpfs", 0, "mode=755") == 0 && set_loopback_up();
}

bool rpcbind_is_there(void) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	memcpy(address.sun_path, socket_path, sizeof socket_path);
	bool answers = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
	ck_assert_int_eq(close(fd), 0);
	return answers;
}

/* What the super-user's programs are found by; an ordinary user's PATH may lack it. */
static void widen_path(void) {
	const char *path = getenv("PATH");
	char wide[4096];

	(void)snprintf(wide, sizeof wide, "%s:/usr/sbin:/sbin", path != NULL ? path : "/usr/bin");
	ck_assert_int_eq(setenv("PATH", wide, 1), 0);
}

void rpcbind_start(struct process *rpcbind) {
	static const char *const argv[] = {"rpcbind", "-f", NULL};
	struct command command = {.argv = argv, .in = -1, .out = -1, .err = -1};
	uint64_t deadline = suite_now_ms() + WAIT_MAX_MS;

	widen_path();
	/* Where it keeps its state; Debian's rpcbind does not make it. */
	(void)mkdir("/run/rpcbind", 0755);
	process_start(rpcbind, &command);
	while (!rpcbind_is_there()) {
		ck_assert_msg(process_is_alive(rpcbind), "rpcbind ended");
		ck_assert_msg(suite_now_ms() < deadline, "rpcbind does not answer");
		suite_pause_ms(10);
	}
}

bool rpcbind_have(const char *what) {
	struct process rpcbind;

	if (rpcbind_enter_own_network()) {
		rpcbind_start(&rpcbind);
		return true;
	}
	widen_path();
	if (!rpcbind_is_there()) {
		suite_skip("%s: no rpcbind runs, and only root may start one", what);
		return false;
	}
	return true;
}

uint32_t rpcbind_program(char text[16]) {
	uint32_t chance;

	ck_assert_int_eq(getrandom(&chance, sizeof chance, 0), sizeof chance);
	/* 0x20000000 to 0x3fffffff are for users to choose from: RFC 5531, 8.2. */
	uint32_t program = 0x20000000 | (chance & 0x1fffffff);
	(void)snprintf(text, 16, "%u", program);
	return program;
}

bool rpcbind_knows(uint32_t program, const char *netid, char address[128]) {
	static const char *const argv[] = {"rpcinfo", NULL};
	struct run run = run_program(argv);
	char *rest = run.out;
	char *line;
	bool knows = false;

	/* program version netid address service owner */
	while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
		unsigned found_program;
		unsigned version;
		char found_netid[16];
		if (sscanf(line, "%u %u %15s %127s", &found_program, &version, found_netid,
			   address) == 4 &&
		    found_program == program && version == 1 && strcmp(found_netid, netid) == 0) {
			knows = true;
			break;
		}
	}
	run_free(&run);
	return knows;
}

static void await(uint32_t program, const char *netid, bool wanted) {
	uint64_t deadline = suite_now_ms() + WAIT_MAX_MS;
	char address[128];

	while (rpcbind_knows(program, netid, address) != wanted) {
		ck_assert_msg(suite_now_ms() < deadline, "rpcbind %s program %u on %s",
			      wanted ? "does not know" : "still knows", program, netid);
		suite_pause_ms(50);
	}
}

void rpcbind_await(uint32_t program, const char *netid) {
	await(program, netid, true);
}

void rpcbind_await_gone(uint32_t program, const char *netid) {
	await(program, netid, false);
}
