/* SPDX-License-Identifier: BSD-3-Clause */
/* The handle: arguments and limits, values, views, what happens at the end and in a forked child.
 */
#include "fake_transport.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct kv_client *client;

static const struct kv_bytes key = {"k", 1};
static const struct kv_bytes value = {"v", 1};
static char big[KV_VALUE_MAX + 1];

static struct kv_bytes bytes_of(size_t size) {
	return (struct kv_bytes){big, size};
}

static struct kv_value value_of(const char *text, uint64_t version) {
	return (struct kv_value){.data = strdup(text), .size = strlen(text), .version = version};
}

/* --- Values -------------------------------------------------------------------------------- */

CASE(clerk_handle, .setup = fake_reset);

TEST(a_get_returns_the_value_and_its_version) {
	struct kv_value got;

	client = fake_open(0);
	fake_next(REQUEST_GET,
		  (struct step){.response = {.current = 12, .value = value_of("abc", 12)}});
	ck_assert_int_eq(kv_get(client, key, &got), KV_OK);
	ck_assert_uint_eq(got.size, 3);
	ck_assert_mem_eq(got.data, "abc", 3);
	ck_assert_uint_eq(got.version, 12);
	kv_value_free(&got);
	ck_assert_ptr_null(got.data);
	fake_close(client);
}

TEST(an_append_returns_the_old_value_with_its_own_version_if_asked_to) {
	struct kv_value old;
	uint64_t version;

	client = fake_open(0);
	fake_next(REQUEST_APPEND,
		  (struct step){.response = {.current = 12, .value = value_of("abc", 11)}});
	ck_assert_int_eq(kv_append(client, key, value, 11, &old, &version), KV_OK);
	ck_assert(fake_sent(REQUEST_APPEND, 0)->want_old);
	ck_assert_mem_eq(old.data, "abc", 3);
	ck_assert_uint_eq(old.version, 11);
	ck_assert_uint_eq(version, 12);
	kv_value_free(&old);

	fake_next(REQUEST_APPEND,
		  (struct step){.response = {.current = 13, .value = value_of("unasked", 12)}});
	ck_assert_int_eq(kv_append(client, key, value, KV_ANY, NULL, NULL), KV_OK);
	ck_assert(!fake_sent(REQUEST_APPEND, 1)->want_old);
	fake_close(client);
}

TEST(what_comes_out_is_empty_on_any_other_status) {
	struct kv_value got = {.size = 5}, old = {.size = 5};
	struct kv_stats stats = {.counter_count = 5};
	uint64_t version = 5;

	client = fake_open(0);
	fake_next(REQUEST_GET, (struct step){.response = {.status = KV_NOKEY,
							  .current = 12,
							  .value = value_of("abc", 12)}});
	ck_assert_int_eq(kv_get(client, key, &got), KV_NOKEY);
	ck_assert_ptr_null(got.data);
	ck_assert_uint_eq(got.size, 0);
	ck_assert_uint_eq(got.version, 0);

	fake_next(REQUEST_APPEND, (struct step){.response = {.status = KV_FULL,
							     .current = 12,
							     .value = value_of("abc", 12)}});
	ck_assert_int_eq(kv_append(client, key, value, KV_ANY, &old, &version), KV_FULL);
	ck_assert_ptr_null(old.data);
	ck_assert_uint_eq(old.size, 0);
	ck_assert_uint_eq(version, 0);

	fake_next(REQUEST_STATS, (struct step){.response.status = KV_DENIED});
	ck_assert_int_eq(kv_stats(client, &stats), KV_DENIED);
	ck_assert_uint_eq(stats.counter_count, 0);
	fake_close(client);
}

TEST(stats_are_handed_over) {
	struct kv_counter *counters = calloc(1, sizeof(*counters));
	struct kv_stats stats;

	client = fake_open(0);
	fake_next(REQUEST_STATS,
		  (struct step){
		      .response.stats = {.epoch = 7, .counters = counters, .counter_count = 1}});
	ck_assert_int_eq(kv_stats(client, &stats), KV_OK);
	ck_assert_ptr_eq(stats.counters, counters);
	kv_stats_free(&stats);
	kv_stats_free(NULL);
	fake_close(client);
}

