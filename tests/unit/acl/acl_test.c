/* SPDX-License-Identifier: BSD-3-Clause */
/* The access rules: their text, every error of it, and who may do what. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "acl/acl.h"
#include "test.h"

enum { RULES_MANY = 10000, CHECKS = 2000000 };

static bool user(const char *name, uint32_t *uid) {
	*uid = 33;
	return strcmp(name, "www-data") == 0;
}

static bool group(const char *name, uint32_t *gid) {
	*gid = 4;
	return strcmp(name, "adm") == 0;
}

static const struct who_names names = {user, group};
static char error[ACL_ERROR_MAX];

static struct acl *parse(const char *text) {
	return acl_parse("rules", (struct kv_bytes){text, strlen(text)}, &names, error);
}

static struct acl *rules(const char *text) {
	struct acl *acl = parse(text);

	ck_assert_msg(acl != NULL, "%s", error);
	return acl;
}

static unsigned rights(const struct acl *acl, const struct caller *caller, const char *key) {
	return acl_check(acl, caller, (struct kv_bytes){key, strlen(key)});
}

static const struct caller any = {0};
static const struct caller www = {.is_known = true, .uid = 33};
static const struct caller other = {.is_known = true, .uid = 1000, .name = "uid:1000"};
static const struct caller host = {
    .has_address = true, .address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3}};
static const unsigned rw = ACL_READ | ACL_LOCK | ACL_APPEND | ACL_WRITE;

/* --- Errors -------------------------------------------------------------------------------- */

