/* SPDX-License-Identifier: BSD-3-Clause */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "address.h"
#include "clock.h"
#include "reason.h"
#include "record.h"

enum {
	XID_SIZE = 4,
	CHUNK_SIZE = 65536, /* bytes received at once; at least the largest datagram */

	/* How long a sender that is not the reader sleeps before it looks whether there is one. */
	SENDER_NAP_MS = 50,

	/* How long recv() blocks. One of which less is left than twice that is waited for by
	   poll(). */
	RECEIVE_MS = 200,

	/* So long after something came, nobody looks whether the server hung up meanwhile. */
	FRESH_MS = 2,
};

/* One call under way; lives on the stack of its thread. */
struct waiter {
	struct waiter *next;
	uint8_t xid[XID_SIZE];
	uint64_t deadline_ms;
	uint64_t now_ms; /* as of when it last waited for anything */
	uint8_t mark[RECORD_MARK_SIZE];
	struct kv_bytes body;
	size_t mark_size; /* 4 on a stream, 0 for a datagram */
	size_t sent;	  /* bytes of mark and body handed to the kernel */
	bool may_have_input;
	bool is_served;
	struct message answer; /* once served; data NULL: there was no memory for it */
	bool is_asleep;	       /* on `wake`; whoever wakes it clears this */
	sem_t wake;
};

/*
 * `mutex` guards what follows it. What must stay true:
 *  - sender is NULL or a waiter whose message is not sent whole; only its thread sends.
 *  - reader is NULL or a waiter that is the sender or has sent; only its thread receives.
 *  - a waiter that is asleep has sent, and somebody else is the reader. It is woken once: served,
 *    made the reader, or told that the link is broken.
 */
struct link {
	int fd;
	bool is_stream;
	bool may_block; /* recv() waits by itself, for at most RECEIVE_MS */
	uint32_t program;
	char name[ADDRESS_TEXT_MAX];
	atomic_uint holds;

	pthread_mutex_t mutex;
	pthread_cond_t may_send; /* there is no sender, or none may send any more */
	struct waiter *waiters;
	struct waiter *sender;
	struct waiter *reader;
	bool is_broken; /* nothing comes any more */
	bool is_cut;   /* nothing may be sent any more: half a record went out, or sending failed */
	char why[128]; /* why it is broken or cut */
	uint64_t heard_ms;    /* when something came last; 0: never */
	struct record record; /* being put together; only the reader touches it, as the chunk */

	_Alignas(RECORD_ALIGNMENT) uint8_t chunk[CHUNK_SIZE];
};

static bool condition_open(pthread_cond_t *condition) {
	pthread_condattr_t attributes;
	bool is_open;

	if (pthread_condattr_init(&attributes) != 0)
		return false;
	is_open = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
		  pthread_cond_init(condition, &attributes) == 0;
	(void)pthread_condattr_destroy(&attributes);
	return is_open;
}

static struct timespec moment(uint64_t ms) {
	return (struct timespec){
	    .tv_sec = (time_t)(ms / 1000),
	    .tv_nsec = (long)(ms % 1000) * 1000000,
	};
}

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

struct link *link_new(int fd, bool is_stream, const char *name, uint32_t program) {
	struct link *link = calloc(1, sizeof(*link));

	if (link == NULL)
		goto no_link;
	if (pthread_mutex_init(&link->mutex, NULL) != 0)
		goto no_mutex;
	if (!condition_open(&link->may_send))
		goto no_condition;
	link->fd = fd;
	link->is_stream = is_stream;
	link->may_block = let_receive_block(fd);
	link->program = program;
	(void)snprintf(link->name, sizeof(link->name), "%s", name);
	atomic_init(&link->holds, 1);
	return link;

no_condition:
	(void)pthread_mutex_destroy(&link->mutex);
no_mutex:
	free(link);
no_link:
	(void)close(fd);
	return NULL;
}

struct link *link_hold(struct link *link) {
	atomic_fetch_add(&link->holds, 1);
	return link;
}

