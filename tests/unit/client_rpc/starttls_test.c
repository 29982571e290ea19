/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: random_bytes */
/* The probe of RFC 9289, 4.1, byte by byte, and the replies to it. */

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "rpc/last_error.h"
#include "rpc/starttls.h"
#include "test.h"

enum { PROBE_SIZE = 44, SHORT_MS = 20, LONG_MS = 60000 };

static int fd;
static int peer;

static void open_pair(void) {
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends),
			 0);
	fd = ends[0];
	peer = ends[1];
	last_error_clear();
}

static void close_pair(void) {
	(void)close(fd);
	(void)close(peer);
}

CASE(probe, .setup = open_pair, .teardown = close_pair);

/* A NULL call of program 0x20004b56, version 1, with AUTH_TLS (7) and no body, and no verifier. */
static const uint8_t probe[PROBE_SIZE] = {
    0x80, 0, 0,	   40,	 0, 0, 0, 0,		 /* mark, xid */
    0,	  0, 0,	   0,	 0, 0, 0, 2,		 /* CALL, RPC version */
    0x20, 0, 0x4b, 0x56, 0, 0, 0, 1, 0, 0, 0, 0, /* program, version, procedure */
    0,	  0, 0,	   7,	 0, 0, 0, 0,		 /* credential: AUTH_TLS, empty */
    0,	  0, 0,	   0,	 0, 0, 0, 0,		 /* verifier: AUTH_NONE, empty */
};

static void read_probe(uint8_t bytes[PROBE_SIZE]) {
	ck_assert_int_eq(recv(peer, bytes, PROBE_SIZE, 0), PROBE_SIZE);
	ck_assert_int_eq(recv(peer, bytes, 1, MSG_PEEK), -1);
}

TEST(it_is_a_null_call_with_auth_tls) {
	uint8_t bytes[PROBE_SIZE];

	ck_assert(!starttls(fd, 0x20004b56, "kv", clock_ms() + SHORT_MS));
	ck_assert_str_eq(last_error_text(), "kv: no reply to the question for TLS");
	read_probe(bytes);
	memset(bytes + 4, 0, 4);
	ck_assert_mem_eq(bytes, probe, PROBE_SIZE);
}

/* The xid is random; here it is a fixed one, so that replies can be made beforehand. */
static const uint8_t fixed_xid[4] = {0xde, 0xad, 0xbe, 0xef};
void __wrap_random_bytes(void *data, size_t size);
void __wrap_random_bytes(void *data, size_t size) {
	ck_assert_uint_eq(size, 4);
	memcpy(data, (const uint8_t[]){0xef, 0xbe, 0xad, 0xde}, 4);
}

#define XID 0xde, 0xad, 0xbe, 0xef
#define OFFER_HEAD 0x80, 0, 0, 32, XID, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8
#define TOKEN 'S', 'T', 'A', 'R', 'T', 'T', 'L', 'S'

static const struct {
	uint8_t bytes[64];
	size_t size;
	bool is_offer;
	const char *about;
} replies[] = {
    {{OFFER_HEAD, TOKEN, 0, 0, 0, 0}, 36, true, ""},
    /* accepted, with an empty verifier */
    {{0x80, 0, 0, 24, XID, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
     28,
     false,
     "offers no TLS"},
    /* denied: AUTH_ERROR, AUTH_BADCRED */
    {{0x80, 0, 0, 20, XID, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1},
     24,
     false,
     "offers no TLS"},
    {{OFFER_HEAD, 'S', 'T', 'A', 'R', 'T', 'T', 'L', 'X', 0, 0, 0, 0}, 36, false, "no TLS"},
    /* the token, and PROG_UNAVAIL */
    {{OFFER_HEAD, TOKEN, 0, 0, 0, 1}, 36, false, "offers no TLS"},
    /* of another call */
    {{0x80, 0, 0, 32, 1, 2, 3, 4, 0, 0,	    0, 1, 0, 0, 0,
      0,    0, 0, 0,  0, 0, 0, 0, 8, TOKEN, 0, 0, 0, 0},
     36,
     false,
     "offers no TLS"},
    /* not the last fragment */
    {{0, 0, 0, 32, XID, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, TOKEN, 0, 0, 0, 0},
     36,
     false,
     "offers no TLS"},
    /* a verifier that is not AUTH_NONE */
    {{0x80, 0, 0, 32, XID, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 8, TOKEN, 0, 0, 0, 0},
     36,
     false,
     "offers no TLS"},
    /* longer than it should be */
    {{0x80, 0, 0, 36, XID, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, TOKEN},
     40,
     false,
     "offers no TLS"},
    {{0x80, 0, 0, 0}, 4, false, "offers no TLS"},
    {{'H', 'T', 'T', 'P', '/', '1', '.', '1', ' ', '4', '0', '0'}, 48, false, "offers no TLS"},
};

LOOP_TEST(one_reply_is_an_offer, 0, sizeof(replies) / sizeof(replies[0])) {
	uint8_t bytes[PROBE_SIZE];

	ck_assert_int_eq(send(peer, replies[_i].bytes, replies[_i].size, 0),
			 (ssize_t)replies[_i].size);
	ck_assert_int_eq(starttls(fd, 0x20004b56, "kv", clock_ms() + LONG_MS),
			 replies[_i].is_offer);
	ck_assert_msg(strstr(last_error_text(), replies[_i].about) != NULL, "%s",
		      last_error_text());
	/* Nothing but the probe was sent. */
	read_probe(bytes);
	ck_assert_mem_eq(bytes + 4, fixed_xid, 4);
}

TEST(what_stands_behind_an_offer_is_not_read) {
	uint8_t left[4];

	ck_assert_int_eq(send(peer, replies[0].bytes, 36, 0), 36);
	ck_assert_int_eq(send(peer, "late", 4, 0), 4);
	ck_assert(starttls(fd, 0x20004b56, "kv", clock_ms() + LONG_MS));
	ck_assert_int_eq(recv(fd, left, sizeof(left), 0), 4);
	ck_assert_mem_eq(left, "late", 4);
}

LOOP_TEST(a_reply_that_stalls_or_ends_anywhere_is_none, 0, 36) {
	ck_assert_int_eq(send(peer, replies[0].bytes, (size_t)_i, 0), _i);
	ck_assert(!starttls(fd, 0x20004b56, "kv", clock_ms() + SHORT_MS));
	ck_assert_ptr_nonnull(strstr(last_error_text(), "no reply"));
	ck_assert_int_eq(send(peer, replies[0].bytes, (size_t)_i, 0), _i);
	(void)shutdown(peer, SHUT_WR);
	ck_assert(!starttls(fd, 0x20004b56, "kv", clock_ms() + LONG_MS));
}
