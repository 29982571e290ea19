/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A durable kvd is killed and started again while clients write, lock and count: what was answered
 * is there once and in order, what was not at most once, and no client sees an error. Half of the
 * kills come while a snapshot is written. Some clients are killed, too.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kv/kv.h>
#include <kv/lock.h>

#include "data_directory.h"
#include "fixture.h"
#include "suite.h"
#include "test.h"
#include "text_bytes.h"

enum {
	WRITERS = 6,
	COUNTERS = 2,
	MORTALS = 2, /* rows of clients that are killed */
	LOGS = 2,    /* keys that the writers share; the mortals have one more */
	KILLS = 16,
	SAY_EVERY = 25,
	ALIVE_MS_MAX = 150,
	MORTAL_MS_MAX = 100, /* many live long enough to hear of a token on a busy machine, too */
	/* Values that do not change, so that a snapshot takes a while. */
	BALLAST = 32,
	BALLAST_SIZE = 1 << 20,
	SNAPSHOT_MS = 1000,
	BIRTHS_MAX = 1 << 16,
};

static atomic_bool is_over;
static struct server server;

/* KILLS=n in the environment makes it longer: `make torture`. */
static unsigned kills(void) {
	const char *wanted = getenv("KILLS");

	return wanted == NULL ? KILLS : (unsigned)strtoul(wanted, NULL, 10);
}

static unsigned seed(void) {
	const char *wanted = getenv("SEED");

	return wanted == NULL ? (unsigned)suite_now_us() : (unsigned)strtoul(wanted, NULL, 10);
}

static void check_ok(enum kv_status status) {
	ck_assert_str_eq(kv_status_name(status), "KV_OK");
}

static struct kv_client *open_client(void) {
	char address[128];
	struct kv_options options = {
	    .server = address, .attempt_ms = 200, .backoff_ms = 1, .backoff_max_ms = 20};
	struct kv_client *client = NULL;

	server_address(&server, VIA_LOCAL, address);
	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	return client;
}

/* The value of a key as a string, to be freed. */
static char *read_text(struct kv_client *client, const char *key) {
	struct kv_value value;
	char *text;

	check_ok(kv_get(client, bytes(key), &value));
	text = malloc(value.size + 1);
	ck_assert_ptr_nonnull(text);
	if (value.size > 0)
		memcpy(text, value.data, value.size);
	text[value.size] = '\0';
	kv_value_free(&value);
	return text;
}

/* --- Writers: unique tokens, appended to keys that they share -----------------------------------
 */

struct writer {
	pthread_t thread;
	int number;
	unsigned acknowledged;
};

static void *append_tokens(void *context) {
	struct writer *writer = context;
	struct kv_client *client = open_client();

	while (!atomic_load(&is_over)) {
		char key[16];
		char token[32];
		uint64_t version = 0;

		(void)snprintf(key, sizeof key, "log%u", writer->acknowledged % LOGS);
		(void)snprintf(token, sizeof token, "<%d.%u>", writer->number,
			       writer->acknowledged);
		check_ok(kv_append(client, bytes(key), bytes(token), KV_ANY, NULL, &version));
		ck_assert_uint_gt(version, 0);
		writer->acknowledged++;
	}
	kv_close(client);
	return NULL;
}

/* Each client's tokens are there once and in order, and there are no others. */
static void check_log(struct kv_client *client, int log, const struct writer writers[WRITERS]) {
	unsigned next[WRITERS];
	char key[16];
	char *text;

	for (int i = 0; i < WRITERS; i++)
		next[i] = (unsigned)log;
	(void)snprintf(key, sizeof key, "log%d", log);
	text = read_text(client, key);
	for (char *token = strtok(text, "<>"); token != NULL; token = strtok(NULL, "<>")) {
		unsigned number, count;

		ck_assert_int_eq(sscanf(token, "%u.%u", &number, &count), 2);
		ck_assert_uint_lt(number, WRITERS);
		ck_assert_msg(count == next[number], "writer %u: token %u, not %u", number, count,
			      next[number]);
		next[number] += LOGS;
	}
	/* All writers were answered, so every token up to the last acknowledged one is there. */
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_uint_ge(next[i], writers[i].acknowledged);
		ck_assert_uint_lt(next[i], writers[i].acknowledged + LOGS);
	}
	free(text);
}