TEST(an_answer_to_a_get_that_only_a_write_can_get_is_a_protocol_error) {
	const enum kv_status odd[] = {KV_VERSION, KV_MAYBE, KV_BADSESSION, KV_STALE,
				      (enum kv_status)99};
	struct kv_value got;

	client = fake_open(0);
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		fake_answers(REQUEST_GET, odd[i], 1);
		ck_assert_int_eq(kv_get(client, key, &got), KV_PROTOCOL);
	}
	fake_fails(REQUEST_GET, ATTEMPT_BAD_REPLY);
	ck_assert_int_eq(kv_get(client, key, &got), KV_PROTOCOL);
	fake_close(client);
}

/* --- Limits -------------------------------------------------------------------------------- */

TEST(a_key_has_1_to_1024_bytes_and_a_value_at_most_16_mib) {
	struct kv_value got;

	client = fake_open(0);
	ck_assert_int_eq(kv_get(client, bytes_of(0), &got), KV_INVALID);
	ck_assert_int_eq(kv_get(client, (struct kv_bytes){NULL, 1}, &got), KV_INVALID);
	ck_assert_int_eq(kv_put(client, key, (struct kv_bytes){NULL, 1}, 1, NULL), KV_INVALID);
	ck_assert_int_eq(kv_get(client, bytes_of(KV_KEY_MAX + 1), &got), KV_TOOBIG);
	ck_assert_int_eq(kv_put(client, key, bytes_of(KV_VALUE_MAX + 1), 1, NULL), KV_TOOBIG);
	ck_assert_uint_eq(fake.connects, 0);

	ck_assert_int_eq(kv_put(client, bytes_of(KV_KEY_MAX), bytes_of(KV_VALUE_MAX), 1, NULL),
			 KV_OK);
	ck_assert_int_eq(kv_put(client, key, (struct kv_bytes){NULL, 0}, 1, NULL), KV_OK);
	fake_close(client);
}

TEST(a_value_above_the_servers_limit_is_refused_here_without_a_session) {
	fake.value_max = 1000;
	client = fake_open(0);
	ck_assert_int_eq(kv_put(client, key, bytes_of(1001), 1, NULL), KV_TOOBIG);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 0);
	ck_assert_int_eq(kv_put(client, key, bytes_of(1000), 1, NULL), KV_OK);
	fake_close(client);
}

TEST(what_does_not_fit_a_datagram_is_too_big_over_udp_and_fine_over_a_stream) {
	fake.datagram_max = 2000;
	client = fake_open(0);
	ck_assert_int_eq(kv_put(client, key, bytes_of(3000), 1, NULL), KV_OK);
	fake_close(client);

	fake.servers[0].is_datagram = true;
	client = fake_open(0);
	ck_assert_int_eq(kv_put(client, key, bytes_of(2000 - REQUEST_OVERHEAD_MAX), 1, NULL),
			 KV_TOOBIG);
	ck_assert_int_eq(kv_put(client, key, bytes_of(2000 - REQUEST_OVERHEAD_MAX - 1), 1, NULL),
			 KV_OK);
	fake_close(client);
}

static void lower_the_limit(void) {
	fake.value_max = 1000;
}

TEST(a_write_that_may_have_run_is_asked_about_even_above_a_new_limit) {
	client = fake_open(0);
	fake_next(REQUEST_PUT, (struct step){.outcome = ATTEMPT_UNANSWERED,
					     .breaks_link = true,
					     .during = lower_the_limit});
	ck_assert_int_eq(kv_put(client, key, bytes_of(1001), 1, NULL), KV_OK);
	ck_assert_int_eq(kv_put(client, key, bytes_of(1001), 1, NULL), KV_TOOBIG);
	fake_close(client);
}

