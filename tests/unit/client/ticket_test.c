/* SPDX-License-Identifier: BSD-3-Clause */
/* A write that another handle, as another process would, sends again by its ticket. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fake_transport.h"
#include "test.h"
#include "ticket.h"

enum { PATH_SIZE = 512 };

static char directory[PATH_SIZE];
static char path[PATH_SIZE + 8];
static struct kv_client *client;
static uint64_t version;

static void setup(void) {
	const char *place = getenv("TMPDIR");

	(void)snprintf(directory, sizeof(directory), "%s/kv-ticket.XXXXXX",
		       place != NULL ? place : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/ticket", directory);
	fake_reset();
}

static void teardown(void) {
	(void)unlink(path);
	(void)rmdir(directory);
}

static struct kv_client *open_with(unsigned timeout_ms) {
	struct kv_options options = {
	    .timeout_ms = timeout_ms, .backoff_max_ms = 1000, .ticket = path};
	struct kv_client *opened;

	ck_assert_int_eq(kv_open(&options, &opened), KV_OK);
	return opened;
}

static enum kv_status append(const char *value) {
	return kv_append(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){value, strlen(value)},
			 KV_ANY, NULL, &version);
}

static off_t ticket_size(void) {
	struct stat info;

	return stat(path, &info) == 0 ? info.st_size : -1;
}

/* The next process: knows only what the file says. */
static void next_process(void) {
	fake_close(client);
	client = open_with(5000);
}

/* A write was sent and its reply lost; its process is gone. */
static void leave_pending(void) {
	client = open_with(100);
	fake_fails(REQUEST_APPEND, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(append("x"), KV_MAYBE);
	ck_assert_ptr_null(kv_ticket_error(client));
	ck_assert_int_eq(ticket_size(), TICKET_HEAD_SIZE);
	next_process();
}

static void check_says(const char *text) {
	char last[1280];

	ck_assert_ptr_nonnull(kv_ticket_error(client));
	kv_last_error(client, last, sizeof(last));
	if (strstr(last, text) == NULL)
		ck_abort_msg("it says \"%s\"", last);
}

static void damage(off_t at) {
	int fd = open(path, O_RDWR);
	uint8_t byte;

	ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
	byte ^= 1;
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	ck_assert_int_eq(close(fd), 0);
}

/* --- Once ---------------------------------------------------------------------------------- */

CASE(ticket_once, .setup = setup, .teardown = teardown);

static void see_a_pending_ticket(void) {
	ck_assert_int_eq(ticket_size(), TICKET_HEAD_SIZE);
}

TEST(rule_8_2_a_write_is_noted_before_it_is_sent) {
	client = open_with(5000);
	fake_next(REQUEST_APPEND, (struct step){.response = {.status = KV_OK, .current = 7},
						.during = see_a_pending_ticket});
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(version, 7);
	ck_assert_int_gt(ticket_size(), TICKET_HEAD_SIZE);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
}

TEST(rule_8_1_a_pending_write_is_sent_as_the_same_call_to_the_new_epoch) {
	leave_pending();
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 0);
	fake_restart(0);
	fake_answers(REQUEST_APPEND, KV_OK, 3);
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(version, 3);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 1);
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 2);
	ck_assert_uint_eq(fake_sent(REQUEST_APPEND, 1)->client_id,
			  fake_sent(REQUEST_APPEND, 0)->client_id);
	ck_assert_uint_eq(fake_sent(REQUEST_APPEND, 1)->slot, fake_sent(REQUEST_APPEND, 0)->slot);
	ck_assert_uint_eq(fake_sent(REQUEST_APPEND, 1)->seq, fake_sent(REQUEST_APPEND, 0)->seq);
	ck_assert_uint_eq(fake_sent(REQUEST_APPEND, 1)->epoch, fake.servers[0].epoch);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
	ck_assert_uint_eq(fake_sent(REQUEST_CLOSE, 0)->client_id,
			  fake_sent(REQUEST_APPEND, 0)->client_id);
}

