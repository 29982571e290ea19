/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS on connections: the probe, what handshakes may cost, replies through it, and a reload. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "acl/acl.h"
#include "core/service.h"
#include "core/stats.h"
#include "log.h"
#include "net/event_handler.h"
#include "net/peer.h"
#include "net/stream.h"
#include "rpc/dispatch.h"
#include "test.h"
#include "tls/credentials.h"
#include "tls/pki.h"
#include "tls/tls_client.h"

enum {
	CONNECTIONS_MAX = 400,
	VALUE_SIZE = 900 * 1024,
	EVENTS = 512,
	START_MS = 100000,
	SMALL_BUFFER = 4096,
	PROBE_WORDS = 11,
	GRANT_SIZE = 36,
};

struct peer_end {
	int fd;
	struct tls_client client;
	unsigned char plain[VALUE_SIZE + 1024];
	size_t plain_size;
};

static int epoll;
static struct service *service;
static struct dispatch *dispatch;
static struct streams *streams;
static struct pki_identity ca, server_identity, alice;
static struct credentials *credentials;
static enum tls_policy policy;
static int log_fd;
static int send_buffer; /* bytes; 0: as it is */
static uint64_t now_ms;

static void at(uint64_t ms) {
	now_ms = ms;
	dispatch_set_time(dispatch, ms);
	streams_set_time(streams, ms);
}

static void make_streams(void) {
	const struct stream_limits limits = {.credentials = credentials,
					     .tls_policy = policy,
					     .connections_max = CONNECTIONS_MAX,
					     .held_max = 16 << 20};

	streams = streams_new(epoll, &limits, dispatch, service);
	ck_assert_ptr_nonnull(streams);
	at(START_MS);
}

static void set_up(void) {
	static const struct server_identity identity = {.epoch = 1, .seed = 1};
	static const struct service_limits limits = {
	    .value_max = 1 << 20, .memory_max = 64 << 20, .sessions_max = 4, .lease_ms = 1000};
	static const struct journal_sink nowhere = {0};
	static const struct dispatch_hooks hooks = {0};

	log_open("stream_tls_test", 0);
	log_fd = memfd_create("log", MFD_CLOEXEC);
	ck_assert_int_ge(dup2(log_fd, STDERR_FILENO), 0);
	ca = pki_issue(NULL, &(struct pki_request){.common_name = "ca", .is_ca = true});
	server_identity = pki_issue(&ca, &(struct pki_request){.common_name = "server"});
	alice = pki_issue(&ca, &(struct pki_request){.common_name = "alice"});
	credentials = pki_credentials(&server_identity, &ca, NULL, false);
	policy = TLS_OFFER;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	service = service_new(&identity, &limits, &nowhere);
	dispatch = dispatch_new(service, KV_PROGRAM, &hooks);
	make_streams();
}

static void tear_down(void) {
	streams_free(streams);
	dispatch_free(dispatch);
	service_free(service);
	credentials_unref(credentials);
	pki_free(&ca);
	pki_free(&server_identity);
	pki_free(&alice);
	(void)close(epoll);
	(void)close(log_fd);
}

static bool is_logged(const char *text) {
	static char all[16384];
	ssize_t size = pread(log_fd, all, sizeof(all) - 1, 0);

	all[size > 0 ? size : 0] = '\0';
	return strstr(all, text) != NULL;
}

static uint64_t stat_of(const char *name) {
	struct stats stats = {0};

	streams_add_stats(streams, &stats);
	return stats_value(&stats, name);
}

static struct peer_name host(unsigned last_byte) {
	struct peer_name name = {.kind = ADDRESS_TCP};

	name.address.inet.sin_family = AF_INET;
	name.address.inet.sin_addr.s_addr = htonl(0x0a000000 + last_byte);
	return name;
}

static void turn(void) {
	struct epoll_event events[EVENTS];
	int count;

	at(now_ms);
	count = epoll_wait(epoll, events, EVENTS, 0);
	for (int i = 0; i < count; i++) {
		struct event_handler *handler = events[i].data.ptr;

		handler->ready(handler, events[i].events);
	}
	streams_run_received(streams);
	streams_flush(streams);
}

