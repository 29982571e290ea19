/* SPDX-License-Identifier: BSD-3-Clause */
/* Sessions belong to the principal that opened them, also after a replay, and in a saved state. */
#include <stdlib.h>
#include <string.h>

#include "core/fixture.h"
#include "core/session.h"
#include "test.h"

enum { STATE_MAX = 1 << 20 };

static struct world world;
static uint8_t state[STATE_MAX];
static size_t state_size, state_at;

static void start(void) {
	world_open(&world, usual_limits(), true);
}

static void stop(void) {
	world_close(&world);
}

static bool put_state(void *context, const void *data, size_t size) {
	(void)context;
	ck_assert_uint_le(state_size + size, STATE_MAX);
	memcpy(state + state_size, data, size);
	state_size += size;
	return true;
}

static bool get_state(void *context, void *data, size_t size) {
	(void)context;
	if (size > state_size - state_at)
		return false;
	memcpy(data, state + state_at, size);
	state_at += size;
	return true;
}

static struct operation open_by(uint64_t client_id, struct kv_bytes principal) {
	struct operation open = {.kind = OPERATION_OPEN,
				 .client_id = client_id,
				 .slots = 4,
				 .principal = principal,
				 .checks_owner = true};

	memcpy(open.nonce, &client_id, sizeof(client_id));
	return open;
}

static enum kv_status run_at(struct service *service, const struct operation *operation) {
	struct reply reply;

	service_run(service, 0, operation, UINT32_MAX, 1, &reply);
	reply_drop(service_memory(service), &reply);
	return reply.status;
}

static enum kv_status put_by(struct service *service, uint64_t client_id, uint64_t seq,
			     const char *principal) {
	const struct operation put = {.kind = OPERATION_PUT,
				      .client_id = client_id,
				      .seq = seq,
				      .expected = VERSION_ANY,
				      .key = text("k"),
				      .value = text("v"),
				      .principal = text(principal),
				      .checks_owner = true};

	return run_at(service, &put);
}

/* Of "uid:1", "uid:2", any, and the longest principal. */
static void open_some(struct service *service) {
	static char longest[PRINCIPAL_SIZE_MAX];
	struct operation open = open_by(11, text("uid:1"));

	ck_assert_int_eq(run_at(service, &open), KV_OK);
	open = open_by(12, text("uid:2"));
	ck_assert_int_eq(run_at(service, &open), KV_OK);
	open = open_by(13, text(""));
	ck_assert_int_eq(run_at(service, &open), KV_OK);
	open = open_by(14, text("uid:1"));
	ck_assert_int_eq(run_at(service, &open), KV_OK);
	memset(longest, 'x', sizeof(longest));
	open = open_by(15, (struct kv_bytes){longest, sizeof(longest)});
	ck_assert_int_eq(run_at(service, &open), KV_OK);
}

static void check_owners(struct service *service, uint64_t seq) {
	ck_assert_int_eq(put_by(service, 11, seq, "uid:2"), KV_BADSESSION);
	ck_assert_int_eq(put_by(service, 11, seq, "uid:10"), KV_BADSESSION);
	ck_assert_int_eq(put_by(service, 11, seq, ""), KV_BADSESSION);
	ck_assert_int_eq(put_by(service, 11, seq, "uid:1"), KV_OK);
	ck_assert_int_eq(put_by(service, 12, seq, "uid:2"), KV_OK);
	ck_assert_int_eq(put_by(service, 13, seq, "uid:1"), KV_BADSESSION);
	ck_assert_int_eq(put_by(service, 13, seq, ""), KV_OK);
	ck_assert_int_eq(put_by(service, 14, seq, "uid:1"), KV_OK);
	ck_assert_int_eq(put_by(service, 15, seq, "uid:1"), KV_BADSESSION);
}

static struct service *fresh(void) {
	return service_new(service_identity(world.service), service_limits(world.service), NULL);
}

CASE(owner, .setup = start, .teardown = stop);

TEST(a_session_belongs_to_the_principal_that_opened_it) {
	struct operation close = {.kind = OPERATION_CLOSE,
				  .client_id = 11,
				  .principal = text("uid:2"),
				  .checks_owner = true};

	open_some(world.service);
	check_owners(world.service, 1);
	ck_assert_int_eq(run_at(world.service, &close), KV_BADSESSION);
	close.principal = text("uid:1");
	ck_assert_int_eq(run_at(world.service, &close), KV_OK);
}

TEST(without_a_check_any_principal_may_name_it) {
	const struct operation put = {.kind = OPERATION_PUT,
				      .client_id = 11,
				      .seq = 1,
				      .expected = VERSION_ANY,
				      .key = text("k"),
				      .value = text("v")};

	open_some(world.service);
	ck_assert_int_eq(run_at(world.service, &put), KV_OK);
}

TEST(owners_are_in_a_replay) {
	struct service *service = fresh();
	struct operation open = open_by(11, text("uid:1"));

	ck_assert(service_apply(service, &open, 1, NULL));
	ck_assert_int_eq(put_by(service, 11, 1, "uid:2"), KV_BADSESSION);
	ck_assert_int_eq(put_by(service, 11, 1, "uid:1"), KV_OK);
	service_free(service);
}