TEST(a_done_write_sends_nothing) {
	client = open_with(5000);
	fake_answers(REQUEST_APPEND, KV_OK, 7);
	ck_assert_int_eq(append("x"), KV_OK);
	next_process();
	fake.servers[0].reach = REACH_REFUSED;
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(version, 7);
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 1);
	fake_close(client);
}

TEST(a_done_append_has_the_old_value) {
	struct kv_value old;
	struct kv_bytes key = {"k", 1};

	client = open_with(5000);
	fake_next(REQUEST_APPEND,
		  (struct step){.response = {.current = 9, .value = {strdup("before"), 6, 8}}});
	ck_assert_int_eq(kv_append(client, key, key, KV_ANY, &old, &version), KV_OK);
	kv_value_free(&old);
	next_process();
	ck_assert_int_eq(kv_append(client, key, key, KV_ANY, &old, &version), KV_OK);
	ck_assert_uint_eq(version, 9);
	ck_assert_uint_eq(old.size, 6);
	ck_assert_mem_eq(old.data, "before", 6);
	ck_assert_uint_eq(old.version, 8);
	kv_value_free(&old);
	/* It is another call without the old value. */
	ck_assert_int_eq(append("k"), KV_FALSE_RETRY);
	fake_close(client);
}

TEST(a_done_txn_has_its_versions) {
	struct kv_change changes[2] = {{.kind = KV_CHANGE_PUT, .key = {"a", 1}},
				       {.kind = KV_CHANGE_PUT, .key = {"b", 1}}};
	struct kv_txn txn = {.changes = changes, .change_count = 2};
	uint64_t *versions = calloc(2, sizeof(*versions));

	versions[0] = 4;
	versions[1] = 1;
	client = open_with(5000);
	fake_next(REQUEST_TXN, (struct step){.response = {.versions = versions}});
	ck_assert_int_eq(kv_txn(client, &txn), KV_OK);
	next_process();
	ck_assert_int_eq(kv_txn(client, &txn), KV_OK);
	ck_assert_uint_eq(changes[0].version, 4);
	ck_assert_uint_eq(changes[1].version, 1);
	ck_assert_uint_eq(fake_count(REQUEST_TXN), 1);
	changes[1].ttl_ms = 5;
	ck_assert_int_eq(kv_txn(client, &txn), KV_FALSE_RETRY);
	fake_close(client);
}

TEST(a_refused_write_leaves_the_ticket_to_the_next) {
	client = open_with(5000);
	fake_answers(REQUEST_APPEND, KV_FULL, 0);
	ck_assert_int_eq(append("x"), KV_FULL);
	ck_assert_int_eq(ticket_size(), 0);
	next_process();
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_ne(fake_sent(REQUEST_APPEND, 1)->client_id,
			  fake_sent(REQUEST_APPEND, 0)->client_id);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 2);
}

TEST(a_session_that_ended_before_the_write_ran_is_noted_anew) {
	client = open_with(5000);
	fake_answers(REQUEST_APPEND, KV_BADSESSION, 0);
	fake_fails(REQUEST_APPEND, ATTEMPT_UNANSWERED);
	kv_set_timeout(client, 100);
	ck_assert_int_eq(append("x"), KV_MAYBE);
	next_process();
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_APPEND, 2)->client_id,
			  fake_sent(REQUEST_APPEND, 1)->client_id);
	ck_assert_uint_ne(fake_sent(REQUEST_APPEND, 1)->client_id,
			  fake_sent(REQUEST_APPEND, 0)->client_id);
	fake_close(client);
}

TEST(a_write_that_was_never_sent_leaves_the_ticket_empty) {
	client = open_with(100);
	fake.servers[0].reach = REACH_REFUSED;
	ck_assert_int_eq(append("x"), KV_TIMEOUT);
	ck_assert_int_eq(ticket_size(), 0);
	fake_close(client);
}

/* --- The outcome stays unknown ------------------------------------------------------------- */

CASE(ticket_unknown, .setup = setup, .teardown = teardown);

