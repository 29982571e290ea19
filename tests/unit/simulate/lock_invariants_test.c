/* SPDX-License-Identifier: BSD-3-Clause */
/* The oracle of locks in the simulation: right histories pass, and each wrong one is refused. */
#include "lock_invariants.h"

#include <stdlib.h>
#include <string.h>

#include "fake_sim.h"
#include "op_log.h"
#include "test.h"

static struct lock_invariants *all;
static struct host hosts[2];
static struct contender *a, *b;
static const char id_a[] = "00000000000000000000000000000000";
static const char id_b[] = "11111111111111111111111111111111";

static void set_up(void) {
	fake_sim_reset();
	all = calloc(1, sizeof(*all));
	ck_assert_ptr_nonnull(all);
	memset(hosts, 0, sizeof(hosts));
	lock_invariants_new_store(all, 1);
	a = lock_invariants_enter(all, 0, &hosts[0], id_a);
	b = lock_invariants_enter(all, 0, &hosts[1], id_b);
}

static void tear_down(void) {
	free(all);
}

/* The handle takes the lock, as its token tells. */
static void takes(struct contender *contender, uint64_t token) {
	lock_invariants_begin(all, contender);
	lock_invariants_learn(all, contender, token, 1);
}

/* It gives the lock back, and is told so. */
static void gives(struct contender *contender) {
	lock_invariants_release(all, contender);
	lock_invariants_learn(all, contender, 0, 1);
	lock_invariants_settled(all, contender);
}

CASE(locks, .setup = set_up, .teardown = tear_down);

TEST(one_after_the_other_is_right) {
	takes(a, 2);
	ck_assert(lock_invariants_kept(all, a));
	lock_invariants_counted(all, a, 0);
	lock_invariants_added(all, a, KV_OK);
	gives(a);
	takes(b, 4);
	lock_invariants_counted(all, b, 1);
	lock_invariants_added(all, b, KV_MAYBE);
	gives(b);
	takes(a, 6);
	lock_invariants_counted(all, a, 2);
	gives(a);
	ck_assert(!fake_sim_failed());
}

TEST(two_holders_are_refused) {
	takes(a, 2);
	takes(b, 4);
	ck_assert(fake_sim_failed_with("was told that it holds it"));
}

TEST(a_holder_that_is_gone_may_be_followed) {
	takes(a, 2);
	hosts[0].is_dead = true;
	takes(b, 4);
	lock_invariants_close(b);
	ck_assert(lock_invariants_is_gone(all, id_a, strlen(id_a)));
	ck_assert(lock_invariants_is_gone(all, id_b, strlen(id_b)));
	ck_assert(!fake_sim_failed());
}

TEST(a_token_that_does_not_grow_is_refused) {
	takes(a, 4);
	gives(a);
	takes(b, 4);
	ck_assert(fake_sim_failed_with("token 4 came after token 4"));
	gives(b);
	takes(b, 3);
	ck_assert(fake_sim_failed_with("token 3 came after token 4"));
}

/* A release may find that an acquire of before took the lock, and be refused itself. */
TEST(a_token_is_learnt_from_any_use) {
	lock_invariants_begin(all, a);
	lock_invariants_release(all, a);
	lock_invariants_learn(all, a, 2, 1);
	ck_assert(lock_invariants_holds(all, a));
	takes(b, 4);
	ck_assert(fake_sim_failed_with("was told that it holds it"));
}

TEST(the_same_token_again_is_no_acquisition) {
	takes(a, 2);
	takes(a, 2);
	ck_assert(!fake_sim_failed());
	gives(a);
	takes(a, 2);
	ck_assert(fake_sim_failed_with("token 2 came after token 2"));
}

TEST(a_token_of_another_holder_is_not_kept) {
	takes(a, 2);
	gives(a);
	takes(b, 4);
	a->token = 2;
	ck_assert(!lock_invariants_kept(all, a));
	ck_assert(lock_invariants_kept(all, b));
}

TEST(what_another_store_told_counts_no_more) {
	takes(a, 9);
	lock_invariants_new_store(all, 2);
	lock_invariants_learn(all, b, 1, 2);
	ck_assert(lock_invariants_holds(all, b));
	a->token = 0;
	lock_invariants_learn(all, a, 11, 1);
	ck_assert(lock_invariants_holds(all, b));
	ck_assert(!fake_sim_failed());
}

