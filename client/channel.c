/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cond_wait.h"

enum {
	ERROR_MAX = 256,      /* bytes of one address's error message */
	ERRORS_MAX = 16 * 80, /* ... and of all addresses' together; the rest is cut off */
};

/* One address of the list. */
struct server_state {
	bool look_again;       /* resolve it again before the next connect */
	bool had_store;	       /* its last word, in this generation, was this store */
	char error[ERROR_MAX]; /* why it could not be used; empty if it was not tried since */
};

/* What became of the addresses that were tried since the last one was used, or all were tried. */
struct scan_round {
	size_t tried;
	size_t other_store; /* lead to another store */
	size_t refused;	    /* refused HELLO */
	size_t failed;	    /* failed before their time was up: nothing is served there */
	enum kv_status refusal;
};

/*
 * Invariants, under the mutex:
 *  - binding.conn, unless NULL, is to a server of `store`, at address `at`.
 *  - A change of the store is a change of the generation. `forgotten` < `generation`; something was
 *    learned in the generation `forgotten`, so calls of it, or of one before it, end with
 *    KV_BADSESSION.
 *  - One thread at a time seeks a server. It holds no lock while it connects, sends HELLO or
 * pauses.
 *  - `round` belongs to the seeking thread. A call that ends in the middle of it leaves the rest to
 *    the next one: calls shorter than a round would never get to its end otherwise.
 */
struct channel {
	const struct transport *transport;
	atomic_uint_fast32_t xid;

	pthread_mutex_t mutex;
	pthread_cond_t found;	/* the seeking thread is done, whatever came of it */
	struct binding binding; /* conn NULL: there is none */
	bool is_hello_due;
	bool is_seeking;

	bool has_store;
	uint8_t store[STORE_ID_SIZE];
	bool is_remembered;
	uint64_t generation;
	uint64_t forgotten;

	size_t at;		      /* the address in use, or to be tried next */
	struct server_state *servers; /* of each address */
	struct scan_round round;
	bool was_reached; /* some server said HELLO */
	char error[ERRORS_MAX];
};

struct channel *channel_new(const struct transport *transport) {
	struct channel *channel = calloc(1, sizeof(*channel));

	if (channel == NULL)
		return NULL;
	channel->servers = calloc(transport->address_count, sizeof(*channel->servers));
	if (channel->servers == NULL) {
		free(channel);
		return NULL;
	}
	channel->transport = transport;
	channel->generation = 1;
	atomic_init(&channel->xid, (uint32_t)transport->random(transport->context));
	(void)pthread_mutex_init(&channel->mutex, NULL);
	cond_wait_init(&channel->found);
	return channel;
}

void channel_free(struct channel *channel, bool is_child) {
	if (channel == NULL)
		return;
	if (channel->binding.conn != NULL)
		channel->transport->unref(channel->binding.conn);
	if (!is_child) {
		(void)pthread_cond_destroy(&channel->found);
		(void)pthread_mutex_destroy(&channel->mutex);
	}
	free(channel->servers);
	free(channel);
}

uint64_t channel_generation(struct channel *channel) {
	uint64_t generation;

	(void)pthread_mutex_lock(&channel->mutex);
	generation = channel->generation;
	(void)pthread_mutex_unlock(&channel->mutex);
	return generation;
}

uint32_t channel_xid(struct channel *channel) {
	return (uint32_t)atomic_fetch_add(&channel->xid, 1);
}

uint32_t channel_xids(struct channel *channel, size_t count) {
	return (uint32_t)atomic_fetch_add(&channel->xid, (uint_fast32_t)count);
}

void channel_unbind(struct channel *channel, struct binding *binding) {
	if (binding->conn != NULL)
		channel->transport->unref(binding->conn);
	binding->conn = NULL;
}

static void keep_error(struct channel *channel, const char *error) {
	if (error[0] == '\0')
		return;
	(void)pthread_mutex_lock(&channel->mutex);
	(void)snprintf(channel->error, sizeof(channel->error), "%s", error);
	(void)pthread_mutex_unlock(&channel->mutex);
}

