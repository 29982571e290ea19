/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "rpc/last_error.h"
#include "record_marking.h"
#include "rpc/pending_call.h"

enum {
	CHUNK_SIZE = 65536, /* bytes received at once; at least the largest datagram */
	SENT_AT_ONCE = 8,   /* messages in one system call */

	/* How long a sender that is not the reader sleeps before it looks whether there is one. */
	SENDER_NAP_MS = 50,

	/* How long recv() blocks. One of which less is left than twice that is waited for by
	   poll(). */
	RECEIVE_MS = 200,

	/* So long after something came, nobody looks whether the server hung up meanwhile. */
	FRESH_MS = 2,
};

/*
 * `mutex` guards what follows it. What must stay true:
 *  - Who is not sent whole is in the queue `unsent`, first come first. The first one is the sender:
 *    only its thread sends, and what it sends at once may be the messages of others behind it.
 *  - reader is NULL or a waiter that is the sender or has sent; only its thread receives.
 *  - While a waiter is asleep somebody else is the reader, or there is a sender, who will be. It is
 *    woken once: served, or made the sender or the reader.
 *  - Who has a role is awake, or about to be woken.
 */
struct link {
	int fd;
	bool is_stream;
	bool may_block; /* recv() waits by itself, for at most RECEIVE_MS */
	uint32_t program;
	char name[ADDRESS_TEXT_MAX];
	atomic_uint holds;

	/* Written under the mutex, and read without it by those who only ask. */
	atomic_bool is_broken;	   /* nothing comes any more */
	atomic_bool is_cut;	   /* nothing may be sent: half a record went, or sending failed */
	_Atomic uint64_t heard_ms; /* when something came last; 0: never */

	pthread_mutex_t mutex;
	struct waiter *waiters;
	struct waiter *unsent;
	struct waiter *reader;
	struct waiter *woken; /* to be woken as soon as the mutex is free */
	char why[128];	      /* why it is broken or cut */
	struct record record; /* being put together; only the reader touches it, as the chunk */

	_Alignas(RECORD_ALIGNMENT) uint8_t chunk[CHUNK_SIZE];
};

/* --- Construction and small questions ------------------------------------------------------ */

/*
 * A reader that waits in recv() needs one system call where poll() and recv() are two. All else
 * says MSG_DONTWAIT, so only recv() is changed by this. False: poll() has to do.
 */