/* --- Mortals: clients in processes that are killed ----------------------------------------------
 */

/* A row of processes, each with its own session: as many tokens as it lives to append. */
struct mortals {
	pthread_t thread;
	unsigned chance;
	unsigned number;
	unsigned births;
	unsigned first[BIRTHS_MAX];    /* token of each one: it appends from there on ... */
	unsigned answered[BIRTHS_MAX]; /* ... and so many were answered */
	unsigned next;		       /* token that is not used yet */
};

/* In the child: says one byte down the pipe for each token that was answered. */
static void live(const char *address, unsigned number, unsigned token, int news) {
	struct kv_options options = {
	    .server = address, .attempt_ms = 200, .backoff_ms = 1, .backoff_max_ms = 20};
	struct kv_client *client = NULL;

	if (kv_open(&options, &client) != KV_OK)
		_exit(1);
	for (;; token++) {
		char text[32];

		(void)snprintf(text, sizeof text, "<%u.%u>", number, token);
		if (kv_append(client, bytes("mortals"), bytes(text), KV_ANY, NULL, NULL) != KV_OK)
			_exit(1);
		if (write(news, "", 1) != 1)
			_exit(1);
	}
}

/* One life. Answers how many tokens were answered. */
static unsigned live_and_die(const char *address, unsigned number, unsigned token,
			     unsigned alive_ms) {
	int news[2];
	unsigned answered = 0;
	char byte;
	int status;

	ck_assert_int_eq(pipe2(news, O_CLOEXEC), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)close(news[0]);
		live(address, number, token, news[1]);
	}
	(void)close(news[1]);
	suite_pause_ms(alive_ms);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "a client that is killed later saw an error");
	while (read(news[0], &byte, 1) == 1)
		answered++;
	(void)close(news[0]);
	return answered;
}

static void *be_born_again(void *context) {
	struct mortals *mortals = context;
	char address[128];

	server_address(&server, VIA_LOCAL, address);
	while (!atomic_load(&is_over) && mortals->births < BIRTHS_MAX) {
		unsigned alive_ms = 1 + (unsigned)rand_r(&mortals->chance) % MORTAL_MS_MAX;
		unsigned *answered = &mortals->answered[mortals->births];

		mortals->first[mortals->births++] = mortals->next;
		*answered = live_and_die(address, mortals->number, mortals->next, alive_ms);
		/* The one after the last answered may have been sent, and those are all. */
		mortals->next += *answered + 1;
	}
	return NULL;
}

enum { SEEN = 1, FIRST = 2 };

/* For each token of a row, whether it is the first of a life; to be freed. */
static unsigned char *new_marks(const struct mortals *row) {
	unsigned char *marks = calloc(row->next + 1, 1);

	ck_assert_ptr_nonnull(marks);
	for (unsigned life = 0; life < row->births; life++)
		marks[row->first[life]] = FIRST;
	return marks;
}

/* No token is there twice; each one's are in order, without a gap. */
static void mark_tokens(char *text, const struct mortals *rows, unsigned char *marks[MORTALS]) {
	for (char *token = strtok(text, "<>"); token != NULL; token = strtok(NULL, "<>")) {
		unsigned number, count;

		ck_assert_int_eq(sscanf(token, "%u.%u", &number, &count), 2);
		ck_assert_uint_lt(number, MORTALS);
		ck_assert_uint_lt(count, rows[number].next);
		unsigned char *mark = &marks[number][count];
		ck_assert_msg((*mark & SEEN) == 0, "token %u.%u is there twice", number, count);
		ck_assert_msg((*mark & FIRST) != 0 || (mark[-1] & SEEN) != 0,
			      "token %u.%u came before its turn", number, count);
		*mark |= SEEN;
	}
}

