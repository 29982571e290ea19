/* SPDX-License-Identifier: BSD-3-Clause */
/* kvfault itself: it does what it is told, and nothing else. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "kvfault_process.h"
#include "raw_client.h"
#include "suite.h"
#include "test.h"

static const enum via ways[] = {VIA_TCP, VIA_UDP, VIA_LOCAL};

enum {
	WAYS = 3,
	PINGS = 200,
	LATER_PINGS = 50, /* one of them at least comes through */
	NOTHING_MS = 100, /* so long nothing comes */
	SOON_MS = 60000,
};

static struct server server;
static struct fault fault;
static struct server far; /* the server as it is seen through kvfault */

static void start_fault(void) {
	fault_start(&fault, &server, ways, WAYS);
	far = server;
	far.port[VIA_TCP] = (uint16_t)strtoul(strrchr(fault.addresses[0], ':') + 1, NULL, 10);
	far.port[VIA_UDP] = (uint16_t)strtoul(strrchr(fault.addresses[1], ':') + 1, NULL, 10);
	const char *path = fault.addresses[2] + strlen("local:");
	ck_assert_uint_lt(strlen(path), sizeof far.socket);
	strcpy(far.socket, path);
}

static void set_up(void) {
	server_start(&server, NULL);
	start_fault();
}

static void tear_down(void) {
	fault_stop(&fault);
	server_stop(&server);
}

static uint32_t send_ping(struct peer *peer) {
	uint32_t xid = peer_xid(peer);
	struct call_header header = call_header(xid, KVPROC_NULL);

	peer_send(peer, message_call(&header, NULL, NULL));
	return xid;
}

static void expect(struct peer *peer, uint32_t xid) {
	struct answer answer;

	ck_assert_int_eq(peer_receive(peer, SOON_MS, &answer), RECEIVED_REPLY);
	ck_assert_uint_eq(answer.xid, xid);
	answer_free(&answer);
}

static void expect_nothing(struct peer *peer) {
	struct answer answer;

	ck_assert_int_eq(peer_receive(peer, NOTHING_MS, &answer), RECEIVED_NOTHING);
}

CASE(deeds, .setup = set_up, .teardown = tear_down);

TEST(a_good_network_changes_nothing) {
	static const size_t sizes[] = {1, 5, 1000, 30000};
	enum { LARGE = 3 * 1024 * 1024 };
	char *value = malloc(LARGE);
	struct peer peer;

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', LARGE);
	for (int way = 0; way < WAYS; way++) {
		struct session session;
		uint64_t seq = 1;

		peer_open(&peer, &far, ways[way]);
		session = session_open(&peer);
		for (unsigned i = 0; i < 5; i++) {
			size_t size = i < 4 ? sizes[i] : LARGE;
			struct change change;
			struct outcome found;

			if (ways[way] == VIA_UDP && size == LARGE)
				continue;
			change = put_bytes(&session, 0, seq++, "k", value, size);
			ck_assert_int_eq(change_status(&peer, &change), KV1_OK);
			found = get(&peer, "k");
			ck_assert_uint_eq(found.value.size, size);
			ck_assert_mem_eq(found.value.data, value, size);
			outcome_free(&found);
		}
		peer_close(&peer);
	}
	ck_assert_uint_eq(fault_total(&fault), 0);
	free(value);
}

LOOP_TEST(a_lost_request_does_not_run_and_after_a_lost_reply_it_has, 0, WAYS) {
	struct peer peer;
	uint32_t xid;

	peer_open(&peer, &far, ways[_i]);
	struct session session = session_open(&peer);
	struct change change = put(&session, 0, 1, "k", "v");

	fault_tell(&fault, "lose requests 1 put");
	(void)change_send(&peer, &change);
	expect_nothing(&peer);
	check_no_key(&peer, "k");
	fault_tell(&fault, "lose replies 1 put");
	(void)change_send(&peer, &change);
	expect_nothing(&peer);
	check_key(&peer, "k", "v", 1);
	/* The connection is as good as before. */
	xid = send_ping(&peer);
	expect(&peer, xid);
	ck_assert_uint_eq(fault_count(&fault, 0, "lost"), 2);
	peer_close(&peer);
}

