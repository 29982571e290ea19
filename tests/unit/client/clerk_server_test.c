/* SPDX-License-Identifier: BSD-3-Clause */
/* Which server a call goes to: restarts, other stores at known addresses, lists of servers. */
#include "fake_transport.h"
#include "test.h"

static struct kv_client *client;

static enum kv_status get_on(struct kv_client *handle) {
	struct kv_value value;
	enum kv_status status = kv_get(handle, (struct kv_bytes){"k", 1}, &value);

	kv_value_free(&value);
	return status;
}

static enum kv_status get(void) {
	return get_on(client);
}

/* The server is gone, and another store answers there. */
static void replace(size_t server) {
	fake.servers[server].store++;
	fake.servers[server].epoch++;
}

/* --- Restarts ------------------------------------------------------------------------------ */

CASE(clerk_store, .setup = fake_reset);

TEST(hello_is_the_first_call_on_each_link) {
	client = fake_open(0);
	fake_breaks(REQUEST_PUT);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	for (unsigned link = 1; link <= 2; link++) {
		size_t i = 0;

		while (fake.log[i].link != link)
			i++;
		ck_assert_int_eq(fake.log[i].request.kind, REQUEST_HELLO);
	}
	ck_assert_uint_eq(fake_count(REQUEST_HELLO), 2);
	fake_close(client);
}

TEST(after_a_restart_hello_is_said_again_and_the_same_call_goes_under_the_new_epoch) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_restart(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_HELLO), 2);
	ck_assert_uint_eq(fake_log(REQUEST_HELLO, 1)->link, 1);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->epoch, 7);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->epoch, 8);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id,
			  fake_sent(REQUEST_PUT, 2)->client_id);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->slot, fake_sent(REQUEST_PUT, 2)->slot);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->seq, fake_sent(REQUEST_PUT, 2)->seq);
	ck_assert_uint_ne(fake_sent(REQUEST_PUT, 1)->xid, fake_sent(REQUEST_PUT, 2)->xid);
	fake_close(client);
}

TEST(an_attempt_answered_epoch_does_not_count_as_one_that_may_have_run) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	fake_restart(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_restart(0);
	/* The first attempt is answered KV_EPOCH, the second KV_BADSESSION: it has not run. */
	fake_answers(REQUEST_PUT, KV_EPOCH, 0);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

TEST(a_call_that_only_ever_was_answered_epoch_times_out) {
	client = fake_open(500);
	for (unsigned i = 0; i < FAKE_STEPS_MAX; i++)
		fake_next(REQUEST_PUT, (struct step){.response.status = KV_EPOCH, .takes_ms = 20});
	ck_assert_int_eq(fake_put(client, 1), KV_TIMEOUT);
	/* A server that refuses the epoch it just told is not asked in a tight loop. */
	ck_assert_uint_gt(fake.pause_count, 3);
	fake_close(client);
}

TEST(a_write_sent_before_a_restart_still_counts_after_it) {
	client = fake_open(0);
	fake_breaks(REQUEST_PUT);
	fake_answers(REQUEST_PUT, KV_EPOCH, 0);
	fake_answers(REQUEST_PUT, KV_BADSESSION, 0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake_close(client);
}

TEST(a_get_and_an_open_are_repeated_under_the_new_epoch_too) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	fake_restart(0);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_GET, 2)->epoch, 8);
	fake_restart(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_OPEN, 1)->epoch, 9);
	ck_assert_mem_eq(fake_sent(REQUEST_OPEN, 0)->nonce, fake_sent(REQUEST_OPEN, 1)->nonce,
			 NONCE_SIZE);
	fake_close(client);
}

TEST(a_hello_lost_after_a_restart_costs_the_link_and_not_the_call) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_restart(0);
	fake_breaks(REQUEST_HELLO);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_PUT, 2)->link, 2);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->seq, 2);
	fake_close(client);
}

/* --- Another store at a known address ------------------------------------------------------ */

