/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses as people write them. */

#include <stdio.h>
#include <string.h>

#include "address.h"
#include "test.h"

/* Good ones, and how they are written again. */
static const struct {
	const char *text;
	enum address_kind kind;
	const char *host; /* or path */
	uint16_t port;
	const char *again;
} good[] = {
    {"local:/run/kvd.sock", ADDRESS_LOCAL, "/run/kvd.sock", 0, "local:/run/kvd.sock"},
    {"local:/a:b", ADDRESS_LOCAL, "/a:b", 0, "local:/a:b"},
    {"tcp:kv.example.org", ADDRESS_TCP, "kv.example.org", 0, "tcp:kv.example.org"},
    {"kv.example.org", ADDRESS_TCP, "kv.example.org", 0, "tcp:kv.example.org"},
    {"kv_1-a", ADDRESS_TCP, "kv_1-a", 0, "tcp:kv_1-a"},
    {"tcp", ADDRESS_TCP, "tcp", 0, "tcp:tcp"},
    {"10.0.0.1", ADDRESS_TCP, "10.0.0.1", 0, "tcp:10.0.0.1"},
    {"tcp:localhost:7000", ADDRESS_TCP, "localhost", 7000, "tcp:localhost:7000"},
    {"tcp:0.0.0.0:0", ADDRESS_TCP, "0.0.0.0", 0, "tcp:0.0.0.0"},
    {"udp:h:65535", ADDRESS_UDP, "h", 65535, "udp:h:65535"},
    {"udp:h", ADDRESS_UDP, "h", 0, "udp:h"},
    {"tls:kv.example.org", ADDRESS_TCP, "kv.example.org", 0, "tls:kv.example.org"},
    {"tls:kv.example.org:7000", ADDRESS_TCP, "kv.example.org", 7000, "tls:kv.example.org:7000"},
    {"tls:[::1]:7000", ADDRESS_TCP, "::1", 7000, "tls:[::1]:7000"},
    {"tls:[fe80::1%eth0]", ADDRESS_TCP, "fe80::1%eth0", 0, "tls:[fe80::1%eth0]"},
    {"tls", ADDRESS_TCP, "tls", 0, "tcp:tls"},
    {"tcp:[::1]:7000", ADDRESS_TCP, "::1", 7000, "tcp:[::1]:7000"},
    {"[::1]", ADDRESS_TCP, "::1", 0, "tcp:[::1]"},
    {"udp:[fe80::1%eth0]:1", ADDRESS_UDP, "fe80::1%eth0", 1, "udp:[fe80::1%eth0]:1"},
    {"[::ffff:10.0.0.1]", ADDRESS_TCP, "::ffff:10.0.0.1", 0, "tcp:[::ffff:10.0.0.1]"},
};

LOOP_TEST(an_address_is_read_and_written_again, 0, sizeof(good) / sizeof(good[0])) {
	struct address address;
	char text[ADDRESS_TEXT_MAX];

	ck_assert_ptr_null(address_parse(good[_i].text, &address));
	ck_assert_int_eq(address.kind, good[_i].kind);
	ck_assert_str_eq(address.kind == ADDRESS_LOCAL ? address.path : address.host,
			 good[_i].host);
	ck_assert_uint_eq(address.port, good[_i].port);
	ck_assert_int_eq(address.is_tls, strncmp(good[_i].text, "tls:", 4) == 0);
	address_format(&address, text);
	ck_assert_str_eq(text, good[_i].again);
}

