/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef LOCAL_SOCKET_H
#define LOCAL_SOCKET_H

/*
 * local_socket.h - a listening local socket at a path of the file system: made, and removed.
 *
 * Servers that start at one path at the same time take turns, by a file PATH.lock beside it that is
 * there only meanwhile. So the socket of a living server is never taken, one that a dead server
 * left behind always is, and of two servers that start together one is refused.
 */

#include <stdbool.h>
#include <sys/types.h>

enum { LOCAL_SOCKET_LOCK_WAIT_MS = 2000 };

struct local_socket {
	int fd;	      /* listening, non-blocking; the caller closes it */
	dev_t device; /* the path's, with: */
	ino_t inode;  /* 0: the path was removed */
};

/*
 * Makes a socket that every user may connect to. False: one line was logged that says why and what
 * to do, and nothing was made. The umask is changed meanwhile, so no other thread may make files.
 */
bool local_socket_open(struct local_socket *local, const char *path);

/*
 * Removes the path unless it leads to something else by now. To be called while the socket still
 * listens: later, another server may take the path between the look and the removal. False: it
 * leads to something else, which stays. Async-signal-safe.
 */
bool local_socket_unlink(struct local_socket *local, const char *path);

#endif