TEST(with_nothing_to_remember_any_store_is_adopted) {
	client = fake_open(0);
	ck_assert_int_eq(kv_ping(client), KV_OK);
	replace(0);
	fake_breaks(REQUEST_PING);
	ck_assert_int_eq(kv_ping(client), KV_OK);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

TEST(a_version_seen_in_another_store_ends_the_call_and_the_next_starts_afresh) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	replace(0);
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_BADSESSION);
	ck_assert_int_eq(get(), KV_OK);
	fake_close(client);
}

TEST(a_page_of_another_store_ends_the_call) {
	struct kv_list list;

	client = fake_open(0);
	ck_assert_int_eq(kv_list(client, (struct kv_bytes){0}, (struct kv_bytes){0}, 0, &list),
			 KV_OK);
	replace(0);
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_BADSESSION);
	fake_close(client);
}

TEST(a_session_in_another_store_ends_the_call_and_the_next_opens_one_there) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 2);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->client_id, 102);
	fake_close(client);
}

TEST(a_write_sent_to_a_store_that_is_replaced_is_maybe_and_never_sent_to_the_other) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_breaks(REQUEST_PUT);
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 2);
	fake_close(client);
}

TEST(a_stateless_write_sent_to_a_store_that_is_replaced_is_maybe) {
	client = fake_open_stateless(0);
	ck_assert_int_eq(kv_ping(client), KV_OK);
	fake_breaks(REQUEST_PUT);
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 1);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

static void replace_during_the_call(void) {
	replace(0);
	ck_assert_int_eq(get(), KV_BADSESSION);
}

TEST(a_get_answered_by_the_store_that_was_left_meanwhile_is_not_passed_on) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	fake_next(REQUEST_GET, (struct step){.response = {.status = KV_OK, .current = 77},
					     .during = replace_during_the_call});
	ck_assert_int_eq(get(), KV_BADSESSION);
	fake_close(client);
}

TEST(a_write_answered_by_the_store_that_was_left_meanwhile_is_maybe) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	fake_next(REQUEST_PUT, (struct step){.response = {.status = KV_OK, .current = 77},
					     .during = replace_during_the_call});
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake_close(client);
}

TEST(a_refusal_by_the_store_that_was_left_meanwhile_is_badsession) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	fake_next(REQUEST_PUT, (struct step){.response = {.status = KV_VERSION, .current = 77},
					     .during = replace_during_the_call});
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	fake_close(client);
}

static void adopt_during_the_call(void) {
	replace(0);
	ck_assert_int_eq(kv_ping(client), KV_OK);
}

TEST(a_get_answered_by_a_store_that_was_exchanged_unnoticed_is_asked_of_the_new_one) {
	client = fake_open(0);
	fake_next(REQUEST_GET, (struct step){.response = {.status = KV_OK, .current = 77},
					     .during = adopt_during_the_call});
	fake_breaks(REQUEST_PING);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_GET), 2);
	fake_close(client);
}

static const struct sent *last_hello(void) {
	return fake_log(REQUEST_HELLO, fake_count(REQUEST_HELLO) - 1);
}

/* --- Lists of servers ---------------------------------------------------------------------- */

TEST(several_servers_are_tried_in_turn_without_a_pause_between) {
	fake_serve(3);
	fake.servers[0].reach = REACH_REFUSED;
	fake.servers[1].reach = REACH_SILENT;
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 0)->server, 2);
	ck_assert_uint_eq(fake.pause_count, 0);
	ck_assert_uint_eq(fake.now_ms, 1250);
	fake_close(client);
}

TEST(the_server_that_answered_is_kept_and_a_broken_link_goes_to_it_again) {
	fake_serve(3);
	fake.servers[0].reach = REACH_REFUSED;
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	fake.servers[0].reach = REACH_UP;
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 2)->server, 1);
	ck_assert_uint_eq(fake.servers[1].looked_again, 0);
	fake_close(client);
}

