/* SPDX-License-Identifier: BSD-3-Clause */
/* The real transport against a scripted RPC server on a socket of this machine. */

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "rpc/rpc_transport.h"
#include "rpc_script.h"
#include "test.h"

/* --- Answers of the RPC layer -------------------------------------------------------------- */

/* The answer as words, and what is to be made of it for a ping. */
struct rpc_case {
	uint32_t words[8];
	size_t count;
	enum attempt outcome;
	enum kv_status status;
};

static const struct rpc_case rpc_cases[] = {
    {{REPLY, MSG_ACCEPTED, 0, 0, SUCCESS}, 5, ATTEMPT_ANSWERED, KV_OK},
    {{REPLY, MSG_ACCEPTED, 0, 4, 0x61626364, SUCCESS}, 6, ATTEMPT_ANSWERED, KV_OK},
    {{REPLY, MSG_ACCEPTED, 0, 0, PROG_UNAVAIL}, 5, ATTEMPT_WRONG_SERVER, KV_OK},
    {{REPLY, MSG_ACCEPTED, 0, 0, PROG_MISMATCH, 2, 3}, 7, ATTEMPT_WRONG_SERVER, KV_OK},
    {{REPLY, MSG_ACCEPTED, 0, 0, PROC_UNAVAIL}, 5, ATTEMPT_REJECTED, KV_UNAVAILABLE},
    {{REPLY, MSG_ACCEPTED, 0, 0, GARBAGE_ARGS}, 5, ATTEMPT_REJECTED, KV_PROTOCOL},
    {{REPLY, MSG_ACCEPTED, 0, 0, SYSTEM_ERR}, 5, ATTEMPT_REJECTED, KV_UNAVAILABLE},
    {{REPLY, MSG_ACCEPTED, 0, 0, 6}, 5, ATTEMPT_BAD_REPLY, KV_PROTOCOL},
    {{REPLY, MSG_ACCEPTED, 0, 401, 0}, 5, ATTEMPT_BAD_REPLY, KV_PROTOCOL},
    {{REPLY, MSG_ACCEPTED, 0, 0}, 4, ATTEMPT_BAD_REPLY, KV_PROTOCOL},
    {{REPLY, MSG_DENIED, RPC_MISMATCH, 3, 3}, 5, ATTEMPT_REJECTED, KV_PROTOCOL},
    {{REPLY, MSG_DENIED, AUTH_ERROR, AUTH_TOOWEAK}, 4, ATTEMPT_REJECTED, KV_DENIED},
    {{REPLY, MSG_DENIED, 2}, 3, ATTEMPT_BAD_REPLY, KV_PROTOCOL},
    {{REPLY, 2, 0, 0, SUCCESS}, 5, ATTEMPT_BAD_REPLY, KV_PROTOCOL},
    {{CALL, 2, PROGRAM, 1, 0, 0, 0}, 7, ATTEMPT_BAD_REPLY, KV_PROTOCOL},
    {{0}, 0, ATTEMPT_BAD_REPLY, KV_PROTOCOL},
};

static const struct rpc_case *rpc_case;

static void play_rpc_case(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	(void)arguments;
	ck_assert_uint_eq(call->rm_call.cb_proc, KVPROC_NULL);
	put_words(answer, rpc_case->words, rpc_case->count);
}

CASE(answers);

LOOP_TEST(every_answer_of_the_rpc_layer_has_its_outcome, 0,
	  sizeof(rpc_cases) / sizeof(rpc_cases[0])) {
	struct request ping = {.kind = REQUEST_PING};
	struct response response;

	rpc_case = &rpc_cases[_i];
	start_on_loopback(play_rpc_case);
	ck_assert_int_eq(attempt(&ping, &response), rpc_case->outcome);
	ck_assert_int_eq(response.status, rpc_case->status);
	ck_assert_int_eq(reason()[0] == '\0', rpc_case->outcome == ATTEMPT_ANSWERED);
	ck_assert(transport.is_usable(script_conn));
	stop();
}

/* --- Answers that make no sense ------------------------------------------------------------ */

