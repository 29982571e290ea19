/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/conn.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "record_marking.h"
#include "rpc/call_list.h"
#include "rpc/conn_io.h"
#include "rpc/dial.h"
#include "rpc/last_error.h"
#include "rpc/pending_call.h"

enum {
	CHUNK_SIZE = 65536, /* bytes received at once; at least the largest datagram */

	/* How long a sender that is not the reader sleeps before it looks whether there is one. */
	SENDER_NAP_MS = 50,

	/* How long recv() blocks. If less than twice that is left, poll() waits instead. */
	RECEIVE_MS = 200,

	/* So long after something was received, a hang-up of the server is not looked for. */
	FRESH_MS = 2,
};

/* `mutex` guards what follows it; call_list.h says what must stay true of the calls. */
struct conn {
	struct conn_io io;
	bool may_block; /* recv() waits by itself, for at most RECEIVE_MS */
	uint32_t program;
	char name[ADDRESS_TEXT_MAX];
	atomic_uint references;

	/* Written under the mutex, and read without it by functions that only ask. */
	atomic_bool is_broken; /* nothing is received any more */
	atomic_bool is_cut;    /* nothing may be sent: half a record was, or sending failed */
	_Atomic uint64_t received_ms; /* when something was received last; 0: never */

	pthread_mutex_t mutex;
	struct call_list calls;
	bool is_answered;	   /* the server has sent something that TLS, if any, accepts */
	enum kv_status refusal;	   /* if not KV_OK: one side refused the other, `error` says why */
	char error[TLS_ERROR_MAX]; /* why it is broken or cut */
	struct record record; /* being put together; only the reader touches it, as the chunk */

	_Alignas(RECORD_ALIGNMENT) uint8_t chunk[CHUNK_SIZE];
};

/* --- Construction and small questions ------------------------------------------------------ */

/* Takes ownership of what `io` has. NULL: no memory. */
static struct conn *make(struct conn_io *io, const char *name, uint32_t program) {
	struct conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL || pthread_mutex_init(&conn->mutex, NULL) != 0) {
		free(conn);
		conn_io_close(io);
		return NULL;
	}
	conn->io = *io;
	conn->program = program;
	(void)snprintf(conn->name, sizeof(conn->name), "%s", name);
	atomic_init(&conn->references, 1);
	return conn;
}

static struct conn *make_connected(int fd, bool is_stream, struct secure *secure, const char *name,
				   uint32_t program) {
	struct conn_io io;
	struct conn *conn;

	conn_io_init(&io, fd, is_stream, secure);
	conn = make(&io, name, program);
	if (conn != NULL)
		conn->may_block = socket_let_receive_block(fd, RECEIVE_MS);
	return conn;
}

struct conn *conn_new(int fd, bool is_stream, const char *name, uint32_t program) {
	return make_connected(fd, is_stream, NULL, name, program);
}

struct conn *conn_new_secure(int fd, struct secure *secure, const char *name, uint32_t program) {
	return make_connected(fd, true, secure, name, program);
}

struct conn *conn_new_refused(enum kv_status refusal, const char *why, const char *name,
			      uint32_t program) {
	struct conn_io io = {.fd = -1, .is_stream = true};
	struct conn *conn = make(&io, name, program);

	if (conn == NULL)
		return NULL;
	conn->is_broken = true;
	conn->refusal = refusal;
	(void)snprintf(conn->error, sizeof(conn->error), "%s", why);
	return conn;
}

struct conn *conn_ref(struct conn *conn) {
	atomic_fetch_add(&conn->references, 1);
	return conn;
}

/*
 * A child of fork drops links too, and a thread of the parent may have had the mutex at that
 * moment: so only the count is looked at. The socket is closed, not shut down: the parent's
 * connection goes on.
 */
void conn_unref(struct conn *conn) {
	if (conn == NULL || atomic_fetch_sub(&conn->references, 1) != 1)
		return;
	conn_io_close(&conn->io);
	(void)pthread_mutex_destroy(&conn->mutex);
	record_reset(&conn->record);
	free(conn);
}