TEST(a_server_that_refuses_the_connection_is_looked_up_again_next_time) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	fake_breaks(REQUEST_GET);
	fake_breaks(REQUEST_HELLO);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake.connects, 3);
	ck_assert_uint_eq(fake.servers[0].looked_again, 1);
	/* It answered: what was found is remembered again. */
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake.servers[0].looked_again, 1);
	fake_close(client);
}

TEST(program_unavailable_in_a_call_goes_on_at_the_next_address) {
	fake_serve(2);
	client = fake_open(0);
	fake_fails(REQUEST_GET, ATTEMPT_WRONG_SERVER);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 1)->server, 1);
	fake_close(client);
}

TEST(of_two_stores_in_one_list_the_second_is_as_if_it_did_not_answer) {
	fake_serve(2);
	fake.servers[1].store = 'B';
	client = fake_open(300);
	ck_assert_int_eq(get(), KV_OK);
	fake.servers[0].reach = REACH_REFUSED;
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	for (size_t i = 0; i < fake_count(REQUEST_GET); i++)
		ck_assert_uint_eq(fake_log(REQUEST_GET, i)->server, 0);
	fake.servers[0].reach = REACH_UP;
	ck_assert_int_eq(get(), KV_OK);
	fake_close(client);
}

TEST(only_a_round_in_which_each_address_leads_elsewhere_ends_the_call) {
	fake_serve(2);
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	replace(0);
	fake.servers[1].store = 'C';
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_BADSESSION);
	ck_assert_uint_eq(last_hello()->server, 1);
	ck_assert_int_eq(get(), KV_OK);
	fake_close(client);
}

TEST(an_address_that_never_led_to_the_store_is_asked_before_the_store_is_forgotten) {
	fake_serve(2);
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->client_id, 101);
	ck_assert_uint_eq(fake_log(REQUEST_PUT, 2)->server, 1);
	fake_close(client);
}

TEST(but_one_that_never_did_and_is_dead_does_not_keep_it) {
	const enum reach dead[] = {REACH_REFUSED, REACH_SILENT};

	for (size_t i = 0; i < 2; i++) {
		fake_reset();
		fake_serve(3);
		fake.servers[0].reach = fake.servers[2].reach = dead[i];
		client = fake_open(10000);
		ck_assert_int_eq(fake_put(client, 1), KV_OK);
		replace(1);
		ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
		ck_assert_uint_eq(fake_count(REQUEST_PUT),
				  2); /* and the second is of another epoch */
		ck_assert_int_eq(fake_put(client, 1), KV_OK);
		ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->client_id, 102);
		fake_close(client);
	}
}

TEST(a_write_that_may_have_run_is_maybe_when_the_store_is_gone_and_one_address_dead) {
	fake_serve(2);
	fake.servers[1].reach = REACH_REFUSED;
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_breaks(REQUEST_PUT);
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_int_eq(get(), KV_OK);
	fake_close(client);
}

/* The store is known by both addresses; server 0 is in use. */
static void know_both(void) {
	fake_serve(2);
	client = fake_open(300);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake.servers[0].reach = REACH_REFUSED;
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(last_hello()->server, 1);
	fake.servers[0].reach = REACH_UP;
	fake.servers[1].reach = REACH_REFUSED;
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(last_hello()->server, 0);
}

TEST(one_that_led_to_the_store_and_is_dead_may_come_back_with_it) {
	know_both();
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_TIMEOUT);
	fake.servers[1].reach = REACH_UP;
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->client_id, 101);
	ck_assert_uint_eq(fake_log(REQUEST_PUT, 2)->server, 1);
	fake_close(client);
}

TEST(once_all_that_led_to_the_store_led_elsewhere_it_is_forgotten_though_not_at_once) {
	know_both();
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_TIMEOUT);
	/* Its last word was another store: that it is dead now changes nothing. */
	fake.servers[0].reach = REACH_REFUSED;
	fake.servers[1].reach = REACH_UP;
	replace(1);
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_close(client);
}