/* What follows SUCCESS in the answer to a Get. */
static const struct {
	uint32_t words[6];
	size_t count;
} bad_results[] = {
    {{0}, 0},
    {{99, 0, 1, 0}, 4},
    {{KV_TIMEOUT, 0, 1, 0}, 4},
    {{KV1_OK, 0, 1}, 3},
    {{KV1_OK, 0, 1, KV1_VALUE_BOUND}, 4},
    {{KV1_OK, 0, 1, KV1_VALUE_BOUND + 1}, 4},
    {{KV1_OK, 0, 1, 5, 0x61616161}, 5},
};

static const uint32_t *result_words;
static size_t result_count;

static void play_words(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	(void)call;
	(void)arguments;
	put_success(answer);
	put_words(answer, result_words, result_count);
}

LOOP_TEST(results_that_make_no_sense_are_garbled, 0, sizeof(bad_results) / sizeof(bad_results[0])) {
	struct request get = {.kind = REQUEST_GET, .key = {"k", 1}};
	struct response response;

	result_words = bad_results[_i].words;
	result_count = bad_results[_i].count;
	start_on_loopback(play_words);
	ck_assert_int_eq(attempt(&get, &response), ATTEMPT_BAD_REPLY);
	ck_assert_int_eq(response.status, KV_PROTOCOL);
	ck_assert_ptr_null(response.value.data);
	stop();
}

/* --- Every procedure ----------------------------------------------------------------------- */

static void play_hello(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	kv1_hello_res result = {
	    .status = KV1_OK,
	    .store = "0123456789abcde",
	    .epoch = 1ULL << 40,
	    .key_max = 1024,
	    .value_max = 1000000,
	    .datagram_max = 65000,
	};

	(void)arguments;
	ck_assert_uint_eq(call->rm_call.cb_proc, KVPROC_HELLO);
	put_success(answer);
	ck_assert(xdr_kv1_hello_res(answer, &result));
}

TEST(hello_tells_store_epoch_and_limits) {
	struct request request = {.kind = REQUEST_HELLO};
	struct response response;

	start_on_loopback(play_hello);
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_OK);
	ck_assert_mem_eq(response.store, "0123456789abcde", 16);
	ck_assert_uint_eq(response.epoch, 1ULL << 40);
	ck_assert_uint_eq(response.key_max, 1024);
	ck_assert_uint_eq(response.value_max, 1000000);
	ck_assert_uint_eq(response.datagram_max, 65000);
	stop();
}

static void play_session(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	kv1_open_args opening = {0};
	kv1_open_res opened = {
	    .status = KV1_OK, .client_id = 42, .slots = 8, .lease_ms = 1ULL << 33};
	kv1_close_args closing = {0};
	kv1_close_res closed = {.status = KV1_BADSESSION};

	put_success(answer);
	if (call->rm_call.cb_proc == KVPROC_OPEN) {
		ck_assert(xdr_kv1_open_args(arguments, &opening));
		ck_assert_uint_eq(opening.epoch, 5);
		ck_assert_mem_eq(opening.nonce, "a random nonce..", 16);
		ck_assert_uint_eq(opening.slots, 16);
		ck_assert(xdr_kv1_open_res(answer, &opened));
	} else {
		ck_assert_uint_eq(call->rm_call.cb_proc, KVPROC_CLOSE);
		ck_assert(xdr_kv1_close_args(arguments, &closing));
		ck_assert_uint_eq(closing.epoch, 5);
		ck_assert_uint_eq(closing.client_id, 42);
		ck_assert(xdr_kv1_close_res(answer, &closed));
	}
}

