/* SPDX-License-Identifier: BSD-3-Clause */
/* TLS without sockets: bytes in any pieces, handshakes cut and damaged, certificates. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acl/certificate.h"
#include "test.h"
#include "tls/credentials.h"
#include "tls/pki.h"
#include "tls/tls_client.h"
#include "tls/tls_session.h"

enum { LARGE = 64 * 1024, STRIDE = 13 };

static struct pki_identity ca, other_ca, server_identity, alice;
static struct credentials *credentials;
static struct tls_session *session;
static struct tls_client client;
static struct tls_out out;
static unsigned char plain[TLS_PLAIN_MAX];
static unsigned char received[1 << 20]; /* by the server */
static size_t received_size;
static enum tls_result result;
static bool pins;

static bool is_pinned(void *context, const uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]) {
	(void)context;
	(void)fingerprint;
	return pins;
}

static const struct tls_hooks hooks = {.is_pinned = is_pinned};
static const struct pki_name alice_names[] = {{GNUTLS_SAN_RFC822NAME, "alice@kv.test", 0}, {0}};

static void make_pki(void) {
	ca = pki_issue(NULL, &(struct pki_request){.common_name = "ca", .is_ca = true});
	other_ca = pki_issue(NULL, &(struct pki_request){.common_name = "other", .is_ca = true});
	server_identity = pki_issue(&ca, &(struct pki_request){.common_name = "server"});
	alice = pki_issue(&ca, &(struct pki_request){.common_name = "alice", .names = alice_names});
	credentials = pki_credentials(&server_identity, &ca, NULL, false);
}

static void free_pki(void) {
	credentials_unref(credentials);
	pki_free(&ca);
	pki_free(&other_ca);
	pki_free(&server_identity);
	pki_free(&alice);
}

static void begin_with(struct credentials *shown, const struct tls_client_options *options) {
	session = tls_session_new(shown, &hooks);
	ck_assert_ptr_nonnull(session);
	tls_client_init(&client, options);
	out.size = received_size = 0;
	result = TLS_GOES_ON;
}

static void begin(void) {
	begin_with(credentials, &(struct tls_client_options){
				    .chain = &alice, .chain_count = 1, .protocol = "sunrpc"});
}

static void end(void) {
	tls_session_free(session);
	tls_client_free(&client);
}

/* Bytes of the client for the server. */
static void give(const unsigned char *bytes, size_t size) {
	size_t plain_size;

	result = tls_session_receive(session, bytes, size, plain, &plain_size, &out);
	ck_assert_uint_le(received_size + plain_size, sizeof(received));
	memcpy(received + received_size, plain, plain_size);
	received_size += plain_size;
}

static void hand_back(void) {
	tls_client_receive(&client, out.bytes, out.size);
	out.size = 0;
}

/* All that both have for each other, in pieces of at most `step`. */
static void exchange(size_t step) {
	while (client.out_size > 0 && result == TLS_GOES_ON) {
		size_t size = client.out_size < step ? client.out_size : step;

		give(client.out, size);
		client.out_size -= size;
		memmove(client.out, client.out + size, client.out_size);
		while (out.size > 0)
			hand_back();
	}
}

static void open_session(void) {
	begin();
	exchange(TLS_IN_MAX);
	ck_assert(tls_session_is_open(session));
	ck_assert(client.is_open);
}

static unsigned char byte_at(size_t i) {
	return (unsigned char)(i * 7 + i / 251);
}

static void fill(unsigned char *bytes, size_t size) {
	for (size_t i = 0; i < size; i++)
		bytes[i] = byte_at(i);
}

CASE(tls, .setup = make_pki, .teardown = free_pki);

/* --- Bytes --------------------------------------------------------------------------------- */

TEST(bytes_may_come_one_by_one) {
	begin();
	exchange(1);
	ck_assert(tls_session_is_open(session));
	tls_client_write(&client, "hello", 5);
	exchange(1);
	ck_assert_uint_eq(received_size, 5);
	ck_assert_mem_eq(received, "hello", 5);
	ck_assert_uint_eq(tls_session_partial(session), 0);
	end();
}