/*
 * A child of fork drops links too, and a thread of the parent may have had the mutex at that
 * moment: so only the count is looked at. The socket is closed, not shut down: the parent's
 * connection goes on.
 */
void link_drop(struct link *link) {
	if (link == NULL || atomic_fetch_sub(&link->holds, 1) != 1)
		return;
	(void)close(link->fd);
	(void)pthread_cond_destroy(&link->may_send);
	(void)pthread_mutex_destroy(&link->mutex);
	record_reset(&link->record);
	free(link);
}

const char *link_name(const struct link *link) {
	return link->name;
}

uint32_t link_program(const struct link *link) {
	return link->program;
}

bool link_is_stream(const struct link *link) {
	return link->is_stream;
}

/* Locking changes nothing that a caller can see: the constness is about the rest. */
static void lock(const struct link *link) {
	(void)pthread_mutex_lock((pthread_mutex_t *)&link->mutex);
}

static void unlock(const struct link *link) {
	(void)pthread_mutex_unlock((pthread_mutex_t *)&link->mutex);
}

bool link_is_usable(const struct link *link) {
	bool is_usable;

	lock(link);
	is_usable = !link->is_broken && !link->is_cut;
	unlock(link);
	return is_usable;
}

bool link_heard_since(const struct link *link, uint64_t since_ms) {
	bool heard;

	lock(link);
	heard = link->heard_ms != 0 && link->heard_ms >= since_ms;
	unlock(link);
	return heard;
}

/* --- With the mutex held: what came, and who waits for it ---------------------------------- */

static bool is_sent(const struct waiter *waiter) {
	return waiter->sent == waiter->mark_size + waiter->body.size;
}

static void set_why(struct link *link, const char *why) {
	if (link->why[0] == '\0')
		(void)snprintf(link->why, sizeof(link->why), "%s", why);
}

/* No more sending. Who has sent may still be answered, so the reader goes on. */
static void cut(struct link *link, const char *why) {
	link->is_cut = true;
	set_why(link, why);
	(void)pthread_cond_broadcast(&link->may_send);
}