const char *conn_name(const struct conn *conn) {
	return conn->name;
}

uint32_t conn_program(const struct conn *conn) {
	return conn->program;
}

enum kv_status conn_refusal(const struct conn *conn) {
	return conn->refusal;
}

bool conn_is_stream(const struct conn *conn) {
	return conn->io.is_stream;
}

bool conn_is_usable(const struct conn *conn) {
	return !conn->is_broken && !conn->is_cut;
}

bool conn_received_since(const struct conn *conn, uint64_t since_ms) {
	const uint64_t received_ms = conn->received_ms;

	return received_ms != 0 && received_ms >= since_ms;
}

static void lock(struct conn *conn) {
	(void)pthread_mutex_lock(&conn->mutex);
}

/* Woken any earlier, a thread would only wait for the mutex: two switches more. */
static void unlock(struct conn *conn) {
	struct pending_call *woken = conn->calls.woken;

	conn->calls.woken = NULL;
	(void)pthread_mutex_unlock(&conn->mutex);
	pending_calls_wake(woken);
}

/* --- With the mutex held: messages and the calls that they are for -------------------------- */

static void set_error(struct conn *conn, const char *why) {
	if (conn->error[0] == '\0')
		(void)snprintf(conn->error, sizeof(conn->error), "%s", why);
}

/* Ends sending: each sender leaves in turn. Calls that are sent may still get replies. */
static void cut(struct conn *conn, const char *why) {
	conn->is_cut = true;
	set_error(conn, why);
}

/*
 * Ends receiving. It is the reader that finds out: when it leaves it wakes the next one to
 * be the reader, which leaves as well, and so on. The shutdown wakes a sender in poll().
 */
static void break_conn(struct conn *conn, const char *why) {
	conn->is_broken = true;
	cut(conn, why);
	(void)shutdown(conn->io.fd, SHUT_RDWR);
}

/* A complete record. One without a call is a late reply. */
static void receive_record(struct conn *conn, struct kv_bytes whole) {
	struct pending_call *call = call_list_find(&conn->calls, whole);

	if (call != NULL && !call_list_serve_in_place(&conn->calls, call, whole))
		call_list_serve(&conn->calls, call, record_detach(&conn->record, whole),
				whole.size);
	record_reset(&conn->record);
	if (whole.size < XID_SIZE)
		break_conn(conn, "the server sent a record too short for a reply");
}

/* The rest of a reply cannot be stored: its call ends so; for the others the connection is lost. */
static void run_out_of_memory(struct conn *conn) {
	struct kv_bytes begun = {.data = conn->record.data, .size = conn->record.size};
	struct pending_call *call = call_list_find(&conn->calls, begun);

	if (call != NULL)
		call_list_serve(&conn->calls, call, NULL, 0);
	break_conn(conn, "no memory for a reply");
}

/* The reply that is coming in gives its call more time. */
static void extend_partial(struct conn *conn) {
	const struct kv_bytes begun = {.data = conn->record.data, .size = conn->record.size};
	struct pending_call *call =
	    record_is_partial(&conn->record) ? call_list_find(&conn->calls, begun) : NULL;

	if (call != NULL)
		pending_call_extend(call, conn->received_ms);
}

static void receive_stream_bytes(struct conn *conn, const uint8_t *bytes, size_t size) {
	struct kv_bytes whole;

	do {
		switch (record_feed(&conn->record, &bytes, &size, CONN_RECORD_MAX, &whole)) {
		case RECORD_MORE:
			break;
		case RECORD_COMPLETE:
			receive_record(conn, whole);
			break;
		case RECORD_INVALID:
			break_conn(conn,
				   "the server sent what is no RPC record (is it a kv server?)");
			break;
		case RECORD_NOMEM:
		case RECORD_HEAD_ONLY:
			run_out_of_memory(conn);
			break;
		}
	} while (size > 0 && !conn->is_broken);
	extend_partial(conn);
}

