/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <kv/lock.h>

#include "address.h"
#include "connection.h"
#include "log.h"
#include "protocol.h"

enum {
	TEXT_MAX = 1024,
	REPLY_MAX = 4096,
	ACQUIRE_MS = 60000,
	LEASE_S = 60,
	REDIS_RETRY_NS = 1000000,
	FILE_MODE = 0600,
};

struct lock_system {
	const char *name;
	bool (*open)(struct lock_peer *peer, const char *address);
	bool (*acquire)(struct lock_peer *peer);
	bool (*release)(struct lock_peer *peer);
};

struct lock_peer {
	const struct lock_system *system;
	struct kv_client *client; /* kv */
	struct kv_lock *lock;
	int fd; /* of a socket or file; -1: none */
	char id[32];
	char lease[32]; /* etcd */
	char key[TEXT_MAX];
	char reply[REPLY_MAX + 1];
};

/* --- kv -------------------------------------------------------------------------------------- */

static bool is_right(const char *what, enum kv_status status) {
	if (status != KV_OK)
		log_error("%s: %s", what, kv_status_text(status));
	return status == KV_OK;
}

static bool open_handle(struct lock_peer *peer, const char *address, bool polls) {
	struct kv_options options = {
	    .server = address, .timeout_ms = ACQUIRE_MS, .stateless = polls};

	return is_right("open", kv_open(&options, &peer->client)) &&
	       is_right("lock", kv_lock_open(peer->client, KV_STR("bench-lock"), &peer->lock));
}

static bool open_kv(struct lock_peer *peer, const char *address) {
	return open_handle(peer, address, false);
}

static bool open_polling(struct lock_peer *peer, const char *address) {
	return open_handle(peer, address, true);
}

static bool acquire_kv(struct lock_peer *peer) {
	return is_right("acquire", kv_lock_acquire(peer->lock, ACQUIRE_MS));
}

static bool release_kv(struct lock_peer *peer) {
	return is_right("release", kv_lock_release(peer->lock));
}

/* --- Redis ----------------------------------------------------------------------------------- */

static bool open_socket(struct lock_peer *peer, const char *address) {
	struct address server;

	if (address_parse(address, &server) != NULL) {
		log_error("%s is no address", address);
		return false;
	}
	peer->fd = connection_dial(&server);
	(void)snprintf(peer->id, sizeof(peer->id), "contender-%d", peer->fd);
	return peer->fd >= 0;
}

/* Sends the call and receives until `end` is in the reply, and `size` bytes behind it. */
static bool ask(struct lock_peer *peer, const char *call, const char *end, bool is_http) {
	size_t size = 0;

	if (!protocol_send(peer->fd, call, strlen(call)))
		return false;
	while (size < REPLY_MAX) {
		ssize_t got = recv(peer->fd, peer->reply + size, REPLY_MAX - size, 0);
		if (got <= 0)
			break;
		size += (size_t)got;
		peer->reply[size] = '\0';
		const char *body = strstr(peer->reply, end);
		const char *length = strstr(peer->reply, "Content-Length: ");
		if (body != NULL &&
		    (!is_http || (length != NULL &&
				  strlen(body + strlen(end)) >=
				      strtoul(length + strlen("Content-Length: "), NULL, 10))))
			return true;
	}
	log_error("the peer sends no whole reply");
	return false;
}

static bool acquire_redis(struct lock_peer *peer) {
	const struct timespec pause = {.tv_nsec = REDIS_RETRY_NS};
	char call[TEXT_MAX];

	(void)snprintf(call, sizeof(call), "SET bench-lock %s NX PX %d\r\n", peer->id,
		       LEASE_S * 1000);
	while (ask(peer, call, "\r\n", false)) {
		if (peer->reply[0] == '+')
			return true;
		if (peer->reply[0] != '$') {
			log_error("redis: %.80s", peer->reply);
			return false;
		}
		(void)nanosleep(&pause, NULL);
	}
	return false;
}

/* As its documentation has it. */
static bool release_redis(struct lock_peer *peer) {
	char call[TEXT_MAX];

	(void)snprintf(call, sizeof(call),
		       "EVAL \"if redis.call('get',KEYS[1]) == ARGV[1] then return "
		       "redis.call('del',KEYS[1]) else return 0 end\" 1 bench-lock %s\r\n",
		       peer->id);
	return ask(peer, call, "\r\n", false) && strcmp(peer->reply, ":1\r\n") == 0;
}