static uint64_t expire(void) {
	uint64_t due_ms = streams_expire(streams);

	streams_flush(streams);
	return due_ms;
}

static int connect_as(struct peer_name name) {
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			 0);
	if (send_buffer > 0)
		ck_assert_int_eq(
		    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer)),
		    0);
	streams_add(streams, ends[1], &name);
	return ends[0];
}

static bool is_open(int fd) {
	char byte;
	ssize_t got = recv(fd, &byte, 1, MSG_PEEK);

	return got > 0 || (got < 0 && errno == EAGAIN);
}

static void send_all(int fd, const void *bytes, size_t size) {
	ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void make_call(uint32_t words[PROBE_WORDS], uint32_t procedure, uint32_t flavor) {
	const uint32_t host_words[PROBE_WORDS] = {0x80000028, 7,      0, 2, KV_PROGRAM, KV_V1,
						  procedure,  flavor, 0, 0, 0};

	for (unsigned i = 0; i < PROBE_WORDS; i++)
		words[i] = htonl(host_words[i]);
}

static void send_call(int fd, uint32_t procedure, uint32_t flavor) {
	uint32_t words[PROBE_WORDS];

	make_call(words, procedure, flavor);
	send_all(fd, words, sizeof(words));
}

/* RFC 9289, 4.1: the reply that grants it, as bytes. */
static void take_grant(int fd) {
	static const unsigned char grant[GRANT_SIZE] =
	    "\x80\0\0\x20\0\0\0\7\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\x08STARTTLS\0\0\0";
	unsigned char bytes[GRANT_SIZE + 1];

	ck_assert_int_eq(recv(fd, bytes, sizeof(bytes), 0), GRANT_SIZE);
	ck_assert_mem_eq(bytes, grant, GRANT_SIZE);
}

static void take_refusal(int fd, uint32_t why) {
	uint32_t words[8];

	ck_assert_int_eq(recv(fd, words, sizeof(words), 0), 24);
	ck_assert_uint_eq(ntohl(words[3]), 1);
	ck_assert_uint_eq(ntohl(words[4]), 1);
	ck_assert_uint_eq(ntohl(words[5]), why);
}

static int begin_handshake(struct peer_name name) {
	int fd = connect_as(name);

	send_call(fd, KVPROC_NULL, 7);
	turn();
	return fd;
}

/* Hands on what the client and the server have for each other, once. */
static void pump(struct peer_end *end) {
	static unsigned char bytes[256 * 1024];
	ssize_t size;
	size_t part;

	if (end->client.out_size > 0) {
		size = send(end->fd, end->client.out, end->client.out_size, MSG_NOSIGNAL);
		if (size > 0) {
			end->client.out_size -= (size_t)size;
			memmove(end->client.out, end->client.out + size, end->client.out_size);
		}
	}
	turn();
	while ((size = recv(end->fd, bytes, sizeof(bytes), 0)) > 0)
		tls_client_receive(&end->client, bytes, (size_t)size);
	if (!end->client.is_open)
		return;
	while ((part = tls_client_read(&end->client, end->plain + end->plain_size,
				       sizeof(end->plain) - end->plain_size)) > 0)
		end->plain_size += part;
}

/* Freed with close_peer(). */
static struct peer_end *open_peer(struct peer_name name) {
	struct peer_end *end = calloc(1, sizeof(*end));

	end->fd = begin_handshake(name);
	take_grant(end->fd);
	tls_client_init(&end->client, &(struct tls_client_options){
					  .chain = &alice, .chain_count = 1, .protocol = "sunrpc"});
	while (!end->client.is_open || end->client.out_size > 0)
		pump(end);
	pump(end);
	return end;
}

static void close_peer(struct peer_end *end) {
	tls_client_free(&end->client);
	(void)close(end->fd);
	free(end);
}

static void call_through(struct peer_end *end, uint32_t procedure, const void *arguments,
			 size_t size) {
	uint32_t words[PROBE_WORDS];

	make_call(words, procedure, 0);
	words[0] = htonl((uint32_t)(0x80000000 | (sizeof(words) - 4 + size)));
	tls_client_write(&end->client, words, sizeof(words));
	if (size > 0)
		tls_client_write(&end->client, arguments, size);
	end->plain_size = 0;
}

CASE(stream_tls, .setup = set_up, .teardown = tear_down);

/* --- The probe ----------------------------------------------------------------------------- */

TEST(a_probe_is_granted_to_the_first_call_of_a_tcp_connection) {
	int fd = begin_handshake(host(1));
	const struct peer_name user = {.kind = ADDRESS_LOCAL, .uid = 1000};

	take_grant(fd);
	(void)close(fd);
	fd = connect_as(host(1));
	send_call(fd, KVPROC_HELLO, 7);
	turn();
	take_refusal(fd, 1);
	send_call(fd, KVPROC_NULL, 7);
	turn();
	take_refusal(fd, 1);
	(void)close(fd);
	/* Over a local socket it is any call of NULL. */
	fd = begin_handshake(user);
	ck_assert_int_eq(recv(fd, (char[64]){0}, 64, 0), 28);
	(void)close(fd);
}

TEST(bytes_behind_a_probe_end_the_connection) {
	uint32_t words[2 * PROBE_WORDS];
	int fd = connect_as(host(1));

	make_call(words, KVPROC_NULL, 7);
	make_call(words + PROBE_WORDS, KVPROC_NULL, 0);
	send_all(fd, words, sizeof(words[0]) * PROBE_WORDS + 1);
	turn();
	ck_assert_uint_eq(stat_of("connections"), 0);
	ck_assert(is_logged("it sent more behind its probe for TLS"));
	(void)close(fd);
}

TEST(what_must_not_come_in_the_clear_is_too_weak) {
	static const struct {
		enum tls_policy policy;
		bool is_loopback, is_refused;
	} table[] = {{TLS_OFFER, false, false},
		     {TLS_REQUIRE_REMOTE, false, true},
		     {TLS_REQUIRE_REMOTE, true, false},
		     {TLS_REQUIRE, true, true},
		     {TLS_REQUIRE, false, true}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct peer_name name = host(1);
		int fd;

		streams_free(streams);
		policy = table[i].policy;
		make_streams();
		if (table[i].is_loopback)
			name.address.inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		fd = connect_as(name);
		send_call(fd, KVPROC_HELLO, 0);
		turn();
		if (table[i].is_refused)
			take_refusal(fd, 5);
		else
			ck_assert_int_gt(recv(fd, (char[256]){0}, 256, 0), 28);
		send_call(fd, KVPROC_NULL, 0);
		turn();
		ck_assert_int_eq(recv(fd, (char[64]){0}, 64, 0), 28);
		(void)close(fd);
	}
}

/* --- What handshakes cost ------------------------------------------------------------------ */

TEST(two_steps_of_handshakes_run_in_a_turn_first_come_first_served) {
	enum { COUNT = 7 };
	struct tls_client clients[COUNT];
	int fds[COUNT];

	for (unsigned i = 0; i < COUNT; i++) {
		fds[i] = begin_handshake(host(i));
		take_grant(fds[i]);
		tls_client_init(&clients[i], &(struct tls_client_options){.protocol = "sunrpc"});
	}
	/* One turn each, so that their order is known. */
	for (unsigned i = 0; i < COUNT; i++)
		send_all(fds[i], clients[i].out, clients[i].out_size);
	for (unsigned done = 0; done < COUNT;) {
		unsigned answered = 0;

		turn();
		done += HANDSHAKE_STEPS_PER_TURN;
		for (unsigned i = 0; i < COUNT; i++)
			answered += recv(fds[i], (char[1]){0}, 1, MSG_PEEK) == 1;
		ck_assert_uint_eq(answered, done < COUNT ? done : COUNT);
		/* There is more to do: the next turn waits for nothing. */
		ck_assert((expire() == 0) == (done < COUNT));
	}
	for (unsigned i = 0; i < COUNT; i++) {
		tls_client_free(&clients[i]);
		(void)close(fds[i]);
	}
}

TEST(handshakes_under_way_have_a_limit_for_each_peer_and_for_all) {
	static int fds[HANDSHAKES_MAX + 8];
	unsigned count = 0;

	for (unsigned i = 0; i <= HANDSHAKES_PEER_MAX; i++)
		fds[count++] = begin_handshake(host(1));
	ck_assert_uint_eq(stat_of("tls_handshakes"), HANDSHAKES_PEER_MAX);
	ck_assert_uint_eq(stat_of("tls_refused"), 1);
	ck_assert(is_logged("tls refused: 10.0.0.1:0: too many handshakes are under way from"));
	for (; stat_of("tls_handshakes") < HANDSHAKES_MAX; count++)
		fds[count] = begin_handshake(host(1 + count / 50));
	fds[count++] = begin_handshake(host(200));
	ck_assert_uint_eq(stat_of("tls_handshakes"), HANDSHAKES_MAX);
	ck_assert_uint_eq(stat_of("tls_refused"), 2);
	/* One that ends makes room. */
	(void)close(fds[0]);
	for (unsigned i = 0; i < 3; i++)
		turn();
	ck_assert_uint_eq(stat_of("tls_handshakes"), HANDSHAKES_MAX - 1);
	fds[0] = begin_handshake(host(200));
	ck_assert_uint_eq(stat_of("tls_handshakes"), HANDSHAKES_MAX);
	for (unsigned i = 0; i < count; i++)
		(void)close(fds[i]);
}

TEST(a_handshake_takes_ten_seconds_at_most) {
	int fd = begin_handshake(host(1)), later;

	take_grant(fd);
	ck_assert_uint_eq(expire(), HANDSHAKE_TIMEOUT_MS);
	at(START_MS + 1000);
	later = begin_handshake(host(2));
	at(START_MS + HANDSHAKE_TIMEOUT_MS - 1);
	/* What comes does not give it more time. */
	send_all(fd, "\x16\3\1\2", 4);
	turn();
	ck_assert_uint_eq(expire(), 1);
	ck_assert(is_open(fd));
	at(START_MS + HANDSHAKE_TIMEOUT_MS);
	ck_assert_uint_eq(expire(), 1000);
	ck_assert(!is_open(fd));
	ck_assert(is_logged("its handshake took too long"));
	(void)close(fd);
	(void)close(later);
}

TEST(an_open_connection_is_no_handshake) {
	struct peer_end *end = open_peer(host(1));

	ck_assert_uint_eq(stat_of("tls_handshakes"), 0);
	ck_assert_uint_eq(stat_of("tls_connections_made"), 1);
	at(START_MS + 10 * HANDSHAKE_TIMEOUT_MS);
	ck_assert_uint_eq(expire(), UINT64_MAX);
	call_through(end, KVPROC_NULL, NULL, 0);
	pump(end);
	ck_assert_uint_eq(end->plain_size, 28);
	close_peer(end);
}

TEST(what_is_no_tls_is_refused_and_ends_the_connection) {
	int fd = begin_handshake(host(1));

	take_grant(fd);
	send_all(fd, "GET / HTTP/1.1\r\n\r\n", 18);
	turn();
	ck_assert(is_logged("tls refused: 10.0.0.1:0: "));
	ck_assert_uint_eq(stat_of("connections"), 0);
	ck_assert_uint_eq(stat_of("tls_handshakes"), 0);
	(void)close(fd);
}

/* --- Calls --------------------------------------------------------------------------------- */

/* The kernel takes a little at a time, at each step of the handshake too. */
TEST(large_values_arrive_though_the_kernel_takes_little) {
	static unsigned char arguments[VALUE_SIZE];
	struct peer_end *end;
	unsigned turns = 0;

	send_buffer = SMALL_BUFFER;
	end = open_peer(host(1));
	/* What stands behind the arguments is not looked at, and makes a call as large as any. */
	for (size_t i = 0; i < VALUE_SIZE; i++)
		arguments[i] = (unsigned char)i;
	call_through(end, KVPROC_NULL, arguments, VALUE_SIZE);
	while (end->plain_size < 28 && turns++ < 5000)
		pump(end);
	ck_assert_uint_eq(end->plain_size, 28);
	/* Many replies of some hundred bytes, which are not read meanwhile. */
	for (unsigned i = 0; i < 3000; i++)
		call_through(end, KVPROC_HELLO, NULL, 0);
	for (turns = 0; end->client.out_size > 0 && turns < 5000; turns++)
		pump(end);
	for (turns = 0; turns < 500; turns++)
		pump(end);
	ck_assert_uint_gt(end->plain_size, 3000 * 60);
	ck_assert_uint_eq(end->plain_size % 3000, 0);
	ck_assert_uint_eq(stat_of("send_queue_bytes"), 0);
	close_peer(end);
	send_buffer = 0;
}

TEST(a_probe_inside_tls_is_refused) {
	struct peer_end *end = open_peer(host(1));
	uint32_t words[PROBE_WORDS];

	make_call(words, KVPROC_NULL, 7);
	tls_client_write(&end->client, words, sizeof(words));
	pump(end);
	ck_assert_uint_eq(end->plain_size, 24);
	close_peer(end);
}

/* --- A reload ------------------------------------------------------------------------------ */

TEST(connections_of_a_revoked_certificate_end_a_few_in_each_turn) {
	enum { COUNT = RECHECKS_PER_TURN + 3 };
	struct peer_end *ends[COUNT];
	gnutls_x509_crl_t crl = pki_revoke(&ca, &alice);
	struct credentials *revoking = pki_credentials(&server_identity, &ca, crl, false);

	for (unsigned i = 0; i < COUNT; i++)
		ends[i] = open_peer(host(i));
	streams_set_credentials(streams, credentials);
	ck_assert_uint_eq(expire(), 0);
	(void)expire();
	ck_assert_uint_eq(stat_of("connections"), COUNT);
	streams_set_credentials(streams, revoking);
	ck_assert_uint_eq(expire(), 0);
	ck_assert_uint_eq(stat_of("connections"), 3);
	/* One that calls is looked at first, and what it sent does not run. */
	call_through(ends[0], KVPROC_NULL, NULL, 0);
	pump(ends[0]);
	ck_assert_uint_eq(ends[0]->plain_size, 0);
	ck_assert_uint_eq(stat_of("connections"), 2);
	(void)expire();
	ck_assert_uint_eq(stat_of("connections"), 0);
	ck_assert(is_logged("closing tcp connection from 10.0.0.10:0: certificate \"CN=alice\": it "
			    "is revoked"));
	ck_assert(is_logged("11 connections were closed"));
	for (unsigned i = 0; i < COUNT; i++)
		close_peer(ends[i]);
	credentials_unref(revoking);
	gnutls_x509_crl_deinit(crl);
}

TEST(connections_without_any_right_end_at_a_reload) {
	static const char text[] = "* cert:alice(ro)\n";
	static const struct who_names names = {0};
	char error[ACL_ERROR_MAX];
	struct acl *acl =
	    acl_parse("rules", (struct kv_bytes){text, sizeof(text) - 1}, &names, error);
	struct peer_end *end = open_peer(host(1));
	int other = connect_as(host(2));

	ck_assert_ptr_nonnull(acl);
	dispatch_set_acl(dispatch, acl);
	streams_set_credentials(streams, credentials);
	(void)expire();
	ck_assert(is_open(end->fd));
	ck_assert(!is_open(other));
	ck_assert(is_logged("its caller has no right any more"));
	close_peer(end);
	(void)close(other);
	dispatch_set_acl(dispatch, NULL);
	acl_free(acl);
}
