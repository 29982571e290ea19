/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cond_wait.h"

/* One address of the list. */
struct way {
	bool look_again; /* where it leads is to be asked anew */
	bool led_here;	 /* its last word, in this life, was this store */
};

/* What became of the addresses that were tried since the last one was used, or all were tried. */
struct round {
	size_t tried;
	size_t elsewhere; /* lead to another store */
	size_t refused;	  /* refused HELLO */
	enum kv_status refusal;
};

/*
 * Invariants, under the mutex:
 *  - line.link, unless NULL, was told by `store`; it leads to address `at`.
 *  - A change of the store is a change of the life. `forgotten` < `life`; the life `forgotten` had
 *    something to remember when it ended, so whoever belongs to it, or to one before it, is told.
 *  - One thread at a time seeks. It holds no lock while it connects, says HELLO or pauses.
 *  - `round` belongs to whoever seeks. A call that ends in the middle of it leaves the rest to the
 *    next one: calls shorter than a round would never get to its end otherwise.
 */
struct channel {
	const struct transport *transport;
	atomic_uint_fast32_t xid;

	pthread_mutex_t mutex;
	pthread_cond_t found; /* the seeking thread is done, whatever came of it */
	struct line line;     /* link NULL: there is none */
	bool is_hello_due;
	bool is_sought;

	bool has_store;
	uint8_t store[STORE_ID_SIZE];
	bool is_remembered;
	uint64_t life;
	uint64_t forgotten;

	size_t at;	  /* the address in use, or to be tried next */
	struct way *ways; /* of each address */
	struct round round;
	char reason[512];
};

struct channel *channel_new(const struct transport *transport) {
	struct channel *channel = calloc(1, sizeof(*channel));

	if (channel == NULL)
		return NULL;
	channel->ways = calloc(transport->address_count, sizeof(*channel->ways));
	if (channel->ways == NULL) {
		free(channel);
		return NULL;
	}
	channel->transport = transport;
	channel->life = 1;
	atomic_init(&channel->xid, (uint32_t)transport->chance(transport->context));
	(void)pthread_mutex_init(&channel->mutex, NULL);
	cond_wait_init(&channel->found);
	return channel;
}

void channel_free(struct channel *channel, bool is_child) {
	if (channel == NULL)
		return;
	if (channel->line.link != NULL)
		channel->transport->drop(channel->line.link);
	if (!is_child) {
		(void)pthread_cond_destroy(&channel->found);
		(void)pthread_mutex_destroy(&channel->mutex);
	}
	free(channel->ways);
	free(channel);
}

uint64_t channel_generation(struct channel *channel) {
	uint64_t life;

	(void)pthread_mutex_lock(&channel->mutex);
	life = channel->life;
	(void)pthread_mutex_unlock(&channel->mutex);
	return life;
}

uint32_t channel_xid(struct channel *channel) {
	return (uint32_t)atomic_fetch_add(&channel->xid, 1);
}

void channel_unbind(struct channel *channel, struct line *line) {
	if (line->link != NULL)
		channel->transport->drop(line->link);
	line->link = NULL;
}

static void keep_reason(struct channel *channel, const char *reason) {
	if (reason[0] == '\0')
		return;
	(void)pthread_mutex_lock(&channel->mutex);
	(void)snprintf(channel->reason, sizeof(channel->reason), "%s", reason);
	(void)pthread_mutex_unlock(&channel->mutex);
}

void channel_last_error(struct channel *channel, char *text, size_t size) {
	(void)pthread_mutex_lock(&channel->mutex);
	(void)snprintf(text, size, "%s", channel->reason);
	(void)pthread_mutex_unlock(&channel->mutex);
}

enum attempt channel_attempt(struct channel *channel, const struct line *line,
			     const struct request *request, uint64_t until_ms,
			     struct response *response) {
	const struct transport *transport = channel->transport;
	enum attempt outcome = transport->attempt(line->link, request, until_ms, response);

	if (outcome != ATTEMPT_ANSWERED)
		keep_reason(channel, transport->reason(transport->context));
	return outcome;
}

/* --- What is known of the store ------------------------------------------------------------ */

bool channel_remember(struct channel *channel, uint64_t life) {
	bool still_lives;

	(void)pthread_mutex_lock(&channel->mutex);
	still_lives = channel->life == life;
	if (still_lives)
		channel->is_remembered = true;
	(void)pthread_mutex_unlock(&channel->mutex);
	return still_lives;
}

static void begin_life(struct channel *channel) {
	channel->life++;
	for (size_t i = 0; i < channel->transport->address_count; i++)
		channel->ways[i].led_here = false;
}

/*
 * "If every address leads elsewhere, the call ends with KV_BADSESSION, and the next call starts
 * afresh": each handle's next one. Every address that ever led to this store, that is. One that
 * never did, and does not answer, says nothing, and most lists have one. But one that did, and does
 * not answer, may be the store's own server on its way up. True: the store is forgotten.
 */