static void receive_datagram(struct conn *conn, size_t size) {
	const struct kv_bytes whole = {.data = conn->chunk, .size = size};
	struct pending_call *call = call_list_find(&conn->calls, whole);

	if (call == NULL || call_list_serve_in_place(&conn->calls, call, whole))
		return;
	uint8_t *data = malloc(size);
	if (data != NULL)
		memcpy(data, conn->chunk, size);
	call_list_serve(&conn->calls, call, data, size);
}

/* The buffer for the next recv(): the record itself if much of it is still to come. */
static struct iovec receive_place(struct conn *conn) {
	uint8_t *place = NULL;
	size_t room = 0;

	if (conn->io.is_stream && !record_direct_buffer(&conn->record, &place, &room))
		run_out_of_memory(conn);
	return room > 0 ? (struct iovec){place, room} : (struct iovec){conn->chunk, CHUNK_SIZE};
}

/*
 * What a server sends before its first reply to say that it refuses this client is final: the same
 * again would be refused too. Later it is a lost connection like others.
 */
static void fail_to_receive(struct conn *conn, int failure) {
	char text[64];
	const char *why = conn_io_error(&conn->io, failure, text, sizeof(text));

	if (!conn->is_answered && conn_io_is_refused(&conn->io, failure)) {
		conn->refusal = KV_DENIED;
		(void)snprintf(conn->error, sizeof(conn->error), "%s", why);
	}
	break_conn(conn, why);
}

/* The result of conn_io_receive(): `came` bytes at `place`, or an errno. */
static void on_received(struct conn *conn, struct pending_call *me, const uint8_t *place,
			ssize_t came, int failure) {
	if (came < 0) {
		if (failure == EAGAIN) {
			me->may_have_input = false;
		} else if (failure == EINPROGRESS) {
			conn->received_ms = me->now_ms;
			extend_partial(conn);
		} else if (failure != EINTR) {
			fail_to_receive(conn, failure);
		}
		return;
	}
	if (came == 0 && conn->io.is_stream) {
		break_conn(conn, "the server closed the connection");
		return;
	}
	conn->received_ms = me->now_ms;
	conn->is_answered = true;
	if (!conn->io.is_stream) {
		receive_datagram(conn, (size_t)came);
	} else if (place == conn->chunk) {
		receive_stream_bytes(conn, place, (size_t)came);
	} else {
		record_direct_filled(&conn->record, (size_t)came);
		receive_stream_bytes(conn, conn->chunk, 0);
	}
}

/* The result of conn_io_send() for the first `count` of the queue. False: the socket buffer is
 * full.
 */
static bool count_sent(struct conn *conn, size_t count, ssize_t went, int failure) {
	struct pending_call *call = conn->calls.unsent;
	const bool is_staged = conn_io_is_staged(&conn->io);
	size_t bytes = went > 0 ? (size_t)went : 0;
	char text[64];

	for (size_t i = 0; i < count; i++) {
		struct pending_call *next = call->next_unsent;
		const size_t sent = call->sent;

		call->is_being_sent = false;
		call->is_staged = is_staged;
		bytes = pending_call_count_sent(call, bytes);
		if (went == 0 || (call->sent > sent && (sent > 0 || !pending_call_is_sent(call))))
			pending_call_extend(call, clock_ms());
		if (pending_call_is_sent(call))
			conn->calls.unsent = next;
		call_list_release_if_served(&conn->calls, call);
		if (call->wants_to_leave)
			call_list_wake(&conn->calls, call);
		call = next;
	}
	call_list_set_first_unsent(&conn->calls, conn->calls.unsent);
	if (went < 0 && failure == EAGAIN)
		return false;
	if (went < 0 && failure != EINTR)
		cut(conn, conn_io_error(&conn->io, failure, text, sizeof(text)));
	return true;
}

/* --- The socket ---------------------------------------------------------------------------- */

