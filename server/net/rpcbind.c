/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/rpcbind.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <netconfig.h>
#include <rpc/rpc.h>
#include <rpc/rpcb_clnt.h>
#include <rpcsvc/kv.h>

#include "log.h"

enum {
	ENTRIES_MAX = 5, /* netids: tcp, tcp6, udp, udp6, local */
	RENEWAL_MS = 5000,
	PROBE_MS = 1000, /* for another server to show that it lives */
};

struct entry {
	const char *netid;
	struct sockaddr_storage sockaddr;
	socklen_t sockaddr_size;
	char *uaddr; /* as rpcbind writes the address */
};

/*
 * `mutex` guards the fields below it. The thread owns the entries; when it is stopped in time,
 * rpcbind_unregister() frees everything, else (rpcbind is frozen) the process is about to end anyway.
 */
struct registrar {
	uint32_t program;
	struct entry entries[ENTRIES_MAX];
	unsigned entry_count;
	pthread_t thread;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_stopping;
	bool has_answered; /* the first round is over, with: */
	bool has_ended;
	enum registrar_answer answer;
};

static const char *netid_of(const struct listener *listener) {
	bool is_v6 = listener->sockaddr.ss_family == AF_INET6;

	switch (listener->address.kind) {
	case ADDRESS_LOCAL:
		return "local";
	case ADDRESS_TCP:
		return is_v6 ? "tcp6" : "tcp";
	case ADDRESS_UDP:
		return is_v6 ? "udp6" : "udp";
	}
	return "";
}

static struct timespec deadline(uint64_t wait_ms) {
	struct timespec when;

	(void)clock_gettime(CLOCK_MONOTONIC, &when);
	when.tv_sec += (time_t)(wait_ms / 1000);
	when.tv_nsec += (long)(wait_ms % 1000) * 1000000;
	if (when.tv_nsec >= 1000000000) {
		when.tv_sec++;
		when.tv_nsec -= 1000000000;
	}
	return when;
}

/* --- What rpcbind knows -------------------------------------------------------------------- */

static struct netbuf netbuf_of(struct entry *entry) {
	return (struct netbuf){
	    .maxlen = entry->sockaddr_size, .len = entry->sockaddr_size, .buf = &entry->sockaddr};
}

/* All entries of the rpcbind on this machine; false: it does not answer. Free with free_maps(). */
static bool get_maps(rpcblist **maps) {
	struct netconfig *local = getnetconfigent("local");

	*maps = NULL;
	if (local == NULL)
		return false;
	*maps = rpcb_getmaps(local, "localhost");
	freenetconfigent(local);
	/* A living rpcbind lists at least itself. */
	return *maps != NULL;
}

static void free_maps(rpcblist *maps) {
	xdr_free((xdrproc_t)(void (*)(void))xdr_rpcblist_ptr, (char *)&maps);
}

static const RPCB *find(const rpcblist *maps, uint32_t program, const char *netid) {
	for (; maps != NULL; maps = maps->rpcb_next)
		if (maps->rpcb_map.r_prog == program && maps->rpcb_map.r_vers == KV_V1 &&
		    strcmp(maps->rpcb_map.r_netid, netid) == 0)
			return &maps->rpcb_map;
	return NULL;
}

/* Whether a server answers at that address: the null procedure, which asks for no rights. */
static bool is_alive(const RPCB *map, struct netconfig *netconfig) {
	struct timeval limit = {.tv_sec = PROBE_MS / 1000};
	struct netbuf *address = uaddr2taddr(netconfig, map->r_addr);
	CLIENT *client = NULL;
	bool alive = false;

	if (address != NULL)
		client =
		    clnt_tli_create(RPC_ANYFD, netconfig, address, map->r_prog, map->r_vers, 0, 0);
	if (client != NULL) {
		(void)clnt_control(client, CLSET_TIMEOUT, (char *)&limit);
		alive = clnt_call(client, NULLPROC, (xdrproc_t)(void (*)(void))xdr_void, NULL,
				  (xdrproc_t)(void (*)(void))xdr_void, NULL, limit) == RPC_SUCCESS;
		clnt_destroy(client);
	}
	if (address != NULL) {
		free(address->buf);
		free(address);
	}
	return alive;
}