static const struct {
	const char *text;
	const char *error;
} refused[] = {
    {"* any", "rules:1: \"any\": its rights are missing, as in any(ro)"},
    {"\n\n* any(ro", "rules:3: \"any(ro\": its rights are missing"},
    {"* any(read)",
     "rules:1: \"read\": a right is ro, rw, lock, add or admin, and an option is tls"},
    {"* any()", "rules:1: \"\": a right is"},
    {"* any(ro,)", "rules:1: \"\": a right is"},
    {"* any(tls)", "rules:1: a right is missing beside tls"},
    {"* all(ro)", "rules:1: \"all\": write any, known, local, uid:"},
    {"* @web(ro)", "rules:1: there is no @web above: define it in a line @web = WHO..."},
    {"@web = @web\n", "rules:1: there is no @web above"},
    {"@web uid:1", "rules:1: a line that begins with @ defines a group"},
    {"@ = uid:1", "rules:1: a line that begins with @ defines a group"},
    {"@a/b = uid:1", "rules:1: a line that begins with @ defines a group"},
    {"@web =", "rules:1: @web has no members, as in @web = uid:1000"},
    {"@web = uid:1(ro)", "rules:1: \"uid:1(ro)\": no rights stand here"},
    {"@web = uid:1\n@x = uid:2\n@web = uid:3", "rules:3: @web has a line already (1)"},
    {"@a1234567890123456789012345678901234567890123456789012345678901234 = any",
     "rules:1: the name of a group is longer than 64 bytes"},
    {"app/ any(admin)", "rules:1: admin is a right to everything: give it in the line of *"},
    {"app/", "rules:1: a prefix without callers"},
    {"app/ # any(ro)", "rules:1: a prefix without callers"},
    {"app/ any(ro)\n* any(ro)\napp/ uid:1(rw)", "rules:3: this prefix has a line already (1)"},
    {"* any(ro)\n\"\" any(ro)", "rules:2: the prefix is empty: write * for all keys"},
    {"app/* any(ro)", "rules:1: a prefix has no *"},
    {"app#x any(ro)", "rules:1: # within a word: put the word in quotes"},
    {"app\"x any(ro)", "rules:1: \" within a word"},
    {"\"app any(ro)\n", "rules:1: the closing \" is missing"},
    {"\"app\"any(ro)\n", "rules:1: a blank is missing behind the closing \""},
    {"app\\y any(ro)", "rules:1: behind \\ comes x and two hexadecimal digits"},
    {"app\\x4 any(ro)", "rules:1: behind \\ comes x and two hexadecimal digits"},
    {"app\\", "rules:1: behind \\ comes x and two hexadecimal digits"},
    {"app\x01 any(ro)", "rules:1: a control character: write it as \\x01"},
    {"app/ uid:33\\x00(ro)", "rules:1: a NUL byte in a name"},
    {"limit", "rules:1: limit without a caller: write it as limit any sessions=100"},
    {"limit # any", "rules:1: limit without a caller"},
    {"limit any", "rules:1: limit without a number: write connections=N, sessions=N"},
    {"limit any(ro) sessions=1", "rules:1: \"any(ro)\": no rights stand here"},
    {"limit @web sessions=1", "rules:1: there is no @web above"},
    {"limit all sessions=1", "rules:1: \"all\": write any, known"},
    {"limit any bytes=1", "rules:1: \"bytes=1\": a limit is connections=N or sessions=N"},
    {"limit any sessions", "rules:1: \"sessions\": a limit is connections=N or sessions=N"},
    {"limit any sessions=1\\x00", "rules:1: \"sessions=1\": a limit is"},
    {"limit any sessions=", "rules:1: \"sessions=\": "},
    {"limit any sessions=-1", "rules:1: \"sessions=-1\": "},
    {"limit any sessions=4294967296", "rules:1: \"sessions=4294967296\": "},
    {"limit any sessions=1 sessions=2", "rules:1: \"sessions=2\": this limit stands in the line "
					"already"},
    {"* uid:alice(ro)", "rules:1: there is no user \"alice\": create it"},
    {"* gid:staff(ro)", "rules:1: there is no group \"staff\": create it"},
    {"* uid:(ro)", "rules:1: there is no user \"\""},
    {"* uid:4294967295(ro)", "rules:1: user 4294967295 is out of range"},
    {"* host:example.org(ro)", "rules:1: \"example.org\" is not an address"},
    {"* host:10.1.0.0/33(ro)", "rules:1: the bits behind the / of host:10.1.0.0: 33 is out of"},
    {"* host:10.1.0.0/x(ro)", "rules:1: the bits behind the / of host:10.1.0.0: \"x\" is not"},
    {"* host:10.1.2.3/16(ro)",
     "rules:1: host:10.1.2.3/16: the address has bits behind the first 16"},
    {"* host:2001:db8::1/32(ro)", "rules:1: host:2001:db8::1/32: the address has bits behind"},
    {"* cert:(ro)", "rules:1: the name is missing, as in cert:web1.example.org"},
    {"* cert:w*.example.org(ro)", "rules:1: cert:w*.example.org: * stands for the whole first"},
    {"* cert:*(ro)", "rules:1: cert:*: * stands for the whole first label only"},
    {"* cert:a\\x80(ro)", "rules:1: the name of a certificate is 1 to 250 printable"},
    {"* cert-sha256:12(ro)", "rules:1: a SHA-256 fingerprint is 64 hexadecimal digits"},
    {"* krb:alice(ro)", "rules:1: krb:alice: a Kerberos principal has a name and a realm"},
    {"* krb:al*@X(ro)", "rules:1: krb:al*@X: * stands for the whole name only"},
};

LOOP_TEST(an_error_is_one_line_with_its_place_and_cure, 0, sizeof(refused) / sizeof(refused[0])) {
	ck_assert_ptr_null(parse(refused[_i].text));
	ck_assert_msg(strncmp(error, refused[_i].error, strlen(refused[_i].error)) == 0,
		      "%s\ngives: %s\nnot:   %s", refused[_i].text, error, refused[_i].error);
	ck_assert_ptr_null(strchr(error, '\n'));
}

static void repeat(char **to, const char *what, unsigned count) {
	for (unsigned i = 0; i < count; i++)
		*to = stpcpy(*to, what);
}