LOOP_TEST(a_repeated_call_is_answered_twice, 0, WAYS) {
	struct peer peer;
	uint32_t xid;

	peer_open(&peer, &far, ways[_i]);
	fault_tell(&fault, "repeat requests 1 null 30");
	xid = send_ping(&peer);
	expect(&peer, xid);
	expect(&peer, xid);
	expect_nothing(&peer);
	peer_close(&peer);
}

LOOP_TEST(a_delayed_call_is_overtaken_and_a_held_one_waits_for_its_release, 0, WAYS) {
	struct peer peer;
	uint32_t delayed, held, next;

	peer_open(&peer, &far, ways[_i]);
	fault_tell(&fault, "delay requests 1 null 300");
	fault_tell(&fault, "hold requests 1 null");
	delayed = send_ping(&peer);
	held = send_ping(&peer);
	next = send_ping(&peer);
	expect(&peer, next);
	expect(&peer, delayed);
	expect_nothing(&peer);
	ck_assert_uint_eq(fault_count(&fault, 0, "held"), 1);
	fault_tell(&fault, "release 1");
	expect(&peer, held);
	fault_tell(&fault, "hold replies 1");
	(void)send_ping(&peer);
	fault_await(&fault, 0, "held", 1);
	fault_tell(&fault, "drop");
	next = send_ping(&peer);
	expect(&peer, next);
	peer_close(&peer);
}

TEST(chance_on_streams_keeps_the_order_unless_told_otherwise) {
	struct peer peer;
	uint32_t xids[PINGS];
	unsigned overtaken = 0;

	peer_open(&peer, &far, VIA_TCP);
	fault_tell(&fault, "set delay-requests 20");
	for (unsigned i = 0; i < PINGS; i++)
		xids[i] = send_ping(&peer);
	for (unsigned i = 0; i < PINGS; i++)
		expect(&peer, xids[i]);
	fault_tell(&fault, "set reorder 20");
	fault_tell(&fault, "set far 50");
	for (unsigned i = 0; i < PINGS; i++)
		xids[i] = send_ping(&peer);
	for (unsigned i = 0; i < PINGS; i++) {
		struct answer answer;

		ck_assert_int_eq(peer_receive(&peer, SOON_MS, &answer), RECEIVED_REPLY);
		overtaken += answer.xid != xids[i];
		answer_free(&answer);
	}
	ck_assert_uint_gt(overtaken, 0);
	peer_close(&peer);
}

