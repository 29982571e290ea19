/* SPDX-License-Identifier: BSD-3-Clause */
/* Partitions, hang-ups and kills of a durable kvd, while ten clients append, put, read and lock
   through a bad network: nothing is lost, nothing happens twice, no client is told an error. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kv/lock.h>

#include "fault_workload.h"
#include "test.h"

enum {
	USERS = 10,
	APPENDERS = 5, /* users 0 to 4 */
	RIVALS = 3,    /* users 5 to 7; the others lock and count */
	LOGS = 2,      /* at a time ... */
	TOKENS = 500,  /* ... for so many tokens of each appender: a value may not grow forever */
	ROUTES = 3,
	KINDS = 8, /* of trouble */
	TROUBLE_MS = 30000,
	TROUBLE_SHORT_MS = 5000,
	PAUSE_MS_MAX = 400,
	TEXT_MAX = 24,
};

static atomic_bool is_taken; /* what the lock guards */

/* --- What users do -----------------------------------------------------------------------------
 */

/* Which log a token goes to. */
static unsigned log_of(unsigned token) {
	return token / TOKENS * LOGS + token % LOGS;
}

static unsigned first_token(unsigned log) {
	return log / LOGS * TOKENS + log % LOGS;
}

/* Unique tokens, to keys that all appenders share. */
static void append_token(struct client_thread *user) {
	char key[TEXT_MAX], token[TEXT_MAX];
	struct kv_value old;
	uint64_t version;

	(void)snprintf(key, sizeof key, "log %u", log_of(user->done));
	(void)snprintf(token, sizeof token, "<%u.%u>", user->number, user->done);
	check_status(user_append(user, key, token, KV_ANY, &old, &version), KV_OK);
	ck_assert_uint_eq(version, old.version + 1);
	kv_value_free(&old);
	user->done++;
}

static void rival(struct client_thread *user) {
	struct kv_value value;
	char text[TEXT_MAX];
	enum kv_status status = user_get(user, "contested", &value);
	uint64_t version = value.version;

	ck_assert(status == KV_OK || status == KV_NOKEY);
	kv_value_free(&value);
	(void)snprintf(text, sizeof text, "%u.%u", user->number, user->done);
	status = user_put(user, "contested", text, version, &version);
	if (status == KV_OK)
		user->done++;
	else
		check_status(status, KV_VERSION);
}

static void count_under_lock(struct client_thread *user, struct kv_lock *lock) {
	struct kv_value value;
	char text[TEXT_MAX] = "0";
	enum kv_status status;

	check_status(kv_lock_acquire(lock, 0), KV_OK);
	ck_assert_msg(!atomic_exchange(&is_taken, true), "two hold the lock");
	status = user_get(user, "count", &value);
	ck_assert(status == KV_OK || status == KV_NOKEY);
	ck_assert_uint_lt(value.size, sizeof text);
	if (value.size > 0)
		memcpy(text, value.data, value.size);
	(void)snprintf(text, sizeof text, "%ld", strtol(text, NULL, 10) + 1);
	check_status(user_put(user, "count", text, value.version, NULL), KV_OK);
	kv_value_free(&value);
	ck_assert(atomic_exchange(&is_taken, false));
	check_status(kv_lock_release(lock), KV_OK);
	user->done++;
}

static void live(struct client_thread *user) {
	struct kv_lock *lock = NULL;

	check_status(kv_lock_open(user->client, (struct kv_bytes){"lock", 4}, &lock), KV_OK);
	while (fault_workload_goes_on(user->workload)) {
		if (user->number < APPENDERS)
			append_token(user);
		else if (user->number < APPENDERS + RIVALS)
			rival(user);
		else
			count_under_lock(user, lock);
	}
	kv_lock_close(lock);
}

/* --- What happens to them ----------------------------------------------------------------------
 */

struct troubles {
	unsigned chance;
	unsigned count;
	unsigned partitions, kills, hang_ups;
};

static unsigned draw(struct troubles *troubles, unsigned bound) {
	return (unsigned)rand_r(&troubles->chance) % bound;
}

static void partition(struct fault_workload *workload, struct troubles *troubles, const char *way) {
	/* One route or all of them: some clients are cut off from the server, or all are. */
	unsigned route = draw(troubles, ROUTES + 1);

	if (route == 0)
		fault_tell(&workload->fault, "partition %s", way);
	else
		fault_tell(&workload->fault, "@%u partition %s", route, way);
	troubles->partitions++;
}

/* The first ones are each of another kind, so that a short form has all of them. */
static unsigned draw_kind(struct troubles *troubles) {
	unsigned kind = draw(troubles, KINDS);

	if (troubles->count++ < KINDS)
		kind = 3 * troubles->count % KINDS;
	return kind;
}