/* --- etcd ------------------------------------------------------------------------------------ */

static bool post(struct lock_peer *peer, const char *path, const char *body) {
	char call[2 * TEXT_MAX];

	(void)snprintf(call, sizeof(call),
		       "POST /v3/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
		       "application/json\r\nContent-Length: %zu\r\n\r\n%s",
		       path, strlen(body), body);
	if (!ask(peer, call, "\r\n\r\n", true))
		return false;
	if (strstr(peer->reply, " 200 OK") != NULL)
		return true;
	log_error("etcd: %.300s", peer->reply);
	return false;
}

/* Copies the member's text out of the reply. */
static bool take_member(const struct lock_peer *peer, const char *name, char *to, size_t size) {
	const char *at = strstr(peer->reply, name);

	if (at == NULL) {
		log_error("etcd: %.300s", peer->reply);
		return false;
	}
	at += strlen(name);
	(void)snprintf(to, size, "%.*s", (int)strcspn(at, "\""), at);
	return true;
}

static bool open_etcd(struct lock_peer *peer, const char *address) {
	char body[TEXT_MAX];

	(void)snprintf(body, sizeof(body), "{\"TTL\":%d}", LEASE_S);
	return open_socket(peer, address) && post(peer, "lease/grant", body) &&
	       take_member(peer, "\"ID\":\"", peer->lease, sizeof(peer->lease));
}

static bool acquire_etcd(struct lock_peer *peer) {
	char body[TEXT_MAX];

	(void)snprintf(body, sizeof(body), "{\"name\":\"YmVuY2gtbG9jaw==\",\"lease\":\"%s\"}",
		       peer->lease);
	return post(peer, "lock/lock", body) &&
	       take_member(peer, "\"key\":\"", peer->key, sizeof(peer->key));
}

static bool release_etcd(struct lock_peer *peer) {
	char body[TEXT_MAX + sizeof(peer->key)];

	(void)snprintf(body, sizeof(body), "{\"key\":\"%s\"}", peer->key);
	return post(peer, "lock/unlock", body);
}

/* --- flock(2) -------------------------------------------------------------------------------- */

static bool open_file(struct lock_peer *peer, const char *path) {
	peer->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, FILE_MODE);
	if (peer->fd < 0)
		log_error("%s cannot be opened", path);
	return peer->fd >= 0;
}

static bool acquire_flock(struct lock_peer *peer) {
	return flock(peer->fd, LOCK_EX) == 0;
}

static bool release_flock(struct lock_peer *peer) {
	return flock(peer->fd, LOCK_UN) == 0;
}

/* --------------------------------------------------------------------------------------------- */

static const struct lock_system systems[] = {
    {"kv", open_kv, acquire_kv, release_kv},
    {"kv-poll", open_polling, acquire_kv, release_kv},
    {"redis", open_socket, acquire_redis, release_redis},
    {"etcd", open_etcd, acquire_etcd, release_etcd},
    {"flock", open_file, acquire_flock, release_flock},
};

struct lock_peer *lock_peer_open(const char *system, const char *address) {
	struct lock_peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL)
		return NULL;
	peer->fd = -1;
	for (size_t i = 0; i < sizeof(systems) / sizeof(systems[0]); i++)
		if (strcmp(systems[i].name, system) == 0)
			peer->system = &systems[i];
	if (peer->system == NULL)
		log_error("there is no lock of %s", system);
	if (peer->system != NULL && peer->system->open(peer, address))
		return peer;
	lock_peer_close(peer);
	return NULL;
}

void lock_peer_close(struct lock_peer *peer) {
	if (peer == NULL)
		return;
	kv_lock_close(peer->lock);
	kv_close(peer->client);
	if (peer->fd >= 0)
		(void)close(peer->fd);
	free(peer);
}

bool lock_peer_acquire(struct lock_peer *peer) {
	return peer->system->acquire(peer);
}

bool lock_peer_release(struct lock_peer *peer) {
	return peer->system->release(peer);
}

bool lock_peer_ping(struct lock_peer *peer) {
	return peer->client == NULL || is_right("ping", kv_ping(peer->client));
}
