/* SPDX-License-Identifier: BSD-3-Clause */
/* KV_BADSESSION when the store is gone: each handle and view that knew it gets it, once. */
#include "fake_transport.h"
#include "test.h"

static struct kv_client *client;

static enum kv_status get(struct kv_client *handle) {
	struct kv_value value;
	enum kv_status status = kv_get(handle, (struct kv_bytes){"k", 1}, &value);

	kv_value_free(&value);
	return status;
}

static struct kv_client *view_of(struct kv_client *handle) {
	struct kv_client *view;

	ck_assert_int_eq(kv_with_timeout(handle, kv_timeout(handle), &view), KV_OK);
	return view;
}

/* The server is gone, and another store answers there. */
static void replace(void) {
	fake.servers[0].store++;
	fake.servers[0].epoch++;
}

/* The store is replaced, and the handle that knew it is told. */
static void replace_and_tell(struct kv_client *handle) {
	replace();
	ck_assert_int_eq(get(handle), KV_BADSESSION);
}

/* --- Each for itself ----------------------------------------------------------------------- */

CASE(clerk_told, .setup = fake_reset);

TEST(each_handle_that_knew_the_store_is_told_once) {
	struct kv_client *handles[3];

	client = fake_open(0);
	handles[0] = client;
	handles[1] = view_of(client);
	handles[2] = view_of(client);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(get(handles[i]), KV_OK);
	replace();
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(get(handles[i]), KV_BADSESSION);
		ck_assert_int_eq(get(handles[i]), KV_OK);
	}
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(fake_put(handles[i], 1), KV_OK);
	kv_close(handles[2]);
	kv_close(handles[1]);
	fake_close(client);
}

TEST(the_call_that_is_told_sends_nothing) {
	struct kv_client *view;
	size_t sent;

	client = fake_open(0);
	view = view_of(client);
	ck_assert_int_eq(fake_put(view, 1), KV_OK);
	ck_assert_int_eq(get(client), KV_OK);
	replace_and_tell(client);
	ck_assert_int_eq(get(client), KV_OK);
	sent = fake.log_count;
	/* The link to the new store is there, and the version may be anything there. */
	ck_assert_int_eq(fake_put(view, 1), KV_BADSESSION);
	ck_assert_uint_eq(fake.log_count, sent);
	ck_assert_int_eq(fake_put(view, 1), KV_OK);
	kv_close(view);
	fake_close(client);
}

TEST(any_call_tells_and_a_telling_takes_no_time) {
	struct kv_client *view;

	client = fake_open(0);
	view = view_of(client);
	ck_assert_int_eq(get(view), KV_OK);
	ck_assert_int_eq(get(client), KV_OK);
	replace_and_tell(client);
	fake.servers[0].reach = REACH_REFUSED;
	ck_assert_int_eq(kv_ping(view), KV_BADSESSION);
	ck_assert_uint_eq(fake.pause_count, 0);
	fake.servers[0].reach = REACH_UP;
	ck_assert_int_eq(get(view), KV_OK);
	kv_close(view);
	fake_close(client);
}

TEST(a_handle_that_missed_several_stores_is_told_once) {
	struct kv_client *view;

	client = fake_open(0);
	view = view_of(client);
	ck_assert_int_eq(fake_put(view, 1), KV_OK);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(get(client), KV_OK);
		replace_and_tell(client);
	}
	ck_assert_int_eq(fake_put(view, 1), KV_BADSESSION);
	ck_assert_int_eq(fake_put(view, 1), KV_OK);
	kv_close(view);
	fake_close(client);
}

TEST(an_unknown_write_because_the_store_is_gone_counts_too) {
	client = fake_open(0);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_breaks(REQUEST_PUT);
	replace();
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	ck_assert_int_eq(get(client), KV_OK);
	fake_close(client);
}

static struct kv_client *other;

static void replace_and_tell_the_other(void) {
	replace_and_tell(other);
}

TEST(a_call_under_way_when_another_handle_is_told_is_told_as_well) {
	client = fake_open(0);
	other = view_of(client);
	ck_assert_int_eq(get(other), KV_OK);
	ck_assert_int_eq(get(client), KV_OK);
	fake_next(REQUEST_PUT, (struct step){.outcome = ATTEMPT_UNSENT,
					     .breaks_link = true,
					     .during = replace_and_tell_the_other});
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	kv_close(other);
	fake_close(client);
}

TEST(a_write_answered_by_the_store_that_was_left_meanwhile_tells_too) {
	static const enum kv_status answers[] = {KV_OK, KV_VERSION};
	static const enum kv_status told[] = {KV_MAYBE, KV_BADSESSION};

	client = fake_open(0);
	other = view_of(client);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(get(other), KV_OK);
		ck_assert_int_eq(get(client), KV_OK);
		fake_next(REQUEST_PUT, (struct step){.response = {.status = answers[i]},
						     .during = replace_and_tell_the_other});
		ck_assert_int_eq(fake_put(client, 1), told[i]);
		ck_assert_int_eq(get(client), KV_OK);
	}
	kv_close(other);
	fake_close(client);
}

/* --- What knows the store ------------------------------------------------------------------ */

TEST(a_handle_that_was_never_used_gets_no_bad_session) {
	struct kv_client *reader, *writer;

	client = fake_open(0);
	reader = view_of(client);
	writer = view_of(client);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	replace();
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	ck_assert_int_eq(get(reader), KV_OK);
	ck_assert_int_eq(fake_put(writer, 0), KV_OK);
	kv_close(writer);
	kv_close(reader);
	fake_close(client);
}