static void leave_only_udp(void) {
	fake.servers[0].reach = REACH_REFUSED;
}

TEST(a_write_that_may_have_run_and_fits_no_datagram_is_maybe) {
	fake.datagram_max = 2000;
	fake_serve(2);
	fake.servers[1].is_datagram = true;
	client = fake_open(0);
	fake_next(REQUEST_PUT, (struct step){.outcome = ATTEMPT_UNANSWERED,
					     .breaks_link = true,
					     .during = leave_only_udp});
	ck_assert_int_eq(kv_put(client, key, bytes_of(3000), 1, NULL), KV_MAYBE);
	fake_close(client);
}

/* --- Views --------------------------------------------------------------------------------- */

TEST(a_view_has_the_same_session_and_link_and_a_time_limit_of_its_own) {
	struct kv_client *view;

	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_int_eq(kv_with_timeout(client, 50, &view), KV_OK);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(view, 1), KV_MAYBE);
	ck_assert_uint_eq(fake.now_ms, 1050);
	ck_assert_uint_eq(fake_log(REQUEST_PUT, 1)->link, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id, 101);
	kv_close(view);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

TEST(a_view_of_a_view_may_wait_for_ever) {
	struct kv_client *view, *second;

	client = fake_open(50);
	ck_assert_int_eq(kv_with_timeout(client, 10, &view), KV_OK);
	ck_assert_int_eq(kv_with_timeout(view, 0, &second), KV_OK);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(second, 1), KV_OK);
	kv_close(second);
	kv_close(view);
	fake_close(client);
}

TEST(a_time_limit_set_holds_for_later_calls_of_that_handle_only) {
	struct kv_client *view;

	client = fake_open(50);
	ck_assert_uint_eq(kv_timeout(client), 50);
	ck_assert_int_eq(kv_with_timeout(client, 70, &view), KV_OK);
	ck_assert_uint_eq(kv_timeout(view), 70);
	kv_set_timeout(view, 200);
	ck_assert_uint_eq(kv_timeout(view), 200);
	ck_assert_uint_eq(kv_timeout(client), 50);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(view, 1), KV_MAYBE);
	ck_assert_uint_eq(fake.now_ms, 1200);
	kv_set_timeout(view, 0);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(view, 1), KV_OK);
	kv_close(view);
	fake_close(client);
}

/* --- The end ------------------------------------------------------------------------------- */

TEST(closing_the_last_handle_ends_the_session_once) {
	struct kv_client *view;

	client = fake_open(0);
	ck_assert_int_eq(kv_with_timeout(client, 0, &view), KV_OK);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	kv_close(view);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
	ck_assert_uint_eq(fake_sent(REQUEST_CLOSE, 0)->client_id, 101);
	ck_assert_uint_eq(fake_sent(REQUEST_CLOSE, 0)->epoch, 7);
	kv_close(NULL);
}

TEST(closing_without_a_session_says_nothing) {
	struct kv_value got;

	client = fake_open(0);
	ck_assert_int_eq(kv_get(client, key, &got), KV_OK);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 0);
}

TEST(closing_tries_once_for_at_most_attempt_ms) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_fails(REQUEST_CLOSE, ATTEMPT_UNANSWERED);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
	ck_assert_uint_eq(fake.now_ms, 2000);
}

TEST(closing_connects_once_if_there_is_no_link_and_gives_up_if_that_fails) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_fails(REQUEST_PUT, ATTEMPT_BAD_REPLY);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
	ck_assert_uint_eq(fake.connects, 2);

	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_fails(REQUEST_PUT, ATTEMPT_BAD_REPLY);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake.servers[0].reach = REACH_REFUSED;
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
	ck_assert_uint_eq(fake.pause_count, 0);
}

TEST(closing_says_nothing_to_another_store) {
	struct kv_value got;

	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake.servers[0].store = 'B';
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(kv_get(client, key, &got), KV_BADSESSION);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 0);
}

