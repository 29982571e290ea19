/* SPDX-License-Identifier: BSD-3-Clause */
/* A client's TLS session against GnuTLS' server, byte by byte: what comes late, cut, changed or as
 * an alert; and which certificates, files and protocols are accepted. */

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"
#include "test_pki.h"
#include "test_server.h"

extern const struct tls_plugin kv_tls_plugin;

static struct test_server server;
static struct tls_session *session;
static char error[TLS_ERROR_MAX];

/* How many of the server's bytes the session may take in all, and at once. */
static size_t allowed;
static size_t at_once;

static size_t take(void *context, void *data, size_t size) {
	size_t left = allowed - server.to_client.taken;

	(void)context;
	if (size > at_once)
		size = at_once;
	return pipe_take(&server.to_client, data, size < left ? size : left);
}

static bool give(void *context, const void *data, size_t size) {
	(void)context;
	pipe_add(&server.to_server, data, size);
	return true;
}

static enum tls_result open_client(const struct tls_config *config) {
	const struct tls_wire wire = {.take = take, .give = give};

	allowed = SIZE_MAX;
	at_once = SIZE_MAX;
	return kv_tls_plugin.open(config, &wire, &session, error);
}

/* The usual: the server's name is localhost, its CA is known. */
static struct tls_config usual(void) {
	return (struct tls_config){.ca = pki_path("ca.pem"), .name = "localhost"};
}

static void open_both(const struct tls_config *config, const struct server_wish *wish) {
	server_open(&server, wish);
	ck_assert_msg(open_client(config) == TLS_OK, "%s", error);
}

static void close_both(void) {
	kv_tls_plugin.close(session);
	session = NULL;
	server_close(&server);
}

/* Until the client is done, or nothing moves any more. */
static enum tls_result shake(void) {
	enum tls_result result;
	size_t moved;

	do {
		moved = server.to_client.taken + server.to_server.size;
		result = kv_tls_plugin.handshake(session, error);
		server_shake(&server);
	} while (result == TLS_AGAIN &&
		 (server.to_client.taken + server.to_server.size > moved ||
		  server.to_client.taken <
		      (allowed < server.to_client.size ? allowed : server.to_client.size)));
	return result;
}

static void make_server(void) {
	const struct wish wish = {.common_name = "kvd", .dns = "localhost", .ip = "127.0.0.1"};

	pki_make();
	pki_add("server", &wish);
}

/* --- Bytes ---------------------------------------------------------------------------------------
 */

CASE(bytes, .setup = make_server, .teardown = pki_remove);

static void check_receives(const uint8_t *sent, size_t size) {
	uint8_t came[70000];
	size_t done = 0;

	while (done < size) {
		ssize_t went = gnutls_record_send(server.gnutls, sent + done, size - done);

		ck_assert_int_gt(went, 0);
		done += (size_t)went;
	}
	for (done = 0; done < size;) {
		size_t one = 0;
		enum tls_result result =
		    kv_tls_plugin.decrypt(session, came + done, sizeof(came) - done, &one, error);

		if (result == TLS_AGAIN)
			continue;
		ck_assert_msg(result == TLS_OK, "%s", error);
		done += one;
	}
	ck_assert_mem_eq(came, sent, size);
	ck_assert(!kv_tls_plugin.has_plain(session));
}

static void check_sends(const uint8_t *sent, size_t size) {
	uint8_t came[TLS_RECORD_MAX];

	ck_assert(kv_tls_plugin.encrypt(session, sent, size));
	for (size_t done = 0; done < size;) {
		ssize_t one = gnutls_record_recv(server.gnutls, came + done, sizeof(came) - done);

		ck_assert_int_gt(one, 0);
		done += (size_t)one;
	}
	ck_assert_mem_eq(came, sent, size);
}

static const size_t sizes[] = {1, 2, 255, 4096, TLS_RECORD_MAX - 1, TLS_RECORD_MAX};

