/* SPDX-License-Identifier: BSD-3-Clause */
/* stream_tls.c - TLS on a connection: its probe, its handshake, and its bytes. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "acl/acl.h"
#include "log.h"
#include "net/stream_private.h"
#include "rpc/call.h"
#include "rpc/dispatch.h"
#include "tls/credentials.h"

static struct stream *of_handshake(struct timeout_entry *handshake) {
	return (struct stream *)(void *)((char *)handshake - offsetof(struct stream, handshake));
}

static struct stream *of_turn(struct timeout_entry *turn) {
	return (struct stream *)(void *)((char *)turn - offsetof(struct stream, handshake_turn));
}

/* An audit line, limited in rate, and the end of the connection. */
static void refuse(struct stream *stream, const char *reason) {
	struct streams *streams = stream->streams;
	char name[PEER_TEXT_MAX];
	char more[LOG_LIMIT_TEXT_MAX];

	if (stream->is_closed)
		return;
	streams->tls_refused++;
	if (log_limit_allows(&streams->tls_refusals, streams->now_ms, more))
		log_info("tls refused: %s: %s%s", peer_name_format(&stream->name, name), reason,
			 more);
	stream_close(stream, reason);
}

/* --- The probe ------------------------------------------------------------------------------ */

static bool is_too_weak(const struct stream *stream) {
	switch (stream->streams->limits.tls_policy) {
	case TLS_OFFER:
		return false;
	case TLS_REQUIRE_REMOTE:
		return !peer_is_loopback(&stream->name);
	case TLS_REQUIRE:
		return true;
	}
	return true;
}

void stream_tls_offer(struct stream *stream, struct call *call) {
	if (stream->name.kind != ADDRESS_TCP)
		return;
	if (stream->tls == NULL) {
		call->is_too_weak = is_too_weak(stream);
		call->tls = stream->has_called ? CALL_TLS_REFUSED : CALL_TLS_OFFERED;
	} else {
		call->tls = CALL_TLS_REFUSED;
	}
	stream->has_called = true;
}

/* --- Handshakes ---------------------------------------------------------------------------- */

static bool is_pinned(void *context, const uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]) {
	const struct streams *streams = context;
	const struct acl *acl = dispatch_acl(streams->dispatch);

	return acl != NULL && acl_has_fingerprint(acl, fingerprint);
}

static void end_handshake(struct stream *stream) {
	struct streams *streams = stream->streams;

	timeout_list_remove(&streams->handshake_queue, &stream->handshake_turn);
	if (!stream->handshake.is_listed)
		return;
	timeout_list_remove(&streams->handshakes, &stream->handshake);
	streams->handshake_count--;
	stream->member.peer->handshakes--;
}

void stream_tls_begin(struct stream *stream) {
	struct streams *streams = stream->streams;
	struct peer *peer = stream->member.peer;

	stream->starts_tls = false;
	if (streams->handshake_count == HANDSHAKES_MAX || peer->handshakes == HANDSHAKES_PEER_MAX) {
		refuse(stream, streams->handshake_count == HANDSHAKES_MAX
				   ? "too many handshakes are under way"
				   : "too many handshakes are under way from there");
		return;
	}
	stream->tls =
	    tls_session_new(streams->limits.credentials,
			    &(struct tls_hooks){.is_pinned = is_pinned, .context = streams});
	if (stream->tls == NULL) {
		stream_drop(stream, "no memory for TLS");
		return;
	}
	streams->handshake_count++;
	peer->handshakes++;
	timeout_list_touch(&streams->handshakes, &stream->handshake, streams->now_ms);
}

bool stream_tls_queue(struct stream *stream) {
	struct streams *streams = stream->streams;

	if (tls_session_is_open(stream->tls))
		return false;
	if (!stream->handshake_turn.is_listed)
		timeout_list_touch(&streams->handshake_queue, &stream->handshake_turn,
				   streams->now_ms);
	return true;
}

void streams_run_handshakes(struct streams *streams) {
	while (streams->handshake_queue.first != NULL && streams->handshake_steps > 0) {
		struct stream *stream = of_turn(streams->handshake_queue.first);

		streams->handshake_steps--;
		timeout_list_remove(&streams->handshake_queue, &stream->handshake_turn);
		stream_receive(stream);
		stream_update(stream);
	}
}

/* The handshake is over: the caller is who its certificate says. */
static void open_tls(struct stream *stream) {
	struct streams *streams = stream->streams;
	const struct certificate *certificate = tls_session_take_certificate(stream->tls);
	char principal[PRINCIPAL_TEXT_MAX], name[PEER_TEXT_MAX];

	end_handshake(stream);
	streams->tls_connections++;
	stream->caller.tls = streams->tls_library;
	if (certificate != NULL)
		principal_set_certificate(&stream->caller, certificate);
	log_verbose("tcp connection from %s: TLS, %s", peer_name_format(&stream->name, name),
		    principal_of(&stream->caller, principal));
}

/* --- Bytes --------------------------------------------------------------------------------- */

/* Sends what the library has for the peer by itself. False: it was dropped. */
static bool flush_out(struct stream *stream) {
	struct tls_out *out = &stream->streams->tls_buffers->out;
	bool is_added = send_queue_add_sealed(&stream->send_queue, out->bytes, out->size);
	bool is_empty = out->size == 0;

	out->size = 0;
	if (is_empty)
		return true;
	if (!is_added) {
		stream_drop(stream, "it does not take what TLS has to say, or there is no memory");
		return false;
	}
	stream_flush(stream);
	return !stream->is_closed;
}