/*
 * Sends what is queued; what is queued meanwhile its own first call sends. Called with the mutex
 * held, which is released meanwhile: other threads need not wait for it, and can sleep at once.
 * Returns false if the socket buffer is full.
 */
static bool send_unsent(struct conn *conn) {
	struct iovec parts[SOCKET_SENT_MAX * CALL_PARTS];
	struct pending_call *call = conn->calls.unsent;
	size_t part_count = 0;
	size_t count = 0;
	ssize_t went;
	int failure;

	for (; call != NULL && count < SOCKET_SENT_MAX; count++) {
		call->is_being_sent = true;
		part_count += pending_call_unsent_parts(call, &parts[part_count]);
		call = call->next_unsent;
	}
	unlock(conn);
	went = conn_io_send(&conn->io, parts, part_count);
	failure = errno;
	lock(conn);
	return count_sent(conn, count, went, failure);
}

static void await_socket(const struct conn *conn, struct pending_call *me, bool reads, bool sends) {
	struct pollfd wanted = {
	    .fd = conn->io.fd,
	    .events = (short)((reads ? POLLIN : 0) | (sends ? POLLOUT : 0)),
	};
	uint64_t left_ms = pending_call_left_ms(me);

	if (!reads && left_ms > SENDER_NAP_MS)
		left_ms = SENDER_NAP_MS;
	/* An error of poll() is one of the socket: recv() or sendmsg() returns it. */
	if (poll(&wanted, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX) != 0)
		me->may_have_input = true;
	me->now_ms = clock_ms();
}

/* Called with the mutex held, which is given up meanwhile. */
static void receive(struct conn *conn, struct pending_call *me, int flags) {
	struct iovec place = receive_place(conn);
	ssize_t result;
	int failure;

	unlock(conn);
	result = conn_io_receive(&conn->io, place.iov_base, place.iov_len, flags);
	failure = errno;
	me->now_ms = clock_ms();
	lock(conn);
	on_received(conn, me, place.iov_base, result, failure);
}

/*
 * One step of the sender or the reader. Reading comes first: on an idle connection this notices a
 * server that hung up before anything is sent to it. Called with the mutex held, which is given up
 * meanwhile.
 */
static void step(struct conn *conn, struct pending_call *me) {
	bool reads = conn->calls.reader == me;
	bool sends = conn->calls.unsent == me;

	if (reads && (me->may_have_input || conn_io_has_input(&conn->io))) {
		receive(conn, me, MSG_DONTWAIT);
		return;
	}
	if (reads && !sends && conn->may_block && pending_call_left_ms(me) >= 2 * RECEIVE_MS) {
		receive(conn, me, 0);
		return;
	}
	if (sends && send_unsent(conn)) {
		/* A server that refuses this client has said why before it hung up. */
		if (reads && conn->is_cut && !conn->is_answered && conn->io.secure != NULL)
			receive(conn, me, MSG_DONTWAIT);
		return;
	}
	unlock(conn);
	await_socket(conn, me, reads, sends);
	lock(conn);
}

/* --- One call ------------------------------------------------------------------------------ */

/* A message is being sent for no longer than sendmsg() takes, which does not block. */
static void await_own_message(struct conn *conn, struct pending_call *me) {
	me->wants_to_leave = true;
	while (me->is_being_sent) {
		me->is_asleep = true;
		unlock(conn);
		pending_call_wait(me);
		lock(conn);
	}
	me->wants_to_leave = false;
}

/* True: it was served and removed from the lists; the mutex is not held then. */
static bool sleep_until_woken(struct conn *conn, struct pending_call *me) {
	const uint64_t until_ms = pending_call_until_ms(me);
	bool is_woken;

	me->is_asleep = true;
	me->is_removed = false;
	unlock(conn);
	is_woken = pending_call_sleep(me, until_ms);
	if (is_woken && me->is_removed)
		return true;
	lock(conn);
	if (!is_woken && !me->is_asleep) {
		unlock(conn);
		pending_call_wait(me);
		lock(conn);
	}
	me->is_asleep = false;
	return false;
}

