/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SERVICE_PRIVATE_H
#define SERVICE_PRIVATE_H

/* service_private.h - what service.c (sessions and writes) and service_reads.c (reads) share. */

#include "core/service.h"
#include "core/session.h"
#include "core/store.h"

/* Invariant: `now_ms` and `position` never go back. */
struct service {
	struct server_identity identity;
	struct service_limits limits;
	struct journal_sink recorder;	  /* all NULL: none */
	struct service_observer observer; /* likewise */
	struct mem_account memory;
	struct store store;
	struct sessions sessions;
	uint64_t now_ms;	 /* the latest time seen */
	uint64_t leases_from_ms; /* no lease began before: see service_renew_leases() */
	uint64_t position;	 /* of the last operation; 0: there was none */
	uint64_t sessions_opened;
	uint64_t sessions_expired;
	uint64_t reads_served;
	uint64_t reads_missed;
	uint64_t writes_applied;
	uint64_t ttls_ended;
	uint64_t calls_replayed; /* copies, whose reply was cached */
	uint64_t calls_refused;	 /* other replies of service_run() than KV_OK */
	struct service_refusals refusals;
};

/* What must be durable before a reply leaves: nothing, without a journal. */
static inline uint64_t service_until(const struct service *service, uint64_t position) {
	return service->recorder.record == NULL ? 0 : position;
}

/*
 * Position of what a refusal for lack of room shows: the versions of its keys. Because it may be
 * the disk that has no room, it does not wait for all that was recorded.
 */
uint64_t refusal_position(const struct service *service, const struct operation *operation);

#endif