LOOP_TEST(bytes_go_both_ways_however_they_come, 0, 2) {
	const struct tls_config config = usual();
	static uint8_t bytes[65536];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 256);
	open_both(&config, &(struct server_wish){.name = NULL});
	at_once = _i == 0 ? SIZE_MAX : 1;
	ck_assert_msg(shake() == TLS_OK, "%s", error);
	server_shake(&server);
	ck_assert(server.is_done);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		check_sends(bytes, sizes[i]);
		check_receives(bytes, sizes[i]);
	}
	check_receives(bytes, sizeof(bytes));
	close_both();
}

TEST(a_small_buffer_gets_a_record_in_parts) {
	const struct tls_config config = usual();
	char came[4] = "";
	size_t size = 0;

	open_both(&config, &(struct server_wish){.name = NULL});
	ck_assert_int_eq(shake(), TLS_OK);
	ck_assert_int_eq(gnutls_record_send(server.gnutls, "abcde", 5), 5);
	ck_assert_int_eq(kv_tls_plugin.decrypt(session, came, 3, &size, error), TLS_OK);
	ck_assert_uint_eq(size, 3);
	ck_assert(kv_tls_plugin.has_plain(session));
	ck_assert_int_eq(kv_tls_plugin.decrypt(session, came, 3, &size, error), TLS_OK);
	ck_assert_uint_eq(size, 2);
	ck_assert_mem_eq(came, "de", 2);
	close_both();
}

TEST(a_handshake_that_is_cut_anywhere_is_not_done) {
	const struct tls_config config = usual();
	size_t whole;

	open_both(&config, &(struct server_wish){.name = NULL});
	ck_assert_int_eq(shake(), TLS_OK);
	whole = server.to_client.taken;
	close_both();
	for (size_t cut = 0; cut < whole; cut++) {
		open_both(&config, &(struct server_wish){.name = NULL});
		allowed = cut;
		enum tls_result result = shake();
		/* The lengths of signatures vary, so one of the last may be no cut. */
		bool is_cut = server.to_client.size > cut;
		ck_assert_msg(result == (is_cut ? TLS_AGAIN : TLS_OK), "cut at %zu of %zu: %s", cut,
			      server.to_client.size, error);
		if (cut + 1 == whole && is_cut) {
			allowed = SIZE_MAX;
			ck_assert_msg(shake() == TLS_OK, "%s", error);
		}
		close_both();
	}
}

TEST(a_changed_byte_ends_the_session) {
	const struct tls_config config = usual();
	char came[16];
	size_t size;

	for (size_t at = 5; at < 5 + 4 + 1 + 16; at++) {
		open_both(&config, &(struct server_wish){.name = NULL});
		ck_assert_int_eq(shake(), TLS_OK);
		ck_assert_int_eq(gnutls_record_send(server.gnutls, "abcd", 4), 4);
		server.to_client.data[server.to_client.taken + at] ^= 1;
		ck_assert_int_eq(kv_tls_plugin.decrypt(session, came, sizeof(came), &size, error),
				 TLS_FAILED);
		ck_assert_ptr_nonnull(strstr(error, "TLS failed"));
		close_both();
	}
}