/* What failed at the address `at`; the channel's error is then that of all addresses tried. */
static void keep_address_error(struct channel *channel, size_t at, const char *error) {
	size_t size = 0;

	(void)pthread_mutex_lock(&channel->mutex);
	(void)snprintf(channel->servers[at].error, ERROR_MAX, "%s", error);
	for (size_t i = 0; i < channel->transport->address_count; i++) {
		if (channel->servers[i].error[0] == '\0' || size >= sizeof(channel->error))
			continue;
		size += (size_t)snprintf(channel->error + size, sizeof(channel->error) - size,
					 "%s%s", size > 0 ? "; " : "", channel->servers[i].error);
	}
	(void)pthread_mutex_unlock(&channel->mutex);
}

void channel_last_error(struct channel *channel, char *text, size_t size) {
	(void)pthread_mutex_lock(&channel->mutex);
	(void)snprintf(text, size, "%s", channel->error);
	(void)pthread_mutex_unlock(&channel->mutex);
}

enum attempt channel_attempt(struct channel *channel, const struct binding *binding,
			     const struct request *request, uint64_t until_ms,
			     struct response *response) {
	const struct transport *transport = channel->transport;
	enum attempt outcome = transport->attempt(binding->conn, request, until_ms, response);

	if (outcome != ATTEMPT_ANSWERED)
		keep_error(channel, transport->last_error(transport->context));
	return outcome;
}

/* --- What is known of the store ------------------------------------------------------------ */

bool channel_remember(struct channel *channel, uint64_t generation) {
	bool still_lives;

	(void)pthread_mutex_lock(&channel->mutex);
	still_lives = channel->generation == generation;
	if (still_lives)
		channel->is_remembered = true;
	(void)pthread_mutex_unlock(&channel->mutex);
	return still_lives;
}

bool channel_store(struct channel *channel, uint64_t generation, uint8_t store[STORE_ID_SIZE]) {
	bool still_lives;

	(void)pthread_mutex_lock(&channel->mutex);
	still_lives = channel->generation == generation && channel->has_store;
	if (still_lives)
		memcpy(store, channel->store, STORE_ID_SIZE);
	(void)pthread_mutex_unlock(&channel->mutex);
	return still_lives;
}

uint64_t channel_expect_store(struct channel *channel, const uint8_t store[STORE_ID_SIZE]) {
	uint64_t generation = 0;

	(void)pthread_mutex_lock(&channel->mutex);
	if (!channel->has_store) {
		channel->has_store = true;
		memcpy(channel->store, store, STORE_ID_SIZE);
	}
	if (memcmp(channel->store, store, STORE_ID_SIZE) == 0) {
		channel->is_remembered = true;
		generation = channel->generation;
	}
	(void)pthread_mutex_unlock(&channel->mutex);
	return generation;
}

static void begin_life(struct channel *channel) {
	channel->generation++;
	for (size_t i = 0; i < channel->transport->address_count; i++)
		channel->servers[i].had_store = false;
}

/*
 * "If every address leads elsewhere, the call ends with KV_BADSESSION, and the next call starts
 * afresh": each handle's next one. Every address that ever led to this store, that is. One that
 * never did, and does not answer, says nothing, and most lists have one. But one that did, and does
 * not answer, may be the store's own server on its way up. True: the store is forgotten.
 */
static bool forget_if_gone(struct channel *channel) {
	bool is_gone = channel->round.other_store > 0;

	(void)pthread_mutex_lock(&channel->mutex);
	for (size_t i = 0; i < channel->transport->address_count; i++)
		is_gone = is_gone && !channel->servers[i].had_store;
	if (is_gone) {
		channel->forgotten = channel->generation;
		channel->has_store = false;
		channel->is_remembered = false;
		begin_life(channel);
	}
	(void)pthread_mutex_unlock(&channel->mutex);
	return is_gone;
}