TEST(bytes_of_any_size_go_both_ways) {
	static const size_t sizes[] = {1, 100, 16383, 16384, 16385, 47 * 1024, LARGE};
	static unsigned char bytes[LARGE], copy[LARGE];

	open_session();
	fill(bytes, sizeof(bytes));
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i], got = 0, part;

		received_size = 0;
		tls_client_write(&client, bytes, size);
		exchange(TLS_IN_MAX);
		ck_assert_uint_eq(received_size, size);
		ck_assert_mem_eq(received, bytes, size);
		for (size_t done = 0; done < size;) {
			part = tls_session_send(session, bytes + done, size - done, &out);
			ck_assert_uint_gt(part, 0);
			done += part;
			hand_back();
		}
		while ((part = tls_client_read(&client, copy + got, sizeof(copy) - got)) > 0)
			got += part;
		ck_assert_uint_eq(got, size);
		ck_assert_mem_eq(copy, bytes, size);
	}
	end();
}

/* Whatever the pieces: what is not plaintext yet is a part of one record. */
TEST(nothing_waits_inside_of_what_came_whole) {
	static unsigned char bytes[400 * 1024];
	size_t sent = 0;

	open_session();
	fill(bytes, sizeof(bytes));
	for (size_t size = 1; sent + size < sizeof(bytes); size += 701) {
		tls_client_write(&client, bytes + sent, size);
		sent += size;
	}
	for (size_t at = 0; at < client.out_size;) {
		size_t size =
		    client.out_size - at < TLS_IN_MAX - 11 ? client.out_size - at : TLS_IN_MAX - 11;

		give(client.out + at, size);
		at += size;
		ck_assert_int_eq(result, TLS_GOES_ON);
		ck_assert_uint_lt(tls_session_partial(session), TLS_RECORD_MAX + 300);
		if (at == client.out_size)
			ck_assert_uint_eq(tls_session_partial(session), 0);
	}
	ck_assert_uint_eq(received_size, sent);
	ck_assert_mem_eq(received, bytes, sent);
	end();
}

TEST(data_behind_the_last_message_of_the_handshake_comes_at_once) {
	static unsigned char bytes[40 * 1024];

	begin();
	give(client.out, client.out_size);
	client.out_size = 0;
	hand_back();
	ck_assert(client.is_open);
	fill(bytes, sizeof(bytes));
	tls_client_write(&client, bytes, sizeof(bytes));
	ck_assert_uint_le(client.out_size, TLS_IN_MAX);
	give(client.out, client.out_size);
	ck_assert(tls_session_is_open(session));
	ck_assert_uint_eq(received_size, sizeof(bytes));
	ck_assert_mem_eq(received, bytes, sizeof(bytes));
	end();
}

TEST(new_keys_of_the_client_are_taken) {
	open_session();
	ck_assert_int_ge(gnutls_session_key_update(client.session, GNUTLS_KU_PEER), 0);
	exchange(TLS_IN_MAX);
	ck_assert_int_eq(result, TLS_GOES_ON);
	ck_assert_uint_eq(tls_session_partial(session), 0);
	tls_client_write(&client, "hello", 5);
	exchange(TLS_IN_MAX);
	ck_assert_uint_eq(received_size, 5);
	ck_assert_uint_eq(tls_session_send(session, "x", 1, &out), 1);
	hand_back();
	/* Behind the server's new keys. */
	ck_assert_uint_eq(
	    tls_client_read(&client, received, 1) + tls_client_read(&client, received, 1), 1);
	tls_client_write(&client, "1", 1);
	ck_assert_int_ge(gnutls_session_key_update(client.session, 0), 0);
	tls_client_write(&client, "2", 1);
	received_size = 0;
	exchange(TLS_IN_MAX);
	ck_assert_uint_eq(received_size, 2);
	end();
}

TEST(more_than_a_share_is_not_encrypted_at_once) {
	static unsigned char bytes[200 * 1024];
	size_t part;

	open_session();
	part = tls_session_send(session, bytes, sizeof(bytes), &out);
	ck_assert_uint_ge(part, TLS_AHEAD_MAX - TLS_RECORD_MAX);
	ck_assert_uint_lt(part, TLS_AHEAD_MAX + TLS_RECORD_MAX);
	ck_assert_uint_le(out.size, TLS_OUT_SIZE);
	end();
}

/* --- The end ------------------------------------------------------------------------------- */

TEST(the_ends_are_told) {
	open_session();
	tls_client_write(&client, "last", 4);
	(void)gnutls_bye(client.session, GNUTLS_SHUT_WR);
	exchange(TLS_IN_MAX);
	ck_assert_uint_eq(received_size, 4);
	ck_assert_int_eq(result, TLS_ENDED);
	tls_session_end(session, &out);
	hand_back();
	ck_assert_int_eq(gnutls_record_recv(client.session, plain, 1), 0);
	end();
}