TEST(a_word_longer_than_a_key_is_refused) {
	char text[2000], *to = text;

	repeat(&to, "x", ACL_PREFIX_MAX + 1);
	(void)stpcpy(to, " any(ro)");
	ck_assert_ptr_null(parse(text));
	ck_assert_str_eq(error, "rules:1: a word is longer than 1024 bytes");
	acl_free(rules(text + 1));
}

TEST(a_text_above_the_limit_is_refused) {
	char *text = calloc(1, ACL_TEXT_MAX + 1);

	memset(text, '\n', ACL_TEXT_MAX + 1);
	ck_assert_ptr_null(
	    acl_parse("rules", (struct kv_bytes){text, ACL_TEXT_MAX + 1}, &names, error));
	ck_assert_str_eq(error, "rules:1: longer than 16 MiB: use groups and shorter prefixes");
	acl_free(acl_parse("rules", (struct kv_bytes){text, ACL_TEXT_MAX}, &names, error));
	free(text);
}

TEST(more_rules_than_the_limit_are_refused) {
	char *text = calloc(ACL_RULES_MAX + 2, 16), *to = text;

	for (unsigned i = 0; i <= ACL_RULES_MAX; i++)
		to += sprintf(to, "%u any(ro)\n", i);
	ck_assert_ptr_null(parse(text));
	ck_assert_str_eq(error,
			 "rules:100001: more than 100000 rules: use groups and shorter prefixes");
	text[to - text - 1] = '\0';
	*strrchr(text, '\n') = '\0';
	struct acl *acl = rules(text);
	ck_assert_uint_eq(acl_rule_count(acl), ACL_RULES_MAX);
	acl_free(acl);
	free(text);
}

TEST(a_group_above_its_limit_is_refused) {
	char *text = calloc(ACL_GROUP_MEMBERS_MAX + 100, 8), *to = stpcpy(text, "@all =");

	repeat(&to, " uid:7", ACL_GROUP_MEMBERS_MAX);
	acl_free(rules(text));
	(void)stpcpy(to, " uid:7");
	ck_assert_ptr_null(parse(text));
	ck_assert_str_eq(
	    error, "rules:1: a group of more than 10000 members: use gid:, a network or *.DOMAIN");
	free(text);
}

TEST(groups_in_groups_have_a_depth) {
	char text[4000], *to = text;

	to += sprintf(to, "@g1 = uid:1000\n");
	for (unsigned i = 2; i <= ACL_GROUP_DEPTH_MAX; i++)
		to += sprintf(to, "@g%u = @g%u\n", i, i - 1);
	char *deepest = to;
	(void)sprintf(to, "* @g%u(ro)\n", ACL_GROUP_DEPTH_MAX);
	struct acl *acl = rules(text);
	ck_assert_uint_eq(rights(acl, &other, "k"), ACL_READ);
	acl_free(acl);
	(void)sprintf(deepest, "@g9 = @g8\n");
	ck_assert_ptr_null(parse(text));
	ck_assert_str_eq(error,
			 "rules:9: @g9: groups in groups more than 8 deep: name its members");
}

TEST(an_error_shows_no_control_character) {
	ck_assert_ptr_null(parse("* any(\\x1b[2J)"));
	ck_assert_str_eq(
	    error,
	    "rules:1: \"?[2J\": a right is ro, rw, lock, add or admin, and an option is tls");
}

/* --- Rights -------------------------------------------------------------------------------- */

TEST(without_rules_no_caller_has_a_right) {
	struct acl *acl = rules("# nothing\n\n   \t\n");

	ck_assert_uint_eq(acl_rule_count(acl), 0);
	ck_assert_uint_eq(rights(acl, &www, "k"), 0);
	ck_assert_uint_eq(acl_rights_anywhere(acl, &www), 0);
	acl_free(acl);
}