static bool let_receive_block(int fd) {
	const struct timeval limit = {.tv_usec = RECEIVE_MS * 1000};
	int flags = fcntl(fd, F_GETFL);

	return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0 && flags >= 0 &&
	       fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

struct link *conn_new(int fd, bool is_stream, const char *name, uint32_t program) {
	struct link *link = calloc(1, sizeof(*link));

	if (link == NULL)
		goto no_link;
	if (pthread_mutex_init(&link->mutex, NULL) != 0)
		goto no_mutex;
	link->fd = fd;
	link->is_stream = is_stream;
	link->may_block = let_receive_block(fd);
	link->program = program;
	(void)snprintf(link->name, sizeof(link->name), "%s", name);
	atomic_init(&link->holds, 1);
	return link;

no_mutex:
	free(link);
no_link:
	(void)close(fd);
	return NULL;
}

struct link *conn_ref(struct link *link) {
	atomic_fetch_add(&link->holds, 1);
	return link;
}

/*
 * A child of fork drops links too, and a thread of the parent may have had the mutex at that
 * moment: so only the count is looked at. The socket is closed, not shut down: the parent's
 * connection goes on.
 */
void conn_unref(struct link *link) {
	if (link == NULL || atomic_fetch_sub(&link->holds, 1) != 1)
		return;
	(void)close(link->fd);
	(void)pthread_mutex_destroy(&link->mutex);
	record_reset(&link->record);
	free(link);
}

const char *conn_name(const struct link *link) {
	return link->name;
}

uint32_t conn_program(const struct link *link) {
	return link->program;
}

bool conn_is_stream(const struct link *link) {
	return link->is_stream;
}

bool conn_is_usable(const struct link *link) {
	return !link->is_broken && !link->is_cut;
}

bool conn_received_since(const struct link *link, uint64_t since_ms) {
	const uint64_t heard_ms = link->heard_ms;

	return heard_ms != 0 && heard_ms >= since_ms;
}

static void lock(struct link *link) {
	(void)pthread_mutex_lock(&link->mutex);
}

/* Woken any earlier, a thread would only wait for the mutex: two switches more. */
static void unlock(struct link *link) {
	struct waiter *woken = link->woken;

	link->woken = NULL;
	(void)pthread_mutex_unlock(&link->mutex);
	pending_calls_wake(woken);
}

/* --- With the mutex held: what came, and who waits for it ---------------------------------- */

static void set_why(struct link *link, const char *why) {
	if (link->why[0] == '\0')
		(void)snprintf(link->why, sizeof(link->why), "%s", why);
}

/*
 * No more sending: the sender leaves, the next one becomes it and leaves, and so on. Who has sent
 * may still be answered, so the reader goes on.
 */
static void cut(struct link *link, const char *why) {
	link->is_cut = true;
	set_why(link, why);
}

/*
 * Nothing comes any more. It is the reader that finds out: when it leaves it wakes the next one to
 * be the reader, which leaves as well, and so on. The shutdown wakes a sender in poll().
 */
static void break_link(struct link *link, const char *why) {
	link->is_broken = true;
	cut(link, why);
	(void)shutdown(link->fd, SHUT_RDWR);
}

static void wake(struct link *link, struct waiter *waiter) {
	link->woken = pending_call_mark_wake(link->woken, waiter, false);
}

/* The role of the sender goes to the first one, if there is one. */
static void set_first_unsent(struct link *link, struct waiter *first) {
	link->unsent = first;
	if (first != NULL)
		wake(link, first);
}

/* Takes it off the lists, those on which it is. */
static void forget(struct link *link, struct waiter *waiter) {
	struct waiter **at = &link->waiters;

	while (*at != NULL && *at != waiter)
		at = &(*at)->next;
	if (*at != NULL)
		*at = waiter->next;
	if (waiter == link->unsent) {
		set_first_unsent(link, waiter->next_unsent);
		return;
	}
	at = &link->unsent;
	while (*at != NULL && *at != waiter)
		at = &(*at)->next_unsent;
	if (*at != NULL)
		*at = waiter->next_unsent;
}

/* An answer before the call is sent whole is one to an earlier copy: half a copy must not stay. */
static bool may_go(const struct waiter *waiter) {
	return waiter->is_served && !waiter->is_in_hand &&
	       (waiter_is_sent(waiter) || waiter->sent == 0);
}

/* A thread that sleeps and has its answer goes without asking for the mutex again. */
static void let_go_if_served(struct link *link, struct waiter *waiter) {
	if (!may_go(waiter))
		return;
	forget(link, waiter);
	link->woken = pending_call_mark_wake(link->woken, waiter, true);
}

/* Who still waits for this message. */
static struct waiter *find_waiter(struct link *link, struct kv_bytes message) {
	if (message.size < XID_SIZE)
		return NULL;
	for (struct waiter *waiter = link->waiters; waiter != NULL; waiter = waiter->next)
		if (memcmp(waiter->xid, message.data, XID_SIZE) == 0)
			return waiter->is_served ? NULL : waiter;
	return NULL;
}

/* `data` is the waiter's now; NULL: there is no memory for it. */
static void serve(struct link *link, struct waiter *waiter, uint8_t *data, size_t size) {
	waiter->answer.data = data;
	waiter->answer.size = size;
	waiter->is_served = true;
	let_go_if_served(link, waiter);
}

/* The place that a waiter lends is there as long as it is on the list. False: it is too small. */
static bool serve_in_place(struct link *link, struct waiter *waiter, struct kv_bytes message) {
	if (message.size > waiter->answer.room)
		return false;
	memcpy(waiter->answer.place, message.data, message.size);
	serve(link, waiter, waiter->answer.place, message.size);
	return true;
}

/* A whole record. One for nobody is a late answer. */
static void take_record(struct link *link, struct kv_bytes whole) {
	struct waiter *waiter = find_waiter(link, whole);

	if (waiter != NULL && !serve_in_place(link, waiter, whole))
		serve(link, waiter, record_detach(&link->record, whole), whole.size);
	record_reset(&link->record);
	if (whole.size < XID_SIZE)
		break_link(link, "a record too short for an answer came");
}

/* The rest of an answer cannot be kept: its waiter learns why; for the others the link is lost. */
static void run_out_of_memory(struct link *link) {
	struct kv_bytes begun = {.data = link->record.data, .size = link->record.size};
	struct waiter *waiter = find_waiter(link, begun);

	if (waiter != NULL)
		serve(link, waiter, NULL, 0);
	break_link(link, "no memory for an answer");
}

static void take_stream(struct link *link, const uint8_t *bytes, size_t size) {
	struct kv_bytes whole;

	do {
		switch (record_feed(&link->record, &bytes, &size, LINK_RECORD_MAX, &whole)) {
		case RECORD_MORE:
			break;
		case RECORD_COMPLETE:
			take_record(link, whole);
			break;
		case RECORD_INVALID:
			break_link(link, "rubbish instead of a record came: is this a kv server?");
			break;
		case RECORD_NOMEM:
			run_out_of_memory(link);
			break;
		}
	} while (size > 0 && !link->is_broken);
}

static void take_datagram(struct link *link, size_t size) {
	const struct kv_bytes whole = {.data = link->chunk, .size = size};
	struct waiter *waiter = find_waiter(link, whole);
	uint8_t *data;

	if (waiter == NULL || serve_in_place(link, waiter, whole))
		return;
	data = malloc(size);
	if (data != NULL)
		memcpy(data, link->chunk, size);
	serve(link, waiter, data, size);
}

/* Where what comes next is put: into the record itself if much of it is to come. */
static struct iovec receive_place(struct link *link) {
	struct iovec chunk = {.iov_base = link->chunk, .iov_len = sizeof(link->chunk)};
	uint8_t *place = NULL;
	size_t room = 0;

	if (link->is_stream && !record_direct_buffer(&link->record, &place, &room))
		run_out_of_memory(link);
	return room > 0 ? (struct iovec){.iov_base = place, .iov_len = room} : chunk;
}

/* What recv() said: `came` bytes at `place`, or why not. */
static void take(struct link *link, struct waiter *me, const uint8_t *place, ssize_t came,
		 int failure) {
	char text[64];

	if (came < 0) {
		if (failure == EAGAIN || failure == EWOULDBLOCK)
			me->may_have_input = false;
		else if (failure != EINTR)
			break_link(link, strerror_r(failure, text, sizeof(text)));
		return;
	}
	if (came == 0 && link->is_stream) {
		break_link(link, "the server closed the connection");
		return;
	}
	link->heard_ms = me->now_ms;
	if (!link->is_stream) {
		take_datagram(link, (size_t)came);
	} else if (place == link->chunk) {
		take_stream(link, place, (size_t)came);
	} else {
		record_direct_filled(&link->record, (size_t)came);
		take_stream(link, link->chunk, 0);
	}
}

/* What sendmsg() said of the first `count` of the queue. False: there is no room now. */
static bool count_sent(struct link *link, size_t count, ssize_t went, int failure) {
	struct waiter *waiter = link->unsent;
	size_t bytes = went > 0 ? (size_t)went : 0;
	char text[64];

	for (size_t i = 0; i < count; i++) {
		struct waiter *next = waiter->next_unsent;

		waiter->is_in_hand = false;
		bytes = waiter_count_sent(waiter, bytes);
		if (waiter_is_sent(waiter))
			link->unsent = next;
		let_go_if_served(link, waiter);
		if (waiter->wants_to_leave)
			wake(link, waiter);
		waiter = next;
	}
	set_first_unsent(link, link->unsent);
	if (went < 0 && (failure == EAGAIN || failure == EWOULDBLOCK))
		return false;
	if (went < 0 && failure != EINTR)
		cut(link, strerror_r(failure, text, sizeof(text)));
	return true;
}

/* --- The socket ---------------------------------------------------------------------------- */

/* Like sendmsg(), but each part is a message; tells the bytes of those that went. */
static ssize_t send_datagrams(int fd, struct iovec *parts, size_t count) {
	struct mmsghdr messages[SENT_AT_ONCE] = {0};
	ssize_t bytes = 0;
	int went;

	for (size_t i = 0; i < count; i++)
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	went = sendmmsg(fd, messages, (unsigned)count, MSG_NOSIGNAL | MSG_DONTWAIT);
	for (int i = 0; i < went; i++)
		bytes += messages[i].msg_len;
	return went < 0 ? went : bytes;
}

/*
 * Sends what is queued; what comes into the queue meanwhile the first of those will send. Called
 * with the mutex held, which is given up meanwhile: who comes would have to wait for it, and can
 * sleep at once instead. False: there is no room now.
 */
static bool send_unsent(struct link *link) {
	struct iovec parts[SENT_AT_ONCE * WAITER_PARTS];
	struct msghdr header = {.msg_iov = parts};
	struct waiter *waiter = link->unsent;
	size_t count = 0;
	ssize_t went;
	int failure;

	for (; waiter != NULL && count < SENT_AT_ONCE; count++) {
		waiter->is_in_hand = true;
		header.msg_iovlen += waiter_rest(waiter, &parts[header.msg_iovlen]);
		waiter = waiter->next_unsent;
	}
	unlock(link);
	went = link->is_stream ? sendmsg(link->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT)
			       : send_datagrams(link->fd, parts, count);
	failure = errno;
	lock(link);
	return count_sent(link, count, went, failure);
}

static void await_socket(const struct link *link, struct waiter *me, bool reads, bool sends) {
	struct pollfd wanted = {
	    .fd = link->fd,
	    .events = (short)((reads ? POLLIN : 0) | (sends ? POLLOUT : 0)),
	};
	uint64_t left_ms = waiter_left_ms(me);

	if (!reads && left_ms > SENDER_NAP_MS)
		left_ms = SENDER_NAP_MS;
	/* An error of poll() is one of the socket: recv() or sendmsg() will tell. */
	if (poll(&wanted, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX) != 0)
		me->may_have_input = true;
	me->now_ms = clock_ms();
}

/* Called with the mutex held, which is given up meanwhile. */
static void receive(struct link *link, struct waiter *me, int flags) {
	struct iovec place = receive_place(link);
	ssize_t result;
	int failure;

	unlock(link);
	result = recv(link->fd, place.iov_base, place.iov_len, flags);
	failure = errno;
	me->now_ms = clock_ms();
	lock(link);
	take(link, me, place.iov_base, result, failure);
}

/*
 * One step of whoever has a role. Reading comes first: on an idle link this notices a server that
 * hung up before anything is sent to it. Called with the mutex held, which is given up meanwhile.
 */
static void step(struct link *link, struct waiter *me) {
	bool reads = link->reader == me;
	bool sends = link->unsent == me;

	if (reads && me->may_have_input) {
		receive(link, me, MSG_DONTWAIT);
		return;
	}
	if (reads && !sends && link->may_block && waiter_left_ms(me) >= 2 * RECEIVE_MS) {
		receive(link, me, 0);
		return;
	}
	if (sends && send_unsent(link))
		return;
	unlock(link);
	await_socket(link, me, reads, sends);
	lock(link);
}

/* --- One call ------------------------------------------------------------------------------ */

/* Called by a thread that leaves: among the others somebody has to read. */
static void see_that_somebody_reads(struct link *link) {
	struct waiter *next = link->waiters;

	/* A sender that is there takes the role when it finds that nobody has it. */
	while (next != NULL && !(next->is_asleep && waiter_is_sent(next)))
		next = next->next;
	link->reader = next;
	if (next != NULL)
		wake(link, next);
}

/* Nobody keeps a message in hand for longer than sendmsg() takes, which does not block. */
static void await_own_message(struct link *link, struct waiter *me) {
	me->wants_to_leave = true;
	while (me->is_in_hand) {
		me->is_asleep = true;
		unlock(link);
		pending_call_wait(me);
		lock(link);
	}
	me->wants_to_leave = false;
}

/* True: it was served, and the link has forgotten it; the mutex is not held then. */
static bool sleep_until_woken(struct link *link, struct waiter *me) {
	bool is_told;

	me->is_asleep = true;
	me->is_over = false;
	unlock(link);
	is_told = waiter_sleep(me);
	if (is_told && me->is_over)
		return true;
	lock(link);
	if (!is_told && !me->is_asleep) {
		unlock(link);
		pending_call_wait(me);
		lock(link);
	}
	me->is_asleep = false;
	return false;
}

/* False: there is an answer, or there will be none. */
static bool goes_on(struct link *link, struct waiter *me) {
	await_own_message(link, me);
	if (link->is_broken || (link->is_cut && !waiter_is_sent(me)) || may_go(me))
		return false;
	return waiter_left_ms(me) > 0;
}

/*
 * A hang-up is worth a look only on a link that was idle: who makes one call after the other pays a
 * system call for each look, and a server may as well hang up just after it.
 */
static void join(struct link *link, struct waiter *me) {
	struct waiter **last = &link->unsent;

	me->may_have_input = link->heard_ms == 0 || me->now_ms > link->heard_ms + FRESH_MS;
	me->next = link->waiters;
	link->waiters = me;
	while (*last != NULL)
		last = &(*last)->next_unsent;
	*last = me;
}

static void leave(struct link *link, struct waiter *me) {
	forget(link, me);
	if (me->sent > 0 && !waiter_is_sent(me))
		cut(link, "time was up in the middle of a record");
	if (link->reader == me)
		link->reader = NULL;
	if (link->reader == NULL)
		see_that_somebody_reads(link);
}

static enum attempt outcome_of(const struct link *link, const struct waiter *me,
			       uint64_t began_ms) {
	if (me->is_served && me->answer.data != NULL)
		return ATTEMPT_ANSWERED;
	if (me->is_served) {
		last_error_set("%s: no memory for the answer", link->name);
		return ATTEMPT_NOMEM;
	}
	if (link->is_broken || (link->is_cut && !waiter_is_sent(me)))
		last_error_set("%s: %s", link->name, link->why);
	else
		last_error_set("%s: %s in %llu ms", link->name,
			   waiter_is_sent(me) ? "no answer" : "nothing could be sent",
			   (unsigned long long)(me->now_ms - began_ms));
	return waiter_is_sent(me) ? ATTEMPT_UNANSWERED : ATTEMPT_UNSENT;
}

/* Sends, and takes its part in reading, until the call is over. */
static enum attempt converse(struct link *link, struct waiter *me) {
	const uint64_t began_ms = me->now_ms;
	enum attempt outcome;

	lock(link);
	join(link, me);
	while (goes_on(link, me)) {
		bool may_read = link->unsent == me || waiter_is_sent(me);

		if (link->reader == NULL && may_read)
			link->reader = me;
		if (link->reader == me || link->unsent == me)
			step(link, me);
		else if (sleep_until_woken(link, me))
			return outcome_of(link, me, began_ms);
	}
	leave(link, me);
	outcome = outcome_of(link, me, began_ms);
	unlock(link);
	return outcome;
}

enum attempt conn_call(struct link *link, struct kv_bytes sent, uint64_t deadline_ms,
			   struct message *came) {
	enum attempt outcome;
	struct waiter me;

	waiter_init(&me, sent, link->is_stream, deadline_ms, came);
	outcome = converse(link, &me);
	waiter_destroy(&me);
	*came = me.answer;
	return outcome;
}