TEST(an_alert_ends_it_at_each_step) {
	for (unsigned step = 0; step < 3; step++) {
		begin();
		if (step > 0) {
			give(client.out, client.out_size);
			client.out_size = 0;
			hand_back();
		}
		if (step > 1)
			exchange(TLS_IN_MAX);
		client.out_size = 0;
		(void)gnutls_alert_send(client.session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
		give(client.out, client.out_size);
		ck_assert_int_eq(result, TLS_FAILED);
		ck_assert_uint_gt(strlen(tls_session_error(session)), 0);
		end();
	}
}

/* Nothing is open, and nothing leaks, wherever the client stops. */
TEST(a_handshake_may_be_cut_at_every_byte) {
	for (size_t cut = 0;; cut += STRIDE) {
		size_t first;

		begin();
		first = client.out_size < cut ? client.out_size : cut;
		give(client.out, first);
		ck_assert_int_eq(result, TLS_GOES_ON);
		if (first == client.out_size) {
			size_t rest = cut - first;

			client.out_size = 0;
			hand_back();
			if (rest >= client.out_size) {
				end();
				return;
			}
			give(client.out, rest);
			ck_assert_int_eq(result, TLS_GOES_ON);
		}
		ck_assert(!tls_session_is_open(session));
		end();
	}
}

TEST(a_handshake_that_is_damaged_never_opens) {
	for (size_t at = 0;; at += STRIDE) {
		size_t first;

		begin();
		first = client.out_size;
		if (at < first)
			client.out[at] ^= 0x20;
		give(client.out, first);
		client.out_size = 0;
		hand_back();
		if (at >= first + client.out_size) {
			end();
			return;
		}
		if (at >= first)
			client.out[at - first] ^= 0x20;
		if (result == TLS_GOES_ON && client.out_size > 0)
			give(client.out, client.out_size);
		ck_assert_msg(!tls_session_is_open(session), "byte %zu", at);
		end();
	}
}

TEST(a_record_that_is_damaged_or_forged_ends_it) {
	open_session();
	tls_client_write(&client, "hello", 5);
	client.out[client.out_size - 1] ^= 1;
	give(client.out, client.out_size);
	ck_assert_int_eq(result, TLS_FAILED);
	ck_assert_uint_eq(received_size, 0);
	end();
	open_session();
	give((const unsigned char *)"\x80\0\0\x28\0\0\0\1\0\0\0\0\0\0\0\2", 16);
	ck_assert_int_eq(result, TLS_FAILED);
	ck_assert_uint_eq(received_size, 0);
	end();
}

/* --- What clients may ask for -------------------------------------------------------------- */

static bool opens(const struct tls_client_options *options) {
	bool is_open;

	begin_with(credentials, options);
	exchange(TLS_IN_MAX);
	is_open = tls_session_is_open(session);
	end();
	return is_open;
}

TEST(the_protocol_is_sunrpc_or_none_is_named) {
	ck_assert(opens(&(struct tls_client_options){.protocol = "sunrpc"}));
	ck_assert(opens(&(struct tls_client_options){.protocol = NULL}));
	ck_assert(!opens(&(struct tls_client_options){.protocol = "http/1.1"}));
}

TEST(tls_below_1_3_is_refused) {
	ck_assert(
	    !opens(&(struct tls_client_options){.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2"}));
	ck_assert(!opens(&(struct tls_client_options){
	    .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.1:+VERS-TLS1.0"}));
}

TEST(a_client_without_a_certificate_is_accepted_unless_one_is_needed) {
	struct credentials *strict = pki_credentials(&server_identity, &ca, NULL, true);

	begin_with(credentials, &(struct tls_client_options){.protocol = "sunrpc"});
	exchange(TLS_IN_MAX);
	ck_assert(tls_session_is_open(session));
	ck_assert_ptr_null(tls_session_take_certificate(session));
	ck_assert(!tls_session_recheck(session, strict));
	end();
	begin_with(strict, &(struct tls_client_options){.protocol = "sunrpc"});
	exchange(TLS_IN_MAX);
	ck_assert(!tls_session_is_open(session));
	ck_assert_ptr_nonnull(strstr(tls_session_error(session), "it shows no certificate"));
	end();
	credentials_unref(strict);
}

/* --- Certificates -------------------------------------------------------------------------- */

/* NULL: accepted; else what the error says. */
static void expect(const struct pki_identity *chain, unsigned count, const char *error) {
	begin_with(credentials, &(struct tls_client_options){.chain = chain, .chain_count = count});
	exchange(TLS_IN_MAX);
	if (error == NULL)
		ck_assert_msg(tls_session_is_open(session), "%s", tls_session_error(session));
	else
		ck_assert_msg(!tls_session_is_open(session) &&
				  strstr(tls_session_error(session), error) != NULL,
			      "\"%s\" and not \"%s\"", tls_session_error(session), error);
	end();
}

static char long_name[4097];

TEST(a_certificate_is_refused_with_its_reason) {
	static const struct pki_name numbers[] = {{GNUTLS_SAN_IPADDRESS, "\x7f\0\0\1", 4}, {0}},
				     nul[] = {{GNUTLS_SAN_URI, "kv:a\0b", 6}, {0}},
				     latin[] = {{GNUTLS_SAN_URI, "kv:caf\xe9", 7}, {0}},
				     tall[] = {{GNUTLS_SAN_URI, long_name, 4096}, {0}},
				     over[] = {{GNUTLS_SAN_URI, long_name, 251}, {0}},
				     fits[] = {{GNUTLS_SAN_URI, long_name, 250}, {0}};
	static const struct {
		struct pki_request request;
		bool is_of_other;
		const char *error;
	} table[] = {
	    {{.common_name = "a"}, true, "its issuer is not in --tls-ca"},
	    {{.common_name = "a", .from_days = -9, .to_days = -2}, false, "it has expired"},
	    {{.common_name = "a", .from_days = 2, .to_days = 9}, false, "it is not valid yet"},
	    {{.common_name = "a", .purpose = GNUTLS_KP_TLS_WWW_SERVER}, false, "not for clients"},
	    {{.common_name = "a", .purpose = GNUTLS_KP_TLS_WWW_CLIENT}, false, NULL},
	    {{.common_name = "a", .purpose = "1.3.6.1.5.5.7.3.33"}, false, NULL},
	    {{.common_name = "a", .purpose = "1.3.6.1.5.5.7.3.34"}, false, "not for clients"},
	    {{.common_name = "a", .rsa_bits = 1024}, false, "too weak"},
	    {{.common_name = "a", .rsa_bits = 2048}, false, NULL},
	    {{.common_name = NULL}, false, "it has no name"},
	    {{.common_name = "a", .names = numbers}, false, "it has no name"},
	    {{.common_name = "a", .names = nul}, false, "not printable"},
	    {{.common_name = "a", .names = latin}, false, "not printable"},
	    {{.common_name = "a", .names = tall}, false, "has not 1 to 250 bytes"},
	    {{.common_name = "a", .names = over}, false, "has not 1 to 250 bytes"},
	    {{.common_name = "a", .names = fits}, false, NULL},
	    {{.common_name = "caf\xc3\xa9"}, false, "not printable"},
	};

	memset(long_name, 'x', sizeof(long_name) - 1);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct pki_identity identity =
		    pki_issue(table[i].is_of_other ? &other_ca : &ca, &table[i].request);

		expect(&identity, 1, table[i].error);
		pki_free(&identity);
	}
}

TEST(a_fingerprint_in_the_rules_asks_for_no_issuer) {
	struct pki_identity identity =
	    pki_issue(&other_ca, &(struct pki_request){.common_name = "a"});
	struct pki_identity old = pki_issue(
	    NULL, &(struct pki_request){.common_name = "a", .from_days = -9, .to_days = -2});

	pins = true;
	expect(&identity, 1, NULL);
	expect(&old, 1, "it has expired");
	pins = false;
	expect(&identity, 1, "its issuer is not in --tls-ca");
	pki_free(&identity);
	pki_free(&old);
}

TEST(a_long_chain_is_refused) {
	struct pki_identity chain[10];

	for (int i = 9; i >= 0; i--) {
		const char name[] = {'i', (char)('0' + i), '\0'};

		chain[i] = pki_issue(i == 9 ? &ca : &chain[i + 1],
				     &(struct pki_request){.common_name = name, .is_ca = i > 0});
	}
	expect(chain, 10, "10 certificates are shown with it, and 8 may be");
	pki_free(&chain[2]);
	chain[2] = pki_issue(&chain[3], &(struct pki_request){.common_name = "a"});
	expect(chain + 2, 8, NULL);
	for (unsigned i = 0; i < 10; i++)
		pki_free(&chain[i]);
}

TEST(a_message_of_the_handshake_has_a_limit) {
	static char uri[TLS_HANDSHAKE_MAX];
	static const struct pki_name names[] = {{GNUTLS_SAN_URI, uri, sizeof(uri)}, {0}};
	struct pki_identity identity;

	memset(uri, 'u', sizeof(uri));
	identity = pki_issue(&ca, &(struct pki_request){.common_name = "i", .names = names});
	expect(&identity, 1, "too large");
	pki_free(&identity);
}

/* Mail first, then URIs, then DNS; at most eight; the common name only without any. */
TEST(names_come_in_their_order) {
	static const struct pki_name names[] = {{GNUTLS_SAN_DNSNAME, "d1.test", 0},
						{GNUTLS_SAN_DNSNAME, "d2.test", 0},
						{GNUTLS_SAN_URI, "kv:u1", 0},
						{GNUTLS_SAN_IPADDRESS, "\x7f\0\0\1", 4},
						{GNUTLS_SAN_RFC822NAME, "m@1", 0},
						{GNUTLS_SAN_URI, "kv:u2", 0},
						{GNUTLS_SAN_DNSNAME, "d3.test", 0},
						{GNUTLS_SAN_DNSNAME, "d4.test", 0},
						{GNUTLS_SAN_DNSNAME, "d5.test", 0},
						{GNUTLS_SAN_DNSNAME, "d6.test", 0},
						{0}};
	static const char *const order[] = {"m@1",     "kv:u1",	  "kv:u2",   "d1.test",
					    "d2.test", "d3.test", "d4.test", "d5.test"};
	struct pki_identity identity =
	    pki_issue(&ca, &(struct pki_request){.common_name = "not this", .names = names});
	struct certificate *certificate;

	begin_with(credentials, &(struct tls_client_options){.chain = &identity, .chain_count = 1});
	exchange(TLS_IN_MAX);
	certificate = tls_session_take_certificate(session);
	ck_assert_ptr_nonnull(certificate);
	ck_assert_str_eq(certificate->principal, "cert:m@1");
	ck_assert_uint_eq(certificate->name_count, CERTIFICATE_NAMES_MAX);
	for (unsigned i = 0; i < CERTIFICATE_NAMES_MAX; i++)
		ck_assert_str_eq(certificate->names[i], order[i]);
	certificate_free(certificate);
	end();
	pki_free(&identity);
}

TEST(what_was_accepted_is_looked_at_again) {
	gnutls_x509_crl_t crl = pki_revoke(&ca, &alice), empty = pki_revoke(&ca, NULL);
	struct credentials *revoking = pki_credentials(&server_identity, &ca, crl, false);
	struct credentials *others = pki_credentials(&server_identity, &other_ca, NULL, false);
	struct credentials *same = pki_credentials(&server_identity, &ca, empty, false);

	open_session();
	ck_assert(tls_session_recheck(session, credentials));
	ck_assert(tls_session_recheck(session, same));
	ck_assert(!tls_session_recheck(session, revoking));
	ck_assert_ptr_nonnull(strstr(tls_session_error(session), "it is revoked"));
	ck_assert(!tls_session_recheck(session, others));
	ck_assert_ptr_nonnull(strstr(tls_session_error(session), "its issuer is not in"));
	end();
	begin_with(revoking, &(struct tls_client_options){.chain = &alice, .chain_count = 1});
	exchange(TLS_IN_MAX);
	ck_assert(!tls_session_is_open(session));
	end();
	credentials_unref(revoking);
	credentials_unref(others);
	credentials_unref(same);
	gnutls_x509_crl_deinit(crl);
	gnutls_x509_crl_deinit(empty);
}

/* A session that is under way goes on with what it began with. */
TEST(credentials_outlive_their_replacement) {
	struct credentials *short_lived = pki_credentials(&server_identity, &ca, NULL, false);

	begin_with(short_lived, &(struct tls_client_options){.chain = &alice, .chain_count = 1});
	give(client.out, client.out_size);
	client.out_size = 0;
	credentials_unref(short_lived);
	hand_back();
	exchange(TLS_IN_MAX);
	ck_assert(tls_session_is_open(session));
	end();
}

TEST(a_server_shows_no_endless_chain) {
	gnutls_datum_t text = pki_certificate_text(&server_identity),
		       key = pki_key_text(&server_identity);
	struct credentials_files files = {.key = {"--tls-key", "key", {key.data, key.size}}};
	char error[CREDENTIALS_ERROR_MAX];
	char *many = calloc(9, text.size + 1);

	for (unsigned i = 0; i < 9; i++)
		memcpy(many + strlen(many), text.data, text.size);
	files.certificate = (struct credentials_file){"--tls-cert", "chain", {many, strlen(many)}};
	ck_assert_ptr_null(credentials_new(&files, error));
	ck_assert_ptr_nonnull(strstr(error, "--tls-cert chain: 9 certificates of"));
	free(many);
	gnutls_free(text.data);
	gnutls_free(key.data);
}
