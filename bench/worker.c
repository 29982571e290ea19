/* SPDX-License-Identifier: BSD-3-Clause */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

enum { EVENTS_AT_ONCE = 256 };

static const uint64_t any_version = UINT64_MAX;
static const uint64_t reply_timeout_ns = UINT64_C(20000000000);

static uint64_t now(struct worker *worker) {
	if (worker->now_ns == 0)
		worker->now_ns = clock_ns();
	return worker->now_ns;
}

bool worker_open(struct worker *worker, struct options *options, uint64_t *versions,
		 unsigned number, unsigned parts) {
	uint64_t keys = options->workload.keys;
	unsigned first = options->connections * number / parts;

	*worker = (struct worker){
	    .options = options,
	    .versions = versions,
	    .first = first,
	    .count = options->connections * (number + 1) / parts - first,
	    .epoll = epoll_create1(EPOLL_CLOEXEC),
	    .scratch = malloc(CONNECTION_SCRATCH),
	    .seed = options->seed + number * UINT64_C(0x9e3779b97f4a7c15),
	    .next_key = keys * number / parts,
	    .end_key = keys * (number + 1) / parts,
	    .latencies = calloc(WORKS, sizeof(*worker->latencies)),
	};
	worker->connections = calloc(worker->count, sizeof(*worker->connections));
	if (worker->epoll < 0 || worker->scratch == NULL || worker->latencies == NULL ||
	    worker->connections == NULL) {
		log_error("no memory for a thread of the load");
		return false;
	}
	for (unsigned i = 0; i < worker->count; i++) {
		struct connection *connection = &worker->connections[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

		if (!connection_open(connection, options, first + i))
			return false;
		if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
			log_error("epoll takes no socket: %s", strerror(errno));
			return false;
		}
	}
	return true;
}

void worker_close(struct worker *worker) {
	for (unsigned i = 0; worker->connections != NULL && i < worker->count; i++)
		if (worker->connections[i].protocol != NULL) /* else it was never opened */
			connection_close(&worker->connections[i]);
	free(worker->connections);
	free(worker->scratch);
	free(worker->latencies);
	if (worker->epoll >= 0)
		(void)close(worker->epoll);
}

/* --- Making calls --------------------------------------------------------------------------- */

static bool make_call(struct worker *worker, struct connection *connection, const struct slot *call,
		      uint64_t expected) {
	worker->under_way++;
	return connection_call(connection, call, expected);
}

/*
 * Each lane has its own keys if Puts name versions: of two that write one key at the same time, one
 * would be refused.
 */
static uint64_t own_key(const struct worker *worker, const struct connection *connection,
			uint64_t key) {
	uint64_t lanes = (uint64_t)worker->options->connections * connection->lane_count;
	uint64_t lane = (uint64_t)connection->number * connection->lane_count +
			connection->free_lanes[connection->free_count - 1];

	key = key - key % lanes + lane;
	return key < worker->options->workload.keys ? key : key - lanes;
}

static bool make_next(struct worker *worker, struct connection *connection, uint64_t begin_ns) {
	struct slot call = {.begin_ns = begin_ns};
	uint64_t expected = any_version;

	call.work = workload_next(&worker->options->workload, &worker->seed, &call.key);
	if (worker->versions != NULL) {
		call.key = own_key(worker, connection, call.key);
		expected = worker->versions[call.key];
	}
	connection->calls_left--;
	return make_call(worker, connection, &call, expected);
}

static bool fill_next(struct worker *worker, struct connection *connection) {
	struct slot call = {.work = WORK_PUT, .key = worker->next_key++};

	/* Without a session only a Put that names a version is taken; if the key is there, the
	   reply tells its version as well. */
	return make_call(worker, connection, &call,
			 worker->options->common.is_stateless ? 0 : any_version);
}

/* Gives a lane that is free something to do, if there is anything. */
static bool go_on(struct worker *worker, struct connection *connection) {
	if (worker->is_filling)
		return worker->next_key == worker->end_key || fill_next(worker, connection);
	if (worker->options->rate > 0 || connection->calls_left == 0 ||
	    now(worker) >= worker->window.end_ns)
		return true;
	return make_next(worker, connection, now(worker));
}

static bool flush(struct worker *worker, struct connection *connection) {
	bool waits = false;

	if (!outgoing_send(&connection->out, connection->fd)) {
		log_error("the server takes no bytes: %s", strerror(errno));
		return false;
	}
	waits = !outgoing_is_empty(&connection->out);
	if (waits != connection->waits_to_send) {
		struct epoll_event event = {.events = EPOLLIN | (waits ? (uint32_t)EPOLLOUT : 0),
					    .data.ptr = connection};
		(void)epoll_ctl(worker->epoll, EPOLL_CTL_MOD, connection->fd, &event);
		connection->waits_to_send = waits;
	}
	return true;
}

/* A connection with a free lane, in turns; NULL: all are busy. */
static struct connection *find_free(struct worker *worker) {
	for (unsigned i = 0; i < worker->count; i++) {
		struct connection *connection = &worker->connections[worker->next_connection];
		worker->next_connection = (worker->next_connection + 1) % worker->count;
		if (connection->free_count > 0)
			return connection;
	}
	return NULL;
}

static uint64_t due_ns(const struct worker *worker) {
	return worker->first_due_ns + (uint64_t)((double)worker->due * worker->interval_ns);
}

