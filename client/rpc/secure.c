/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/secure.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"

enum {
	/* Bytes encrypted: those of one call, or of the handshake, which has a client's chain. */
	OUT_SIZE = SECURE_SENT_MAX + 16 * TLS_OVERHEAD_MAX,
};

struct secure {
	const struct tls_plugin *plugin;
	struct tls_session *session;

	/* The sender's. out[out_sent .. out_size) is encrypted and not sent. */
	size_t out_size;
	size_t out_sent;
	size_t staged; /* bytes that are encrypted in `out` */
	uint8_t plain[TLS_RECORD_MAX];
	uint8_t out[OUT_SIZE];

	/* The reader's. in[in_taken .. in_size) came and is not taken by the session. */
	size_t in_size;
	size_t in_taken;
	uint8_t in[SECURE_IN_SIZE];
	enum tls_result failure;
	char error[TLS_ERROR_MAX];
};

/* --- What the session sees ---------------------------------------------------------------------
 */

static size_t take(void *context, void *data, size_t size) {
	struct secure *secure = context;
	const size_t left = secure->in_size - secure->in_taken;

	if (size > left)
		size = left;
	memcpy(data, secure->in + secure->in_taken, size);
	secure->in_taken += size;
	return size;
}

static bool give(void *context, const void *data, size_t size) {
	struct secure *secure = context;

	if (size > OUT_SIZE - secure->out_size)
		return false;
	memcpy(secure->out + secure->out_size, data, size);
	secure->out_size += size;
	return true;
}

enum tls_result secure_new(const struct tls_plugin *plugin, const struct tls_config *config,
			   struct secure **secure, char error[TLS_ERROR_MAX]) {
	struct secure *made = calloc(1, sizeof(*made));
	const struct tls_wire wire = {.context = made, .take = take, .give = give};
	enum tls_result result;

	*secure = NULL;
	if (made == NULL) {
		(void)snprintf(error, TLS_ERROR_MAX, "no memory for TLS");
		return TLS_NOMEM;
	}
	made->plugin = plugin;
	result = plugin->open(config, &wire, &made->session, error);
	if (result != TLS_OK) {
		free(made);
		return result;
	}
	*secure = made;
	return TLS_OK;
}

void secure_free(struct secure *secure) {
	if (secure == NULL)
		return;
	secure->plugin->close(secure->session);
	free(secure);
}

/* --- The socket ---------------------------------------------------------------------------------
 */

/* Sends what is encrypted. 1: all of it is sent; 0: a part of it was; -1: as send(). */
static int flush(struct secure *secure, int fd) {
	ssize_t went = send(fd, secure->out + secure->out_sent, secure->out_size - secure->out_sent,
			    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (went < 0)
		return -1;
	secure->out_sent += (size_t)went;
	if (secure->out_sent < secure->out_size)
		return 0;
	secure->out_sent = 0;
	secure->out_size = 0;
	return 1;
}

/* As recv(), into the empty `in`. */
static ssize_t refill(struct secure *secure, int fd, int flags) {
	ssize_t came = recv(fd, secure->in, SECURE_IN_SIZE, flags);

	secure->in_taken = 0;
	secure->in_size = came > 0 ? (size_t)came : 0;
	return came;
}

static void await(int fd, short events, uint64_t deadline_ms) {
	struct pollfd wanted = {.fd = fd, .events = events};
	const uint64_t now_ms = clock_ms();
	const uint64_t left_ms = deadline_ms > now_ms ? deadline_ms - now_ms : 0;

	/* An error of poll() is one of the socket: recv() or send() returns it. */
	(void)poll(&wanted, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX);
}

/* TLS_OK: all is sent. TLS_AGAIN: the time was up. */
static enum tls_result send_flight(struct secure *secure, int fd, uint64_t deadline_ms,
				   char error[TLS_ERROR_MAX]) {
	char text[64];

	while (secure->out_size > 0) {
		if (flush(secure, fd) >= 0 || errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			(void)snprintf(error, TLS_ERROR_MAX, "%s",
				       strerror_r(errno, text, sizeof(text)));
			return TLS_FAILED;
		}
		if (clock_ms() >= deadline_ms)
			return TLS_AGAIN;
		await(fd, POLLOUT, deadline_ms);
	}
	return TLS_OK;
}

/* TLS_OK: bytes came. TLS_AGAIN: the time was up. */
static enum tls_result await_flight(struct secure *secure, int fd, uint64_t deadline_ms,
				    char error[TLS_ERROR_MAX]) {
	char text[64];
	ssize_t came;

	while ((came = refill(secure, fd, MSG_DONTWAIT)) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			(void)snprintf(error, TLS_ERROR_MAX, "%s",
				       strerror_r(errno, text, sizeof(text)));
			return TLS_FAILED;
		}
		if (clock_ms() >= deadline_ms)
			return TLS_AGAIN;
		await(fd, POLLIN, deadline_ms);
	}
	if (came > 0)
		return TLS_OK;
	(void)snprintf(error, TLS_ERROR_MAX, "the server hung up in the TLS handshake");
	return TLS_FAILED;
}