TEST(the_longest_prefix_decides_alone) {
	struct acl *acl =
	    rules("app/log/ uid:1000(add)\n* any(ro)\napp/ uid:33(rw) uid:1000(ro)\n");

	ck_assert_uint_eq(rights(acl, &www, "app"), ACL_READ);
	ck_assert_uint_eq(rights(acl, &www, "app/"), rw);
	ck_assert_uint_eq(rights(acl, &www, "app/lo"), rw);
	ck_assert_uint_eq(rights(acl, &www, "app/log/"), 0);
	ck_assert_uint_eq(rights(acl, &www, "app/log/x"), 0);
	ck_assert_uint_eq(rights(acl, &www, "app/m"), rw);
	ck_assert_uint_eq(rights(acl, &www, "app0"), ACL_READ);
	ck_assert_uint_eq(rights(acl, &any, "app/m"), 0);
	ck_assert_uint_eq(rights(acl, &other, "app/log/x"), ACL_APPEND);
	ck_assert_uint_eq(acl_rights_anywhere(acl, &other), ACL_READ | ACL_APPEND);
	acl_free(acl);
}

TEST(rights_on_a_line_add_up) {
	struct acl *acl = rules("* any(ro) uid:33(add) uid:33(lock,add)\n");

	ck_assert_uint_eq(rights(acl, &www, "k"), ACL_READ | ACL_APPEND | ACL_LOCK);
	ck_assert_uint_eq(rights(acl, &any, "k"), ACL_READ);
	acl_free(acl);
}

TEST(an_administrator_may_everything) {
	struct acl *acl = rules("* uid:33(admin)\nsecret/ uid:1000(ro)\n");

	ck_assert_uint_eq(rights(acl, &www, "secret/x"), ACL_ALL);
	ck_assert_uint_eq(rights(acl, &other, "secret/x"), ACL_READ);
	ck_assert_uint_eq(rights(acl, &other, "x"), 0);
	acl_free(acl);
}

TEST(each_kind_of_caller_is_matched) {
	static const uint32_t groups[] = {7, 4};
	struct caller member = {.is_known = true, .uid = 2, .groups = groups, .group_count = 2};
	struct acl *acl =
	    rules("a any(ro)\nk known(ro)\nl local(ro)\nu uid:www-data(ro)\n"
		  "g gid:adm(ro)\nh host:10.1.0.0/16(ro)\ni host:10.1.2.3(ro)\n"
		  "j host:10.1.2.128/25(ro)\n6 host:::/0(ro)\nt any(ro,tls)\n"
		  "c cert:*.x.org(ro) cert-sha256:"
		  "0123456789abcdef0123456789ABCDEF0123456789abcdef0123456789abcdef(ro) "
		  "krb:*@X(ro) krb:a@X(ro) cert:a.x.org(ro)\n");
	static const struct {
		const char *key;
		unsigned any, www, member, host;
	} table[] = {{"a", 1, 1, 1, 1}, {"k", 0, 1, 1, 0}, {"l", 0, 1, 1, 0}, {"u", 0, 1, 0, 0},
		     {"g", 0, 0, 1, 0}, {"h", 0, 0, 0, 1}, {"i", 0, 0, 0, 1}, {"j", 0, 0, 0, 0},
		     {"6", 0, 0, 0, 1}, {"t", 0, 1, 1, 0}, {"c", 0, 0, 0, 0}};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		ck_assert_msg(rights(acl, &any, table[i].key) == table[i].any, "%s", table[i].key);
		ck_assert_msg(rights(acl, &www, table[i].key) == table[i].www, "%s", table[i].key);
		ck_assert_msg(rights(acl, &member, table[i].key) == table[i].member, "%s",
			      table[i].key);
		ck_assert_msg(rights(acl, &host, table[i].key) == table[i].host, "%s",
			      table[i].key);
	}
	acl_free(acl);
}

