/* SPDX-License-Identifier: BSD-3-Clause */
/* Get, Put and Append through kvfault, on a good and on a bad network: over tcp, udp and the local
   socket, with a real kvd and real clients. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_workload.h"
#include "test.h"

enum {
	ROUNDS = 3,
	ROUND_MS = 1000,
	ROUND_SHORT_MS = 350,
	CHUNK = 30, /* elements under one key */
	MANY = 5,
	APPENDS = 10,
	RIVALS = 10,
	STATELESS_ROUNDS = 100,
	TEXT_MAX = CHUNK * 24,
};

static void network_name(enum network network, char text[8]) {
	(void)snprintf(text, 8, "%s", network == NETWORK_BAD ? "bad" : "good");
}

/* --- A key of one's own ------------------------------------------------------------------------
 */

/* What one user knows that its key holds. */
struct known {
	char key[32];
	char text[TEXT_MAX];
	uint64_t version;
	unsigned elements;
};

static void check_get(struct client_thread *user, const struct known *known) {
	struct kv_value value;
	enum kv_status status = user_get(user, known->key, &value);

	check_status(status, known->version == 0 ? KV_NOKEY : KV_OK);
	ck_assert_uint_eq(value.version, known->version);
	ck_assert_uint_eq(value.size, strlen(known->text));
	if (value.size > 0)
		ck_assert_mem_eq(value.data, known->text, value.size);
	kv_value_free(&value);
}

static void check_append(struct client_thread *user, struct known *known) {
	char element[24];
	struct kv_value old;
	uint64_t version;

	(void)snprintf(element, sizeof element, "x %u %u y", user->number, known->elements);
	check_status(user_append(user, known->key, element, KV_ANY, &old, &version), KV_OK);
	ck_assert_uint_eq(version, known->version + 1);
	ck_assert_uint_eq(old.version, known->version);
	ck_assert_uint_eq(old.size, strlen(known->text));
	if (old.size > 0)
		ck_assert_mem_eq(old.data, known->text, old.size);
	kv_value_free(&old);
	strcat(known->text, element);
	known->version = version;
	known->elements++;
}

/* Half Append, half Get. `text` is each element once, in order: so is what is there. */
static void append_and_get(struct client_thread *user) {
	unsigned chance = (unsigned)user->workload->fault.seed + user->number;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t end_ms = suite_now_ms() + fault_workload_ms(ROUND_MS, ROUND_SHORT_MS);
		unsigned chunk = 0;

		while (suite_now_ms() < end_ms) {
			struct known known = {.version = 0};

			(void)snprintf(known.key, sizeof known.key, "own %u %u %u", user->number,
				       round, chunk++);
			while (known.elements < CHUNK && suite_now_ms() < end_ms) {
				if (rand_r(&chance) % 2 == 0)
					check_append(user, &known);
				else
					check_get(user, &known);
				user->done++;
			}
			check_get(user, &known);
		}
	}
}

static void try_own_keys(enum network network, unsigned count) {
	struct fault_workload workload;
	struct client_thread users[MANY];
	char name[8], what[64];

	network_name(network, name);
	fault_workload_begin(&workload, network, NULL);
	fault_workload_run(&workload, users, count, append_and_get);
	(void)snprintf(what, sizeof what, "%u with keys of their own, %s network", count, name);
	fault_workload_end(&workload, what);
}

CASE(own_keys);

TEST(one_client_sees_each_of_its_appends_once_on_a_good_network) {
	try_own_keys(NETWORK_GOOD, 1);
}

TEST(one_client_sees_each_of_its_appends_once_on_a_bad_network) {
	try_own_keys(NETWORK_BAD, 1);
}

TEST(many_clients_see_each_of_their_appends_once_on_a_good_network) {
	try_own_keys(NETWORK_GOOD, MANY);
}

TEST(many_clients_see_each_of_their_appends_once_on_a_bad_network) {
	try_own_keys(NETWORK_BAD, MANY);
}

/* --- One key for all ---------------------------------------------------------------------------
 */

static void append_ten(struct client_thread *user) {
	for (unsigned i = 0; i < APPENDS; i++) {
		char element[24];
		struct kv_value old;

		(void)snprintf(element, sizeof element, "<%u.%u>", user->number, i);
		check_status(user_append(user, "shared", element, KV_ANY, &old, NULL), KV_OK);
		kv_value_free(&old);
	}
}

CASE(one_key);

TEST(many_clients_appends_to_one_key_are_there_once_each_in_each_ones_order) {
	struct fault_workload workload;
	struct client_thread users[MANY], reader;
	unsigned next[MANY] = {0};
	struct kv_value value;
	char text[1024];
	unsigned total = 0;

	fault_workload_begin(&workload, NETWORK_BAD, NULL);
	fault_workload_run(&workload, users, MANY, append_ten);
	user_open(&reader, &workload, MANY);
	check_status(user_get(&reader, "shared", &value), KV_OK);
	ck_assert_uint_eq(value.version, MANY * APPENDS);
	ck_assert_uint_lt(value.size, sizeof text);
	memcpy(text, value.data, value.size);
	text[value.size] = '\0';
	kv_value_free(&value);
	for (char *token = strtok(text, "<>"); token != NULL; token = strtok(NULL, "<>")) {
		unsigned number, count;

		ck_assert_int_eq(sscanf(token, "%u.%u", &number, &count), 2);
		ck_assert_uint_lt(number, MANY);
		ck_assert_uint_eq(count, next[number]++);
		total++;
	}
	ck_assert_uint_eq(total, MANY * APPENDS);
	user_close(&reader);
	fault_workload_end(&workload, "5 clients, 10 Appends each to one key, bad network");
}