TEST(what_led_to_an_earlier_store_counts_no_more_in_the_next_life) {
	know_both();
	replace(0);
	replace(1);
	fake.servers[1].reach = REACH_UP;
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	fake.servers[1].reach = REACH_REFUSED;
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	replace(0);
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	fake_close(client);
}

TEST(a_store_whose_server_is_dead_is_not_forgotten_for_another_ones_sake) {
	fake_serve(2);
	client = fake_open(300);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake.servers[0].reach = REACH_REFUSED;
	fake.servers[1].store = 'B';
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	fake_restart(0);
	fake.servers[0].reach = REACH_UP;
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_PUT, 1)->server, 0);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id, 101);
	fake_close(client);
}

static void time_passes(void) {
	fake.now_ms += 1000;
}

TEST(calls_too_short_for_a_whole_round_find_out_together) {
	const struct step slow = {.outcome = ATTEMPT_UNSENT, .during = time_passes};

	fake_serve(3);
	fake.servers[0].reach = fake.servers[1].reach = REACH_SILENT;
	client = fake_open(3000);
	ck_assert_int_eq(get(), KV_OK);
	replace(2);
	kv_set_timeout(client, 1000);
	fake.servers[0].reach = fake.servers[1].reach = REACH_UP;
	fake_breaks(REQUEST_GET);
	fake_next(REQUEST_HELLO,
		  (struct step){.response = {.status = KV_OK, .store = "other", .epoch = 1}});
	fake_next(REQUEST_HELLO,
		  (struct step){.response = {.status = KV_OK, .store = "other", .epoch = 1}});
	fake_next(REQUEST_HELLO, slow);
	fake_next(REQUEST_HELLO, slow);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	ck_assert_int_eq(get(), KV_BADSESSION);
	fake.servers[0].reach = fake.servers[1].reach = REACH_REFUSED;
	kv_set_timeout(client, 3000);
	ck_assert_int_eq(get(), KV_OK);
	fake_close(client);
}

TEST(silent_addresses_leave_a_short_call_time_for_the_last_one) {
	fake_serve(4);
	fake.servers[0].reach = fake.servers[1].reach = fake.servers[2].reach = REACH_SILENT;
	client = fake_open(400);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 0)->server, 3);
	ck_assert_uint_le(fake.now_ms, 1000 + 300);
	fake_close(client);
}

TEST(a_server_that_accepts_and_is_silent_costs_as_little_as_one_that_is_away) {
	fake_serve(2);
	fake_fails(REQUEST_HELLO, ATTEMPT_UNANSWERED);
	client = fake_open(1000);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 0)->server, 1);
	ck_assert_uint_eq(fake.now_ms, 1250);
	fake_close(client);
}

TEST(an_address_that_is_slow_to_accept_gets_more_time_in_each_round) {
	fake_serve(2);
	fake.servers[0].reach = REACH_REFUSED;
	fake.servers[1].reach = REACH_SILENT;
	client = fake_open(5000);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	/* 250, 500, and then attempt_ms, with at most 10, 20, 40, 80, 160 and 320 between. */
	ck_assert_uint_eq(fake.now_ms, 6000);
	ck_assert_uint_eq(fake.pause_count, 6);
	fake_close(client);
}

TEST(where_rpcbind_says_now_is_asked_before_an_address_counts_as_leading_elsewhere) {
	client = fake_open(0);
	ck_assert_int_eq(get(), KV_OK);
	/* Another store has the port that ours had. */
	fake_next(REQUEST_HELLO,
		  (struct step){.response = {.status = KV_OK, .store = "other", .epoch = 1}});
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake.servers[0].looked_again, 1);
	fake_close(client);
}