/* "connections,sessions" of the caller, which usually may have 10 and 20. */
static void check_limits(const struct acl *acl, const struct caller *caller, unsigned connections,
			 unsigned sessions) {
	const struct acl_limits usual = {.connections = 10, .sessions = 20};
	const struct acl_limits limits = acl_limits_of(acl, caller, usual);

	ck_assert_uint_eq(limits.connections, connections);
	ck_assert_uint_eq(limits.sessions, sessions);
}

TEST(the_first_line_of_limits_that_matches_decides) {
	struct acl *acl = rules("@web = uid:33 host:10.0.0.0/8\n"
				"limit @web sessions=7\n"
				"  limit uid:1000 connections=0 sessions=4294967295 # most\n"
				"\"limit\" uid:33(ro)\n"
				"limit known connections=5\n"
				"limitless any(add)\n");

	check_limits(acl, &www, 10, 7);
	check_limits(acl, &host, 10, 7);
	check_limits(acl, &other, 0, UINT32_MAX);
	check_limits(acl, &any, 10, 20);
	ck_assert_uint_eq(rights(acl, &www, "limit"), ACL_READ);
	ck_assert_uint_eq(rights(acl, &any, "limitless"), ACL_APPEND);
	acl_free(acl);
}

TEST(more_lines_of_limits_than_may_be_are_refused) {
	static char text[32 * (ACL_LIMITS_MAX + 1)];
	size_t size = 0;

	for (unsigned i = 0; i <= ACL_LIMITS_MAX; i++)
		size += (size_t)sprintf(text + size, "limit uid:%u sessions=1\n", i);
	ck_assert_ptr_null(parse(text));
	ck_assert_str_eq(error,
			 "rules:1001: more than 1000 lines of limits: use groups and shorter "
			 "prefixes");
	*strrchr(text, 'l') = '#'; /* the last line is a comment */
	acl_free(rules(text));
}

TEST(a_peer_is_a_principal_or_an_address_or_a_network_of_ipv6) {
	struct caller far = host, v6 = {.has_address = true, .address = {0x20, 1}}, v6_near = v6,
		      v6_far = v6;
	struct peer_id id = principal_peer(&other);

	ck_assert_uint_eq(id.size, strlen("uid:1000"));
	ck_assert_int_eq(memcmp(id.bytes, "uid:1000", id.size), 0);
	far.address[15]++;
	v6_near.address[8]++;
	v6_far.address[7]++;
	const struct caller *callers[] = {&any, &host, &far, &v6, &v6_far};
	for (unsigned i = 0; i < 5; i++)
		for (unsigned j = 0; j < 5; j++) {
			const struct peer_id a = principal_peer(callers[i]),
					     b = principal_peer(callers[j]);

			ck_assert_int_eq(a.size == b.size && memcmp(a.bytes, b.bytes, a.size) == 0,
					 i == j);
		}
	id = principal_peer(&v6);
	const struct peer_id same = principal_peer(&v6_near), none = principal_peer(NULL);
	ck_assert_uint_eq(id.size, same.size);
	ck_assert_int_eq(memcmp(id.bytes, same.bytes, id.size), 0);
	ck_assert_uint_eq(none.size, principal_peer(&any).size);
}

TEST(words_in_quotes_and_with_escapes_are_bytes) {
	struct acl *acl = rules("\"a key\" uid:7(rw) any(ro)\n\"#\\\"*\\\\\" any(add)\r\n"
				"b\\x00\\xff any(ro)\n\"@at\" \"any(rw)\" # a comment");

	ck_assert_uint_eq(rights(acl, &any, "a key"), ACL_READ);
	ck_assert_uint_eq(rights(acl, &any, "#\"*\\"), ACL_APPEND);
	ck_assert_uint_eq(rights(acl, &any, "@atom"), rw);
	ck_assert_uint_eq(acl_check(acl, &any, (struct kv_bytes){"b\0\xff", 3}), ACL_READ);
	ck_assert_uint_eq(acl_check(acl, &any, (struct kv_bytes){"b\0", 2}), 0);
	acl_free(acl);
}