/* The last word of that address is another store. */
static void note_other_store(struct channel *channel, size_t at) {
	(void)pthread_mutex_lock(&channel->mutex);
	channel->servers[at].had_store = false;
	(void)pthread_mutex_unlock(&channel->mutex);
	channel->round.other_store++;
}

/*
 * Makes the conn the channel's, which takes its count. False, and nothing is changed: "a server
 * with another store id is another store: to a clerk with something to remember (a session, a
 * version seen) that address is not answering".
 */
static bool adopt(struct channel *channel, struct conn *conn, const struct response *hello) {
	struct conn *old;
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
	old = channel->binding.conn;
	channel->binding = (struct binding){.conn = conn,
					    .is_stream = channel->transport->is_stream(conn),
					    .generation = channel->generation,
					    .epoch = hello->epoch,
					    .key_max = hello->key_max,
					    .value_max = hello->value_max,
					    .datagram_max = hello->datagram_max};
	channel->is_hello_due = false;
	channel->round = (struct scan_round){0};
	channel->servers[channel->at].look_again = false;
	channel->servers[channel->at].had_store = true;
	for (size_t i = 0; i < channel->transport->address_count; i++)
		channel->servers[i].error[0] = '\0';
	channel->was_reached = true;
	(void)pthread_mutex_unlock(&channel->mutex);
	if (old != NULL)
		channel->transport->unref(old);
	return true;
}

/* --- Giving up a connection ---------------------------------------------------------------- */

static bool is_current(const struct channel *channel, const struct binding *binding) {
	return channel->binding.conn == binding->conn && channel->binding.epoch == binding->epoch;
}

/* Refused connections, a HELLO that failed, PROG_UNAVAIL and PROG_MISMATCH mean "look again". */
static void move_on(struct channel *channel) {
	channel->servers[channel->at].look_again = true;
	channel->at = (channel->at + 1) % channel->transport->address_count;
}

void channel_need_hello(struct channel *channel, const struct binding *binding) {
	(void)pthread_mutex_lock(&channel->mutex);
	if (is_current(channel, binding))
		channel->is_hello_due = true;
	(void)pthread_mutex_unlock(&channel->mutex);
}

static void give_up(struct channel *channel, const struct binding *binding, bool must_move_on) {
	struct conn *conn = NULL;

	(void)pthread_mutex_lock(&channel->mutex);
	if (is_current(channel, binding)) {
		conn = channel->binding.conn;
		channel->binding.conn = NULL;
		if (must_move_on)
			move_on(channel);
	}
	(void)pthread_mutex_unlock(&channel->mutex);
	if (conn != NULL)
		channel->transport->unref(conn);
}

void channel_disconnect(struct channel *channel, const struct binding *binding) {
	give_up(channel, binding, false);
}

void channel_next_server(struct channel *channel, const struct binding *binding) {
	give_up(channel, binding, true);
}

/* --- Seeking ------------------------------------------------------------------------------- */

/* What HELLO came to on a connection. */
enum hello_result {
	HELLO_DONE,	   /* the connection is the channel's now */
	HELLO_OTHER_STORE, /* the server has another store */
	HELLO_REFUSED,
	HELLO_FAILED, /* nothing is served there */
	HELLO_SILENT, /* time was up */
};

static enum hello_result refuse(struct channel *channel, enum kv_status status) {
	/* A HELLO reply without an epoch, or with KV_EPOCH, makes no sense. */
	channel->round.refusal = status == KV_OK || status == KV_EPOCH ? KV_PROTOCOL : status;
	return HELLO_REFUSED;
}

