/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/rpc_transport.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rpcsvc/kv.h>

#include "address.h"
#include "random.h"
#include "clock.h"
#include "rpc/dial.h"
#include "rpc/conn.h"
#include "rpc/resolve.h"
#include "rpc/stubs.h"
#include "rpc/last_error.h"

/* One address of the server list. `place` is where the last connect to it succeeded. */
struct target {
	struct address address;
	char name[ADDRESS_TEXT_MAX];
	bool is_remembered;
	struct place place;
};

struct connections {
	uint32_t program;
	size_t count;
	pthread_mutex_t mutex; /* guards is_remembered and place of the targets */
	struct target targets[ADDRESS_LIST_MAX];
};

/* --- The server list ----------------------------------------------------------------------- */

/* The list that a NULL stands for, if somebody wrote one. */
static const char *written_list(const char *server) {
	const char *environment = getenv("KV_SERVER");

	if (server == NULL && environment != NULL && environment[0] != '\0')
		return environment;
	return server;
}

/* Where a kvd of this user, then of the system, listens unless it was told otherwise. */
static size_t default_list(struct address list[ADDRESS_LIST_MAX]) {
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char text[ADDRESS_TEXT_MAX];
	size_t count = 0;

	if (runtime != NULL &&
	    (size_t)snprintf(text, sizeof(text), "local:%s/kvd.sock", runtime) < sizeof(text) &&
	    address_parse(text, &list[count]) == NULL)
		count++;
	list[count++] = (struct address){.kind = ADDRESS_LOCAL, .path = "/run/kvd.sock"};
	list[count++] = (struct address){.kind = ADDRESS_LOCAL, .path = "/run/kvd/kvd.sock"};
	list[count++] = (struct address){.kind = ADDRESS_TCP, .host = "localhost"};
	return count;
}

const char *kv_address_error(const char *server) {
	struct address list[ADDRESS_LIST_MAX];
	size_t count;
	const char *text = written_list(server);

	return text != NULL ? address_parse_list(text, list, &count) : NULL;
}

/* --- The table ----------------------------------------------------------------------------- */

static struct link *connect_place(const struct connections *connections,
				  const struct target *target, const struct place *place,
				  uint64_t deadline_ms) {
	char text[64];
	struct link *link;
	int fd = dial(place, deadline_ms);

	if (fd < 0) {
		last_error_set("%s: %s", target->name, strerror_r(errno, text, sizeof(text)));
		return NULL;
	}
	link = conn_new(fd, place->is_stream, target->name, connections->program);
	if (link == NULL)
		last_error_set("%s: no memory for a connection", target->name);
	return link;
}

static bool recall(struct connections *connections, struct target *target, struct place *place) {
	bool is_remembered;

	(void)pthread_mutex_lock(&connections->mutex);
	is_remembered = target->is_remembered;
	*place = target->place;
	(void)pthread_mutex_unlock(&connections->mutex);
	return is_remembered;
}

static void remember(struct connections *connections, struct target *target,
		     const struct place *place) {
	(void)pthread_mutex_lock(&connections->mutex);
	target->is_remembered = true;
	target->place = *place;
	(void)pthread_mutex_unlock(&connections->mutex);
}

/* A remembered place that does not answer any more is no reason to give up: look again then. */
static struct link *connection_connect(void *context, size_t index, bool look_again,
				       uint64_t deadline_ms) {
	struct connections *connections = context;
	struct target *target = &connections->targets[index];
	struct place places[LOCATE_MAX];
	struct link *link;
	size_t count;

	last_error_clear();
	if (!look_again && recall(connections, target, &places[0])) {
		link = connect_place(connections, target, &places[0], deadline_ms);
		if (link != NULL)
			return link;
	}
	count = locate(&target->address, target->name, connections->program, deadline_ms, places);
	for (size_t i = 0; i < count; i++) {
		link = connect_place(connections, target, &places[i],
				     resolve_share(deadline_ms, count - i));
		if (link != NULL) {
			remember(connections, target, &places[i]);
			last_error_clear();
			return link;
		}
	}
	return NULL;
}

static enum attempt connection_attempt(struct link *link, const struct request *request,
				       uint64_t deadline_ms, struct response *response) {
	last_error_clear();
	return stubs_call(link, request, deadline_ms, response);
}

static const char *connection_reason(void *context) {
	(void)context;
	return last_error_text();
}

static uint64_t connection_now_ms(void *context) {
	(void)context;
	return clock_ms();
}

static void connection_pause(void *context, uint64_t until_ms) {
	struct timespec until = {
	    .tv_sec = (time_t)(until_ms / 1000),
	    .tv_nsec = (long)(until_ms % 1000) * 1000000,
	};

	(void)context;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static uint64_t connection_chance(void *context) {
	uint64_t bits;

	(void)context;
	random_bytes(&bits, sizeof(bits));
	return bits;
}

enum kv_status connections_new(const struct kv_options *options, struct transport *transport) {
	struct address list[ADDRESS_LIST_MAX];
	const char *server = written_list(options->server);
	struct connections *connections;
	size_t count;

	if (server == NULL)
		count = default_list(list);
	else if (address_parse_list(server, list, &count) != NULL)
		return KV_INVALID;

	connections = calloc(1, sizeof(*connections));
	if (connections == NULL)
		return KV_NOMEM;
	if (pthread_mutex_init(&connections->mutex, NULL) != 0) {
		free(connections);
		return KV_NOMEM;
	}
	connections->program = options->program != 0 ? options->program : KV_PROGRAM;
	connections->count = count;
	for (size_t i = 0; i < count; i++) {
		connections->targets[i].address = list[i];
		address_format(&list[i], connections->targets[i].name);
	}
	*transport = (struct transport){
	    .context = connections,
	    .address_count = count,
	    .connect = connection_connect,
	    .hold = conn_ref,
	    .drop = conn_unref,
	    .is_stream = conn_is_stream,
	    .is_usable = conn_is_usable,
	    .heard_since = conn_received_since,
	    .attempt = connection_attempt,
	    .reason = connection_reason,
	    .now_ms = connection_now_ms,
	    .pause = connection_pause,
	    .chance = connection_chance,
	};
	return KV_OK;
}

void connections_free(struct transport *transport) {
	struct connections *connections = transport->context;

	if (connections == NULL)
		return;
	(void)pthread_mutex_destroy(&connections->mutex);
	free(connections);
	*transport = (struct transport){0};
}