/* Each round would say the same: once is enough. */
static bool is_news(const struct registrar *registrar) {
	return !registrar->has_answered || registrar->answer == RPCBIND_DONE;
}

/* --- One round ----------------------------------------------------------------------------- */

/* Somebody else's entry stands where ours should: withdraw it if nobody is there. */
static enum registrar_answer displace(const struct registrar *registrar, const RPCB *map,
				      struct netconfig *netconfig) {
	if (is_alive(map, netconfig)) {
		if (is_news(registrar))
			log_error("another server is registered as program %u at %s %s: stop it, "
				  "or use -P N "
				  "or -n",
				  registrar->program, map->r_netid, map->r_addr);
		return RPCBIND_TAKEN;
	}
	log_verbose("withdrawing the entry of a server that is gone: %s %s", map->r_netid,
		   map->r_addr);
	if (rpcb_unset(registrar->program, KV_V1, netconfig))
		return RPCBIND_DONE;
	if (is_news(registrar))
		log_error("rpcbind keeps a dead server's entry for program %u (%s %s, owner %s): "
			  "remove it "
			  "with \"rpcinfo -d %u 1\" as root, or use -P N or -n",
			  registrar->program, map->r_netid, map->r_addr, map->r_owner,
			  registrar->program);
	return RPCBIND_REFUSED;
}

static enum registrar_answer register_entry(const struct registrar *registrar, struct entry *entry,
					    const rpcblist *maps) {
	struct netconfig *netconfig = getnetconfigent(entry->netid);
	struct netbuf address = netbuf_of(entry);
	const RPCB *map = find(maps, registrar->program, entry->netid);
	enum registrar_answer answer = RPCBIND_DONE;

	if (netconfig == NULL) {
		if (!registrar->has_answered)
			log_warn("not registered for %s: /etc/netconfig does not list it",
				 entry->netid);
		return RPCBIND_DONE;
	}
	if (entry->uaddr == NULL)
		entry->uaddr = taddr2uaddr(netconfig, &address);
	if (entry->uaddr == NULL)
		answer = RPCBIND_NO_MEMORY;
	else if (map == NULL || strcmp(map->r_addr, entry->uaddr) != 0) {
		if (map != NULL)
			answer = displace(registrar, map, netconfig);
		if (answer == RPCBIND_DONE &&
		    !rpcb_set(registrar->program, KV_V1, netconfig, &address)) {
			if (is_news(registrar))
				log_error(
				    "rpcbind refuses to register program %u for %s: use -P N or -n",
				    registrar->program, entry->netid);
			answer = RPCBIND_REFUSED;
		}
		if (answer == RPCBIND_DONE)
			log_verbose("registered program %u for %s at %s", registrar->program,
				   entry->netid, entry->uaddr);
	}
	freenetconfigent(netconfig);
	return answer;
}

static enum registrar_answer register_all(struct registrar *registrar) {
	enum registrar_answer answer = RPCBIND_DONE;
	rpcblist *maps;

	if (!get_maps(&maps))
		return RPCBIND_ABSENT;
	for (unsigned i = 0; i < registrar->entry_count && answer == RPCBIND_DONE; i++)
		answer = register_entry(registrar, &registrar->entries[i], maps);
	free_maps(maps);
	return answer;
}

/* Withdraws what is ours, and only that. */
static void withdraw_all(struct registrar *registrar) {
	rpcblist *maps;

	if (!get_maps(&maps))
		return;
	for (unsigned i = 0; i < registrar->entry_count; i++) {
		const struct entry *entry = &registrar->entries[i];
		const RPCB *map = find(maps, registrar->program, entry->netid);
		struct netconfig *netconfig;

		if (map == NULL || entry->uaddr == NULL || strcmp(map->r_addr, entry->uaddr) != 0)
			continue;
		netconfig = getnetconfigent(entry->netid);
		if (netconfig == NULL)
			continue;
		(void)rpcb_unset(registrar->program, KV_V1, netconfig);
		freenetconfigent(netconfig);
	}
	free_maps(maps);
}

/* --- The thread ---------------------------------------------------------------------------- */