static bool forget_if_gone(struct channel *channel) {
	bool is_gone = channel->round.elsewhere > 0;

	(void)pthread_mutex_lock(&channel->mutex);
	for (size_t i = 0; i < channel->transport->address_count; i++)
		is_gone = is_gone && !channel->ways[i].led_here;
	if (is_gone) {
		channel->forgotten = channel->life;
		channel->has_store = false;
		channel->is_remembered = false;
		begin_life(channel);
	}
	(void)pthread_mutex_unlock(&channel->mutex);
	return is_gone;
}

/* The last word of that address is another store. */
static void note_elsewhere(struct channel *channel, size_t at) {
	(void)pthread_mutex_lock(&channel->mutex);
	channel->ways[at].led_here = false;
	(void)pthread_mutex_unlock(&channel->mutex);
	channel->round.elsewhere++;
}

/*
 * Makes the link the channel's, which takes its count. False, and nothing is changed: "a server
 * with another store id is another store: to a clerk with something to remember (a session, a
 * version seen) that address is not answering".
 */
static bool adopt(struct channel *channel, struct link *link, const struct response *hello) {
	struct link *old;
	bool is_other;

	(void)pthread_mutex_lock(&channel->mutex);
	is_other = channel->has_store && memcmp(channel->store, hello->store, STORE_ID_SIZE) != 0;
	if (is_other && channel->is_remembered) {
		(void)pthread_mutex_unlock(&channel->mutex);
		return false;
	}
	if (is_other)
		begin_life(channel);
	channel->has_store = true;
	memcpy(channel->store, hello->store, STORE_ID_SIZE);
	old = channel->line.link;
	channel->line = (struct line){.link = link,
				      .is_stream = channel->transport->is_stream(link),
				      .life = channel->life,
				      .epoch = hello->epoch,
				      .key_max = hello->key_max,
				      .value_max = hello->value_max,
				      .datagram_max = hello->datagram_max};
	channel->is_hello_due = false;
	channel->round = (struct round){0};
	channel->ways[channel->at] = (struct way){.led_here = true};
	(void)pthread_mutex_unlock(&channel->mutex);
	if (old != NULL)
		channel->transport->drop(old);
	return true;
}

/* --- Giving a line up ---------------------------------------------------------------------- */

static bool is_current(const struct channel *channel, const struct line *line) {
	return channel->line.link == line->link && channel->line.epoch == line->epoch;
}

/* Refused connections, a HELLO that failed, PROG_UNAVAIL and PROG_MISMATCH mean "look again". */
static void move_on(struct channel *channel) {
	channel->ways[channel->at].look_again = true;
	channel->at = (channel->at + 1) % channel->transport->address_count;
}

void channel_need_hello(struct channel *channel, const struct line *line) {
	(void)pthread_mutex_lock(&channel->mutex);
	if (is_current(channel, line))
		channel->is_hello_due = true;
	(void)pthread_mutex_unlock(&channel->mutex);
}

static void give_up(struct channel *channel, const struct line *line, bool must_move_on) {
	struct link *link = NULL;

	(void)pthread_mutex_lock(&channel->mutex);
	if (is_current(channel, line)) {
		link = channel->line.link;
		channel->line.link = NULL;
		if (must_move_on)
			move_on(channel);
	}
	(void)pthread_mutex_unlock(&channel->mutex);
	if (link != NULL)
		channel->transport->drop(link);
}

void channel_disconnect(struct channel *channel, const struct line *line) {
	give_up(channel, line, false);
}

void channel_next_server(struct channel *channel, const struct line *line) {
	give_up(channel, line, true);
}

/* --- Seeking ------------------------------------------------------------------------------- */

/* What HELLO came to on a link. */
enum greeting {
	GREETING_DONE,	    /* the link is the channel's now */
	GREETING_ELSEWHERE, /* another store was told */
	GREETING_REFUSED,
	GREETING_NONE,
};

/* Another store, once heard of, is the better reason than whoever did not answer after it. */
static enum greeting fail(struct channel *channel, enum greeting greeting) {
	if (channel->round.elsewhere == 0)
		keep_reason(channel, channel->transport->reason(channel->transport->context));
	return greeting;
}

static enum greeting refuse(struct channel *channel, enum kv_status status) {
	/* A HELLO that told no epoch, or was sent one back, makes no sense. */
	channel->round.refusal = status == KV_OK || status == KV_EPOCH ? KV_PROTOCOL : status;
	return fail(channel, GREETING_REFUSED);
}

/* "HELLO, the first call on each connection." */
static enum greeting hello(struct channel *channel, struct link *link, struct backoff *backoff) {
	const struct transport *transport = channel->transport;
	struct request request = {.kind = REQUEST_HELLO, .xid = channel_xid(channel)};
	struct response response = {0};

	switch (transport->attempt(link, &request, backoff_attempt_until(backoff), &response)) {
	case ATTEMPT_ANSWERED:
		if (response.status != KV_OK || response.epoch == 0)
			return refuse(channel, response.status);
		if (adopt(channel, link, &response))
			return GREETING_DONE;
		keep_reason(channel, "the server has another store than the one before");
		return GREETING_ELSEWHERE;
	case ATTEMPT_UNANSWERED:
		if (transport->is_usable(link))
			backoff_lengthen_attempt(backoff);
		break;
	case ATTEMPT_UNSENT:
	case ATTEMPT_WRONG_SERVER:
		break;
	case ATTEMPT_REJECTED:
		return refuse(channel, response.status);
	case ATTEMPT_BAD_REPLY:
		return refuse(channel, KV_PROTOCOL);
	case ATTEMPT_NOMEM:
		return refuse(channel, KV_NOMEM);
	}
	return fail(channel, GREETING_NONE);
}