/* False: there is a reply, or there will be none. */
static bool is_waiting(struct conn *conn, struct pending_call *me) {
	await_own_message(conn, me);
	if (conn->is_broken || (conn->is_cut && !pending_call_is_sent(me)) ||
	    pending_call_is_complete(me))
		return false;
	return pending_call_left_ms(me) > 0 || pending_call_is_leaving(me, conn->io.fd);
}

/*
 * A hang-up is looked for only on a connection that was idle: each look is a system call, and a
 * server may as well hang up just after it.
 */
static void add_call(struct conn *conn, struct pending_call *me) {
	me->may_have_input = conn->received_ms == 0 || me->now_ms > conn->received_ms + FRESH_MS;
	call_list_add(&conn->calls, me);
}

static void end_call(struct conn *conn, struct pending_call *me) {
	call_list_remove(&conn->calls, me);
	if (pending_call_is_begun(me) && !pending_call_is_sent(me))
		cut(conn, "time was up in the middle of a record");
	if (conn->calls.reader == me)
		conn->calls.reader = NULL;
	if (conn->calls.reader == NULL)
		call_list_appoint_reader(&conn->calls);
}

static enum attempt outcome_of(const struct conn *conn, const struct pending_call *me,
			       uint64_t began_ms) {
	if (me->is_served && me->answer.data == NULL)
		last_error_set("%s: no memory for the reply", conn->name);
	if (me->is_served)
		return me->answer.data != NULL ? ATTEMPT_ANSWERED : ATTEMPT_NOMEM;
	if (conn->is_broken || (conn->is_cut && !pending_call_is_sent(me)))
		last_error_set("%s: %s", conn->name, conn->error);
	else
		last_error_set("%s: %s in %llu ms", conn->name,
			       pending_call_is_sent(me) ? "no reply" : "nothing could be sent",
			       (unsigned long long)(me->now_ms - began_ms));
	if (conn->refusal != KV_OK)
		return ATTEMPT_REJECTED;
	return pending_call_is_sent(me) ? ATTEMPT_UNANSWERED : ATTEMPT_UNSENT;
}

/* Sends, and takes its part in receiving, until the call has ended. */
static enum attempt run_call(struct conn *conn, struct pending_call *me) {
	const uint64_t began_ms = me->now_ms;
	enum attempt outcome;

	lock(conn);
	add_call(conn, me);
	while (is_waiting(conn, me)) {
		bool may_read = conn->calls.unsent == me || pending_call_is_sent(me);

		if (conn->calls.reader == NULL && may_read)
			conn->calls.reader = me;
		if (conn->calls.reader == me || conn->calls.unsent == me)
			step(conn, me);
		else if (sleep_until_woken(conn, me))
			return outcome_of(conn, me, began_ms);
	}
	end_call(conn, me);
	outcome = outcome_of(conn, me, began_ms);
	unlock(conn);
	return outcome;
}

/* The messages of a batch stand behind their record marks already. */
static enum attempt call(struct conn *conn, struct kv_bytes sent, const struct call_time *time,
			 struct rpc_batch *batch, struct rpc_reply *came) {
	enum attempt outcome;
	struct pending_call me;

	pending_call_init(&me, sent, conn->io.is_stream && batch == NULL, time, came);
	me.batch = batch;
	outcome = run_call(conn, &me);
	pending_call_destroy(&me);
	*came = me.answer;
	return outcome;
}

enum attempt conn_call(struct conn *conn, struct kv_bytes sent, const struct call_time *time,
		       struct rpc_reply *came) {
	return call(conn, sent, time, NULL, came);
}

enum attempt conn_call_batch(struct conn *conn, struct kv_bytes sent, uint64_t deadline_ms,
			     struct rpc_batch *batch) {
	const struct call_time time = {.deadline_ms = deadline_ms};

	return call(conn, sent, &time, batch, &(struct rpc_reply){.data = NULL});
}
