/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/rpc_transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "address.h"
#include "clock.h"
#include "random.h"
#include "rpc/conn.h"
#include "rpc/dial.h"
#include "rpc/get_batch.h"
#include "rpc/last_error.h"
#include "rpc/resolve.h"
#include "rpc/secure.h"
#include "rpc/starttls.h"
#include "rpc/stubs.h"
#include "rpc/tls_loader.h"
#include "rpc/trust.h"

/* Of the options or the environment; NULL: not given. Copies. */
struct tls_options {
	char *ca;
	char *cert;
	char *key;
	char *name;
};

struct rpc_transport {
	uint32_t program;
	struct tls_options tls;
	size_t count;
	struct target targets[ADDRESS_LIST_MAX];
};

/* --- The server list ----------------------------------------------------------------------- */

/* The list that the options or $KV_SERVER name; NULL: none. */
static const char *written_list(const char *server) {
	const char *environment = getenv("KV_SERVER");

	if (server == NULL && environment != NULL && environment[0] != '\0')
		return environment;
	return server;
}

/* The default addresses of a kvd of this user, and of the system. */
static size_t default_list(struct address list[ADDRESS_LIST_MAX]) {
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char text[ADDRESS_TEXT_MAX];
	size_t count = 0;

	if (runtime != NULL && trust_runtime_directory(runtime) &&
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

/* --- TLS ---------------------------------------------------------------------------------- */

/* False: no memory. An empty variable is none. */
static bool set_option(char **to, const char *option, const char *variable) {
	const char *environment = variable != NULL ? getenv(variable) : NULL;

	if (option == NULL && environment != NULL && environment[0] != '\0')
		option = environment;
	*to = option != NULL ? strdup(option) : NULL;
	return option == NULL || *to != NULL;
}

static bool set_tls_options(struct tls_options *tls, const struct kv_options *options) {
	return set_option(&tls->ca, options->tls_ca, "KV_TLS_CA") &&
	       set_option(&tls->cert, options->tls_cert, "KV_TLS_CERT") &&
	       set_option(&tls->key, options->tls_key, "KV_TLS_KEY") &&
	       set_option(&tls->name, options->tls_name, NULL);
}

static void free_tls_options(struct tls_options *tls) {
	free(tls->ca);
	free(tls->cert);
	free(tls->key);
	free(tls->name);
}

/* The name of a server is what the user wrote; the zone of an IPv6 address is this machine's. */
static enum tls_result open_session(const struct rpc_transport *transport,
				    const struct target *target, struct secure **secure,
				    char error[TLS_ERROR_MAX]) {
	char host[ADDRESS_HOST_MAX + 1];
	const struct tls_config config = {
	    .ca = transport->tls.ca,
	    .cert = transport->tls.cert,
	    .key = transport->tls.key,
	    .name = transport->tls.name != NULL ? transport->tls.name : host,
	};
	const struct tls_plugin *plugin = tls_load(error);

	(void)snprintf(host, sizeof(host), "%.*s", (int)strcspn(target->address.host, "%"),
		       target->address.host);
	return plugin != NULL ? secure_new(plugin, &config, secure, error) : TLS_UNUSABLE;
}

/* A refusal is a connection, too: it has the status with which its calls end. NULL: it is none. */
static struct conn *refused(const struct rpc_transport *transport, const struct target *target,
			    enum tls_result result, const char *error) {
	last_error_set("%s: %s", target->name, error);
	if (result == TLS_REFUSED || result == TLS_UNUSABLE)
		return conn_new_refused(result == TLS_REFUSED ? KV_DENIED : KV_INVALID, error,
					target->name, transport->program);
	return NULL;
}

/* Takes ownership of both. NULL: last_error_set() has said why. */
static struct conn *begin_tls(const struct rpc_transport *transport, const struct target *target,
			      int fd, struct secure *secure, uint64_t deadline_ms) {
	char error[TLS_ERROR_MAX] = "";
	struct conn *conn = NULL;
	enum tls_result result;

	if (starttls(fd, transport->program, target->name, deadline_ms)) {
		result = secure_handshake(secure, fd, deadline_ms, error);
		if (result == TLS_OK) {
			conn = conn_new_secure(fd, secure, target->name, transport->program);
			if (conn == NULL)
				last_error_set("%s: no memory for a connection", target->name);
			return conn;
		}
		conn = refused(transport, target, result, error);
	}
	secure_free(secure);
	(void)close(fd);
	return conn;
}

/* --- The table ----------------------------------------------------------------------------- */

static struct conn *connect_to(const struct rpc_transport *transport, struct target *target,
			       const struct endpoint endpoints[], size_t count,
			       uint64_t deadline_ms) {
	char error[TLS_ERROR_MAX] = "";
	struct secure *secure = NULL;
	enum tls_result result = TLS_OK;
	struct conn *conn;
	size_t connected;
	int fd;

	if (target->address.is_tls)
		result = open_session(transport, target, &secure, error);
	if (result != TLS_OK)
		return refused(transport, target, result, error);
	fd = dial(endpoints, count, deadline_ms, &connected);
	if (fd < 0) {
		last_error_set("%s: %s", target->name, strerror_r(errno, error, sizeof(error)));
		secure_free(secure);
		return NULL;
	}
	if (target->is_default && !trust_server(fd, &endpoints[connected], target->name)) {
		(void)close(fd);
		return NULL;
	}
	if (secure != NULL) {
		conn = begin_tls(transport, target, fd, secure, deadline_ms);
	} else {
		conn =
		    conn_new(fd, endpoints[connected].is_stream, target->name, transport->program);
		if (conn == NULL)
			last_error_set("%s: no memory for a connection", target->name);
	}
	if (conn == NULL)
		return NULL;
	target->is_remembered = true;
	target->endpoint = endpoints[connected];
	last_error_clear();
	return conn;
}

/*
 * A remembered endpoint that does not accept any more is no reason to give up: then the address is
 * resolved again, and half the time is left for that.
 */
static struct conn *transport_connect(void *context, size_t index, bool look_again,
				      uint64_t deadline_ms) {
	struct rpc_transport *transport = context;
	struct target *target = &transport->targets[index];
	const uint64_t now_ms = clock_ms();
	const uint64_t half_ms =
	    deadline_ms > now_ms ? now_ms + (deadline_ms - now_ms) / 2 : deadline_ms;
	struct endpoint endpoints[ENDPOINT_MAX];
	struct conn *conn;
	size_t count;

	last_error_clear();
	if (!look_again && target->is_remembered) {
		conn = connect_to(transport, target, &target->endpoint, 1, half_ms);
		if (conn != NULL)
			return conn;
	}
	count = resolve(target, transport->program, deadline_ms, endpoints);
	return count > 0 ? connect_to(transport, target, endpoints, count, deadline_ms) : NULL;
}

static const char *transport_name(void *context, size_t index) {
	struct rpc_transport *transport = context;

	return transport->targets[index].name;
}

static const char *transport_last_error(void *context) {
	(void)context;
	return last_error_text();
}

static uint64_t transport_now_ms(void *context) {
	(void)context;
	return clock_ms();
}

static void transport_sleep_until(void *context, uint64_t until_ms) {
	struct timespec until = {
	    .tv_sec = (time_t)(until_ms / 1000),
	    .tv_nsec = (long)(until_ms % 1000) * 1000000,
	};

	(void)context;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static uint64_t transport_random(void *context) {
	uint64_t bits;

	(void)context;
	random_bytes(&bits, sizeof(bits));
	return bits;
}

enum kv_status rpc_transport_new(const struct kv_options *options, struct transport *transport) {
	struct address list[ADDRESS_LIST_MAX];
	const char *server = written_list(options->server);
	struct rpc_transport *table;
	size_t count;

	if (server == NULL)
		count = default_list(list);
	else if (address_parse_list(server, list, &count) != NULL)
		return KV_INVALID;

	table = calloc(1, sizeof(*table));
	if (table == NULL)
		return KV_NOMEM;
	if (!set_tls_options(&table->tls, options)) {
		free_tls_options(&table->tls);
		free(table);
		return KV_NOMEM;
	}
	table->program = options->program != 0 ? options->program : KV_PROGRAM;
	table->count = count;
	for (size_t i = 0; i < count; i++) {
		table->targets[i].address = list[i];
		table->targets[i].is_default = server == NULL;
		address_format(&list[i], table->targets[i].name);
	}
	*transport = (struct transport){
	    .context = table,
	    .address_count = count,
	    .name = transport_name,
	    .connect = transport_connect,
	    .ref = conn_ref,
	    .unref = conn_unref,
	    .is_stream = conn_is_stream,
	    .is_usable = conn_is_usable,
	    .received_since = conn_received_since,
	    .attempt = stubs_call,
	    .get_batch = get_batch,
	    .last_error = transport_last_error,
	    .now_ms = transport_now_ms,
	    .sleep_until = transport_sleep_until,
	    .random = transport_random,
	};
	return KV_OK;
}

void rpc_transport_free(struct transport *transport) {
	struct rpc_transport *table = transport->context;

	if (table == NULL)
		return;
	for (size_t i = 0; i < table->count; i++)
		target_release(&table->targets[i]);
	free_tls_options(&table->tls);
	free(table);
	*transport = (struct transport){0};
}