TEST(nor_if_it_is_the_one_that_notices_and_the_others_still_are) {
	struct kv_client *reader;

	client = fake_open(0);
	reader = view_of(client);
	ck_assert_int_eq(get(client), KV_OK);
	replace();
	ck_assert_int_eq(get(reader), KV_OK);
	ck_assert_int_eq(get(client), KV_BADSESSION);
	ck_assert_int_eq(get(client), KV_OK);
	kv_close(reader);
	fake_close(client);
}

TEST(its_first_write_goes_to_the_new_store_in_a_session_of_that) {
	struct kv_client *writer;

	client = fake_open(0);
	writer = view_of(client);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	replace();
	/* It takes a slot of the old session, is answered KV_EPOCH, and leaves the slot there. */
	ck_assert_int_eq(fake_put(writer, 0), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 1)->client_id, 101);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->client_id, 102);
	ck_assert_uint_eq(fake_sent(REQUEST_PUT, 2)->epoch, 8);
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	kv_close(writer);
	fake_close(client);
}

TEST(but_a_first_write_that_may_have_run_in_the_old_store_is_maybe) {
	struct kv_client *writer;

	client = fake_open(0);
	writer = view_of(client);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	fake_breaks(REQUEST_PUT);
	replace();
	ck_assert_int_eq(fake_put(writer, 0), KV_MAYBE);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 2);
	kv_close(writer);
	fake_close(client);
}

TEST(a_write_that_names_a_version_has_seen_a_store_though_the_handle_was_never_used) {
	struct kv_client *writer;

	client = fake_open(0);
	writer = view_of(client);
	ck_assert_int_eq(get(client), KV_OK);
	replace_and_tell(client);
	/* It is from the other handle, and from the old store. */
	ck_assert_int_eq(fake_put(writer, 1), KV_BADSESSION);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 0);
	ck_assert_int_eq(fake_put(writer, 1), KV_OK);
	kv_close(writer);
	fake_close(client);
}

TEST(a_handle_that_was_told_knows_nothing_until_it_is_used_again) {
	struct kv_client *view;

	client = fake_open(0);
	view = view_of(client);
	ck_assert_int_eq(get(client), KV_OK);
	replace_and_tell(client);
	ck_assert_int_eq(get(view), KV_OK);
	replace_and_tell(view);
	ck_assert_int_eq(get(client), KV_OK);
	kv_close(view);
	fake_close(client);
}

TEST(a_call_that_never_was_sent_and_a_ping_teach_nothing) {
	struct kv_client *view;

	client = fake_open(50);
	view = view_of(client);
	ck_assert_int_eq(kv_ping(view), KV_OK);
	fake_fails(REQUEST_GET, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(get(view), KV_TIMEOUT);
	ck_assert_int_eq(get(client), KV_OK);
	replace_and_tell(client);
	ck_assert_int_eq(get(view), KV_OK);
	kv_close(view);
	fake_close(client);
}

TEST(a_missing_key_a_refusal_and_an_unknown_write_are_known_of_a_store) {
	struct kv_client *views[3];

	client = fake_open(50);
	for (size_t i = 0; i < 3; i++)
		views[i] = view_of(client);
	fake_answers(REQUEST_GET, KV_NOKEY, 0);
	ck_assert_int_eq(get(views[0]), KV_NOKEY);
	fake_answers(REQUEST_PUT, KV_VERSION, 9);
	ck_assert_int_eq(fake_put(views[1], 0), KV_VERSION);
	fake_fails(REQUEST_PUT, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(fake_put(views[2], 0), KV_MAYBE);
	ck_assert_int_eq(get(client), KV_OK);
	replace_and_tell(client);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(get(views[i]), KV_BADSESSION);
		ck_assert_int_eq(get(views[i]), KV_OK);
		kv_close(views[i]);
	}
	fake_close(client);
}

TEST(a_view_knows_what_the_handle_knew_that_it_was_made_from) {
	struct kv_client *before, *after;

	client = fake_open(0);
	ck_assert_int_eq(get(client), KV_OK);
	before = view_of(client);
	replace_and_tell(client);
	after = view_of(client);
	ck_assert_int_eq(get(after), KV_OK);
	ck_assert_int_eq(get(before), KV_BADSESSION);
	ck_assert_int_eq(get(before), KV_OK);
	kv_close(after);
	kv_close(before);
	fake_close(client);
}

/* --- Calls that share a handle ------------------------------------------------------------- */

static void know_the_store_that_is_replaced_then(void) {
	ck_assert_int_eq(get(client), KV_OK);
	replace_and_tell(other);
}

TEST(what_one_call_knew_is_told_though_another_under_way_moved_on) {
	client = fake_open(0);
	other = view_of(client);
	ck_assert_int_eq(get(other), KV_OK);
	/* This one began when the handle knew nothing: it is answered by the new store. */
	fake_next(REQUEST_GET, (struct step){.response = {.status = KV_OK, .current = 77},
					     .during = know_the_store_that_is_replaced_then});
	ck_assert_int_eq(get(client), KV_OK);
	ck_assert_int_eq(fake_put(client, 1), KV_BADSESSION);
	ck_assert_int_eq(fake_put(client, 1), KV_OK);
	kv_close(other);
	fake_close(client);
}

static void hear_of_the_new_store(void) {
	replace_and_tell(client);
	ck_assert_int_eq(get(client), KV_OK);
}

TEST(a_call_that_is_told_late_leaves_what_is_known_of_the_new_store) {
	client = fake_open(0);
	ck_assert_int_eq(get(client), KV_OK);
	fake_next(REQUEST_PUT, (struct step){.response = {.status = KV_OK, .current = 77},
					     .during = hear_of_the_new_store});
	ck_assert_int_eq(fake_put(client, 1), KV_MAYBE);
	replace_and_tell(client);
	ck_assert_int_eq(get(client), KV_OK);
	fake_close(client);
}