TEST(what_is_no_tls_fails) {
	const struct tls_config config = usual();

	open_both(&config, &(struct server_wish){.name = NULL});
	pipe_add(&server.to_client, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
	ck_assert_int_eq(kv_tls_plugin.handshake(session, error), TLS_FAILED);
	close_both();
}

TEST(the_end_of_a_session_is_seen) {
	const struct tls_config config = usual();
	char came[4];
	size_t size;

	open_both(&config, &(struct server_wish){.name = NULL});
	ck_assert_int_eq(shake(), TLS_OK);
	ck_assert_int_eq(gnutls_bye(server.gnutls, GNUTLS_SHUT_WR), 0);
	ck_assert_int_eq(kv_tls_plugin.decrypt(session, came, sizeof(came), &size, error),
			 TLS_CLOSED);
	close_both();
}

/* --- Alerts --------------------------------------------------------------------------------------
 */

static const struct {
	int alert;
	const char *about;
} alerts[] = {
    {40, "accepts no TLS 1.3"},
    {42, "refused this client's certificate"},
    {43, "refused this client's certificate"},
    {44, "revoked"},
    {45, "expired"},
    {46, "refused this client's certificate"},
    {48, "issuer"},
    {49, "refused this client"},
    {70, "TLS 1.3"},
    {80, "Internal error"},
    {116, "wants a certificate"},
    {120, "sunrpc"},
    {200, "alert 200"},
};
enum { ALERT_COUNT = sizeof(alerts) / sizeof(alerts[0]) };

static void check_refused(enum tls_result result, int i) {
	char number[32];

	(void)snprintf(number, sizeof(number), "(TLS alert %d)", alerts[i].alert);
	ck_assert_int_eq(result, TLS_REFUSED);
	ck_assert_msg(strstr(error, alerts[i].about) != NULL, "%s", error);
	ck_assert_msg(strstr(error, number) != NULL, "%s", error);
	ck_assert_ptr_null(strchr(error, '\n'));
}

LOOP_TEST(an_alert_instead_of_a_hello_is_a_refusal, 0, ALERT_COUNT) {
	const struct tls_config config = usual();
	const uint8_t record[] = {21, 3, 3, 0, 2, 2, (uint8_t)alerts[_i].alert};

	open_both(&config, &(struct server_wish){.name = NULL});
	ck_assert_int_eq(kv_tls_plugin.handshake(session, error), TLS_AGAIN);
	pipe_add(&server.to_client, record, sizeof(record));
	check_refused(kv_tls_plugin.handshake(session, error), _i);
	close_both();
}

LOOP_TEST(an_alert_after_the_handshake_is_a_refusal, 0, ALERT_COUNT) {
	const struct tls_config config = usual();
	char came[4];
	size_t size;

	open_both(&config, &(struct server_wish){.name = NULL});
	ck_assert_int_eq(shake(), TLS_OK);
	ck_assert_int_eq(gnutls_alert_send(server.gnutls, GNUTLS_AL_FATAL,
					   (gnutls_alert_description_t)alerts[_i].alert),
			 0);
	check_refused(kv_tls_plugin.decrypt(session, came, sizeof(came), &size, error), _i);
	close_both();
}

/* In TLS 1.3 the client's handshake is over before the server has seen its certificate. */
TEST(a_refused_client_learns_it_with_the_first_bytes) {
	struct tls_config config = usual();
	char came[4];
	size_t size;

	for (int i = 0; i < 2; i++) {
		if (i == 1) {
			pki_add_ca("other");
			pki_add("eve", &(struct wish){.issuer = "other", .common_name = "eve"});
			config.cert = pki_path("eve.pem");
			config.key = pki_path("eve.key");
		}
		open_both(&config, &(struct server_wish){.ca = "ca.pem"});
		ck_assert_msg(shake() == TLS_OK, "%s", error);
		server_shake(&server);
		ck_assert(!server.is_done);
		ck_assert_int_eq(kv_tls_plugin.decrypt(session, came, sizeof(came), &size, error),
				 TLS_REFUSED);
		ck_assert_msg(
		    strstr(error, i == 0 ? "wants a certificate" : "refused this client") != NULL,
		    "%s", error);
		close_both();
	}
}

TEST(a_client_shows_its_certificate) {
	struct tls_config config = usual();
	unsigned count = 0;

	pki_add("alice", &(struct wish){.common_name = "alice"});
	config.cert = pki_path("alice.pem");
	config.key = pki_path("alice.key");
	open_both(&config, &(struct server_wish){.ca = "ca.pem"});
	ck_assert_int_eq(shake(), TLS_OK);
	server_shake(&server);
	ck_assert(server.is_done);
	ck_assert_ptr_nonnull(gnutls_certificate_get_peers(server.gnutls, &count));
	ck_assert_uint_eq(count, 1);
	close_both();
}

/* --- Which server is accepted
 * --------------------------------------------------------------------- */

CASE(servers, .setup = pki_make, .teardown = pki_remove);

#define SERVER_AUTH "1.3.6.1.5.5.7.3.1"
#define CLIENT_AUTH "1.3.6.1.5.5.7.3.2"
#define RPC_SERVER "1.3.6.1.5.5.7.3.34"
#define RPC_CLIENT "1.3.6.1.5.5.7.3.33"

static const struct {
	struct wish wish;
	const char *name;  /* that the user wrote */
	const char *about; /* NULL: it is accepted */
} certificates[] = {
    {{.dns = "kv.test"}, "kv.test", NULL},
    {{.dns = "KV.Test"}, "kv.tesT", NULL},
    {{.dns = "*.kv.test"}, "a.kv.test", NULL},
    {{.dns = "*.kv.test"}, "a.b.kv.test", "not for a.b.kv.test"},
    {{.dns = "*.kv.test"}, "kv.test", "not for"},
    {{.dns = "kv.test"}, "kv.test.example", "not for"},
    {{.dns = "kv.test", .dns_size = 7}, "kv.tes", "not for"},
    {{.dns = "kv.test\0.evil", .dns_size = 13}, "kv.test", "not for"},
    {{.ip = "10.1.2.3"}, "10.1.2.3", NULL},
    {{.ip = "10.1.2.3"}, "10.1.2.4", "not for 10.1.2.4"},
    {{.ip = "fe80::1"}, "fe80:0::1", NULL},
    {{.ip = "fe80::1"}, "fe80::2", "not for"},
    {{.dns = "10.1.2.3"}, "10.1.2.3", "not for"},
    {{.ip = "10.1.2.3"}, "kv.test", "not for"},
    {{.common_name = "kv.test"}, "kv.test", "not for"},
    {{.common_name = "kv.test", .dns = "other.test"}, "kv.test", "not for"},
    {{.common_name = "kv.test", .ip = "10.1.2.3"}, "kv.test", "not for"},
    {{.common_name = "10.1.2.3"}, "10.1.2.3", "not for"},
    {{.dns = "kv.test", .issuer = "other"}, "kv.test", "none of the trusted CAs"},
    {{.dns = "kv.test", .from_days = -3, .to_days = -1}, "kv.test", "expired"},
    {{.dns = "kv.test", .from_days = 1, .to_days = 3}, "kv.test", "not yet valid"},
    {{.dns = "kv.test", .is_weak = true}, "kv.test", "too weak"},
    {{.dns = "kv.test", .purpose = SERVER_AUTH}, "kv.test", NULL},
    {{.dns = "kv.test", .purpose = RPC_SERVER}, "kv.test", NULL},
    {{.dns = "kv.test", .purpose = CLIENT_AUTH}, "kv.test", "extended key usage"},
    {{.dns = "kv.test", .purpose = RPC_CLIENT}, "kv.test", "extended key usage"},
    {{.dns = "kv.test", .issuer = "ca", .common_name = "a\033[2J\"\n"}, "x", "\"CN=a?[2J"},
};

LOOP_TEST(a_server_is_accepted_by_its_certificate, 0,
	  sizeof(certificates) / sizeof(certificates[0])) {
	const struct tls_config config = {.ca = pki_path("ca.pem"), .name = certificates[_i].name};
	const char *about = certificates[_i].about;
	enum tls_result result;

	pki_add_ca("other");
	pki_add("server", &certificates[_i].wish);
	open_both(&config, &(struct server_wish){
			       .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3:%PROFILE_VERY_WEAK"});
	result = shake();
	ck_assert_msg(result == (about == NULL ? TLS_OK : TLS_REFUSED), "%s", error);
	if (about != NULL) {
		ck_assert_msg(strstr(error, about) != NULL, "%s", error);
		for (const char *c = error; *c != '\0'; c++)
			ck_assert(*c >= ' ' && *c <= '~');
		/* The server learns it, and got no certificate of the client's. */
		server_shake(&server);
		ck_assert_int_eq(server.failure, GNUTLS_E_FATAL_ALERT_RECEIVED);
	}
	close_both();
}

/* The common name does not count; a self-signed certificate is trusted if it is in the file. */
TEST(a_certificate_in_the_file_is_its_own_ca) {
	struct tls_config config = {.name = "kv.test"};

	pki_add("server", &(struct wish){.dns = "kv.test"});
	config.ca = pki_path("server.pem");
	open_both(&config, &(struct server_wish){.name = NULL});
	ck_assert_msg(shake() == TLS_OK, "%s", error);
	close_both();
}

static const struct {
	struct server_wish wish;
	const char *about;
} protocols[] = {
    {{.alpn = ""}, "sunrpc"},
    {{.alpn = "h2"}, "sunrpc"},
    {{.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2"}, "TLS 1.3"},
};

LOOP_TEST(a_server_speaks_tls_1_3_and_sunrpc, 0, sizeof(protocols) / sizeof(protocols[0])) {
	const struct tls_config config = usual();

	pki_add("server", &(struct wish){.dns = "localhost"});
	open_both(&config, &protocols[_i].wish);
	ck_assert_int_eq(shake(), TLS_REFUSED);
	ck_assert_msg(strstr(error, protocols[_i].about) != NULL, "%s", error);
	close_both();
}

/* --- Files
 * ---------------------------------------------------------------------------------------- */

CASE(files, .setup = make_server, .teardown = pki_remove);

static const struct {
	const char *ca, *cert, *key;
	const char *about;
} files[] = {
    {"missing.pem", NULL, NULL, "No such file"},
    {"empty.pem", NULL, NULL, "empty"},
    {"text.pem", NULL, NULL, "tls_ca"},
    {"fifo", NULL, NULL, "no regular file"},
    {".", NULL, NULL, "no regular file"},
    {"huge.pem", NULL, NULL, "more than 4 MiB"},
    {"ca.pem", "server.pem", NULL, "tls_key is missing"},
    {"ca.pem", NULL, "server.key", "tls_cert is missing"},
    {"ca.pem", "missing.pem", "server.key", "No such file"},
    {"ca.pem", "server.pem", "missing.key", "No such file"},
    {"ca.pem", "server.pem", "ca.key", "do not match"},
    {"ca.pem", "text.pem", "server.key", "tls_cert"},
    {"ca.pem", "server.pem", "text.pem", "tls_key"},
    {"ca.pem", "server.pem", "open.key", "other users may read"},
    {"ca.pem", "server.pem", "written.key", "other users may read"},
};

LOOP_TEST(files_that_cannot_be_used_are_named, 0, sizeof(files) / sizeof(files[0])) {
	static char huge[TLS_RECORD_MAX];
	struct tls_config config = {.name = "localhost", .ca = pki_path(files[_i].ca)};

	pki_write("empty.pem", "", 0, 0600);
	pki_write("text.pem", "no PEM\n", 7, 0600);
	pki_write("huge.pem", huge, sizeof(huge), 0600);
	ck_assert_int_eq(truncate(pki_path("huge.pem"), 4 * 1024 * 1024 + 1), 0);
	ck_assert_int_eq(mkfifo(pki_path("fifo"), 0600), 0);
	pki_add("open", &(struct wish){.dns = "localhost"});
	ck_assert_int_eq(chmod(pki_path("open.key"), 0604), 0);
	pki_add("written", &(struct wish){.dns = "localhost"});
	ck_assert_int_eq(chmod(pki_path("written.key"), 0620), 0);
	config.cert = files[_i].cert != NULL ? pki_path(files[_i].cert) : NULL;
	config.key = files[_i].key != NULL ? pki_path(files[_i].key) : NULL;
	ck_assert_int_eq(open_client(&config), TLS_UNUSABLE);
	ck_assert_ptr_null(session);
	ck_assert_msg(strstr(error, files[_i].about) != NULL, "%s", error);
	ck_assert_ptr_null(strchr(error, '\n'));
}

TEST(the_group_may_read_a_key_of_root_only) {
	struct tls_config config = usual();
	const bool is_root = geteuid() == 0;

	config.cert = pki_path("server.pem");
	config.key = pki_path("server.key");
	ck_assert_int_eq(chmod(config.key, 0640), 0);
	ck_assert_int_eq(open_client(&config), is_root ? TLS_OK : TLS_UNUSABLE);
	kv_tls_plugin.close(session);
	if (!is_root)
		return;
	ck_assert_int_eq(chown(config.key, 1, 1), 0);
	ck_assert_int_eq(open_client(&config), TLS_UNUSABLE);
}
