/* SPDX-License-Identifier: BSD-3-Clause */
/* sim_conn.c - the client's connections over the simulated network: see link_stubs.h. */

#include "rpc/conn.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_stubs.h"
#include "rpc/last_error.h"
#include "rpc/rpc_transport.h"
#include "rpc/stubs.h"
#include "sim.h"

enum { ADDRESSES_MAX = 4, XID_SIZE = 4 };

/* A call that waits for its reply; on the stack of the task. */
struct pending_call {
	struct pending_call *next;
	struct task *task;
	uint8_t xid[XID_SIZE];
	struct rpc_reply answer;
	uint64_t generation;
};

struct conn {
	struct wire *wire;
	const struct host *host;
	unsigned holders;
	bool is_broken;
	bool is_connected;
	struct task *connecting; /* that waits for that */
	uint64_t heard_ms;
	struct pending_call *waiters;
};

/* The addresses of one client. */
struct connections {
	const struct host *host;
	bool is_stream[ADDRESSES_MAX];
};

/* --- What the network says ---------------------------------------------------------------------
 */

static void link_connected(void *owner, bool is_refused) {
	struct conn *link = owner;

	link->is_connected = !is_refused;
	link->is_broken = is_refused;
	if (link->connecting != NULL)
		task_wake(link->connecting);
}

static void link_take(void *owner, uint8_t *bytes, size_t size, uint64_t generation) {
	struct conn *link = owner;
	struct pending_call *waiter = link->waiters;

	link->heard_ms = sim()->now_ms;
	while (waiter != NULL && (size < XID_SIZE || waiter->answer.data != NULL ||
				  memcmp(waiter->xid, bytes, XID_SIZE) != 0))
		waiter = waiter->next;
	if (waiter == NULL) {
		/* A late answer. */
		free(bytes);
		return;
	}
	waiter->answer = (struct rpc_reply){.data = bytes, .size = size};
	waiter->generation = generation;
	task_wake(waiter->task);
}

static void link_broke(void *owner) {
	struct conn *link = owner;

	link->is_broken = true;
	for (struct pending_call *waiter = link->waiters; waiter != NULL; waiter = waiter->next)
		task_wake(waiter->task);
}

const struct net_client link_stubs_client = {
    .connected = link_connected,
    .take = link_take,
    .broke = link_broke,
};

/* --- A link ------------------------------------------------------------------------------------
 */

struct conn *conn_ref(struct conn *link) {
	link->holders++;
	return link;
}

void conn_unref(struct conn *link) {
	if (--link->holders > 0)
		return;
	net_close(link->wire);
	link_stubs()->links--;
	free(link);
}

const char *conn_name(const struct conn *link) {
	return conn_is_stream(link) ? "stream" : "datagram";
}

uint32_t conn_program(const struct conn *link) {
	(void)link;
	return 0x20004b56;
}

bool conn_is_stream(const struct conn *link) {
	return wire_is_stream(link->wire);
}

/* No TLS is simulated. */
enum kv_status conn_refusal(const struct conn *link) {
	(void)link;
	return KV_OK;
}

bool conn_is_usable(const struct conn *link) {
	return !link->is_broken;
}

bool conn_received_since(const struct conn *link, uint64_t since_ms) {
	return link->heard_ms != 0 && link->heard_ms >= since_ms;
}

static void leave(struct conn *link, const struct pending_call *me) {
	struct pending_call **at = &link->waiters;

	while (*at != me)
		at = &(*at)->next;
	*at = me->next;
}

/* There are no interrupts here, and a message arrives as a whole. */
enum attempt conn_call(struct conn *link, struct kv_bytes sent, const struct call_time *time,
		       struct rpc_reply *came) {
	struct pending_call me = {.next = link->waiters, .task = task_self()};
	const uint64_t deadline_ms = time->deadline_ms;

	*came = (struct rpc_reply){.data = NULL};
	if (link->is_broken || sim()->now_ms >= deadline_ms) {
		last_error_set("%s: nothing could be sent", conn_name(link));
		return ATTEMPT_UNSENT;
	}
	if (!net_send(link->wire, sent.data, sent.size)) {
		link_broke(link);
		last_error_set("%s: cut in the middle of a record", conn_name(link));
		return ATTEMPT_UNSENT;
	}
	memcpy(me.xid, sent.data, XID_SIZE);
	link->waiters = &me;
	while (me.answer.data == NULL && !link->is_broken && !link->host->is_dead &&
	       sim()->now_ms < deadline_ms)
		(void)task_sleep(deadline_ms);
	leave(link, &me);
	if (me.answer.data == NULL) {
		last_error_set("%s: no answer", conn_name(link));
		return ATTEMPT_UNANSWERED;
	}
	*task_note(me.task) = me.generation;
	*came = me.answer;
	return ATTEMPT_ANSWERED;
}