TEST(a_snapshot_is_told_with_the_epoch_of_the_server_that_took_it_on) {
	struct kv_snapshot snapshot;

	client = fake_open(0);
	fake.servers[0].epoch = 77;
	fake_next(REQUEST_SNAPSHOT, (struct step){.response.current = 12});
	ck_assert_int_eq(kv_snapshot(client, &snapshot), KV_OK);
	ck_assert_uint_eq(snapshot.position, 12);
	ck_assert_uint_eq(snapshot.epoch, 77);
	fake_next(REQUEST_SNAPSHOT,
		  (struct step){.response = {.status = KV_UNAVAILABLE, .current = 12}});
	ck_assert_int_eq(kv_snapshot(client, &snapshot), KV_UNAVAILABLE);
	ck_assert_uint_eq(snapshot.position, 0);
	fake_close(client);
}

/* --- A forked child ------------------------------------------------------------------------ */

static bool is_useless_in_a_child(void) {
	struct kv_client *view;
	struct kv_value got = {.size = 5}, old = {.size = 5};
	struct kv_stats stats;
	struct kv_snapshot snapshot;
	uint64_t version = 5;
	char reason[64] = "";
	size_t said = fake.log_count;
	unsigned connects = fake.connects;
	bool all_invalid = kv_with_timeout(client, 1, &view) == KV_INVALID && view == NULL &&
			   kv_get(client, key, &got) == KV_INVALID && got.size == 0 &&
			   kv_put(client, key, value, 1, &version) == KV_INVALID && version == 0 &&
			   kv_append(client, key, value, 1, &old, NULL) == KV_INVALID &&
			   old.size == 0 && kv_ping(client) == KV_INVALID &&
			   kv_stats(client, &stats) == KV_INVALID && stats.counters == NULL &&
			   kv_snapshot(client, &snapshot) == KV_INVALID && snapshot.epoch == 0;

	kv_last_error(client, reason, sizeof(reason));
	kv_close(client);
	return all_invalid && reason[0] != '\0' && fake.log_count == said &&
	       fake.connects == connects && fake.live_links == 0;
}

TEST(in_a_forked_child_each_call_is_invalid_and_close_only_frees) {
	int status;
	pid_t child;

	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		_exit(is_useless_in_a_child() ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
}

static int fork_and_close(void) {
	int status = -1;
	pid_t child = fork();

	if (child == 0) {
		alarm(10);
		kv_close(client);
		_exit(0);
	}
	if (child > 0)
		(void)waitpid(child, &status, 0);
	return status;
}

static int status_of_child;

static void fork_during_the_call(void) {
	status_of_child = fork_and_close();
}

TEST(a_child_forked_in_the_middle_of_a_call_can_close) {
	client = fake_open(0);
	fake_next(REQUEST_OPEN,
		  (struct step){.response = {.status = KV_FULL}, .during = fork_during_the_call});
	ck_assert_int_eq(fake_put(client, 1), KV_FULL);
	ck_assert_int_eq(status_of_child, 0);
	fake_close(client);
}

/* --- The reason ---------------------------------------------------------------------------- */

TEST(the_reason_is_that_of_the_last_failure_and_empty_before) {
	char reason[64] = "unset";
	char little[5];

	client = fake_open(100);
	kv_last_error(client, reason, sizeof(reason));
	ck_assert_str_eq(reason, "");
	fake.servers[0].reach = REACH_REFUSED;
	fake.reason = "tcp:kv:7000: Connection refused";
	ck_assert_int_eq(fake_put(client, 1), KV_TIMEOUT);
	fake.reason = "";
	fake.servers[0].reach = REACH_UP;
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	kv_last_error(client, reason, sizeof(reason));
	ck_assert_str_eq(reason, "tcp:kv:7000: Connection refused");
	kv_last_error(client, little, sizeof(little));
	ck_assert_str_eq(little, "tcp:");
	fake_close(client);
}