static void trouble(struct fault_workload *workload, struct troubles *troubles) {
	switch (draw_kind(troubles)) {
	case 0:
		partition(workload, troubles, "both");
		break;
	case 1:
		partition(workload, troubles, "requests");
		break;
	case 2:
		partition(workload, troubles, "replies");
		break;
	case 3:
	case 4:
		fault_tell(&workload->fault, "heal");
		break;
	case 5:
		fault_tell(&workload->fault, "hang-up");
		troubles->hang_ups++;
		break;
	default:
		server_restart(&workload->server);
		troubles->kills++;
	}
}

/* $SECONDS, or as long as the short or the long form takes. */
static unsigned duration_ms(void) {
	const char *seconds = getenv("SECONDS");

	return seconds != NULL ? (unsigned)strtoul(seconds, NULL, 10) * 1000
			       : fault_workload_ms(TROUBLE_MS, TROUBLE_SHORT_MS);
}

/* --- What must be there ------------------------------------------------------------------------
 */

/* The log as a string, to be freed: "" if there is none. */
static char *read_log(struct client_thread *reader, unsigned log) {
	struct kv_value value;
	char key[TEXT_MAX];
	char *text;
	enum kv_status status;

	(void)snprintf(key, sizeof key, "log %u", log);
	status = user_get(reader, key, &value);
	ck_assert(status == KV_OK || status == KV_NOKEY);
	text = calloc(1, value.size + 1);
	ck_assert_ptr_nonnull(text);
	if (value.size > 0)
		memcpy(text, value.data, value.size);
	kv_value_free(&value);
	return text;
}

/* Each token of each appender once, and each one's in order. */
static void check_log(struct client_thread *reader, unsigned log,
		      const struct client_thread users[]) {
	const unsigned first = first_token(log);
	unsigned next[APPENDERS];
	char *text = read_log(reader, log);

	for (unsigned i = 0; i < APPENDERS; i++)
		next[i] = first;
	for (char *token = strtok(text, "<>"); token != NULL; token = strtok(NULL, "<>")) {
		unsigned number, count;

		ck_assert_int_eq(sscanf(token, "%u.%u", &number, &count), 2);
		ck_assert_uint_lt(number, APPENDERS);
		ck_assert_uint_eq(count, next[number]);
		next[number] += LOGS;
	}
	/* Every Append was answered: there are as many as were counted, and no more. */
	for (unsigned i = 0; i < APPENDERS; i++) {
		unsigned done = users[i].done < first ? first : users[i].done;

		if (done > first - first % TOKENS + TOKENS)
			done = first - first % TOKENS + TOKENS;
		ck_assert(next[i] >= done && next[i] < done + LOGS);
	}
	free(text);
}

static unsigned count_logs(const struct client_thread users[]) {
	unsigned most = 0;

	for (unsigned i = 0; i < APPENDERS; i++)
		if (users[i].done > most)
			most = users[i].done;
	return most == 0 ? 0 : (log_of(most - 1) / LOGS + 1) * LOGS;
}

static void check_number(struct client_thread *reader, const char *key, unsigned version) {
	struct kv_value value;

	check_status(user_get(reader, key, &value), KV_OK);
	ck_assert_uint_eq(value.version, version);
	kv_value_free(&value);
}

CASE(partitions_and_restarts, .seconds = 7200);

TEST(nothing_is_lost_or_done_twice_through_partitions_and_restarts) {
	struct fault_workload workload;
	struct client_thread users[USERS], reader;
	struct troubles troubles = {0};
	unsigned counted = 0, won = 0, done = 0;
	char data[64], what[160];

	suite_directory(data);
	fault_workload_begin(&workload, NETWORK_BAD, "-d", data, NULL);
	fault_tell(&workload.fault, "set cut 1");
	fault_tell(&workload.fault, "set fragment 5");
	troubles.chance = (unsigned)workload.fault.seed;
	workload.end_ms = suite_now_ms() + duration_ms();
	fault_workload_start(&workload, users, USERS, live);
	while (fault_workload_goes_on(&workload)) {
		suite_pause_ms(1 + draw(&troubles, PAUSE_MS_MAX));
		trouble(&workload, &troubles);
	}
	fault_tell(&workload.fault, "heal");
	fault_workload_join(users, USERS);

	/* What the next start finds counts, not what this one has in memory. */
	server_restart(&workload.server);
	fault_tell(&workload.fault, "good");
	user_open(&reader, &workload, USERS);
	for (unsigned log = 0; log < count_logs(users); log++)
		check_log(&reader, log, users);
	for (unsigned i = 0; i < USERS; i++) {
		done += users[i].done;
		won += i >= APPENDERS && i < APPENDERS + RIVALS ? users[i].done : 0;
		counted += i >= APPENDERS + RIVALS ? users[i].done : 0;
	}
	check_number(&reader, "contested", won);
	check_number(&reader, "count", counted);
	user_close(&reader);
	(void)snprintf(what, sizeof what, "%u partitions, %u kills, %u hang-ups; %u writes",
		       troubles.partitions, troubles.kills, troubles.hang_ups, done);
	fault_workload_end(&workload, what);
}