TEST(a_counter_that_another_changed_is_refused) {
	takes(a, 2);
	lock_invariants_added(all, a, KV_OK);
	lock_invariants_counted(all, a, 0);
	ck_assert(fake_sim_failed_with("is 0, after 1 additions"));
	lock_invariants_counted(all, a, 2);
	ck_assert(fake_sim_failed_with("is 2, after 1 additions"));
	lock_invariants_added(all, a, KV_VERSION);
	ck_assert(fake_sim_failed_with("changed by another than its holder"));
}

TEST(a_key_taken_by_one_that_was_told_otherwise_is_refused) {
	takes(a, 2);
	lock_invariants_seen(all, 0, id_a, strlen(id_a), op_log_moment());
	ck_assert(!fake_sim_failed());
	gives(a);
	lock_invariants_seen(all, 0, id_a, strlen(id_a), 0);
	ck_assert(!fake_sim_failed());
	lock_invariants_seen(all, 0, id_a, strlen(id_a), op_log_moment());
	ck_assert(fake_sim_failed_with("told for sure that it does not hold it"));
	lock_invariants_seen(all, 1, id_b, strlen(id_b), op_log_moment());
	ck_assert(fake_sim_failed_with("the id of a handle of lock 0"));
}

/* --- With a lease ---------------------------------------------------------------------------- */

static struct lease_holder *x, *y;

static void set_up_leases(void) {
	set_up();
	x = lease_invariants_enter(&all->lease, &hosts[0]);
	y = lease_invariants_enter(&all->lease, &hosts[1]);
}

static void believes(struct lease_holder *holder, uint64_t token, unsigned left_ms) {
	lease_invariants_believes(&all->lease, holder, token, left_ms, 1);
}

CASE(leases, .setup = set_up_leases, .teardown = tear_down);

TEST(one_after_the_lease_of_the_other_is_right) {
	believes(x, 2, 500);
	lease_invariants_wrote(&all->lease, x, 1);
	fake_sim_pass(300);
	believes(x, 2, 500);
	fake_sim_pass(500);
	believes(y, 4, 500);
	lease_invariants_wrote(&all->lease, y, 3);
	lease_invariants_wrote(&all->lease, x, 2);
	believes(y, 0, 0);
	believes(x, 6, 500);
	ck_assert(!fake_sim_failed());
}

TEST(two_that_believe_at_once_are_refused) {
	believes(x, 2, 500);
	fake_sim_pass(499);
	believes(y, 4, 500);
	ck_assert(fake_sim_failed_with("two hold it"));
}

TEST(a_renewal_after_another_took_it_is_refused) {
	believes(x, 2, 500);
	fake_sim_pass(500);
	believes(y, 4, 500);
	believes(x, 2, 500);
	ck_assert(fake_sim_failed_with("two hold it"));
}

TEST(a_holder_that_died_believes_nothing) {
	believes(x, 2, 500);
	hosts[0].is_dead = true;
	believes(y, 4, 500);
	ck_assert(!fake_sim_failed());
}

TEST(tokens_of_leases_grow) {
	believes(x, 4, 500);
	fake_sim_pass(500);
	believes(y, 4, 500);
	ck_assert(fake_sim_failed_with("token 4 came after token 4"));
}

TEST(a_write_of_an_older_token_after_a_newer_one_is_refused) {
	believes(x, 2, 500);
	fake_sim_pass(500);
	believes(y, 4, 500);
	lease_invariants_wrote(&all->lease, y, 7);
	lease_invariants_wrote(&all->lease, x, 8);
	ck_assert(fake_sim_failed_with("a write of token 2 is version 8"));
	lease_invariants_wrote(&all->lease, y, 7);
	ck_assert(fake_sim_failed_with("two writes made version 7"));
}

TEST(a_lease_of_another_store_counts_no_more) {
	believes(x, 9, 500);
	lock_invariants_new_store(all, 2);
	lease_invariants_believes(&all->lease, y, 1, 500, 2);
	believes(x, 9, 500);
	lease_invariants_wrote(&all->lease, x, 1);
	believes(x, 10, 500);
	ck_assert(!fake_sim_failed());
	fake_sim_pass(600);
	lease_invariants_believes(&all->lease, x, 3, 500, 2);
	ck_assert(!fake_sim_failed());
}