TEST(without_a_server_a_pending_write_stays_unknown) {
	leave_pending();
	kv_set_timeout(client, 100);
	fake.servers[0].reach = REACH_REFUSED;
	ck_assert_int_eq(append("x"), KV_MAYBE);
	ck_assert_ptr_null(kv_ticket_error(client));
	ck_assert_int_eq(ticket_size(), TICKET_HEAD_SIZE);
	/* The same handle asks again. */
	fake.servers[0].reach = REACH_UP;
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_APPEND, 1)->client_id,
			  fake_sent(REQUEST_APPEND, 0)->client_id);
	fake_close(client);
}

TEST(a_session_that_ended_is_said_and_the_write_is_not_made_in_another) {
	leave_pending();
	fake_answers(REQUEST_APPEND, KV_BADSESSION, 0);
	ck_assert_int_eq(append("x"), KV_MAYBE);
	check_says("its session at the server has ended");
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 2);
	ck_assert_uint_eq(fake_count(REQUEST_OPEN), 1);
	ck_assert_int_eq(ticket_size(), TICKET_HEAD_SIZE);
	fake_close(client);
}

TEST(a_copied_ticket_is_said) {
	leave_pending();
	fake_answers(REQUEST_APPEND, KV_STALE, 0);
	ck_assert_int_eq(append("x"), KV_MAYBE);
	check_says("was copied");
	fake_close(client);
}

TEST(another_store_is_sent_nothing) {
	leave_pending();
	fake.servers[0].store++;
	ck_assert_int_eq(append("x"), KV_MAYBE);
	check_says("is of another store");
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 1);
	fake_close(client);
}

TEST(a_handle_that_knows_another_store_sends_nothing) {
	leave_pending();
	fake.servers[0].store++;
	ck_assert_int_eq(kv_ping(client), KV_OK);
	ck_assert_int_eq(append("x"), KV_MAYBE);
	check_says("is of another store");
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 1);
	fake_close(client);
}

TEST(the_address_with_the_ticket_s_store_is_found) {
	fake_serve(2);
	leave_pending();
	fake.servers[0].store++;
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(fake_log(REQUEST_APPEND, 1)->server, 1);
	fake_close(client);
}

/* --- The file ------------------------------------------------------------------------------ */

CASE(ticket_file, .setup = setup, .teardown = teardown);

TEST(another_write_is_refused_and_leaves_the_session) {
	client = open_with(100);
	fake_fails(REQUEST_APPEND, ATTEMPT_UNANSWERED);
	ck_assert_int_eq(append("x"), KV_MAYBE);
	ck_assert_int_eq(append("y"), KV_FALSE_RETRY);
	check_says("is of another command or other arguments");
	ck_assert_int_eq(
	    kv_put(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"x", 1}, KV_ANY, NULL),
	    KV_FALSE_RETRY);
	ck_assert_uint_eq(fake_count(REQUEST_PUT), 0);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 0);
}

TEST(rule_8_2_a_ticket_is_held_until_its_handle_is_closed) {
	struct kv_client *first = open_with(5000);

	client = first;
	ck_assert_int_eq(append("x"), KV_OK);
	client = open_with(5000);
	ck_assert_int_eq(append("x"), KV_BUSY);
	check_says("is held by another process");
	kv_close(first);
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 1);
	fake_close(client);
}

TEST(a_ticket_that_was_cut_short_is_damaged_and_a_reply_is_asked_for) {
	client = open_with(5000);
	ck_assert_int_eq(append("x"), KV_OK);
	fake_close(client);
	for (off_t size = ticket_size() - 1; size > 0; size--) {
		ck_assert_int_eq(truncate(path, size), 0);
		client = open_with(100);
		fake.servers[0].reach = REACH_REFUSED;
		ck_assert_int_eq(append("x"), KV_MAYBE);
		if (size < TICKET_HEAD_SIZE)
			check_says("is damaged");
		else
			ck_assert_ptr_null(kv_ticket_error(client));
		ck_assert_int_eq(ticket_size(), size);
		fake_close(client);
	}
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 1);
}