/* Bad ones, and a word of what is said about them. */
static const struct {
	const char *text;
	const char *about;
} bad[] = {
    {"", "missing"},
    {"tcp:", "host is missing"},
    {"tls:", "host is missing"},
    {"tls:h:", "port is missing"},
    {"tls:/run/kvd.sock", "host is"},
    {"tls:tcp:h", "number"},
    {"tcp::7000", "host is missing"},
    {":7000", "brackets"},
    {"tcp:h:", "port is missing"},
    {"tcp:h:x", "number"},
    {"tcp:h:-1", "number"},
    {"tcp:h: 1", "number"},
    {"tcp:h:65536", "number"},
    {"tcp:h:99999999999999999999", "number"},
    {"h:7000", "kind"},
    {"[::1]:7000", "kind"},
    {"http:h", "kind"},
    {"/run/kvd.sock", "local:/PATH"},
    {"local:", "absolute"},
    {"local:kvd.sock", "absolute"},
    {"local:/a b", "blank"},
    {"local:/a\nb", "control"},
    {"::1", "brackets"},
    {"fe80::1", "brackets"},
    {"tcp:::1:7000", "missing"},
    {"tcp:fe80::1:7000", "brackets"},
    {"tcp:[::1", "not closed"},
    {"tcp:[]", "no IPv6"},
    {"tcp:[10.0.0.1]", "no IPv6"},
    {"tcp:[kv]", "no IPv6"},
    {"tcp:[::1%]", "no IPv6"},
    {"tcp:[::1%a/b]", "no IPv6"},
    {"tcp:[::1]7000", "host is"},
    {"tcp:a/b", "host is"},
    {"tcp:a b", "host is"},
    {"a,b", "host is"},
};

LOOP_TEST(what_is_no_address_is_explained, 0, sizeof(bad) / sizeof(bad[0])) {
	struct address address = {.port = 4711};
	const char *wrong = address_parse(bad[_i].text, &address);

	ck_assert_ptr_nonnull(wrong);
	ck_assert_msg(strstr(wrong, bad[_i].about) != NULL, "\"%s\": %s", bad[_i].text, wrong);
	ck_assert_ptr_null(strchr(wrong, '\n'));
	ck_assert_uint_eq(address.port, 4711);
}

/* `text` and then `count` times 'a'. */
static const char *padded(const char *text, size_t count) {
	static char longer[1024];
	size_t length = strlen(text);

	memcpy(longer, text, length);
	memset(longer + length, 'a', count);
	longer[length + count] = '\0';
	return longer;
}

TEST(the_longest_fit_and_one_more_does_not) {
	struct address address;
	char text[ADDRESS_TEXT_MAX];

	ck_assert_ptr_null(address_parse(padded("tcp:", ADDRESS_HOST_MAX), &address));
	address.port = 65535;
	address_format(&address, text);
	ck_assert_uint_eq(strlen(text), 4 + ADDRESS_HOST_MAX + 6);
	ck_assert_ptr_nonnull(address_parse(padded("tcp:", ADDRESS_HOST_MAX + 1), &address));
	ck_assert_ptr_null(address_parse(padded("local:/", ADDRESS_PATH_MAX - 1), &address));
	ck_assert_ptr_nonnull(address_parse(padded("local:/", ADDRESS_PATH_MAX), &address));
	ck_assert_ptr_nonnull(address_parse(padded("tcp:[::1%", 500), &address));
}

TEST(a_list_is_read_in_its_order) {
	struct address list[ADDRESS_LIST_MAX];
	size_t count = 0;

	ck_assert_ptr_null(address_parse_list("local:/a,tcp:b:1,udp:[::1],c", list, &count));
	ck_assert_uint_eq(count, 4);
	ck_assert_str_eq(list[0].path, "/a");
	ck_assert_str_eq(list[1].host, "b");
	ck_assert_int_eq(list[2].kind, ADDRESS_UDP);
	ck_assert_str_eq(list[3].host, "c");
}

TEST(a_list_with_an_empty_part_is_refused) {
	struct address list[ADDRESS_LIST_MAX];
	size_t count = 4711;

	ck_assert_ptr_nonnull(address_parse_list("", list, &count));
	ck_assert_ptr_nonnull(address_parse_list(",", list, &count));
	ck_assert_ptr_nonnull(address_parse_list("a,,b", list, &count));
	ck_assert_ptr_nonnull(address_parse_list("a,", list, &count));
	ck_assert_uint_eq(count, 4711);
}

TEST(a_list_has_at_most_sixteen) {
	struct address list[ADDRESS_LIST_MAX];
	size_t count = 0;

	ck_assert_ptr_null(address_parse_list("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", list, &count));
	ck_assert_uint_eq(count, ADDRESS_LIST_MAX);
	ck_assert_ptr_nonnull(
	    address_parse_list("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a", list, &count));
	ck_assert_ptr_nonnull(address_parse_list(padded("a,", 1000), list, &count));
}
