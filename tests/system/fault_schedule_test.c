/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The schedules that broke other designs, by hand, over udp and tcp: a real client behind kvfault,
 * which holds, loses and repeats what the test says. Which test holds which clause of the design:
 *
 * The slot table (raw copies of each row: duplicate_test, session_test)
 *   less than last never runs		a_late_copy_of_a_put_never_undoes_a_later_one
 *   = last, remembered reply		an_append_whose_answer_was_lost_gives_its_first_answer
 *   numbers may be skipped, and a	a_write_given_up_never_runs_after_the_next_one
 *     slot in doubt is used next
 *   the slot before the limits		a_copy_of_an_answered_write_is_answered_by_a_full_store
 *   a refusal takes the slot		a_late_copy_of_a_refused_write_never_runs
 *   other hash, stale while under way	duplicate_test; client_clerk_write_test (in this process)
 * Sessions
 *   OPEN again, the same session	an_open_whose_answer_was_lost_gives_the_same_session
 *   CLOSE settles all slots		a_late_copy_never_runs_after_its_session_was_closed
 *   BADSESSION to the only attempt
 *     on a stream: sent again
 *			a_write_whose_session_ended_on_the_way_is_sent_again_on_a_stream
 *     over udp: in doubt		but_is_in_doubt_over_udp
 *   BADSESSION to a later attempt	and_is_in_doubt_if_an_earlier_attempt_may_have_run
 * Epochs
 *   nothing from before a restart	a_datagram_from_before_a_restart_never_runs
 *
 * Another store, another start, the stateless rules, the unsettled lock: fault_doubt_test.
 */
#include <stdio.h>
#include <string.h>

#include "stage.h"
#include "suite.h"

static const enum via ways[] = {VIA_TCP, VIA_UDP};

enum {
	WAYS = 2,
	LONG_MS = 20000, /* an attempt that lasts as long as the test wants */
};