TEST(a_rule_is_found_with_its_line) {
	struct acl *acl = rules("\n* any(ro)\napp/ any(ro)\n");
	struct kv_bytes prefix;
	unsigned line;

	ck_assert(acl_find_rule(acl, (struct kv_bytes){"app/x", 5}, &prefix, &line));
	ck_assert_uint_eq(prefix.size, 4);
	ck_assert_uint_eq(line, 3);
	ck_assert_uint_eq(acl_rule(acl, &any, 0, &prefix), ACL_READ);
	ck_assert_uint_eq(prefix.size, 0);
	acl_free(acl);
}

TEST(rights_are_written_as_they_are_read) {
	static const struct {
		unsigned rights;
		const char *text;
	} table[] = {{0, "none"},
		     {ACL_READ, "ro"},
		     {ACL_READ | ACL_LOCK, "lock"},
		     {ACL_APPEND, "add"},
		     {ACL_READ | ACL_APPEND, "ro,add"},
		     {ACL_READ | ACL_LOCK | ACL_APPEND, "lock,add"},
		     {ACL_ALL - ACL_ADMIN, "rw"},
		     {ACL_ALL, "admin"}};
	char text[ACL_RIGHTS_TEXT_MAX];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		ck_assert_str_eq(acl_rights_format(table[i].rights, text), table[i].text);
}

TEST(a_principal_is_a_text) {
	char text[PRINCIPAL_TEXT_MAX];

	ck_assert_str_eq(principal_of(&other, text), "uid:1000");
	ck_assert_str_eq(principal_of(&host, text), "any");
	ck_assert(!principal_is_root(&any));
}

/* --- Ranges -------------------------------------------------------------------------------- */

/* All ranges as "[a,b) ". */
static const char *ranges(const struct acl *acl, const struct caller *caller, char *text) {
	struct acl_range range = {.end = {0}};
	char *to = text;

	*to = '\0';
	while (acl_next_range(acl, caller, ACL_READ, range.end, &range)) {
		to +=
		    sprintf(to, "[%.*s,%.*s) ", (int)range.from.size, (const char *)range.from.data,
			    (int)range.end.size, (const char *)range.end.data);
		if (range.end.size == 0)
			break;
	}
	return text;
}

TEST(ranges_are_the_readable_keys) {
	struct acl *acl = rules("a/ uid:33(ro)\na/b/ uid:1000(rw)\na/b/c uid:33(lock)\n"
				"a0 uid:33(ro)\nx uid:33(add)\n\\xff\\xff uid:33(ro)\n");
	char text[400];

	ck_assert_str_eq(ranges(acl, &www, text),
			 "[a/,a/b/) [a/b/c,a/b/d) [a/b0,a0) [a0,a1) [\xff\xff,) ");
	ck_assert_str_eq(ranges(acl, &other, text), "[a/b/,a/b/c) [a/b/d,a/b0) ");
	ck_assert_str_eq(ranges(acl, &any, text), "");
	acl_free(acl);
	acl = rules("* uid:33(admin) any(ro)\np/ uid:7(ro)\n");
	ck_assert_str_eq(ranges(acl, &www, text), "[,) ");
	ck_assert_str_eq(ranges(acl, &any, text), "[,p/) [p0,) ");
	acl_free(acl);
}

static bool is_in(struct kv_bytes key, const struct acl_range *range) {
	size_t from = key.size < range->from.size ? key.size : range->from.size;
	size_t end = key.size < range->end.size ? key.size : range->end.size;
	int after = memcmp(key.data, range->from.data, from);
	int before = end == 0 ? 0 : memcmp(key.data, range->end.data, end);

	return (after > 0 || (after == 0 && key.size >= range->from.size)) &&
	       (range->end.size == 0 || before < 0 || (before == 0 && key.size < range->end.size));
}