ssize_t stream_tls_receive(struct stream *stream, struct recv_buf *buf) {
	struct tls_buffers *buffers = stream->streams->tls_buffers;
	bool was_open = tls_session_is_open(stream->tls);
	enum tls_result result;
	ssize_t got;

	do
		got = recv(stream->handler.fd, buffers->in, sizeof(buffers->in), MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return got;
	result = tls_session_receive(stream->tls, buffers->in, (size_t)got, buf->bytes, &buf->size,
				     &buffers->out);
	if (!was_open && tls_session_is_open(stream->tls))
		open_tls(stream);
	if (!flush_out(stream))
		return -1;
	if (result == TLS_FAILED) {
		refuse(stream, tls_session_error(stream->tls));
		return -1;
	}
	buf->received = buf->size;
	buf->is_filled = (size_t)got == sizeof(buffers->in);
	buf->begins = !record_is_partial(&stream->record);
	if (buf->size > 0)
		return (ssize_t)buf->size;
	errno = EAGAIN;
	return result == TLS_ENDED ? 0 : -1;
}

enum send_queue_state stream_tls_send(struct stream *stream) {
	struct streams *streams = stream->streams;

	return send_queue_flush_tls(&stream->send_queue, stream->handler.fd, stream->tls,
				    &streams->tls_buffers->out, streams->memory);
}

/* The end is told if it fits: what the peer has of the last record tells it, too. */
void stream_tls_close(struct stream *stream) {
	struct streams *streams = stream->streams;
	struct tls_out *out;

	if (stream->tls == NULL)
		return;
	end_handshake(stream);
	out = &streams->tls_buffers->out;
	if (tls_session_is_open(stream->tls) && stream->send_queue.size == 0) {
		tls_session_end(stream->tls, out);
		(void)send(stream->handler.fd, out->bytes, out->size, MSG_DONTWAIT | MSG_NOSIGNAL);
		out->size = 0;
	}
	tls_session_free(stream->tls);
	stream->tls = NULL;
}

/* --- Looking at connections again ---------------------------------------------------------- */

void streams_set_credentials(struct streams *streams, struct credentials *credentials) {
	if (credentials != streams->limits.credentials) {
		credentials_unref(streams->limits.credentials);
		streams->limits.credentials =
		    credentials == NULL ? NULL : credentials_ref(credentials);
	}
	for (struct stream *stream = streams->all; stream != NULL; stream = stream->next)
		stream->is_to_recheck = true;
	streams->recheck = streams->all;
}

/* Why it is to be closed; NULL: it may stay. */
static const char *find_reason(const struct stream *stream) {
	const struct streams *streams = stream->streams;
	const struct acl *acl = dispatch_acl(streams->dispatch);

	if (stream->tls != NULL && tls_session_is_open(stream->tls) &&
	    !tls_session_recheck(stream->tls, streams->limits.credentials))
		return tls_session_error(stream->tls);
	if (acl != NULL && acl_rights_anywhere(acl, &stream->caller) == 0)
		return "its caller has no right any more";
	return NULL;
}

bool stream_recheck(struct stream *stream) {
	struct streams *streams = stream->streams;
	char name[PEER_TEXT_MAX];
	char more[LOG_LIMIT_TEXT_MAX];
	const char *reason;

	stream->is_to_recheck = false;
	reason = find_reason(stream);
	if (reason == NULL)
		return true;
	streams->recheck_closed++;
	if (log_limit_allows(&streams->tls_refusals, streams->now_ms, more))
		log_info("closing %s connection from %s: %s%s", peer_transport(&stream->name),
			 peer_name_format(&stream->name, name), reason, more);
	stream_retire(stream);
	return false;
}

/* Returns whether there are more. */
static bool recheck_some(struct streams *streams) {
	for (unsigned i = 0; i < RECHECKS_PER_TURN && streams->recheck != NULL; i++) {
		struct stream *stream = streams->recheck;

		streams->recheck = stream->next;
		if (stream->is_to_recheck && !stream->is_closed && !stream_recheck(stream))
			stream_update(stream);
	}
	if (streams->recheck != NULL)
		return true;
	if (streams->recheck_closed > 0)
		log_info("%u connections were closed, because their certificate or their rights "
			 "are gone",
			 streams->recheck_closed);
	streams->recheck_closed = 0;
	return false;
}

static uint64_t expire_handshakes(struct streams *streams) {
	while (streams->handshakes.first != NULL) {
		uint64_t due_ms = streams->handshakes.first->since_ms + HANDSHAKE_TIMEOUT_MS;

		if (due_ms > streams->now_ms)
			return due_ms - streams->now_ms;
		refuse(of_handshake(streams->handshakes.first), "its handshake took too long");
	}
	return UINT64_MAX;
}

uint64_t streams_expire_tls(struct streams *streams) {
	uint64_t due_ms = expire_handshakes(streams);
	bool has_more = streams->recheck != NULL && recheck_some(streams);

	return has_more || streams->handshake_queue.first != NULL ? 0 : due_ms;
}