TEST(sessions_are_opened_and_closed) {
	struct request opening = {.kind = REQUEST_OPEN, .epoch = 5, .slots = 16};
	struct request closing = {.kind = REQUEST_CLOSE, .epoch = 5, .client_id = 42};
	struct response response;

	memcpy(opening.nonce, "a random nonce..", 16);
	start_on_loopback(play_session);
	ck_assert_int_eq(attempt(&opening, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_OK);
	ck_assert_uint_eq(response.client_id, 42);
	ck_assert_uint_eq(response.slots, 8);
	ck_assert_uint_eq(response.lease_ms, 1ULL << 33);
	ck_assert_int_eq(attempt(&closing, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_BADSESSION);
	stop();
}

static void play_get(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	kv1_get_args asked = {0};
	kv1_get_res result = {
	    .status = KV1_OK,
	    .current = 9,
	    .value = {.kv1_value_len = 5, .kv1_value_val = (char *)"va\0ue"},
	};

	ck_assert_uint_eq(call->rm_call.cb_proc, KVPROC_GET);
	ck_assert(xdr_kv1_get_args(arguments, &asked));
	ck_assert_uint_eq(asked.epoch, 5);
	if (asked.key.kv1_key_len == 0)
		result = (kv1_get_res){.status = KV1_NOKEY};
	put_success(answer);
	ck_assert(xdr_kv1_get_res(answer, &result));
	xdr_free((xdrproc_t)xdr_kv1_get_args, &asked);
}

TEST(get_brings_the_value_and_its_version) {
	struct request request = {.kind = REQUEST_GET, .epoch = 5, .key = {"key", 3}};
	struct response response;

	start_on_loopback(play_get);
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_OK);
	ck_assert_uint_eq(response.current, 9);
	ck_assert_uint_eq(response.value.size, 5);
	ck_assert_uint_eq(response.value.version, 9);
	ck_assert_mem_eq(response.value.data, "va\0ue", 5);
	response_free(&response);
	request.key.size = 0;
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_NOKEY);
	ck_assert_ptr_null(response.value.data);
	stop();
}

static void check_writer(const kv1_writer *writer) {
	ck_assert_uint_eq(writer->epoch, 5);
	ck_assert_uint_eq(writer->client_id, UINT64_MAX);
	ck_assert_uint_eq(writer->slot, 3);
	ck_assert_uint_eq(writer->seq, 1ULL << 32);
}

static void play_write(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	kv1_put_args putting = {0};
	kv1_put_res put = {.status = KV1_VERSION, .current = 11};
	kv1_append_args appending = {0};
	kv1_append_res appended = {
	    .status = KV1_OK,
	    .current = 12,
	    .old_version = 7,
	    .old = {.kv1_value_len = 3, .kv1_value_val = (char *)"old"},
	};

	put_success(answer);
	if (call->rm_call.cb_proc == KVPROC_PUT) {
		ck_assert(xdr_kv1_put_args(arguments, &putting));
		check_writer(&putting.writer);
		ck_assert_uint_eq(putting.expected, 4);
		ck_assert_uint_eq(putting.value.kv1_value_len, 5);
		ck_assert_mem_eq(putting.value.kv1_value_val, "value", 5);
		xdr_free((xdrproc_t)xdr_kv1_put_args, &putting);
		ck_assert(xdr_kv1_put_res(answer, &put));
	} else {
		ck_assert_uint_eq(call->rm_call.cb_proc, KVPROC_APPEND);
		ck_assert(xdr_kv1_append_args(arguments, &appending));
		check_writer(&appending.writer);
		ck_assert_uint_eq(appending.expected, 4);
		ck_assert_int_eq(appending.want_old, TRUE);
		ck_assert_mem_eq(appending.key.kv1_key_val, "key", 3);
		xdr_free((xdrproc_t)xdr_kv1_append_args, &appending);
		ck_assert(xdr_kv1_append_res(answer, &appended));
	}
}

TEST(writes_carry_every_field_and_bring_every_answer) {
	struct request request = {
	    .kind = REQUEST_PUT,
	    .epoch = 5,
	    .client_id = UINT64_MAX,
	    .slot = 3,
	    .seq = 1ULL << 32,
	    .expected = 4,
	    .key = {"key", 3},
	    .value = {"value", 5},
	};
	struct response response;

	start_on_loopback(play_write);
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_VERSION);
	ck_assert_uint_eq(response.current, 11);
	request.kind = REQUEST_APPEND;
	request.want_old = true;
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_OK);
	ck_assert_uint_eq(response.current, 12);
	ck_assert_uint_eq(response.value.version, 7);
	ck_assert_uint_eq(response.value.size, 3);
	ck_assert_mem_eq(response.value.data, "old", 3);
	response_free(&response);
	stop();
}