enum tls_result secure_handshake(struct secure *secure, int fd, uint64_t deadline_ms,
				 char error[TLS_ERROR_MAX]) {
	enum tls_result result;
	enum tls_result moved;

	for (;;) {
		result = secure->plugin->handshake(secure->session, error);
		if (result != TLS_OK && result != TLS_AGAIN) {
			/* The alert that says why, if it goes without waiting. */
			if (secure->out_size > 0)
				(void)flush(secure, fd);
			return result;
		}
		moved = send_flight(secure, fd, deadline_ms, error);
		if (moved == TLS_OK && result == TLS_OK)
			return TLS_OK;
		if (moved == TLS_OK && secure->in_taken == secure->in_size)
			moved = await_flight(secure, fd, deadline_ms, error);
		if (moved == TLS_OK && clock_ms() >= deadline_ms)
			moved = TLS_AGAIN;
		if (moved == TLS_AGAIN)
			(void)snprintf(error, TLS_ERROR_MAX, "the TLS handshake does not end");
		if (moved != TLS_OK)
			return moved;
	}
}

/* --- Sending ------------------------------------------------------------------------------------
 */

/* Copies up to a record of `parts`, from `skipped` bytes on, into `plain`. Returns its size. */
static size_t gather(struct secure *secure, const struct iovec *parts, size_t count,
		     size_t skipped) {
	size_t size = 0;

	for (size_t i = 0; i < count && size < TLS_RECORD_MAX; i++) {
		size_t left = parts[i].iov_len;
		size_t from = skipped < left ? skipped : left;

		skipped -= from;
		left -= from;
		if (left > TLS_RECORD_MAX - size)
			left = TLS_RECORD_MAX - size;
		if (left > 0)
			memcpy(secure->plain + size, (uint8_t *)parts[i].iov_base + from, left);
		size += left;
	}
	return size;
}

static bool stage(struct secure *secure, const struct iovec *parts, size_t count) {
	while (secure->staged < SECURE_SENT_MAX) {
		const size_t size = gather(secure, parts, count, secure->staged);

		if (size == 0)
			break;
		if (!secure->plugin->encrypt(secure->session, secure->plain, size))
			return false;
		secure->staged += size;
	}
	return true;
}

ssize_t secure_send(struct secure *secure, int fd, const struct iovec *parts, size_t count) {
	size_t sent;
	int flushed;

	if (secure->staged == 0 && !stage(secure, parts, count)) {
		errno = ENOMEM;
		return -1;
	}
	flushed = flush(secure, fd);
	if (flushed <= 0)
		return flushed;
	sent = secure->staged;
	secure->staged = 0;
	return (ssize_t)sent;
}

bool secure_is_staged(const struct secure *secure) {
	return secure->staged > 0;
}

/* --- Receiving ----------------------------------------------------------------------------------
 */

/* Bytes of the server, decrypted; -1: as secure_receive(). */
static ssize_t decrypt(struct secure *secure, void *place, size_t room) {
	size_t size = 0;

	/* After a message of the handshake, as a ticket, the session stops though more is there. */
	do
		secure->failure =
		    secure->plugin->decrypt(secure->session, place, room, &size, secure->error);
	while (secure->failure == TLS_AGAIN && secure->in_taken < secure->in_size);
	switch (secure->failure) {
	case TLS_OK:
		return (ssize_t)size;
	case TLS_CLOSED:
		return 0;
	case TLS_AGAIN:
		errno = EINPROGRESS;
		return -1;
	case TLS_REFUSED:
	case TLS_FAILED:
	case TLS_UNUSABLE:
	case TLS_NOMEM:
		break;
	}
	errno = EPROTO;
	return -1;
}

bool secure_has_input(const struct secure *secure) {
	return secure->in_taken < secure->in_size || secure->plugin->has_plain(secure->session);
}

ssize_t secure_receive(struct secure *secure, int fd, void *place, size_t room, int flags) {
	ssize_t came;

	if (secure_has_input(secure)) {
		came = decrypt(secure, place, room);
		if (came >= 0 || errno != EINPROGRESS)
			return came;
	}
	came = refill(secure, fd, flags);
	return came > 0 ? decrypt(secure, place, room) : came;
}

const char *secure_error(const struct secure *secure) {
	return secure->error;
}

bool secure_is_refused(const struct secure *secure) {
	return secure->failure == TLS_REFUSED;
}