/* --- Versions ----------------------------------------------------------------------------------
 */

TEST(a_put_at_version_0_creates_and_another_version_is_refused) {
	struct fault_workload workload;
	struct client_thread user;
	uint64_t version;

	fault_workload_begin(&workload, NETWORK_GOOD, NULL);
	for (unsigned way = 0; way < 3; way++) {
		char key[16], other[16];

		(void)snprintf(key, sizeof key, "key %u", way);
		(void)snprintf(other, sizeof other, "other %u", way);
		user_open(&user, &workload, way);
		check_status(user_put(&user, key, "one", 0, &version), KV_OK);
		ck_assert_uint_eq(version, 1);
		check_status(user_put(&user, key, "two", 0, &version), KV_VERSION);
		ck_assert_uint_eq(version, 1);
		check_status(user_put(&user, key, "two", 1, &version), KV_OK);
		ck_assert_uint_eq(version, 2);
		check_status(user_put(&user, key, "three", 1, &version), KV_VERSION);
		ck_assert_uint_eq(version, 2);
		check_status(user_put(&user, other, "one", 1, &version), KV_NOKEY);
		user_check(&user, key, "two");
		user_close(&user);
	}
	fault_workload_end(&workload, "versions");
}

/* Reads the version and puts at it, again and again: of all rivals one is lucky each time. */
static void put_at_version_read(struct client_thread *user) {
	uint64_t version = 0;

	while (fault_workload_goes_on(user->workload)) {
		struct kv_value value;
		char text[24];
		enum kv_status status;

		(void)snprintf(text, sizeof text, "%u.%u", user->number, user->done);
		status = user_put(user, "contested", text, version, &version);
		if (status == KV_OK) {
			user->done++;
			continue;
		}
		if (status == KV_MAYBE)
			user->unknown++;
		else
			check_status(status, KV_VERSION);
		status = user_get(user, "contested", &value);
		ck_assert(status == KV_OK || status == KV_NOKEY);
		version = value.version;
		kv_value_free(&value);
	}
}

static void try_rivals(enum network network, bool is_stateless) {
	struct fault_workload workload;
	struct client_thread users[RIVALS], reader;
	struct kv_value value;
	unsigned done = 0, unknown = 0;
	char name[8], what[96];

	network_name(network, name);
	fault_workload_begin(&workload, network, NULL);
	workload.is_stateless = is_stateless;
	workload.end_ms = suite_now_ms() + fault_workload_ms(1000, 1000);
	fault_workload_run(&workload, users, RIVALS, put_at_version_read);
	for (unsigned i = 0; i < RIVALS; i++) {
		done += users[i].done;
		unknown += users[i].unknown;
	}
	user_open(&reader, &workload, 0);
	check_status(user_get(&reader, "contested", &value), KV_OK);
	ck_assert_uint_ge(value.version, done);
	ck_assert_uint_le(value.version, done + unknown);
	/* With a session no outcome is unknown. */
	ck_assert(is_stateless || unknown == 0);
	ck_assert_uint_gt(done, 0);
	(void)snprintf(what, sizeof what, "10 rivals%s, %s network: %u OK + %u MAYBE, version %llu",
		       is_stateless ? " without sessions" : "", name, done, unknown,
		       (unsigned long long)value.version);
	kv_value_free(&value);
	user_close(&reader);
	fault_workload_end(&workload, what);
}

TEST(of_rivals_on_a_good_network_as_many_puts_were_ok_as_the_version_says) {
	try_rivals(NETWORK_GOOD, false);
}

TEST(of_rivals_on_a_bad_network_as_many_puts_were_ok_as_the_version_says) {
	try_rivals(NETWORK_BAD, false);
}

TEST(of_rivals_without_sessions_each_ok_happened_and_each_maybe_may_have) {
	try_rivals(NETWORK_BAD, true);
}

/* --- Without a session -------------------------------------------------------------------------
 */

/*
 * The only user of its key. Over a stream a Put is refused only if a copy of it ran, or an earlier
 * one did: repeated until it is known, it was refused if it was unknown before.
 */
static void put_without_doubt(struct client_thread *user) {
	for (uint64_t i = 0; i < STATELESS_ROUNDS; i++) {
		uint64_t version;
		unsigned doubts = 0;
		enum kv_status status;

		while ((status = user_put(user, "stateless", "v", i, &version)) == KV_MAYBE)
			doubts++;
		check_status(status, doubts > 0 ? KV_VERSION : KV_OK);
		ck_assert_uint_eq(version, i + 1);
		user->unknown += doubts > 0;
		user->done++;
	}
}

static void try_doubts(bool is_stateless) {
	struct fault_workload workload;
	struct client_thread user;
	char what[96];

	fault_workload_begin(&workload, NETWORK_BAD, NULL);
	workload.is_stateless = is_stateless;
	fault_workload_run(&workload, &user, 1, put_without_doubt);
	/* 10 % of the replies are lost: that none is has a chance of 1 in 37000. */
	ck_assert(is_stateless ? user.unknown > 0 : user.unknown == 0);
	(void)snprintf(what, sizeof what, "%d Puts %s a session, %u unknown", STATELESS_ROUNDS,
		       is_stateless ? "without" : "with", user.unknown);
	fault_workload_end(&workload, what);
}

CASE(stateless);

TEST(an_unknown_stateless_put_that_is_repeated_is_refused_because_it_happened) {
	try_doubts(true);
}

TEST(with_a_session_no_put_is_unknown_on_a_bad_network) {
	try_doubts(false);
}