/* Waits for the next round; false: it is time to stop. */
static bool wait_for_round(struct registrar *registrar, enum registrar_answer answer) {
	struct timespec until = deadline(RENEWAL_MS);
	bool is_stopping;

	(void)pthread_mutex_lock(&registrar->mutex);
	registrar->answer = answer;
	registrar->has_answered = true;
	(void)pthread_cond_broadcast(&registrar->changed);
	while (!registrar->is_stopping &&
	       pthread_cond_timedwait(&registrar->changed, &registrar->mutex, &until) == 0)
		;
	is_stopping = registrar->is_stopping;
	(void)pthread_mutex_unlock(&registrar->mutex);
	return !is_stopping;
}

static void *registrar_thread(void *argument) {
	struct registrar *registrar = argument;

	while (wait_for_round(registrar, register_all(registrar)))
		;
	withdraw_all(registrar);
	(void)pthread_mutex_lock(&registrar->mutex);
	registrar->has_ended = true;
	(void)pthread_cond_broadcast(&registrar->changed);
	(void)pthread_mutex_unlock(&registrar->mutex);
	return NULL;
}

static void registrar_free(struct registrar *registrar) {
	for (unsigned i = 0; i < registrar->entry_count; i++)
		free(registrar->entries[i].uaddr);
	(void)pthread_cond_destroy(&registrar->changed);
	(void)pthread_mutex_destroy(&registrar->mutex);
	free(registrar);
}

static void take_addresses(struct registrar *registrar, const struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->list[i];
		const char *netid = netid_of(listener);
		struct entry *entry;
		unsigned known = 0;

		while (known < registrar->entry_count &&
		       strcmp(registrar->entries[known].netid, netid) != 0)
			known++;
		if (known < registrar->entry_count) {
			log_verbose("rpcbind knows one %s address only: the first one", netid);
			continue;
		}
		entry = &registrar->entries[registrar->entry_count++];
		entry->netid = netid;
		entry->sockaddr = listener->sockaddr;
		entry->sockaddr_size = listener->sockaddr_size;
	}
}

enum registrar_answer rpcbind_register(const struct listeners *listeners, uint32_t program,
				      uint64_t wait_ms, struct registrar **registrar) {
	struct registrar *made = calloc(1, sizeof(*made));
	struct timespec until = deadline(wait_ms);
	pthread_condattr_t attributes;
	enum registrar_answer answer = RPCBIND_ABSENT;

	*registrar = NULL;
	if (made == NULL)
		return RPCBIND_NO_MEMORY;
	made->program = program;
	take_addresses(made, listeners);
	(void)pthread_mutex_init(&made->mutex, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&made->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	if (pthread_create(&made->thread, NULL, registrar_thread, made) != 0) {
		registrar_free(made);
		return RPCBIND_NO_MEMORY;
	}
	(void)pthread_mutex_lock(&made->mutex);
	while (!made->has_answered &&
	       pthread_cond_timedwait(&made->changed, &made->mutex, &until) == 0)
		;
	if (made->has_answered)
		answer = made->answer;
	(void)pthread_mutex_unlock(&made->mutex);
	if (answer == RPCBIND_DONE || answer == RPCBIND_ABSENT)
		*registrar = made;
	else
		rpcbind_unregister(made, wait_ms);
	return answer;
}

void rpcbind_unregister(struct registrar *registrar, uint64_t wait_ms) {
	struct timespec until = deadline(wait_ms);
	bool has_ended;

	if (registrar == NULL)
		return;
	(void)pthread_mutex_lock(&registrar->mutex);
	registrar->is_stopping = true;
	(void)pthread_cond_broadcast(&registrar->changed);
	while (!registrar->has_ended &&
	       pthread_cond_timedwait(&registrar->changed, &registrar->mutex, &until) == 0)
		;
	has_ended = registrar->has_ended;
	(void)pthread_mutex_unlock(&registrar->mutex);
	if (!has_ended) {
		log_warn("rpcbind does not answer: its entries for program %u stay",
			 registrar->program);
		(void)pthread_detach(registrar->thread);
		return;
	}
	(void)pthread_join(registrar->thread, NULL);
	registrar_free(registrar);
}