/* Gives back what it was given, so that both messages are as large as the test wants. */
static void play_mirror(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	kv1_append_args asked = {0};
	kv1_append_res result = {.status = KV1_OK, .current = 2, .old_version = 1};

	(void)call;
	ck_assert(xdr_kv1_append_args(arguments, &asked));
	put_success(answer);
	result.old = asked.value;
	ck_assert(xdr_kv1_append_res(answer, &result));
	xdr_free((xdrproc_t)xdr_kv1_append_args, &asked);
}

TEST(a_value_of_any_size_comes_whole_both_ways) {
	char value[3000];
	struct request request = {.kind = REQUEST_APPEND, .key = {"key", 3}, .want_old = true};
	struct response response;

	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char)(i * 7 + i / 256);
	start_on_loopback(play_mirror);
	for (size_t size = 0; size <= sizeof(value); size += size < 1800 ? 300 : 1) {
		request.value = (struct kv_bytes){value, size};
		ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
		ck_assert_uint_eq(response.value.size, size);
		ck_assert(size == 0 || memcmp(response.value.data, value, size) == 0);
		response_free(&response);
	}
	stop();
}

static void play_stats(const struct rpc_msg *call, XDR *arguments, XDR *answer) {
	kv1_counter counters[] = {{.name = (char *)"keys", .value = 3},
				  {.name = (char *)"sessions", .value = 1}};
	kv1_status_res result = {
	    .status = KV1_OK,
	    .software = (char *)"kvd 9.9",
	    .store = "0123456789abcde",
	    .epoch = 6,
	    .counters = {.counters_len = 2, .counters_val = counters},
	};

	(void)arguments;
	ck_assert_uint_eq(call->rm_call.cb_proc, KVPROC_STATUS);
	put_success(answer);
	ck_assert(xdr_kv1_status_res(answer, &result));
}

TEST(stats_bring_the_counters_and_the_address_that_answered) {
	struct request request = {.kind = REQUEST_STATS};
	struct response response;

	start_on_loopback(play_stats);
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	ck_assert_int_eq(response.status, KV_OK);
	ck_assert_str_eq(response.stats.server, server_text);
	ck_assert_str_eq(response.stats.software, "kvd 9.9");
	ck_assert_mem_eq(response.stats.store, "0123456789abcde", 16);
	ck_assert_uint_eq(response.stats.epoch, 6);
	ck_assert_uint_eq(response.stats.counter_count, 2);
	ck_assert_str_eq(response.stats.counters[1].name, "sessions");
	ck_assert_uint_eq(response.stats.counters[1].value, 1);
	response_free(&response);
	stop();
}

/* --- Connecting ---------------------------------------------------------------------------- */

CASE(connecting);

TEST(a_name_with_several_addresses_leads_to_the_one_that_answers) {
	struct request request = {.kind = REQUEST_HELLO};
	struct response response;

	listen_on_loopback("localhost");
	start(play_hello);
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	ck_assert(transport.is_stream(script_conn));
	stop();
}

TEST(a_local_socket_is_an_address) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct request request = {.kind = REQUEST_HELLO};
	struct response response;
	char folder[] = "/tmp/kv-test-XXXXXX";

	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/kvd.sock", folder);
	(void)snprintf(server_text, sizeof(server_text), "local:%s", address.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(listener, 5), 0);
	start(play_hello);
	ck_assert_int_eq(attempt(&request, &response), ATTEMPT_ANSWERED);
	stop();
	(void)unlink(address.sun_path);
	(void)rmdir(folder);
}

TEST(a_refused_connection_says_so) {
	/* Bound, but not listened on: the port stays taken and refuses. */
	listen_on_loopback("127.0.0.1");
	(void)shutdown(listener, SHUT_RDWR);
	open_transport(server_text);
	ck_assert_ptr_null(transport.connect(transport.context, 0, false, soon()));
	ck_assert_ptr_nonnull(strstr(reason(), server_text));
	ck_assert_ptr_nonnull(strstr(reason(), "Connection refused"));
	rpc_transport_free(&transport);
	(void)close(listener);
}