static void wake(struct waiter *waiter) {
	if (waiter->is_asleep)
		(void)sem_post(&waiter->wake);
	waiter->is_asleep = false;
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
static void serve(struct waiter *waiter, uint8_t *data, size_t size) {
	waiter->answer.data = data;
	waiter->answer.size = size;
	waiter->is_served = true;
	wake(waiter);
}

/* The place that a waiter lends is there as long as it is on the list. False: it is too small. */
static bool serve_in_place(struct waiter *waiter, struct kv_bytes message) {
	if (message.size > waiter->answer.room)
		return false;
	memcpy(waiter->answer.place, message.data, message.size);
	serve(waiter, waiter->answer.place, message.size);
	return true;
}

/* A whole record. One for nobody is a late answer. */
static void take_record(struct link *link, struct kv_bytes whole) {
	struct waiter *waiter = find_waiter(link, whole);

	if (waiter != NULL && !serve_in_place(waiter, whole))
		serve(waiter, record_take(&link->record, whole), whole.size);
	record_reset(&link->record);
	if (whole.size < XID_SIZE)
		break_link(link, "a record too short for an answer came");
}

/* The rest of an answer cannot be kept: its waiter learns why; for the others the link is lost. */
static void run_out_of_memory(struct link *link) {
	struct kv_bytes begun = {.data = link->record.data, .size = link->record.size};
	struct waiter *waiter = find_waiter(link, begun);

	if (waiter != NULL)
		serve(waiter, NULL, 0);
	break_link(link, "no memory for an answer");
}

static void take_stream(struct link *link, const uint8_t *bytes, size_t size) {
	struct kv_bytes whole;

	do {
		switch (record_add(&link->record, &bytes, &size, LINK_RECORD_MAX, &whole)) {
		case RECORD_MORE:
			break;
		case RECORD_WHOLE:
			take_record(link, whole);
			break;
		case RECORD_RUBBISH:
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

	if (waiter == NULL || serve_in_place(waiter, whole))
		return;
	data = malloc(size);
	if (data != NULL)
		memcpy(data, link->chunk, size);
	serve(waiter, data, size);
}

/* Where what comes next is put: into the record itself if much of it is to come. */
static struct iovec receive_place(struct link *link) {
	struct iovec chunk = {.iov_base = link->chunk, .iov_len = sizeof(link->chunk)};
	uint8_t *place = NULL;
	size_t room = 0;

	if (link->is_stream && !record_room(&link->record, &place, &room))
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
		record_filled(&link->record, (size_t)came);
		take_stream(link, link->chunk, 0);
	}
}

/* What sendmsg() said. */
static void count_sent(struct link *link, struct waiter *me, ssize_t went, int failure) {
	char text[64];

	if (went >= 0)
		me->sent += (size_t)went;
	else if (failure != EAGAIN && failure != EWOULDBLOCK && failure != EINTR)
		cut(link, strerror_r(failure, text, sizeof(text)));
}

/* --- The socket ---------------------------------------------------------------------------- */

/* The mark and the body go in one segment if they fit. */
static ssize_t send_rest(const struct link *link, const struct waiter *me) {
	struct iovec parts[2];
	struct msghdr header = {.msg_iov = parts};
	size_t body_sent = me->sent > me->mark_size ? me->sent - me->mark_size : 0;

	if (me->sent < me->mark_size)
		parts[header.msg_iovlen++] = (struct iovec){
		    .iov_base = (uint8_t *)me->mark + me->sent,
		    .iov_len = me->mark_size - me->sent,
		};
	parts[header.msg_iovlen++] = (struct iovec){
	    .iov_base = (uint8_t *)me->body.data + body_sent,
	    .iov_len = me->body.size - body_sent,
	};
	return sendmsg(link->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static uint64_t left_ms_of(const struct waiter *me) {
	return me->deadline_ms > me->now_ms ? me->deadline_ms - me->now_ms : 0;
}

static void await_socket(const struct link *link, struct waiter *me, bool reads, bool sends) {
	struct pollfd wanted = {
	    .fd = link->fd,
	    .events = (short)((reads ? POLLIN : 0) | (sends ? POLLOUT : 0)),
	};
	uint64_t left_ms = left_ms_of(me);

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
	bool sends = link->sender == me;
	ssize_t result;
	int failure;

	if (reads && me->may_have_input) {
		receive(link, me, MSG_DONTWAIT);
		return;
	}
	if (reads && !sends && link->may_block && left_ms_of(me) >= 2 * RECEIVE_MS) {
		receive(link, me, 0);
		return;
	}
	if (sends) {
		/* The mutex is kept: this does not block, and who wants it wants to send. */
		result = send_rest(link, me);
		failure = errno;
		count_sent(link, me, result, failure);
		if (result >= 0 || (failure != EAGAIN && failure != EWOULDBLOCK))
			return;
	}
	unlock(link);
	await_socket(link, me, reads, sends);
	lock(link);
}

/* --- One call ------------------------------------------------------------------------------ */

/* Waits until this thread may send. False: not by the deadline, or never again on this link. */
static bool await_turn(struct link *link, struct waiter *me) {
	const struct timespec until = moment(me->deadline_ms);

	while (!link->is_broken && !link->is_cut && left_ms_of(me) > 0) {
		if (link->sender == NULL) {
			link->sender = me;
			return true;
		}
		(void)pthread_cond_timedwait(&link->may_send, &link->mutex, &until);
		me->now_ms = clock_ms();
	}
	/* The signal that woke this thread may have been meant for another. */
	(void)pthread_cond_signal(&link->may_send);
	return false;
}

static void give_up_sending(struct link *link) {
	link->sender = NULL;
	(void)pthread_cond_signal(&link->may_send);
}

/* The role goes to somebody asleep; whoever is awake takes it when it finds that nobody has it. */
static void give_up_reading(struct link *link) {
	struct waiter *next = link->waiters;

	while (next != NULL && !next->is_asleep)
		next = next->next;
	link->reader = next;
	if (next != NULL)
		wake(next);
}

static void sleep_until_woken(struct link *link, struct waiter *me) {
	const struct timespec until = moment(me->deadline_ms);

	me->is_asleep = true;
	unlock(link);
	while (sem_clockwait(&me->wake, CLOCK_MONOTONIC, &until) < 0 && errno == EINTR)
		;
	me->now_ms = clock_ms();
	lock(link);
	me->is_asleep = false;
}

/* False: there is an answer, or there will be none. */
static bool goes_on(struct link *link, struct waiter *me) {
	if (link->sender == me && is_sent(me))
		give_up_sending(link);
	if (link->is_broken || (link->is_cut && !is_sent(me)))
		return false;
	/* An answer before the call is sent whole is one to an earlier copy. */
	if (me->is_served && (is_sent(me) || me->sent == 0))
		return false;
	return left_ms_of(me) > 0;
}

/*
 * A hang-up is worth a look only on a link that was idle: who makes one call after the other pays a
 * system call for each look, and a server may as well hang up just after it.
 */
static void join(struct link *link, struct waiter *me) {
	me->may_have_input = link->heard_ms == 0 || me->now_ms > link->heard_ms + FRESH_MS;
	me->next = link->waiters;
	link->waiters = me;
}

static void leave(struct link *link, struct waiter *me) {
	struct waiter **at = &link->waiters;

	while (*at != me)
		at = &(*at)->next;
	*at = me->next;
	if (me->sent > 0 && !is_sent(me))
		cut(link, "time was up in the middle of a record");
	if (link->sender == me)
		give_up_sending(link);
	if (link->reader == me)
		give_up_reading(link);
}

static enum attempt outcome_of(const struct link *link, const struct waiter *me,
			       uint64_t began_ms) {
	if (me->is_served && me->answer.data != NULL)
		return ATTEMPT_ANSWERED;
	if (me->is_served) {
		reason_set("%s: no memory for the answer", link->name);
		return ATTEMPT_NOMEM;
	}
	if (link->is_broken || (link->is_cut && !is_sent(me)))
		reason_set("%s: %s", link->name, link->why);
	else
		reason_set("%s: %s in %llu ms", link->name,
			   is_sent(me) ? "no answer" : "nothing could be sent",
			   (unsigned long long)(me->now_ms - began_ms));
	return is_sent(me) ? ATTEMPT_UNANSWERED : ATTEMPT_UNSENT;
}

/* Sends, and takes its part in reading, until the call is over. */
static enum attempt converse(struct link *link, struct waiter *me) {
	const uint64_t began_ms = me->now_ms;
	enum attempt outcome;

	lock(link);
	if (await_turn(link, me)) {
		join(link, me);
		while (goes_on(link, me)) {
			if (link->reader == NULL)
				link->reader = me;
			if (link->reader == me || link->sender == me)
				step(link, me);
			else
				sleep_until_woken(link, me);
		}
		leave(link, me);
	}
	outcome = outcome_of(link, me, began_ms);
	unlock(link);
	return outcome;
}

enum attempt link_exchange(struct link *link, struct kv_bytes sent, uint64_t deadline_ms,
			   struct message *came) {
	enum attempt outcome;
	struct waiter me = {
	    .deadline_ms = deadline_ms,
	    .now_ms = clock_ms(),
	    .body = sent,
	    .mark_size = link->is_stream ? RECORD_MARK_SIZE : 0,
	    .answer = *came,
	};

	memcpy(me.xid, sent.data, XID_SIZE);
	record_mark(me.mark, sent.size);
	/* Fails only for a count above SEM_VALUE_MAX. */
	(void)sem_init(&me.wake, 0, 0);
	outcome = converse(link, &me);
	(void)sem_destroy(&me.wake);
	*came = me.answer;
	return outcome;
}
