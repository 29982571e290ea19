/* SPDX-License-Identifier: BSD-3-Clause */
#include "lease_invariants.h"

#include <inttypes.h>
#include <string.h>

#include "sim.h"

struct lease_holder *lease_invariants_enter(struct lease_invariants *invariants,
					    const struct host *host) {
	struct lease_holder *holder;

	if (invariants->holder_count == LEASE_HOLDERS_MAX)
		return NULL;
	holder = &invariants->holders[invariants->holder_count++];
	*holder = (struct lease_holder){.host = host};
	return holder;
}

void lease_invariants_new_store(struct lease_invariants *invariants, uint64_t generation) {
	for (unsigned i = 0; i < invariants->holder_count; i++)
		invariants->holders[i].is_void = true;
	invariants->write_count = 0;
	invariants->token = 0;
	invariants->generation = generation;
}

static bool believes(const struct lease_holder *holder) {
	return holder->token != 0 && !holder->is_void && !holder->host->is_dead &&
	       holder->until_ms > sim()->now_ms;
}

/* Another token than before: the last one of the lock, if it believes to hold it with that. */
static void acquire(struct lease_invariants *invariants, struct lease_holder *holder,
		    uint64_t token, uint64_t generation) {
	holder->token = token;
	holder->is_void = generation < invariants->generation;
	if (!believes(holder))
		return;
	sim()->figures.leases++;
	sim_log("lease: host %u holds it, token %" PRIu64 ", for %" PRIu64 " ms",
		holder->host->number, token, holder->until_ms - sim()->now_ms);
	if (token <= invariants->token)
		sim_fail("lease: token %" PRIu64 " came after token %" PRIu64, token,
			 invariants->token);
	invariants->token = token;
}

void lease_invariants_believes(struct lease_invariants *invariants, struct lease_holder *holder,
			       uint64_t token, unsigned left_ms, uint64_t generation) {
	holder->until_ms = token != 0 ? sim()->now_ms + left_ms : 0;
	if (token != 0 && token != holder->token)
		acquire(invariants, holder, token, generation);
	for (unsigned i = 0; i < invariants->holder_count && believes(holder); i++) {
		const struct lease_holder *other = &invariants->holders[i];

		if (other != holder && believes(other))
			sim_fail("lease: two hold it, with token %" PRIu64 " for %" PRIu64
				 " ms and with token %" PRIu64 " for %" PRIu64 " ms",
				 holder->token, holder->until_ms - sim()->now_ms, other->token,
				 other->until_ms - sim()->now_ms);
	}
}

void lease_invariants_wrote(struct lease_invariants *invariants, const struct lease_holder *holder,
			    uint64_t version) {
	if (holder->is_void)
		return;
	for (unsigned i = 0; i < invariants->write_count; i++) {
		const struct lease_write *write = &invariants->writes[i];

		if (write->version == version)
			sim_fail("lease: two writes made version %" PRIu64, version);
		if (write->version < version ? write->token > holder->token
					     : write->token < holder->token)
			sim_fail("lease: a write of token %" PRIu64 " is version %" PRIu64
				 ", and one of token %" PRIu64 " version %" PRIu64,
				 holder->token, version, write->token, write->version);
	}
	if (invariants->write_count == LEASE_WRITES_MAX)
		sim_fail("lease: too many writes to judge them");
	else
		invariants->writes[invariants->write_count++] =
		    (struct lease_write){.token = holder->token, .version = version};
}