/* Fixed rate: makes the calls that are due. */
static bool make_due(struct worker *worker) {
	while (due_ns(worker) <= now(worker) && due_ns(worker) < worker->window.end_ns) {
		struct connection *connection =
		    now(worker) < worker->window.end_ns ? find_free(worker) : NULL;
		if (connection == NULL)
			return true;
		if (!make_next(worker, connection, due_ns(worker)) || !flush(worker, connection))
			return false;
		worker->due++;
	}
	return true;
}

/* --- Replies -------------------------------------------------------------------------------- */

static void count(struct worker *worker, const struct slot *call, const struct reply *reply) {
	uint64_t at_ns = now(worker);
	bool counts =
	    call->begin_ns >= worker->window.begin_ns && call->begin_ns < worker->window.end_ns;

	if (at_ns >= worker->window.begin_ns && at_ns < worker->window.end_ns)
		worker->answered++;
	if (counts)
		histogram_add(&worker->latencies[call->work], at_ns - call->begin_ns);
	worker->missing += counts && reply->outcome == OUTCOME_MISSING;
	worker->conflicts += counts && reply->outcome == OUTCOME_CONFLICT;
}

static bool take_reply(void *context, struct connection *connection, const struct slot *call,
		       const struct reply *reply) {
	struct worker *worker = context;

	worker->under_way--;
	if (reply->outcome == OUTCOME_REFUSED)
		return false; /* the protocol has told it */
	if (worker->versions != NULL && call->work != WORK_GET && call->work != WORK_NULL)
		worker->versions[call->key] = reply->version;
	if (call->work == WORK_MODIFY && !call->is_second) {
		struct slot second = *call;
		second.is_second = true;
		return make_call(worker, connection, &second,
				 reply->version != 0 ? reply->version : any_version);
	}
	if (!worker->is_filling)
		count(worker, call, reply);
	return go_on(worker, connection);
}

/* --- The loop ------------------------------------------------------------------------------- */

/* Nanoseconds until the loop has something to do of its own accord. */
static uint64_t time_to_wait(struct worker *worker) {
	uint64_t next_ns = due_ns(worker);

	if (worker->is_filling || worker->options->rate == 0 || next_ns >= worker->window.end_ns)
		return reply_timeout_ns;
	return next_ns > now(worker) ? next_ns - now(worker) : reply_timeout_ns;
}

/* Whether there is nothing to come. */
static bool is_over(struct worker *worker) {
	if (worker->under_way > 0)
		return false;
	return worker->is_filling || worker->options->rate == 0 ||
	       due_ns(worker) >= worker->window.end_ns || now(worker) >= worker->window.end_ns;
}

static bool turn(struct worker *worker) {
	struct epoll_event events[EVENTS_AT_ONCE];
	uint64_t wait_ns = time_to_wait(worker);
	struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000),
				.tv_nsec = (long)(wait_ns % 1000000000)};
	int ready = epoll_pwait2(worker->epoll, events, EVENTS_AT_ONCE, &wait, NULL);

	worker->now_ns = 0;
	if (ready < 0 && errno != EINTR) {
		log_error("epoll: %s", strerror(errno));
		return false;
	}
	if (ready == 0 && wait_ns == reply_timeout_ns) {
		log_error("no reply for %llu s, and %llu calls are under way",
			  (unsigned long long)(reply_timeout_ns / 1000000000),
			  (unsigned long long)worker->under_way);
		return false;
	}
	for (int i = 0; i < ready; i++) {
		struct connection *connection = events[i].data.ptr;
		worker->now_ns = 0;
		if ((events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0 &&
		    !connection_read(connection, worker->scratch, take_reply, worker))
			return false;
		if (!flush(worker, connection))
			return false;
	}
	return true;
}

static bool loop(struct worker *worker) {
	while (!is_over(worker)) {
		if (!worker->is_filling && worker->options->rate > 0 && !make_due(worker))
			return false;
		if (!is_over(worker) && !turn(worker))
			return false;
	}
	return true;
}

/* Something to do for every lane. */
static bool begin(struct worker *worker) {
	for (unsigned i = 0; i < worker->count; i++) {
		struct connection *connection = &worker->connections[i];
		unsigned lanes = connection->free_count;
		worker->now_ns = 0;
		for (unsigned lane = 0; lane < lanes; lane++)
			if (!go_on(worker, connection))
				return false;
		if (!flush(worker, connection))
			return false;
	}
	return true;
}

bool worker_fill(struct worker *worker) {
	bool is_done = false;

	worker->is_filling = true;
	is_done = begin(worker) && loop(worker);
	worker->is_filling = false;
	return is_done;
}

bool worker_run(struct worker *worker, struct window window) {
	const struct options *options = worker->options;
	double share = (double)worker->count / options->connections;

	worker->window = window;
	for (unsigned i = 0; i < worker->count; i++) {
		uint64_t number = worker->first + i;
		worker->connections[i].calls_left =
		    options->calls == 0 ? UINT64_MAX
					: options->calls * (number + 1) / options->connections -
					      options->calls * number / options->connections;
	}
	worker->now_ns = 0;
	if (options->rate > 0) {
		/* The kernel wakes sleepers up to 50 us late unless told that it matters. */
		(void)prctl(PR_SET_TIMERSLACK, 1);
		worker->interval_ns = 1e9 / ((double)options->rate * share);
		worker->first_due_ns = now(worker);
	}
	if (!begin(worker) || !loop(worker))
		return false;
	if (options->rate > 0 && due_ns(worker) < window.end_ns)
		worker->behind =
		    (uint64_t)((double)(window.end_ns - due_ns(worker)) / worker->interval_ns);
	return true;
}
