/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/conn_io.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "rpc/dial.h"

void conn_io_init(struct conn_io *io, int fd, bool is_stream, struct secure *secure) {
	*io = (struct conn_io){
	    .fd = fd, .inode = socket_inode(fd), .is_stream = is_stream, .secure = secure};
}

void conn_io_close(struct conn_io *io) {
	secure_free(io->secure);
	socket_close(io->fd, io->inode);
}

ssize_t conn_io_send(struct conn_io *io, struct iovec *parts, size_t count) {
	const struct msghdr header = {.msg_iov = parts, .msg_iovlen = count};

	if (io->secure != NULL)
		return secure_send(io->secure, io->fd, parts, count);
	return io->is_stream ? sendmsg(io->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT)
			     : socket_send_datagrams(io->fd, parts, count);
}

bool conn_io_is_staged(const struct conn_io *io) {
	return io->secure != NULL && secure_is_staged(io->secure);
}

ssize_t conn_io_receive(struct conn_io *io, void *place, size_t room, int flags) {
	return io->secure != NULL ? secure_receive(io->secure, io->fd, place, room, flags)
				  : recv(io->fd, place, room, flags);
}

bool conn_io_has_input(const struct conn_io *io) {
	return io->secure != NULL && secure_has_input(io->secure);
}

const char *conn_io_error(const struct conn_io *io, int failure, char *text, size_t size) {
	return io->secure != NULL && failure == EPROTO ? secure_error(io->secure)
						       : strerror_r(failure, text, size);
}

bool conn_io_is_refused(const struct conn_io *io, int failure) {
	return io->secure != NULL && failure == EPROTO && secure_is_refused(io->secure);
}