TEST(every_address_that_was_tried_is_named_with_what_failed_there) {
	char text[128];

	know_both();
	replace(0);
	fake.reason = "tcp:b: connection refused";
	ck_assert_int_eq(fake_put(client, 1), KV_TIMEOUT);
	kv_last_error(client, text, sizeof(text));
	ck_assert_str_eq(text, "tcp:a: the server has another store than the one before; "
			       "tcp:b: connection refused");
	fake_close(client);
}

/* --- No server ----------------------------------------------------------------------------- */

static void open_failing_fast(void) {
	const struct kv_options options = {.timeout_ms = 10000, .fail_fast = true};

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
}

TEST(a_handle_that_fails_fast_does_not_wait_if_every_address_refuses) {
	fake_serve(2);
	fake.servers[0].reach = fake.servers[1].reach = REACH_REFUSED;
	open_failing_fast();
	ck_assert_int_eq(get(), KV_TIMEOUT);
	ck_assert_int_eq(fake_put(client, KV_ANY), KV_TIMEOUT);
	ck_assert_uint_eq(fake.now_ms, 1000);
	fake_close(client);
}

TEST(a_handle_that_fails_fast_waits_for_an_address_that_is_silent) {
	fake_serve(2);
	fake.servers[0].reach = REACH_REFUSED;
	fake.servers[1].reach = REACH_SILENT;
	open_failing_fast();
	ck_assert_int_eq(get(), KV_TIMEOUT);
	ck_assert_uint_eq(fake.now_ms, 11000);
	fake_close(client);
}

TEST(a_handle_that_fails_fast_waits_for_a_server_that_it_has_reached) {
	open_failing_fast();
	ck_assert_int_eq(get(), KV_OK);
	fake.servers[0].reach = REACH_REFUSED;
	fake_breaks(REQUEST_GET);
	ck_assert_int_eq(get(), KV_TIMEOUT);
	ck_assert_uint_eq(fake.now_ms, 11000);
	fake_close(client);
}

/* --- HELLO refused ------------------------------------------------------------------------- */

TEST(a_hello_refused_by_every_server_is_returned) {
	fake_serve(2);
	client = fake_open(0);
	fake_next(REQUEST_HELLO,
		  (struct step){.outcome = ATTEMPT_REJECTED, .response.status = KV_DENIED});
	fake_next(REQUEST_HELLO, (struct step){.response.status = KV_DENIED});
	ck_assert_int_eq(get(), KV_DENIED);
	ck_assert_int_eq(get(), KV_OK);
	fake_close(client);
}

TEST(a_hello_refused_by_one_server_goes_to_the_next) {
	fake_serve(2);
	client = fake_open(0);
	fake_fails(REQUEST_HELLO, ATTEMPT_BAD_REPLY);
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 0)->server, 1);
	fake_close(client);
}

TEST(a_refusal_in_a_round_that_an_earlier_call_began_is_asked_for_again) {
	fake_serve(2);
	client = fake_open(300);
	fake_next(REQUEST_HELLO, (struct step){.response.status = KV_DENIED, .takes_ms = 300});
	ck_assert_int_eq(get(), KV_TIMEOUT);
	/* Much later server 0 lets us in, and server 1 does not. */
	fake_next(REQUEST_HELLO, (struct step){.response.status = KV_DENIED});
	ck_assert_int_eq(get(), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_GET, 0)->server, 0);
	fake_close(client);
}

TEST(a_peer_that_is_no_kv_server_is_a_protocol_error) {
	client = fake_open(0);
	fake_fails(REQUEST_HELLO, ATTEMPT_BAD_REPLY);
	ck_assert_int_eq(get(), KV_PROTOCOL);
	fake_next(REQUEST_HELLO, (struct step){.response = {.status = KV_OK, .epoch = 0}});
	ck_assert_int_eq(get(), KV_PROTOCOL);
	fake_close(client);
}

TEST(a_hello_refused_after_a_write_was_sent_leaves_it_at_maybe) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_breaks(REQUEST_PUT);
	fake_next(REQUEST_HELLO, (struct step){.response.status = KV_DENIED});
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	fake_close(client);
}