TEST(no_damaged_byte_goes_unnoticed) {
	off_t size;

	client = open_with(5000);
	ck_assert_int_eq(append("x"), KV_OK);
	fake_close(client);
	size = ticket_size();
	for (off_t at = 0; at < size; at++) {
		damage(at);
		client = open_with(100);
		fake.servers[0].reach = REACH_REFUSED;
		ck_assert_int_eq(append("x"), KV_MAYBE);
		ck_assert_int_eq(kv_ticket_error(client) != NULL, at < TICKET_HEAD_SIZE);
		fake_close(client);
		damage(at);
	}
}

TEST(a_file_that_is_no_ticket_is_refused) {
	char other[PATH_SIZE + 16];
	static const struct {
		mode_t mode;
		const char *says;
	} modes[] = {{0640, "can be read by other users"}, {0602, "can be read by other users"}};

	for (size_t i = 0; i < 2; i++) {
		client = open_with(5000);
		ck_assert_int_ge(creat(path, 0600), 0);
		ck_assert_int_eq(chmod(path, modes[i].mode), 0);
		ck_assert_int_eq(append("x"), KV_INVALID);
		check_says(modes[i].says);
		/* It may be the ticket of a write that was sent. */
		ck_assert_int_eq(truncate(path, 5), 0);
		ck_assert_int_eq(append("x"), KV_MAYBE);
		fake_close(client);
		ck_assert_int_eq(unlink(path), 0);
	}
	(void)snprintf(other, sizeof(other), "%s/other", directory);
	ck_assert_int_eq(symlink(other, path), 0);
	client = open_with(5000);
	ck_assert_int_eq(append("x"), KV_INVALID);
	check_says("is a symbolic link");
	ck_assert_int_eq(access(other, F_OK), -1);
	fake_close(client);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	client = open_with(5000);
	ck_assert_int_eq(append("x"), KV_INVALID);
	check_says("is not a regular file");
	fake_close(client);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_ge(creat(path, 0600), 0);
	ck_assert_int_eq(truncate(path, (off_t)TICKET_SIZE_MAX + 1), 0);
	client = open_with(5000);
	ck_assert_int_eq(append("x"), KV_MAYBE);
	check_says("is too large");
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 0);
}

TEST(a_ticket_that_cannot_be_made_sends_nothing) {
	ck_assert_int_eq(rmdir(directory), 0);
	client = open_with(5000);
	ck_assert_int_eq(append("x"), KV_INVALID);
	check_says("cannot be made: No such file or directory");
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 0);
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	fake_close(client);
}

TEST(a_ticket_that_cannot_be_written_sends_nothing) {
	const struct rlimit none = {TICKET_HEAD_SIZE - 1, RLIM_INFINITY};
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	(void)signal(SIGXFSZ, SIG_IGN);
	client = open_with(5000);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	ck_assert_int_eq(append("x"), KV_INVALID);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	check_says("cannot be written: File too large");
	ck_assert_uint_eq(fake_count(REQUEST_APPEND), 0);
	ck_assert_int_eq(ticket_size(), 0);
	ck_assert_int_eq(append("x"), KV_OK);
	fake_close(client);
}

TEST(a_reply_that_cannot_be_kept_stays_with_the_server) {
	const struct rlimit head = {TICKET_HEAD_SIZE, RLIM_INFINITY};
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	(void)signal(SIGXFSZ, SIG_IGN);
	client = open_with(5000);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &head), 0);
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
	next_process();
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 0);
	ck_assert_int_eq(append("x"), KV_OK);
	ck_assert_uint_eq(fake_sent(REQUEST_APPEND, 1)->client_id,
			  fake_sent(REQUEST_APPEND, 0)->client_id);
	fake_close(client);
	ck_assert_uint_eq(fake_count(REQUEST_CLOSE), 1);
}

TEST(a_ticket_needs_a_session_and_no_history) {
	struct kv_options stateless = {.ticket = path, .stateless = true};
	struct kv_options history = {.ticket = path, .history = "/dev/null"};

	ck_assert_int_eq(kv_open(&stateless, &client), KV_INVALID);
	ck_assert_int_eq(kv_open(&history, &client), KV_INVALID);
}