/* Says HELLO on a link whose count is the caller's, and takes that. */
static enum greeting introduce(struct channel *channel, struct link *link,
			       struct backoff *backoff) {
	enum greeting greeting = hello(channel, link, backoff);

	if (greeting != GREETING_DONE)
		channel->transport->drop(link);
	return greeting;
}

/* HELLO again on the link that is there, after an answer KV_EPOCH. */
static bool greet_again(struct channel *channel, struct backoff *backoff) {
	struct link *link;

	(void)pthread_mutex_lock(&channel->mutex);
	link = channel->line.link;
	channel->line.link = NULL;
	(void)pthread_mutex_unlock(&channel->mutex);
	if (link == NULL)
		return false;
	if (!channel->transport->is_usable(link)) {
		channel->transport->drop(link);
		return false;
	}
	if (introduce(channel, link, backoff) == GREETING_DONE)
		return true;
	(void)pthread_mutex_lock(&channel->mutex);
	move_on(channel);
	(void)pthread_mutex_unlock(&channel->mutex);
	return false;
}

static enum greeting greet_at(struct channel *channel, size_t at, bool look_again,
			      struct backoff *backoff) {
	const struct transport *transport = channel->transport;
	struct link *link =
	    transport->connect(transport->context, at, look_again, backoff_connect_until(backoff));

	return link != NULL ? introduce(channel, link, backoff) : fail(channel, GREETING_NONE);
}

static bool try_address(struct channel *channel, struct backoff *backoff) {
	enum greeting greeting;
	size_t at;
	bool look_again;

	(void)pthread_mutex_lock(&channel->mutex);
	at = channel->at;
	look_again = channel->ways[at].look_again;
	(void)pthread_mutex_unlock(&channel->mutex);

	greeting = greet_at(channel, at, look_again, backoff);
	/* Another store may have the port that ours had; rpcbind knows where ours is now. */
	if (greeting == GREETING_ELSEWHERE && !look_again)
		greeting = greet_at(channel, at, true, backoff);
	if (greeting == GREETING_DONE)
		return true;
	if (greeting == GREETING_ELSEWHERE)
		note_elsewhere(channel, at);
	if (greeting == GREETING_REFUSED)
		channel->round.refused++;
	channel->round.tried++;
	(void)pthread_mutex_lock(&channel->mutex);
	move_on(channel);
	(void)pthread_mutex_unlock(&channel->mutex);
	return false;
}

/*
 * Tries the addresses in turn, and pauses after each round. A round in which nobody could be
 * reached is repeated; one in which everybody had an answer, and none could be used, is final.
 * KV_OK: look at the channel again, for it has a line, or another life in which there is none yet.
 */
static enum kv_status seek(struct channel *channel, struct backoff *backoff) {
	const size_t count = channel->transport->address_count;

	if (greet_again(channel, backoff))
		return KV_OK;
	do {
		/* A refusal that another call met, maybe long ago, is not this one's. */
		const bool is_own = channel->round.tried == 0;
		struct round round;

		while (channel->round.tried < count) {
			if (backoff_expired(backoff))
				return KV_TIMEOUT;
			if (try_address(channel, backoff))
				return KV_OK;
		}
		bool is_gone = forget_if_gone(channel);
		round = channel->round;
		channel->round = (struct round){0};
		if (is_gone)
			return KV_OK;
		if (is_own && round.refused > 0 && round.elsewhere + round.refused == count)
			return round.refusal;
	} while (backoff_pause(backoff));
	return KV_TIMEOUT;
}

enum kv_status channel_bind(struct channel *channel, uint64_t life, struct backoff *backoff,
			    struct line *line) {
	enum kv_status status = KV_OK;
	bool is_late = false;

	line->link = NULL;
	(void)pthread_mutex_lock(&channel->mutex);
	while (status == KV_OK && line->link == NULL) {
		struct link *link = channel->line.link;

		if (life != 0 && life <= channel->forgotten) {
			status = KV_BADSESSION;
		} else if (is_late || backoff_expired(backoff)) {
			status = KV_TIMEOUT;
		} else if (channel->is_sought) {
			is_late = !cond_wait_until(&channel->found, &channel->mutex, backoff);
		} else if (link != NULL && !channel->is_hello_due &&
			   channel->transport->is_usable(link)) {
			*line = channel->line;
			(void)channel->transport->hold(link);
		} else {
			channel->is_sought = true;
			(void)pthread_mutex_unlock(&channel->mutex);
			status = seek(channel, backoff);
			(void)pthread_mutex_lock(&channel->mutex);
			channel->is_sought = false;
			(void)pthread_cond_broadcast(&channel->found);
		}
	}
	(void)pthread_mutex_unlock(&channel->mutex);
	return status;
}
