/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVER_H
#define SERVER_H

/*
 * server.h - a real kvd process in a directory of its own.
 *
 * The program is $KVD, or the kvd that was built beside this test; $KVD_WRAPPER is put before it
 * ("valgrind -q --error-exitcode=99"), with words separated by spaces. Any failure fails the test,
 * and prints what the server logged.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "process.h"

/* The ways to reach a server. */
enum via { VIA_TCP, VIA_TCP6, VIA_UDP, VIA_UDP6, VIA_LOCAL, VIA_COUNT };

enum { SERVER_EXTRA_MAX = 12 };

struct server {
	struct process process;
	int out; /* the server's standard output; -1: closed */
	char dir[64];
	char socket[108];	  /* path of its local socket; empty: it has none */
	char ready[512];	  /* the ready line, without its newline */
	char log[80];		  /* path of what it says on standard error */
	uint16_t port[VIA_COUNT]; /* 0: it does not listen there */
	const char *extra[SERVER_EXTRA_MAX + 1];
};

/*
 * Starts a kvd with -n on any free port of 127.0.0.1 and ::1 (if the machine has it), tcp and udp,
 * and on a local socket; `...` are more arguments, the last one NULL. Waits until it is ready.
 */
void server_start(struct server *server, ...);
void server_start_with(struct server *server, va_list extra);

/* Starts a kvd with these arguments only (the last one NULL). Does not wait. */
void server_launch(struct server *server, const char *const arguments[]);

/* Reads the ready line of a launched server; false: it ended, or closed its output, without one. */
bool server_await_ready(struct server *server);

/* Kills it with SIGKILL and starts it again at the same addresses. Its memory is gone. */
void server_restart(struct server *server);

/* Ends it with SIGTERM, and fails unless it exits with 0 (a sanitizer's report is another). */
void server_stop(struct server *server);

/* Waits for a server that ends by itself: its exit status. */
int server_wait(struct server *server);

/* SIGKILL. */
void server_kill(struct server *server);

/* Fails the test if the server died. */
void server_check_alive(const struct server *server);

/* "tcp:127.0.0.1:35123", as libkv and kvctl take it. */
void server_address(const struct server *server, enum via via, char address[128]);

/* What it said on standard error so far; to be freed. */
char *server_said(const struct server *server);

/* Bytes of memory: anonymous pages that it holds now (its heap and stacks). */
uint64_t server_memory(const struct server *server);

/* Path of a program built beside kvd ("kvctl"). */
void server_program(const char *name, char path[512]);

/*
 * Servers are started from a copy of kvd from here on: another user may not reach the place where
 * kvd was built.
 */
void server_share_kvd(void);

/* Runs kvctl on the server: server_kvctl(&server, WORDS("get", "k")). */
struct run server_kvctl(const struct server *server, const char *const words[]);
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Whether this machine has ::1. */
bool server_has_ipv6(void);

#endif