LOOP_TEST(records_in_fragments_arrive_whole, 0, 1) {
	struct peer peer;
	char value[3001];

	memset(value, 'v', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	peer_open(&peer, &far, ways[_i]);
	fault_tell(&fault, "set fragment 100");
	struct session session = session_open(&peer);
	struct change change = put(&session, 0, 1, "k", value);
	ck_assert_int_eq(change_status(&peer, &change), KV1_OK);
	check_key(&peer, "k", value, 1);
	ck_assert_uint_ge(fault_count(&fault, 0, "fragmented"), 4);
	peer_close(&peer);
}

LOOP_TEST(a_call_cut_in_the_middle_does_not_run_and_the_connection_is_gone, 0, 1) {
	struct peer peer, direct;
	struct answer answer;

	for (unsigned bytes = 0; bytes < 60; bytes += 3) {
		peer_open(&peer, &far, ways[_i]);
		struct session session = session_open(&peer);
		struct change change = put(&session, 0, 1, "k", "v");
		fault_tell(&fault, "cut requests 1 put %u", bytes);
		(void)change_send(&peer, &change);
		ck_assert_int_eq(peer_receive(&peer, SOON_MS, &answer), RECEIVED_CLOSED);
		peer_close(&peer);
	}
	peer_open(&direct, &server, VIA_TCP);
	check_no_key(&direct, "k");
	peer_close(&direct);
}

LOOP_TEST(a_partition_of_requests_keeps_calls_from_running_and_one_of_replies_does_not, 0, WAYS) {
	struct peer peer;

	peer_open(&peer, &far, ways[_i]);
	struct session session = session_open(&peer);
	struct change change = put(&session, 0, 1, "k", "v");
	struct peer direct;
	peer_open(&direct, &server, VIA_TCP);

	fault_tell(&fault, "partition requests");
	uint32_t xid = change_send(&peer, &change);
	expect_nothing(&peer);
	check_no_key(&direct, "k");
	fault_tell(&fault, "heal");
	if (ways[_i] == VIA_UDP) {
		/* Datagrams are lost, what is said on streams arrives later. */
		expect_nothing(&peer);
		xid = change_send(&peer, &change);
	}
	expect(&peer, xid);
	fault_tell(&fault, "partition replies");
	change = put(&session, 0, 2, "k", "w");
	xid = change_send(&peer, &change);
	expect_nothing(&peer);
	check_key(&direct, "k", "w", 2);
	fault_tell(&fault, "heal");
	if (ways[_i] == VIA_UDP)
		xid = change_send(&peer, &change);
	expect(&peer, xid);
	peer_close(&direct);
	peer_close(&peer);
}

TEST(a_stream_that_was_given_up_in_a_partition_still_delivers_after_it) {
	struct peer peer, direct;

	peer_open(&peer, &far, VIA_TCP);
	struct session session = session_open(&peer);
	struct change change = put(&session, 0, 1, "k", "v");
	fault_tell(&fault, "partition both");
	(void)change_send(&peer, &change);
	fault_await(&fault, 1, "held", 1);
	peer_close(&peer);
	fault_tell(&fault, "heal");
	peer_open(&direct, &server, VIA_TCP);
	for (uint64_t version = 0; version == 0;) {
		struct outcome found = get(&direct, "k");

		version = found.current;
		outcome_free(&found);
		suite_pause_ms(1);
	}
	check_key(&direct, "k", "v", 1);
	peer_close(&direct);
}

/* Which of many pings were answered, as a string of 0 and 1. */
static void note_fates(const char *seed, char fates[PINGS + 1]) {
	struct peer peer;
	uint32_t first;
	struct answer answer;

	ck_assert_int_eq(setenv("SEED", seed, 1), 0);
	start_fault();
	fault_tell(&fault, "set lose-requests 20");
	fault_tell(&fault, "set lose-replies 20");
	peer_open(&peer, &far, VIA_TCP);
	memset(fates, '0', PINGS);
	fates[PINGS] = '\0';
	first = send_ping(&peer);
	/* Replies come in order: one to a later ping is behind all that are to be seen. */
	for (unsigned i = 1; i < PINGS + LATER_PINGS; i++)
		(void)send_ping(&peer);
	do {
		ck_assert_int_eq(peer_receive(&peer, SOON_MS, &answer), RECEIVED_REPLY);
		if (answer.xid - first < PINGS)
			fates[answer.xid - first] = '1';
		answer_free(&answer);
	} while (answer.xid - first < PINGS);
	peer_close(&peer);
	fault_stop(&fault);
}

CASE(program);

TEST(the_same_seed_gives_the_same_faults_and_another_one_others) {
	char fates[3][PINGS + 1];

	server_start(&server, NULL);
	note_fates("17", fates[0]);
	note_fates("17", fates[1]);
	note_fates("18", fates[2]);
	ck_assert_str_eq(fates[0], fates[1]);
	ck_assert_str_ne(fates[0], fates[2]);
	ck_assert_ptr_nonnull(strchr(fates[0], '0'));
	ck_assert_ptr_nonnull(strchr(fates[0], '1'));
	server_stop(&server);
}

/* --- Descriptors -------------------------------------------------------------------------------
 */

/* From now on kvfault gets a descriptor only if it closes one. Answers its limit before. */
static struct rlimit leave_no_descriptor(void) {
	struct rlimit before, limit;
	unsigned lowest = 0;
	char path[64];

	/* The lowest that is free: others, above, may be inherited. */
	do
		(void)snprintf(path, sizeof path, "/proc/%d/fd/%u", (int)fault.process.pid,
			       lowest++);
	while (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	ck_assert_int_eq(prlimit(fault.process.pid, RLIMIT_NOFILE, NULL, &before), 0);
	limit = (struct rlimit){.rlim_cur = lowest - 1, .rlim_max = before.rlim_max};
	ck_assert_int_eq(prlimit(fault.process.pid, RLIMIT_NOFILE, &limit, NULL), 0);
	return before;
}

/* How often kvfault had nothing to do and slept; -1: this kernel does not tell. */
static long sleeps(void) {
	char path[64];
	char *status;
	const char *line;
	long count = -1;

	(void)snprintf(path, sizeof path, "/proc/%d/status", (int)fault.process.pid);
	status = process_read_file(path);
	line = strstr(status, "\nvoluntary_ctxt_switches:");
	if (line != NULL)
		count = strtol(strchr(line, ':') + 1, NULL, 10);
	free(status);
	return count;
}

/* A loop that is woken again and again for a waiting connection never sleeps. */
static void expect_sleep(void) {
	enum { TIMES = 5, WAIT_MAX_MS = 20000 };
	long before = sleeps();
	uint64_t end_ms = suite_now_ms() + WAIT_MAX_MS;

	if (before < 0)
		suite_skip("this kernel does not count how often a process sleeps");
	while (before >= 0 && sleeps() < before + TIMES) {
		ck_assert_msg(suite_now_ms() < end_ms, "it spins");
		suite_pause_ms(10);
	}
}

static int connect_control(void) {
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* Beside the route's socket. */
	ck_assert_int_lt(snprintf(at.sun_path, sizeof at.sun_path, "%.*s/control",
				  (int)(strrchr(far.socket, '/') - far.socket), far.socket),
			 (int)sizeof at.sun_path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	return fd;
}

CASE(deeds);

TEST(without_a_descriptor_a_new_connection_waits_and_nothing_spins) {
	static const char command[] = "status\n";
	struct peer first, second, third;
	struct rlimit before;
	uint32_t second_ping, third_ping;
	char word[2];
	int control;

	peer_open(&first, &far, VIA_TCP);
	expect(&first, send_ping(&first));
	before = leave_no_descriptor();
	peer_open(&second, &far, VIA_TCP);
	second_ping = send_ping(&second);
	expect_sleep();
	expect_nothing(&second);
	/* Two are free now: one for each side. */
	peer_close(&first);
	expect(&second, second_ping);

	peer_open(&third, &far, VIA_LOCAL);
	third_ping = send_ping(&third);
	control = connect_control();
	ck_assert_int_eq(send(control, command, strlen(command), 0), (int)strlen(command));
	expect_sleep();
	expect_nothing(&third);
	ck_assert_int_eq(prlimit(fault.process.pid, RLIMIT_NOFILE, &before, NULL), 0);
	expect(&third, third_ping);
	ck_assert_int_eq(recv(control, word, sizeof word, MSG_WAITALL), sizeof word);
	ck_assert_mem_eq(word, "ok", sizeof word);
	ck_assert_int_eq(close(control), 0);
	peer_close(&second);
	peer_close(&third);
}

/* --- Mistakes ----------------------------------------------------------------------------------
 */

static struct run run_kvfault(const char *const arguments[]) {
	const char *argv[12];
	char program[512];
	size_t count = 0;

	server_program("tests/kvfault", program);
	argv[count++] = program;
	for (size_t i = 0; arguments[i] != NULL; i++)
		argv[count++] = arguments[i];
	argv[count] = NULL;
	return run_program(argv);
}

static void check_mistake(int status, const char *says, const char *const arguments[]) {
	struct run run = run_kvfault(arguments);

	ck_assert_int_eq(run.status, status);
	ck_assert_str_eq(run.out, "");
	ck_assert_msg(strstr(run.err, says) != NULL, "%s", run.err);
	ck_assert_ptr_eq(strchr(run.err, '\n'), run.err + strlen(run.err) - 1);
	run_free(&run);
}

CASE(program);

TEST(a_mistake_is_one_line_that_says_how_to_mend_it) {
	static const char good[] = "tcp:127.0.0.1:0=tcp:127.0.0.1:7000";

	check_mistake(2, "LISTEN=SERVER", (const char *const[]){NULL});
	check_mistake(2, "a seed is a number", (const char *const[]){"-s", "x", good, NULL});
	check_mistake(2, "LISTEN=SERVER", (const char *const[]){"tcp:127.0.0.1:0", NULL});
	check_mistake(2, "a port is a number",
		      (const char *const[]){good, "tcp:h:x=tcp:h:1", NULL});
	check_mistake(2, "needs its port",
		      (const char *const[]){"tcp:127.0.0.1:0=tcp:127.0.0.1", NULL});
	check_mistake(2, "udp to udp",
		      (const char *const[]){"tcp:127.0.0.1:0=udp:127.0.0.1:7000", NULL});
	check_mistake(1, "cannot listen",
		      (const char *const[]){"local:/nowhere/s=tcp:127.0.0.1:7000", NULL});
	check_mistake(1, "no control socket",
		      (const char *const[]){"-c", "/nowhere/c", good, NULL});
}

CASE(deeds);

TEST(a_wrong_command_is_answered_by_what_is_wrong_and_changes_nothing) {
	static const char *const mistakes[][2] = {
	    {"frob", "no such command: frob"},
	    {"set", "no such setting"},
	    {"set lose-requests 101", "lose-requests is a number from 0 to 100"},
	    {"set lose-requests 100 now", "\"now\" is too much"},
	    {"heal requests", "\"requests\" is too much"},
	    {"partition sideways", "a partition is of requests, replies or both"},
	    {"partition requests 5", "\"5\" is too much"},
	    {"lose", "lose what? requests or replies"},
	    {"lose requests many", "how many is a number"},
	    {"lose requests 1 frob", "no such procedure: frob"},
	    {"hold requests 1 put 1 1", "\"1\" is too much"},
	    {"@1 hold requests 1 put 1 1", "at most 6 words"},
	    {"@4 status", "routes are @1 to @3"},
	    {"@2", "a command is missing"},
	    {"@1 to", "to which address?"},
	    {"@1 to tcp:127.0.0.1", "a server needs its port"},
	    {"@1 to udp:127.0.0.1:7000", "from udp to udp"},
	    {"@2 to tcp:127.0.0.1:7000", "from udp to udp"},
	};
	struct peer peer;

	for (unsigned i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++)
		fault_mistake(&fault, mistakes[i][0], mistakes[i][1]);
	for (int i = 0; i < WAYS; i++) {
		peer_open(&peer, &far, ways[i]);
		expect(&peer, send_ping(&peer));
		peer_close(&peer);
	}
	ck_assert_uint_eq(fault_total(&fault), 0);
	/* A mistake on the second route, after the first one obeyed. */
	fault_mistake(&fault, "to tcp:127.0.0.1:7000", "error: @2: ");
}

CASE(program);

TEST(help_tells_every_command) {
	static const char *const words[] = {"good",    "bad",	  "set",     "partition", "heal",
					    "hang-up", "release", "drop",    "forget",	  "to",
					    "status",  "lose",	  "hold",    "repeat",	  "delay",
					    "cut",     "pass",	  "reorder", "fragment",  "late"};
	struct run run = run_kvfault((const char *const[]){"--help", NULL});

	ck_assert_int_eq(run.status, 0);
	for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
		ck_assert_msg(strstr(run.out, words[i]) != NULL, "%s", words[i]);
	run_free(&run);
}