/* What was answered is there once, what was not at most once. */
static void check_mortals(struct kv_client *client, const struct mortals *rows) {
	unsigned char *marks[MORTALS];
	char *text = read_text(client, "mortals");
	unsigned births = 0;
	unsigned found = 0;
	unsigned unheard = 0;

	for (int i = 0; i < MORTALS; i++)
		marks[i] = new_marks(&rows[i]);
	mark_tokens(text, rows, marks);
	for (int i = 0; i < MORTALS; i++) {
		for (unsigned life = 0; life < rows[i].births; life++) {
			unsigned first = rows[i].first[life];
			unsigned count = rows[i].answered[life];

			for (unsigned token = first; token < first + count; token++)
				ck_assert_msg((marks[i][token] & SEEN) != 0, "token %d.%u is lost",
					      i, token);
			found += count;
			unheard += (marks[i][first + count] & SEEN) != 0 ? 1 : 0;
		}
		births += rows[i].births;
		free(marks[i]);
	}
	free(text);
	suite_figure("%u clients killed; %u tokens answered, each there once; %u done unheard",
		     births, found, unheard);
}

/* --- Counters: read, add one, write, under the lock ---------------------------------------------
 */

struct counter {
	pthread_t thread;
	unsigned counted;
};

static uint64_t read_count(struct kv_client *client) {
	char *text = read_text(client, "count");
	uint64_t count = strtoull(text, NULL, 10);

	free(text);
	return count;
}

static void *count_up(void *context) {
	struct counter *counter = context;
	struct kv_client *client = open_client();
	struct kv_lock *lock = NULL;
	uint64_t last_token = 0;

	check_ok(kv_lock_open(client, bytes("lock"), &lock));
	while (!atomic_load(&is_over)) {
		char text[24];

		check_ok(kv_lock_acquire(lock, 0));
		ck_assert_uint_gt(kv_lock_token(lock), last_token);
		last_token = kv_lock_token(lock);
		/* Nothing but the lock keeps others from writing in between. */
		(void)snprintf(text, sizeof text, "%llu",
			       (unsigned long long)read_count(client) + 1);
		check_ok(kv_put(client, bytes("count"), bytes(text), KV_ANY, NULL));
		check_ok(kv_lock_release(lock));
		counter->counted++;
	}
	kv_lock_close(lock);
	kv_close(client);
	return NULL;
}

/* --- Kills --------------------------------------------------------------------------------------
 */

static void put_ballast(struct kv_client *client) {
	char *ballast = malloc(BALLAST_SIZE);

	ck_assert_ptr_nonnull(ballast);
	memset(ballast, 'b', BALLAST_SIZE);
	for (unsigned i = 0; i < BALLAST; i++) {
		char key[16];

		(void)snprintf(key, sizeof key, "ballast%u", i);
		check_ok(
		    kv_put(client, bytes(key), (struct kv_bytes){ballast, BALLAST_SIZE}, 0, NULL));
	}
	free(ballast);
}

/* Asks for a snapshot, and waits until it is there; or not, for a snapshot is not required. */
static void have_snapshot(const char *data) {
	uint64_t deadline_ms = suite_now_ms() + SNAPSHOT_MS;
	char before[DATADIR_PATH_MAX];
	char now[DATADIR_PATH_MAX];

	datadir_last(data, "snapshot-", before);
	process_signal(&server.process, SIGUSR1);
	do {
		suite_pause_ms(2);
		datadir_last(data, "snapshot-", now);
	} while (strcmp(before, now) == 0 && suite_now_ms() < deadline_ms);
}

/* Asks for a snapshot, and waits until it is being written or `wait_max_ms` are over. */
static void begin_snapshot(const char *data, unsigned wait_max_ms) {
	uint64_t deadline_ms = suite_now_ms() + wait_max_ms;

	process_signal(&server.process, SIGUSR1);
	while (datadir_count(data, "snapshot.tmp") == 0 && suite_now_ms() < deadline_ms)
		suite_pause_ms(1);
}

struct toll {
	unsigned while_writing; /* a snapshot */
	unsigned from_snapshot; /* starts that began with one */
};