/* "HELLO, the first call on each connection." */
static enum hello_result hello(struct channel *channel, struct conn *conn, uint64_t until_ms,
			       struct backoff *backoff) {
	const struct transport *transport = channel->transport;
	struct request request = {.kind = REQUEST_HELLO, .xid = channel_xid(channel)};
	struct response response = {0};

	switch (transport->attempt(conn, &request, until_ms, &response)) {
	case ATTEMPT_ANSWERED:
		if (response.status != KV_OK || response.epoch == 0)
			return refuse(channel, response.status);
		return adopt(channel, conn, &response) ? HELLO_DONE : HELLO_OTHER_STORE;
	case ATTEMPT_UNANSWERED:
		if (!transport->is_usable(conn))
			return HELLO_FAILED;
		backoff_lengthen_attempt(backoff);
		return HELLO_SILENT;
	case ATTEMPT_UNSENT:
		return transport->is_usable(conn) ? HELLO_SILENT : HELLO_FAILED;
	case ATTEMPT_WRONG_SERVER:
		return HELLO_FAILED;
	case ATTEMPT_REJECTED:
		return refuse(channel, response.status);
	case ATTEMPT_BAD_REPLY:
		return refuse(channel, KV_PROTOCOL);
	case ATTEMPT_NOMEM:
		return refuse(channel, KV_NOMEM);
	}
	return HELLO_FAILED;
}

/* Says HELLO on a connection of the address `at`, whose reference it takes. */
static enum hello_result say_hello(struct channel *channel, size_t at, struct conn *conn,
				   uint64_t until_ms, struct backoff *backoff) {
	const struct transport *transport = channel->transport;
	enum hello_result result = hello(channel, conn, until_ms, backoff);
	char error[ERROR_MAX];

	if (result == HELLO_DONE)
		return result;
	if (result == HELLO_OTHER_STORE) {
		(void)snprintf(error, sizeof(error),
			       "%s: the server has another store than the one before",
			       transport->name(transport->context, at));
		keep_address_error(channel, at, error);
	} else {
		keep_address_error(channel, at, transport->last_error(transport->context));
	}
	transport->unref(conn);
	return result;
}

/* HELLO again on the connection that is there, after a reply KV_EPOCH. */
static bool hello_again(struct channel *channel, struct backoff *backoff) {
	struct conn *conn;
	size_t at;

	(void)pthread_mutex_lock(&channel->mutex);
	conn = channel->binding.conn;
	at = channel->at;
	channel->binding.conn = NULL;
	(void)pthread_mutex_unlock(&channel->mutex);
	if (conn == NULL)
		return false;
	if (!channel->transport->is_usable(conn)) {
		channel->transport->unref(conn);
		return false;
	}
	if (say_hello(channel, at, conn, backoff_attempt_until(backoff), backoff) == HELLO_DONE)
		return true;
	(void)pthread_mutex_lock(&channel->mutex);
	move_on(channel);
	(void)pthread_mutex_unlock(&channel->mutex);
	return false;
}

static enum hello_result connect_and_hello(struct channel *channel, size_t at, bool look_again,
					   struct backoff *backoff) {
	const struct transport *transport = channel->transport;
	const size_t count = transport->address_count;
	const size_t untried = count - channel->round.tried;
	const uint64_t until_ms = backoff_connect_until(backoff, count, untried);
	struct conn *conn = transport->connect(transport->context, at, look_again, until_ms);

	if (conn != NULL)
		return say_hello(channel, at, conn, backoff_hello_until(backoff, count, untried),
				 backoff);
	keep_address_error(channel, at, transport->last_error(transport->context));
	return backoff_now(backoff) < until_ms ? HELLO_FAILED : HELLO_SILENT;
}

