/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPCBIND_H
#define RPCBIND_H

/*
 * rpcbind.h - an rpcbind for a test: one of its own in its own network namespace if the test runs
 * as root, else the machine's.
 */

#include <stdbool.h>
#include <stdint.h>

#include "process.h"

/*
 * Moves this process (a test's fork) into a network and a /run of its own, where no rpcbind runs.
 * False: it may not.
 */
bool rpcbind_enter_own_network(void);

/* Starts an rpcbind there, and waits until it answers. */
void rpcbind_start(struct process *rpcbind);

/*
 * Makes sure that some rpcbind answers: one of the test's own if it may, else the machine's. False:
 * there is none, and "skip: WHAT ..." was printed.
 */
bool rpcbind_have(const char *what);

/* Whether rpcbind answers on this machine. */
bool rpcbind_is_there(void);

/* A program number that is not in use, as an option of kvd takes it. */
uint32_t rpcbind_program(char text[16]);

/*
 * The address ("127.0.0.1.138.17", or a path) under which rpcbind knows the program on this
 * transport ("tcp", "udp6", "local"); false: it does not.
 */
bool rpcbind_knows(uint32_t program, const char *netid, char address[128]);

/* Waits until it knows the program there, and until it does not. */
void rpcbind_await(uint32_t program, const char *netid);
void rpcbind_await_gone(uint32_t program, const char *netid);

#endif
