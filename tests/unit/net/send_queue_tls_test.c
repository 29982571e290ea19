/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: send */
/* What a send queue encrypts at once, and how much of it waits for the kernel. */
#include <sys/socket.h>

#include <rpcsvc/kv.h>

#include "net/send_queue.h"
#include "test.h"
#include "tls/credentials.h"
#include "tls/pki.h"
#include "tls/tls_client.h"
#include "tls/tls_session.h"

static struct pki_identity server_identity;
static struct credentials *credentials;

static void set_up(void) {
	server_identity = pki_issue(NULL, &(struct pki_request){.common_name = "server"});
	credentials = pki_credentials(&server_identity, NULL, NULL, false);
}

static void tear_down(void) {
	credentials_unref(credentials);
	pki_free(&server_identity);
}

CASE(send_queue_tls, .setup = set_up, .teardown = tear_down);

/* A descriptor of -1 takes everything. */
ssize_t __real_send(int, const void *, size_t, int);
ssize_t __wrap_send(int, const void *, size_t, int);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags) {
	return fd < 0 ? (ssize_t)size : __real_send(fd, bytes, size, flags);
}

/* Opens a session without a connection. */
static struct tls_session *open_session(struct tls_client *client, struct tls_out *out) {
	struct tls_session *session = tls_session_new(credentials, &(struct tls_hooks){0});
	static unsigned char plain[TLS_PLAIN_MAX];
	size_t size;

	tls_client_init(client, &(struct tls_client_options){.protocol = "sunrpc"});
	while (!tls_session_is_open(session)) {
		ck_assert_int_eq(
		    tls_session_receive(session, client->out, client->out_size, plain, &size, out),
		    TLS_GOES_ON);
		client->out_size = 0;
		tls_client_receive(client, out->bytes, out->size);
		out->size = 0;
	}
	return session;
}

static void add_reply(struct send_queue *queue) {
	struct rpc_msg reply = {.rm_direction = REPLY};

	reply.rm_reply.rp_stat = MSG_ACCEPTED;
	reply.acpted_rply.ar_stat = SUCCESS;
	reply.acpted_rply.ar_results.proc = (xdrproc_t)(void (*)(void))xdr_void;
	ck_assert(send_queue_reply(queue, &reply, (struct view){0}));
}

TEST(a_turn_encrypts_a_mebibyte_at_most) {
	static struct tls_out out;
	struct mem_account memory = {.limit = SIZE_MAX};
	struct send_queue queue = {0};
	struct tls_client client;
	struct tls_session *session = open_session(&client, &out);
	size_t before;

	while (queue.size < 2 * SEND_QUEUE_TURN_MAX + 100)
		add_reply(&queue);
	before = queue.size;
	ck_assert_int_eq(send_queue_flush_tls(&queue, -1, session, &out, &memory),
			 SEND_QUEUE_BLOCKED);
	ck_assert_uint_ge(before - queue.size, SEND_QUEUE_TURN_MAX);
	ck_assert_uint_lt(before - queue.size, SEND_QUEUE_TURN_MAX + TLS_AHEAD_MAX);
	while (send_queue_flush_tls(&queue, -1, session, &out, &memory) == SEND_QUEUE_BLOCKED)
		ck_assert_uint_lt(queue.size, before);
	ck_assert_uint_eq(queue.size, 0);
	send_queue_clear(&queue, &memory);
	tls_session_free(session);
	tls_client_free(&client);
}

TEST(encrypted_bytes_that_wait_have_a_limit) {
	static const unsigned char bytes[SEND_QUEUE_SEALED_MAX];
	struct mem_account memory = {.limit = SIZE_MAX};
	struct send_queue queue = {0};

	ck_assert(send_queue_add_sealed(&queue, bytes, sizeof(bytes) - 1));
	ck_assert(send_queue_add_sealed(&queue, bytes, 0));
	ck_assert(send_queue_add_sealed(&queue, bytes, 1));
	ck_assert(!send_queue_add_sealed(&queue, bytes, 1));
	ck_assert_uint_eq(queue.size, SEND_QUEUE_SEALED_MAX);
	send_queue_clear(&queue, &memory);
	ck_assert_uint_eq(queue.size, 0);
}