static bool try_address(struct channel *channel, struct backoff *backoff) {
	enum hello_result result;
	size_t at;
	bool look_again;

	(void)pthread_mutex_lock(&channel->mutex);
	at = channel->at;
	look_again = channel->servers[at].look_again;
	(void)pthread_mutex_unlock(&channel->mutex);

	result = connect_and_hello(channel, at, look_again, backoff);
	/* Another store may have the port that ours had; rpcbind knows where ours is now. */
	if (result == HELLO_OTHER_STORE && !look_again)
		result = connect_and_hello(channel, at, true, backoff);
	if (result == HELLO_DONE)
		return true;
	if (result == HELLO_OTHER_STORE)
		note_other_store(channel, at);
	channel->round.refused += result == HELLO_REFUSED;
	channel->round.failed += result == HELLO_FAILED;
	channel->round.tried++;
	(void)pthread_mutex_lock(&channel->mutex);
	move_on(channel);
	(void)pthread_mutex_unlock(&channel->mutex);
	return false;
}

/*
 * The status of a call that ends after a round in which no address could be used; KV_OK: it goes
 * on. A round in which each server replied to HELLO, and none could be used, is final. One in which
 * none could be reached is repeated, unless the handle fails fast and has never reached a server.
 */
static enum kv_status end_of_round(const struct channel *channel, const struct scan_round *round,
				   bool fail_fast) {
	const size_t count = channel->transport->address_count;

	if (round->refused > 0 && round->other_store + round->refused == count)
		return round->refusal;
	if (fail_fast && !channel->was_reached && round->refused + round->failed == count)
		return KV_TIMEOUT;
	return KV_OK;
}

/*
 * Tries the addresses in turn, and pauses after each round. KV_OK: look at the channel again, for
 * it has a binding, or another generation in which there is none yet.
 */
static enum kv_status seek(struct channel *channel, struct backoff *backoff) {
	const size_t count = channel->transport->address_count;

	if (hello_again(channel, backoff))
		return KV_OK;
	do {
		/* A refusal that another call met, maybe long ago, is not this one's. */
		const bool is_own = channel->round.tried == 0;
		enum kv_status status = KV_OK;
		struct scan_round round;

		while (channel->round.tried < count) {
			if (backoff_expired(backoff))
				return KV_TIMEOUT;
			if (try_address(channel, backoff))
				return KV_OK;
		}
		bool is_gone = forget_if_gone(channel);
		round = channel->round;
		channel->round = (struct scan_round){0};
		if (is_gone)
			return KV_OK;
		if (is_own)
			status = end_of_round(channel, &round, backoff->retry->fail_fast);
		if (status != KV_OK)
			return status;
	} while (backoff_pause(backoff));
	return KV_TIMEOUT;
}

enum kv_status channel_bind(struct channel *channel, uint64_t generation, struct backoff *backoff,
			    struct binding *binding) {
	enum kv_status status = KV_OK;
	bool is_late = false;

	binding->conn = NULL;
	(void)pthread_mutex_lock(&channel->mutex);
	while (status == KV_OK && binding->conn == NULL) {
		struct conn *conn = channel->binding.conn;

		if (generation != 0 && generation <= channel->forgotten) {
			status = KV_BADSESSION;
		} else if (is_late || backoff_expired(backoff)) {
			status = KV_TIMEOUT;
		} else if (channel->is_seeking) {
			is_late = !cond_wait_until(&channel->found, &channel->mutex, backoff);
		} else if (conn != NULL && !channel->is_hello_due &&
			   channel->transport->is_usable(conn)) {
			*binding = channel->binding;
			(void)channel->transport->ref(conn);
		} else {
			channel->is_seeking = true;
			(void)pthread_mutex_unlock(&channel->mutex);
			status = seek(channel, backoff);
			(void)pthread_mutex_lock(&channel->mutex);
			channel->is_seeking = false;
			(void)pthread_cond_broadcast(&channel->found);
		}
	}
	(void)pthread_mutex_unlock(&channel->mutex);
	return status;
}

bool channel_ping(struct channel *channel, const struct binding *binding, uint64_t until_ms) {
	struct request ping = {.kind = REQUEST_PING, .xid = channel_xid(channel)};
	struct response response = {0};
	enum attempt attempt = channel_attempt(channel, binding, &ping, until_ms, &response);

	response_free(&response);
	return attempt == ATTEMPT_ANSWERED;
}