/* --- The transport -----------------------------------------------------------------------------
 */

static struct conn *sim_connect(void *context, size_t index, bool look_again,
				uint64_t deadline_ms) {
	struct connections *connections = context;
	struct conn *link;

	(void)look_again;
	/* For the dead no time passes: one that were silent to them would be asked for ever. */
	if (sim()->now_ms >= deadline_ms && !connections->host->is_dead)
		return NULL;
	link = calloc(1, sizeof(*link));
	if (link == NULL)
		return NULL;
	link->holders = 1;
	link->host = connections->host;
	link->connecting = task_self();
	link->wire = net_open(link_stubs()->net, link->host, connections->is_stream[index], link);
	link_stubs()->links++;
	if (connections->is_stream[index])
		while (!link->is_connected && !link->is_broken && !link->host->is_dead &&
		       sim()->now_ms < deadline_ms)
			(void)task_sleep(deadline_ms);
	else
		link->is_connected = true;
	link->connecting = NULL;
	/* To the dead all is refused, and quickly: see sim_attempt(). */
	if (link->is_connected || link->host->is_dead)
		return link;
	last_error_set("%s: %s", conn_name(link), link->is_broken ? "refused" : "no answer");
	conn_unref(link);
	return NULL;
}

/*
 * A client that has died goes on with its code, so that its memory is freed; but nothing that it
 * does has any effect, and each of its calls ends at once.
 */
static enum attempt sim_attempt(struct conn *link, const struct request *request,
				uint64_t deadline_ms, struct response *response) {
	if (link->host->is_dead) {
		response->status = KV_DENIED;
		return ATTEMPT_REJECTED;
	}
	return stubs_call(link, request, deadline_ms, response);
}

static const char *sim_name(void *context, size_t index) {
	(void)context;
	(void)index;
	return "sim";
}

static const char *sim_reason(void *context) {
	(void)context;
	return last_error_text();
}

static uint64_t sim_now_ms(void *context) {
	(void)context;
	return sim()->now_ms;
}

static void sim_pause(void *context, uint64_t until_ms) {
	const struct connections *connections = context;

	while (sim()->now_ms < until_ms && !connections->host->is_dead)
		(void)task_sleep(until_ms);
}

static uint64_t sim_chance(void *context) {
	(void)context;
	return prng_next(&sim()->prng);
}

/* "HOST:KIND,KIND": the number of addresses, 0 if it cannot be read. */
static size_t read_server(const char *server, struct connections *connections) {
	char *end = NULL;
	unsigned long host = server == NULL ? HOSTS_MAX : strtoul(server, &end, 10);
	size_t count = 0;

	if (host >= HOSTS_MAX || *end != ':' || link_stubs()->hosts[host] == NULL)
		return 0;
	connections->host = link_stubs()->hosts[host];
	for (const char *kind = end; kind != NULL && count < ADDRESSES_MAX;
	     kind = strchr(kind + 1, ','))
		connections->is_stream[count++] = kind[1] == 's';
	return count;
}

enum kv_status rpc_transport_new(const struct kv_options *options, struct transport *transport) {
	struct connections *connections = calloc(1, sizeof(*connections));
	size_t count;

	if (connections == NULL)
		return KV_NOMEM;
	count = read_server(options->server, connections);
	if (count == 0) {
		free(connections);
		return KV_INVALID;
	}
	*transport = (struct transport){
	    .context = connections,
	    .address_count = count,
	    .connect = sim_connect,
	    .ref = conn_ref,
	    .unref = conn_unref,
	    .is_stream = conn_is_stream,
	    .is_usable = conn_is_usable,
	    .received_since = conn_received_since,
	    .attempt = sim_attempt,
	    .name = sim_name,
	    .last_error = sim_reason,
	    .now_ms = sim_now_ms,
	    .sleep_until = sim_pause,
	    .random = sim_chance,
	};
	return KV_OK;
}

void rpc_transport_free(struct transport *transport) {
	free(transport->context);
	*transport = (struct transport){0};
}
