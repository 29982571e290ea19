/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CONN_IO_H
#define CONN_IO_H

/*
 * conn_io.h - the bytes of a connection: a socket, in the clear or through TLS. It owns both. One
 * thread sends while another one receives; results are those of the system calls.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "rpc/secure.h"

struct conn_io {
	int fd;
	ino_t inode; /* of the socket */
	bool is_stream;
	struct secure *secure; /* NULL: in the clear */
};

/* Takes ownership of both; `secure` may be NULL. */
void conn_io_init(struct conn_io *io, int fd, bool is_stream, struct secure *secure);

/* Closes the socket, if it is still that one (see socket_close()). Takes no lock. */
void conn_io_close(struct conn_io *io);

/* Sends what is first in `parts`; of a datagram socket each part is one. See secure_send(). */
ssize_t conn_io_send(struct conn_io *io, struct iovec *parts, size_t count);

/* Whether bytes were taken from `parts` that are not sent: they must be sent next, or never. */
bool conn_io_is_staged(const struct conn_io *io);

/* See secure_receive(). */
ssize_t conn_io_receive(struct conn_io *io, void *place, size_t room, int flags);
bool conn_io_has_input(const struct conn_io *io);

/* What the errno `failure` of the functions above means; `text` is room for it. */
const char *conn_io_error(const struct conn_io *io, int failure, char *text, size_t size);

/* Whether with it the server has refused this client. */
bool conn_io_is_refused(const struct conn_io *io, int failure);

#endif