static struct kv_bytes bytes(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

static void put_ok(struct kv_client *client, const char *key, const char *value, uint64_t expected,
		   uint64_t version) {
	uint64_t found;

	ck_assert_str_eq(kv_status_name(kv_put(client, bytes(key), bytes(value), expected, &found)),
			 "KV_OK");
	ck_assert_uint_eq(found, version);
}

/* Lets go what is held, and waits until the server has answered it. */
static void release(struct stage *stage, unsigned count) {
	uint64_t replies = fault_count(&stage->fault, 1, "replies");

	ck_assert_uint_ge(fault_count(&stage->fault, 1, "held"), count);
	fault_tell(&stage->fault, "release");
	fault_await(&stage->fault, 1, "replies", replies + count);
}

START_TEST(a_late_copy_of_a_put_never_undoes_a_later_one) {
	struct stage stage;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	fault_tell(&stage.fault, "hold requests 1 put");
	put_ok(stage.far, "k", "first", KV_ANY, 1);
	put_ok(stage.far, "k", "second", KV_ANY, 2);
	release(&stage, 1);
	stage_check(&stage, "k", "second", 2);
	stage_close(&stage);
}
END_TEST

START_TEST(an_append_whose_answer_was_lost_gives_its_first_answer) {
	struct stage stage;
	struct errand errand;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	put_ok(stage.near, "k", "a", KV_ANY, 1);
	fault_tell(&stage.fault, "lose replies 1 append");
	fault_tell(&stage.fault, "pass requests 1 append");
	fault_tell(&stage.fault, "hold requests 1 append");
	errand = (struct errand){
	    .client = stage.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	errand_begin(&errand);
	fault_await(&stage.fault, 1, "held", 1);
	stage_check(&stage, "k", "ab", 2);
	/* The value grows, and is replaced, before the copy comes. */
	put_ok(stage.near, "k", "other", KV_ANY, 3);
	fault_tell(&stage.fault, "release");
	ck_assert_int_eq(pthread_join(errand.thread, NULL), 0);
	ck_assert_str_eq(kv_status_name(errand.status), "KV_OK");
	ck_assert_uint_eq(errand.version, 2);
	ck_assert_uint_eq(errand.old.version, 1);
	ck_assert_uint_eq(errand.old.size, 1);
	ck_assert_mem_eq(errand.old.data, "a", 1);
	kv_value_free(&errand.old);
	stage_check(&stage, "k", "other", 3);
	ck_assert_uint_ge(counter(&stage.peer, "calls_replayed"), 1);
	stage_close(&stage);
}
END_TEST

START_TEST(a_write_given_up_never_runs_after_the_next_one) {
	struct stage stage;
	struct kv_client *hasty;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	stage_reopen_far(&stage, LONG_MS, 0, WITH_SESSION);
	put_ok(stage.far, "k", "first", KV_ANY, 1);
	ck_assert_int_eq(kv_within(stage.far, 100, &hasty), KV_OK);
	fault_tell(&stage.fault, "hold requests 1 append");
	ck_assert_str_eq(
	    kv_status_name(kv_append(hasty, bytes("k"), bytes(" given up"), KV_ANY, NULL, NULL)),
	    "KV_MAYBE");
	kv_close(hasty);
	/* Another key: what keeps the copy from running is the slot, not the version. */
	put_ok(stage.far, "other", "second", KV_ANY, 1);
	release(&stage, 1);
	stage_check(&stage, "k", "first", 1);
	stage_close(&stage);
}
END_TEST

/* Puts until nothing fits any more, in pieces that become smaller. */
static void fill(struct stage *stage) {
	enum { LARGEST = 256 * 1024 };
	static char data[LARGEST];
	unsigned count = 0;

	for (size_t size = LARGEST; size > 0; size /= 2) {
		enum kv_status status = KV_OK;

		while (status == KV_OK) {
			char key[16];

			(void)snprintf(key, sizeof key, "%u", count++);
			ck_assert_uint_lt(count, 10000);
			status = kv_put(stage->near, bytes(key), (struct kv_bytes){data, size},
					KV_ANY, NULL);
		}
		ck_assert_str_eq(kv_status_name(status), "KV_FULL");
	}
}

START_TEST(a_copy_of_an_answered_write_is_answered_by_a_full_store) {
	struct stage stage;
	struct errand errand;
	char large[4001];

	/* Another one of this size does not fit. */
	memset(large, 'v', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	stage_open(&stage, ways[_i], WITH_SESSION, "--max-memory", "4M", NULL);
	fault_tell(&stage.fault, "lose replies 1 append");
	fault_tell(&stage.fault, "pass requests 1 append");
	fault_tell(&stage.fault, "hold requests 1 append");
	errand = (struct errand){
	    .client = stage.far, .key = "k", .value = large, .is_append = true, .expected = KV_ANY};
	errand_begin(&errand);
	fault_await(&stage.fault, 1, "held", 1);
	fill(&stage);
	fault_tell(&stage.fault, "release");
	errand_end(&errand, KV_OK);
	ck_assert_uint_eq(errand.version, 1);
	stage_check(&stage, "k", large, 1);
	stage_close(&stage);
}
END_TEST

START_TEST(a_late_copy_of_a_refused_write_never_runs) {
	struct stage stage;
	uint64_t version;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	put_ok(stage.near, "k", "first", 0, 1);
	fault_tell(&stage.fault, "hold requests 1 put");
	ck_assert_str_eq(kv_status_name(kv_put(stage.far, bytes("k"), bytes("late"), 2, &version)),
			 "KV_VERSION");
	ck_assert_uint_eq(version, 1);
	/* Now it would be accepted. */
	put_ok(stage.near, "k", "second", 1, 2);
	release(&stage, 1);
	stage_check(&stage, "k", "second", 2);
	stage_close(&stage);
}
END_TEST

/* --- Sessions ----------------------------------------------------------------------------------
 */

START_TEST(an_open_whose_answer_was_lost_gives_the_same_session) {
	struct stage stage;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	fault_tell(&stage.fault, "lose replies 2 open");
	put_ok(stage.far, "k", "v", KV_ANY, 1);
	ck_assert_uint_eq(counter(&stage.peer, "sessions_opened"), 1);
	stage_close(&stage);
}
END_TEST

START_TEST(a_late_copy_never_runs_after_its_session_was_closed) {
	struct stage stage;

	stage_open(&stage, ways[_i], WITH_SESSION, NULL);
	fault_tell(&stage.fault, "hold requests 1 put");
	put_ok(stage.far, "k", "first", KV_ANY, 1);
	stage_reopen_far(&stage, LONG_MS, 0, WITH_SESSION);
	ck_assert_uint_eq(counter(&stage.peer, "sessions"), 0);
	put_ok(stage.near, "k", "second", KV_ANY, 2);
	release(&stage, 1);
	stage_check(&stage, "k", "second", 2);
	stage_close(&stage);
}
END_TEST

/* A session of a second, and a write on its way for longer. */
static void outlive_session(struct stage *stage, const char *orders, struct errand *errand) {
	fault_tell(&stage->fault, "%s", orders);
	errand_begin(errand);
	fault_await(&stage->fault, 1, "held", 1);
	stage_await(stage, "sessions_expired", 1);
	fault_tell(&stage->fault, "release");
}

START_TEST(a_write_whose_session_ended_on_the_way_is_sent_again_on_a_stream) {
	struct stage stage;
	struct errand errand;

	stage_open(&stage, VIA_TCP, WITH_SESSION, "--session-lease", "1", NULL);
	stage_reopen_far(&stage, LONG_MS, 0, WITH_SESSION);
	put_ok(stage.far, "k", "a", KV_ANY, 1);
	errand = (struct errand){
	    .client = stage.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	outlive_session(&stage, "hold requests 1 append", &errand);
	errand_end(&errand, KV_OK);
	ck_assert_uint_eq(errand.version, 2);
	stage_check(&stage, "k", "ab", 2);
	ck_assert_uint_eq(counter(&stage.peer, "sessions_opened"), 2);
	stage_close(&stage);
}
END_TEST

START_TEST(but_is_in_doubt_over_udp) {
	struct stage stage;
	struct errand errand;

	stage_open(&stage, VIA_UDP, WITH_SESSION, "--session-lease", "1", NULL);
	stage_reopen_far(&stage, LONG_MS, 0, WITH_SESSION);
	put_ok(stage.far, "k", "a", KV_ANY, 1);
	errand = (struct errand){
	    .client = stage.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	outlive_session(&stage, "hold requests 1 append", &errand);
	errand_end(&errand, KV_MAYBE);
	stage_check(&stage, "k", "a", 1);
	stage_close(&stage);
}
END_TEST

START_TEST(and_is_in_doubt_if_an_earlier_attempt_may_have_run) {
	struct stage stage;
	struct errand errand;

	stage_open(&stage, VIA_TCP, WITH_SESSION, "--session-lease", "1", NULL);
	put_ok(stage.far, "k", "a", KV_ANY, 1);
	/* The first runs, and its answer is lost; the others come when the session is over. */
	fault_tell(&stage.fault, "lose replies 1 append");
	fault_tell(&stage.fault, "pass requests 1 append");
	errand = (struct errand){
	    .client = stage.far, .key = "k", .value = "b", .is_append = true, .expected = KV_ANY};
	outlive_session(&stage, "hold requests 100 append", &errand);
	fault_tell(&stage.fault, "forget");
	errand_end(&errand, KV_MAYBE);
	stage_check(&stage, "k", "ab", 2);
	put_ok(stage.far, "k", "c", 2, 3);
	stage_close(&stage);
}
END_TEST

/* --- Epochs ------------------------------------------------------------------------------------
 */

START_TEST(a_datagram_from_before_a_restart_never_runs) {
	struct stage stage;
	uint64_t version;
	char data[64];

	suite_directory(data);
	stage_open(&stage, VIA_UDP, WITH_SESSION, "-d", data, NULL);
	put_ok(stage.near, "k", "first", 0, 1);
	fault_tell(&stage.fault, "hold requests 1 put");
	ck_assert_str_eq(kv_status_name(kv_put(stage.far, bytes("k"), bytes("late"), 2, &version)),
			 "KV_VERSION");
	/* Refusals are not recorded: after the restart the slot knows nothing of this one. */
	stage_restart(&stage);
	put_ok(stage.near, "k", "second", 1, 2);
	release(&stage, 1);
	stage_check(&stage, "k", "second", 2);
	stage_close(&stage);
}
END_TEST

int main(void) {
	Suite *suite = suite_create("fault schedule");
	TCase *slots = suite_case(suite, "slots");
	TCase *sessions = suite_case(suite, "sessions");

	tcase_add_loop_test(slots, a_late_copy_of_a_put_never_undoes_a_later_one, 0, WAYS);
	tcase_add_loop_test(slots, an_append_whose_answer_was_lost_gives_its_first_answer, 0, WAYS);
	tcase_add_loop_test(slots, a_write_given_up_never_runs_after_the_next_one, 0, WAYS);
	tcase_add_loop_test(slots, a_copy_of_an_answered_write_is_answered_by_a_full_store, 0,
			    WAYS);
	tcase_add_loop_test(slots, a_late_copy_of_a_refused_write_never_runs, 0, WAYS);
	tcase_add_loop_test(sessions, an_open_whose_answer_was_lost_gives_the_same_session, 0,
			    WAYS);
	tcase_add_loop_test(sessions, a_late_copy_never_runs_after_its_session_was_closed, 0, WAYS);
	tcase_add_test(sessions, a_write_whose_session_ended_on_the_way_is_sent_again_on_a_stream);
	tcase_add_test(sessions, but_is_in_doubt_over_udp);
	tcase_add_test(sessions, and_is_in_doubt_if_an_earlier_attempt_may_have_run);
	tcase_add_test(sessions, a_datagram_from_before_a_restart_never_runs);
	return suite_run(suite);
}