TEST(owners_are_in_a_saved_state) {
	struct service *service = fresh();

	open_some(world.service);
	check_owners(world.service, 1);
	ck_assert_int_eq(service_save(world.service, put_state, NULL), STATE_DONE);
	ck_assert_int_eq(service_load(service, STATE_FORMAT, state_size, get_state, NULL),
			 STATE_DONE);
	ck_assert_uint_eq(state_at, state_size);
	check_owners(service, 2);
	service_free(service);
}

TEST(a_state_that_is_cut_within_an_owner_is_refused) {
	struct operation open = open_by(11, text("uid:1"));

	ck_assert_int_eq(run_at(world.service, &open), KV_OK);
	ck_assert_int_eq(service_save(world.service, put_state, NULL), STATE_DONE);
	for (size_t size = 0; size < state_size; size++) {
		struct service *service = fresh();

		state_at = 0;
		ck_assert_int_eq(service_load(service, STATE_FORMAT, size, get_state, NULL),
				 STATE_INVALID);
		service_free(service);
	}
}

TEST(an_owner_without_sessions_takes_no_memory) {
	struct operation open = open_by(10, text("uid:0")), close = {.kind = OPERATION_CLOSE};
	size_t before;

	/* The table stays. */
	ck_assert_int_eq(run_at(world.service, &open), KV_OK);
	before = service_memory_used(world.service);
	open_some(world.service);
	for (close.client_id = 11; close.client_id <= 15; close.client_id++)
		ck_assert_int_eq(run_at(world.service, &close), KV_OK);
	ck_assert_uint_eq(service_memory_used(world.service), before);
}

/* --- How many one may have ------------------------------------------------------------------- */

static struct operation open_of(uint64_t client_id, const char *principal, const char *peer,
				uint32_t most) {
	struct operation open = open_by(client_id, text(principal));

	open.peer = text(peer);
	open.sessions_max = most;
	return open;
}

static enum kv_status open_one(uint64_t client_id, const char *principal, const char *peer) {
	const struct operation open = open_of(client_id, principal, peer, 2);

	return run_at(world.service, &open);
}

TEST(a_peer_has_no_more_sessions_than_it_may_and_others_have_theirs) {
	struct operation close = {.kind = OPERATION_CLOSE, .client_id = 21};

	ck_assert_int_eq(open_one(21, "uid:1", "x"), KV_OK);
	ck_assert_int_eq(open_one(22, "uid:1", "y"), KV_OK);
	ck_assert_int_eq(open_one(23, "uid:1", "z"), KV_FULL);
	ck_assert_int_eq(open_one(21, "uid:1", "x"),
			 KV_OK); /* a copy: the nonce is its client id */
	ck_assert_int_eq(open_one(24, "uid:2", "x"), KV_OK);
	ck_assert_int_eq(open_one(25, "", "x"), KV_OK);
	ck_assert_int_eq(open_one(26, "", "x"), KV_OK);
	ck_assert_int_eq(open_one(27, "", "x"), KV_FULL);
	ck_assert_int_eq(open_one(28, "", "y"), KV_OK);
	/* The text of a principal is no peer's. */
	ck_assert_int_eq(open_one(29, "", "uid:1"), KV_OK);
	ck_assert_uint_eq(service_refusals(world.service).sessions_each, 2);
	ck_assert_uint_eq(service_refusals(world.service).sessions, 0);
	ck_assert_int_eq(run_at(world.service, &close), KV_OK);
	ck_assert_int_eq(open_one(23, "uid:1", "z"), KV_OK);
}

TEST(sessions_of_a_peer_belong_to_the_principal_any) {
	ck_assert_int_eq(open_one(21, "", "x"), KV_OK);
	ck_assert_int_eq(put_by(world.service, 21, 1, "x"), KV_BADSESSION);
	ck_assert_int_eq(put_by(world.service, 21, 1, ""), KV_OK);
}

TEST(the_limit_of_a_peer_ends_with_a_replay_and_that_of_a_principal_does_not) {
	struct service *service = fresh();

	for (uint64_t id = 21; id < 23; id++) {
		const struct operation known = open_of(id, "uid:1", "x", 2),
				       any = open_of(id + 10, "", "", 2);

		ck_assert(service_apply(service, &known, 1, NULL));
		ck_assert(service_apply(service, &any, 1, NULL));
	}
	const struct operation known = open_of(23, "uid:1", "x", 2), any = open_of(33, "", "x", 2);
	ck_assert_int_eq(run_at(service, &known), KV_FULL);
	ck_assert_int_eq(run_at(service, &any), KV_OK);
	service_free(service);
}

TEST(the_sessions_of_a_peer_take_a_part_of_the_memory_of_sessions) {
	struct service_limits limits = *usual_limits();
	const size_t most = SESSIONS_MEMORY_MIN; /* what sessions may take */
	enum kv_status status = KV_OK;
	uint64_t id = 0;

	limits.memory_max = SESSIONS_SHARE * most;
	limits.sessions_max = UINT32_MAX;
	world_close(&world);
	world_open(&world, &limits, true);
	while (status == KV_OK) {
		const struct operation open = open_of(++id, "uid:1", "x", UINT32_MAX);

		status = run_at(world.service, &open);
		ck_assert_uint_lt(id, most / session_cost(1));
	}
	ck_assert_int_eq(status, KV_FULL);
	ck_assert_uint_gt(id, most / SESSIONS_SHARE / session_cost(SLOTS_MAX));
	const struct operation other = open_of(++id, "uid:2", "x", UINT32_MAX);
	ck_assert_int_eq(run_at(world.service, &other), KV_OK);
}