static void kill_and_restart(const char *data, unsigned *chance, struct toll *toll) {
	bool is_writing;

	suite_pause_ms(1 + (unsigned)rand_r(chance) % ALIVE_MS_MAX);
	switch (rand_r(chance) % 4) {
	case 0:
		have_snapshot(data);
		break;
	case 1:
		break;
	default:
		begin_snapshot(data, SNAPSHOT_MS);
		break;
	}
	/* Anywhere: while it is written, when it gets its name, when segments go. */
	suite_pause_ms((unsigned)rand_r(chance) % 40);
	process_signal(&server.process, SIGSTOP);
	is_writing = datadir_count(data, "snapshot.tmp") > 0;
	toll->while_writing += is_writing ? 1 : 0;
	toll->from_snapshot += datadir_count(data, "snapshot-") > 0 ? 1 : 0;
	server_restart(&server);
}

/* --- All together -------------------------------------------------------------------------------
 */

static struct writer writers[WRITERS];
static struct counter counters[COUNTERS];
static struct mortals mortals[MORTALS];

static void start(pthread_t *thread, void *(*body)(void *), void *context) {
	ck_assert_int_eq(pthread_create(thread, NULL, body, context), 0);
}

static void start_clients(unsigned chance) {
	for (int i = 0; i < WRITERS; i++) {
		writers[i].number = i;
		start(&writers[i].thread, append_tokens, &writers[i]);
	}
	for (int i = 0; i < COUNTERS; i++)
		start(&counters[i].thread, count_up, &counters[i]);
	for (int i = 0; i < MORTALS; i++) {
		mortals[i].number = (unsigned)i;
		mortals[i].chance = chance + (unsigned)i;
		start(&mortals[i].thread, be_born_again, &mortals[i]);
	}
}

static void end_clients(unsigned *appended, unsigned *counted) {
	atomic_store(&is_over, true);
	for (int i = 0; i < WRITERS; i++) {
		ck_assert_int_eq(pthread_join(writers[i].thread, NULL), 0);
		*appended += writers[i].acknowledged;
	}
	for (int i = 0; i < COUNTERS; i++) {
		ck_assert_int_eq(pthread_join(counters[i].thread, NULL), 0);
		*counted += counters[i].counted;
	}
	for (int i = 0; i < MORTALS; i++)
		ck_assert_int_eq(pthread_join(mortals[i].thread, NULL), 0);
}

CASE(kill_and_restart, .seconds = 3600);

TEST(nothing_answered_is_lost_or_done_twice_though_the_server_is_killed) {
	struct kv_client *client;
	struct toll toll = {0};
	unsigned chance = seed();
	unsigned appended = 0;
	unsigned counted = 0;
	char data[64];

	(void)printf("SEED=%u KILLS=%u\n", chance, kills());
	suite_directory(data);
	server_start(&server, "-d", data, NULL);
	client = open_client();
	put_ballast(client);
	check_ok(kv_put(client, bytes("count"), bytes("0"), 0, NULL));
	check_ok(kv_put(client, bytes("mortals"), bytes(""), 0, NULL));
	kv_close(client);
	start_clients(chance);
	for (unsigned i = 1; i <= kills(); i++) {
		kill_and_restart(data, &chance, &toll);
		if (i % SAY_EVERY == 0)
			(void)printf("%u of %u kills\n", i, kills());
	}
	end_clients(&appended, &counted);
	/* What the next start finds counts, not what this one has in memory. */
	server_restart(&server);
	client = open_client();
	for (int log = 0; log < LOGS; log++)
		check_log(client, log, writers);
	check_mortals(client, mortals);
	ck_assert_uint_eq(read_count(client), counted);
	kv_close(client);
	server_stop(&server);
	/* In a short run chance may have it that there is none. */
	ck_assert(kills() < 100 || toll.while_writing > 0);
	suite_figure("%u kills, %u while a snapshot was written, %u starts from one; %u tokens, "
		     "each there once; counted to %u",
		     kills(), toll.while_writing, toll.from_snapshot, appended, counted);
}