/* Of random rules, the check and the ranges are those of a search through all of them. */
TEST(random_rules_are_as_a_search_finds_them) {
	unsigned seed = (unsigned)test_seed();
	char text[4000], prefixes[40][8];

	for (unsigned round = 0; round < 300; round++) {
		unsigned count = (unsigned)rand_r(&seed) % 20, kept = 0;
		uint8_t may[40];
		char *to = text;

		*to = '\0';
		for (unsigned i = 0; i < count; i++) {
			char prefix[8] = {0};
			bool is_new = true;

			for (int k = rand_r(&seed) % 4; k >= 0; k--)
				prefix[k] = (char)("ab\xff"[rand_r(&seed) % 3]);
			for (unsigned k = 0; k < kept; k++)
				is_new = is_new && strcmp(prefixes[k], prefix) != 0;
			if (!is_new)
				continue;
			may[kept] = rand_r(&seed) % 2;
			strcpy(prefixes[kept++], prefix);
			to += sprintf(to, "%s any(%s)\n", prefix, may[kept - 1] ? "ro" : "add");
		}
		struct acl *acl = rules(text);
		for (unsigned i = 0; i < 100; i++) {
			char key[8] = {0};
			int best = -1;
			struct acl_range range = {.end = {0}};
			bool is_shown = false;

			for (int k = rand_r(&seed) % 6; k >= 0; k--)
				key[k] = (char)("ab\xff"[rand_r(&seed) % 3]);
			for (unsigned k = 0; k < kept; k++)
				if (strncmp(prefixes[k], key, strlen(prefixes[k])) == 0 &&
				    (best < 0 || strlen(prefixes[k]) > strlen(prefixes[best])))
					best = (int)k;
			ck_assert_msg(((rights(acl, &any, key) & ACL_READ) != 0) ==
					  (best >= 0 && may[best]),
				      "%s in\n%s", key, text);
			while (!is_shown &&
			       acl_next_range(acl, &any, ACL_READ, range.end, &range)) {
				is_shown = is_in((struct kv_bytes){key, strlen(key)}, &range);
				if (range.end.size == 0)
					break;
			}
			ck_assert_msg(is_shown == (best >= 0 && may[best]), "%s in ranges of\n%s",
				      key, text);
		}
		acl_free(acl);
	}
}

/* --- Cost ---------------------------------------------------------------------------------- */

static double check_ns(const struct acl *acl, const char *keys, unsigned count) {
	struct timespec from, to;
	unsigned sum = 0;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
	for (unsigned i = 0; i < CHECKS; i++)
		sum += acl_check(acl, &www,
				 (struct kv_bytes){keys + (size_t)(i * 7919U % count) * 16, 15});
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
	ck_assert_uint_gt(sum, 0);
	return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) /
	       CHECKS;
}

/* Prints what a check costs; no assertion, because this machine may be busy. */
TEST(a_check_of_many_rules_costs_little) {
	static const unsigned counts[] = {1, 100, RULES_MANY};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		char *text = calloc(counts[i] + 1, 64), *to = text;
		char *keys = calloc(counts[i], 16);

		to += sprintf(to, "* uid:0(admin) gid:adm(ro)\n");
		for (unsigned k = 0; k < counts[i]; k++) {
			to += sprintf(to, "app/%05u/ uid:1000(ro) uid:www-data(rw)\n", k);
			(void)sprintf(keys + (size_t)k * 16, "app/%05u/keyXX", k);
		}
		struct acl *acl = rules(text);
		ck_assert_uint_eq(acl_rule_count(acl), counts[i] + 1);
		printf("a check of %u rules: %.0f ns\n", counts[i], check_ns(acl, keys, counts[i]));
		acl_free(acl);
		free(keys);
		free(text);
	}
}