/* Connects to the listener until its queue is full: SYNs are then dropped, not refused. */
static size_t fill_queue(int fds[], size_t most) {
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	size_t count = 0;
	bool is_full = false;

	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	while (!is_full) {
		struct pollfd wanted = {.events = POLLOUT};

		ck_assert_uint_lt(count, most);
		wanted.fd = fds[count] =
		    socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		ck_assert_int_ge(fds[count], 0);
		is_full = connect(fds[count++], (struct sockaddr *)&address, size) != 0;
		if (is_full) {
			ck_assert_int_eq(errno, EINPROGRESS);
			/* On loopback an answer is there before connect() returns; if not, once
			 * more. */
			is_full = poll(&wanted, 1, 100) == 0;
		}
	}
	return count;
}

TEST(a_connect_without_an_answer_ends_at_its_deadline) {
	int fds[64];
	size_t count;
	uint64_t deadline_ms;

	listen_on_loopback("127.0.0.1");
	ck_assert_int_eq(listen(listener, 0), 0);
	count = fill_queue(fds, sizeof(fds) / sizeof(fds[0]));
	open_transport(server_text);
	deadline_ms = clock_ms() + 200;
	ck_assert_ptr_null(transport.connect(transport.context, 0, false, deadline_ms));
	ck_assert_uint_ge(clock_ms(), deadline_ms);
	ck_assert_ptr_nonnull(strstr(reason(), "timed out"));
	rpc_transport_free(&transport);
	while (count > 0)
		(void)close(fds[--count]);
	(void)close(listener);
}

TEST(a_call_above_what_fits_is_rejected_unsent) {
	static char large[KV1_KEY_BOUND + 1];
	struct request put = {
	    .kind = REQUEST_PUT, .key = {"k", 1}, .value = {large, sizeof(large)}};
	struct request get = {.kind = REQUEST_GET, .key = {large, sizeof(large)}};
	struct response response;

	open_transport("udp:127.0.0.1:9");
	script_conn = transport.connect(transport.context, 0, false, soon());
	ck_assert_ptr_nonnull(script_conn);
	ck_assert(!transport.is_stream(script_conn));
	ck_assert_int_eq(attempt(&put, &response), ATTEMPT_REJECTED);
	ck_assert_int_eq(response.status, KV_TOOBIG);
	transport.unref(script_conn);
	rpc_transport_free(&transport);

	start_on_loopback(play_get);
	ck_assert_int_eq(attempt(&get, &response), ATTEMPT_REJECTED);
	ck_assert_int_eq(response.status, KV_TOOBIG);
	stop();
}

/* --- The server list ----------------------------------------------------------------------- */

static size_t addresses_of(const char *server) {
	struct kv_options options = {.server = server};
	struct transport table;
	size_t count;

	ck_assert_int_eq(rpc_transport_new(&options, &table), KV_OK);
	count = table.address_count;
	rpc_transport_free(&table);
	ck_assert_ptr_null(table.context);
	return count;
}

TEST(without_a_list_the_environment_counts_then_the_usual_places) {
	struct kv_options none = {0};
	struct transport table;
	char folder[] = "/tmp/kv-test-XXXXXX";

	(void)unsetenv("KV_SERVER");
	(void)unsetenv("XDG_RUNTIME_DIR");
	ck_assert_uint_eq(addresses_of(NULL), 3);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)setenv("XDG_RUNTIME_DIR", folder, 1);
	ck_assert_uint_eq(addresses_of(NULL), 4);
	(void)setenv("KV_SERVER", "", 1);
	ck_assert_uint_eq(addresses_of(NULL), 4);
	ck_assert_int_eq(rmdir(folder), 0);
	(void)setenv("KV_SERVER", "a,b,c,d", 1);
	ck_assert_uint_eq(addresses_of(NULL), 4);
	ck_assert_uint_eq(addresses_of("a"), 1);
	ck_assert_ptr_null(kv_address_error(NULL));
	(void)setenv("KV_SERVER", "a:b:c", 1);
	ck_assert_ptr_nonnull(kv_address_error(NULL));
	ck_assert_int_eq(rpc_transport_new(&none, &table), KV_INVALID);
}

TEST(a_list_that_cannot_be_read_is_invalid) {
	struct kv_options options = {.server = "tcp:a:70000"};
	struct transport table;

	ck_assert_int_eq(rpc_transport_new(&options, &table), KV_INVALID);
	ck_assert_str_eq(kv_address_error("tcp:a:70000"), "a port is a number from 0 to 65535");
	ck_assert_ptr_null(kv_address_error("tcp:a:7000"));
}
