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

#include "clock.h"
#include "log.h"
#include "net/null_call.h"

enum {
	ENTRIES_MAX = 5, /* netids: tcp, tcp6, udp, udp6, local */
	RENEWAL_MS = 5000,
	PROBE_MS = 800, /* for another server to reply; five of them end before the start's wait */
};

struct entry {
	const char *netid;
	struct sockaddr_storage sockaddr;
	socklen_t sockaddr_size;
	char *uaddr;	 /* as rpcbind writes the address */
	bool is_blocked; /* it could not be made the last time, and that was logged */
};

/*
 * `mutex` guards the fields below it; the thread owns the entries. rpcbind_unregister() frees
 * everything if the thread ends in time. If not (rpcbind is frozen), the process is about to end.
 */
struct rpcbind {
	uint32_t program;
	struct entry entries[ENTRIES_MAX];
	unsigned entry_count;
	pthread_t thread;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool is_stopping;
	bool has_result; /* the first round is over; `result` is that of the last one */
	bool has_ended;
	enum rpcbind_result result;
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

/* Gets all entries of this machine's rpcbind, to be freed with free_maps(); false: no answer. */
static bool get_maps(rpcblist **maps) {
	struct netconfig *local = getnetconfigent("local");

	*maps = NULL;
	if (local == NULL)
		return false;
	*maps = rpcb_getmaps(local, "localhost");
	freenetconfigent(local);
	/* A running rpcbind lists at least itself. */
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

/* True if a server replies at the entry's address, in the time that it has for that. */
static bool is_alive(const RPCB *map, struct netconfig *netconfig) {
	struct netbuf *address = uaddr2taddr(netconfig, map->r_addr);
	bool alive;

	if (address == NULL)
		return false;
	alive = null_call(address->buf, address->len, netconfig->nc_semantics == NC_TPI_CLTS,
			  map->r_prog, map->r_vers, clock_ns() + (uint64_t)PROBE_MS * 1000000);
	free(address->buf);
	free(address);
	return alive;
}

/* --- One round ----------------------------------------------------------------------------- */

/* Logs once why the entry is not ours. */
static void report_blocked(struct entry *entry, uint32_t program, const RPCB *map, bool alive) {
	if (entry->is_blocked)
		return;
	entry->is_blocked = true;
	if (map == NULL)
		log_warn("rpcbind refuses to register program %u for %s: use -P N or -n", program,
			 entry->netid);
	else if (alive)
		log_warn("another server is registered as program %u at %s %s (owner %s): stop it, "
			 "or use -P N or -n",
			 program, map->r_netid, map->r_addr, map->r_owner);
	else
		log_warn("rpcbind keeps a dead server's entry for program %u (%s %s, owner %s): "
			 "remove it with \"rpcinfo -d %u 1\" as root, or use -P N or -n",
			 program, map->r_netid, map->r_addr, map->r_owner, program);
}

/* Removes the entry of another server, unless that one replies or rpcbind does not allow it. */
static bool displace(struct entry *entry, const RPCB *map, struct netconfig *netconfig) {
	bool alive = is_alive(map, netconfig);

	if (!alive && rpcb_unset(map->r_prog, KV_V1, netconfig)) {
		log_verbose("the entry of a server that is gone was withdrawn: %s %s", map->r_netid,
			    map->r_addr);
		return true;
	}
	report_blocked(entry, (uint32_t)map->r_prog, map, alive);
	return false;
}

static enum rpcbind_result set_entry(struct entry *entry, uint32_t program, const RPCB *map,
				     struct netconfig *netconfig) {
	struct netbuf address = netbuf_of(entry);

	if (entry->uaddr == NULL)
		entry->uaddr = taddr2uaddr(netconfig, &address);
	if (entry->uaddr == NULL)
		return RPCBIND_NO_MEMORY;
	if (map == NULL || strcmp(map->r_addr, entry->uaddr) != 0) {
		if (map != NULL && !displace(entry, map, netconfig))
			return RPCBIND_TAKEN;
		if (!rpcb_set(program, KV_V1, netconfig, &address)) {
			report_blocked(entry, program, NULL, false);
			return RPCBIND_TAKEN;
		}
		log_verbose("registered program %u for %s at %s", program, entry->netid,
			    entry->uaddr);
	}
	entry->is_blocked = false;
	return RPCBIND_REGISTERED;
}

static bool is_stopping(struct rpcbind *rpcbind) {
	bool stopping;

	(void)pthread_mutex_lock(&rpcbind->mutex);
	stopping = rpcbind->is_stopping;
	(void)pthread_mutex_unlock(&rpcbind->mutex);
	return stopping;
}

/* Each entry by itself: those that are free are made also when others are not. */
static enum rpcbind_result set_all(struct rpcbind *rpcbind) {
	enum rpcbind_result result = RPCBIND_REGISTERED;
	rpcblist *maps;

	if (!get_maps(&maps))
		return RPCBIND_ABSENT;
	for (unsigned i = 0; i < rpcbind->entry_count && !is_stopping(rpcbind); i++) {
		struct entry *entry = &rpcbind->entries[i];
		struct netconfig *netconfig = getnetconfigent(entry->netid);

		if (netconfig == NULL) {
			if (!entry->is_blocked)
				log_warn("not registered for %s: /etc/netconfig does not list it",
					 entry->netid);
			entry->is_blocked = true;
			continue;
		}
		if (set_entry(entry, rpcbind->program, find(maps, rpcbind->program, entry->netid),
			      netconfig) != RPCBIND_REGISTERED)
			result = RPCBIND_TAKEN;
		freenetconfigent(netconfig);
	}
	free_maps(maps);
	return result;
}

/* Withdraws the entries that are ours, and no others. */
static void unset_all(struct rpcbind *rpcbind) {
	rpcblist *maps;

	if (!get_maps(&maps))
		return;
	for (unsigned i = 0; i < rpcbind->entry_count; i++) {
		const struct entry *entry = &rpcbind->entries[i];
		const RPCB *map = find(maps, rpcbind->program, entry->netid);
		struct netconfig *netconfig;

		if (map == NULL || entry->uaddr == NULL || strcmp(map->r_addr, entry->uaddr) != 0)
			continue;
		netconfig = getnetconfigent(entry->netid);
		if (netconfig == NULL)
			continue;
		(void)rpcb_unset(rpcbind->program, KV_V1, netconfig);
		freenetconfigent(netconfig);
	}
	free_maps(maps);
}

/* --- The thread ---------------------------------------------------------------------------- */

/* Publishes the round's result and waits for the next round; false if it is time to stop. */
static bool wait_for_round(struct rpcbind *rpcbind, enum rpcbind_result result) {
	struct timespec until = deadline(RENEWAL_MS);
	bool stopping;

	(void)pthread_mutex_lock(&rpcbind->mutex);
	if (rpcbind->has_result && rpcbind->result != result && !rpcbind->is_stopping)
		log_info(result == RPCBIND_REGISTERED ? "registered with rpcbind (program %u)"
			 : result == RPCBIND_ABSENT
			     ? "rpcbind does not answer any more (program %u)"
			     : "not all addresses are registered with rpcbind (program %u)",
			 rpcbind->program);
	rpcbind->result = result;
	rpcbind->has_result = true;
	(void)pthread_cond_broadcast(&rpcbind->changed);
	while (!rpcbind->is_stopping &&
	       pthread_cond_timedwait(&rpcbind->changed, &rpcbind->mutex, &until) == 0)
		;
	stopping = rpcbind->is_stopping;
	(void)pthread_mutex_unlock(&rpcbind->mutex);
	return !stopping;
}

static void *rpcbind_thread(void *argument) {
	struct rpcbind *rpcbind = argument;

	while (wait_for_round(rpcbind, set_all(rpcbind)))
		;
	unset_all(rpcbind);
	(void)pthread_mutex_lock(&rpcbind->mutex);
	rpcbind->has_ended = true;
	(void)pthread_cond_broadcast(&rpcbind->changed);
	(void)pthread_mutex_unlock(&rpcbind->mutex);
	return NULL;
}

static void rpcbind_free(struct rpcbind *rpcbind) {
	for (unsigned i = 0; i < rpcbind->entry_count; i++)
		free(rpcbind->entries[i].uaddr);
	(void)pthread_cond_destroy(&rpcbind->changed);
	(void)pthread_mutex_destroy(&rpcbind->mutex);
	free(rpcbind);
}

static void take_addresses(struct rpcbind *rpcbind, const struct listeners *listeners) {
	for (unsigned i = 0; i < listeners->count; i++) {
		const struct listener *listener = &listeners->list[i];
		const char *netid = netid_of(listener);
		struct entry *entry;
		unsigned known = 0;

		while (known < rpcbind->entry_count &&
		       strcmp(rpcbind->entries[known].netid, netid) != 0)
			known++;
		if (known < rpcbind->entry_count) {
			log_verbose("rpcbind knows one %s address only: the first one", netid);
			continue;
		}
		entry = &rpcbind->entries[rpcbind->entry_count++];
		entry->netid = netid;
		entry->sockaddr = listener->sockaddr;
		entry->sockaddr_size = listener->sockaddr_size;
	}
}

enum rpcbind_result rpcbind_register(const struct listeners *listeners, uint32_t program,
				     uint64_t wait_ms, struct rpcbind **rpcbind) {
	struct rpcbind *made = calloc(1, sizeof(*made));
	struct timespec until = deadline(wait_ms);
	pthread_condattr_t attributes;
	enum rpcbind_result result = RPCBIND_ABSENT;

	*rpcbind = NULL;
	if (made == NULL)
		return RPCBIND_NO_MEMORY;
	made->program = program;
	take_addresses(made, listeners);
	(void)pthread_mutex_init(&made->mutex, NULL);
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&made->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	if (pthread_create(&made->thread, NULL, rpcbind_thread, made) != 0) {
		rpcbind_free(made);
		return RPCBIND_NO_MEMORY;
	}
	(void)pthread_mutex_lock(&made->mutex);
	while (!made->has_result &&
	       pthread_cond_timedwait(&made->changed, &made->mutex, &until) == 0)
		;
	if (made->has_result)
		result = made->result;
	else
		/* The first round is late: its result, if it is a good one, is news then. */
		made->has_result = true;
	made->result = result;
	(void)pthread_mutex_unlock(&made->mutex);
	*rpcbind = made;
	return result;
}

void rpcbind_unregister(struct rpcbind *rpcbind, uint64_t wait_ms) {
	struct timespec until = deadline(wait_ms);
	bool has_ended;

	if (rpcbind == NULL)
		return;
	(void)pthread_mutex_lock(&rpcbind->mutex);
	rpcbind->is_stopping = true;
	(void)pthread_cond_broadcast(&rpcbind->changed);
	while (!rpcbind->has_ended &&
	       pthread_cond_timedwait(&rpcbind->changed, &rpcbind->mutex, &until) == 0)
		;
	has_ended = rpcbind->has_ended;
	(void)pthread_mutex_unlock(&rpcbind->mutex);
	if (!has_ended) {
		log_warn("rpcbind does not answer: its entries for program %u stay",
			 rpcbind->program);
		(void)pthread_detach(rpcbind->thread);
		return;
	}
	(void)pthread_join(rpcbind->thread, NULL);
	rpcbind_free(rpcbind);
}
