/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories in files: what is read, what is refused and how that is said, and writing. */
#include "world.h"

#include <stdio.h>

#define PUT_1                                                                                      \
	"{\"client\":1,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"status\":\"KV_OK\","         \
	"\"version\":1,\"call\":1,\"return\":2}\n"

static struct history *history;
static char error[HISTORY_ERROR_MAX];

static void setup(void) {
	history = history_new();
	ck_assert_ptr_nonnull(history);
	error[0] = '\0';
}

static void teardown(void) {
	history_free(history);
}

static enum history_answer read_bytes(const char *text, size_t size) {
	struct history_input input = {.name = "file"};
	enum history_answer answer;

	input.file = tmpfile();
	ck_assert_ptr_nonnull(input.file);
	ck_assert_uint_eq(fwrite(text, 1, size, input.file), size);
	rewind(input.file);
	answer = history_read(history, &input, error);
	(void)fclose(input.file);
	return answer;
}

static enum history_answer read_text(const char *text) {
	return read_bytes(text, strlen(text));
}

static void is_refused(const char *text, const char *why) {
	ck_assert_int_eq(read_text(text), HISTORY_WRONG);
	ck_assert_str_eq(error, why);
}

static void is_equal(struct kv_bytes bytes, const char *data, size_t size) {
	ck_assert_uint_eq(bytes.size, size);
	ck_assert_mem_eq(bytes.data, data, size);
}

START_TEST(a_line_is_a_call) {
	const struct history_call *call;

	ck_assert_int_eq(
	    read_text("{\"client\":7,\"op\":\"append\",\"key\":\"k\",\"value\":\"v\","
		      "\"expected\":3,\"status\":\"KV_OK\",\"old\":\"o\",\"version\":4,"
		      "\"call\":10,\"return\":20}\n"),
	    HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 1);
	call = history_at(history, 0);
	ck_assert_uint_eq(call->client, 7);
	ck_assert_int_eq(call->op, HISTORY_APPEND);
	is_equal(call->key, "k", 1);
	is_equal(call->value, "v", 1);
	ck_assert_uint_eq(call->expected, 3);
	ck_assert_int_eq(call->status, KV_OK);
	ck_assert_uint_eq(call->version, 4);
	ck_assert(call->has_got);
	is_equal(call->got, "o", 1);
	ck_assert_uint_eq(call->call_ns, 10);
	ck_assert_uint_eq(call->return_ns, 20);
}
END_TEST

START_TEST(empty_lines_are_passed_over) {
	ck_assert_int_eq(read_text("\n  \r\n" PUT_1 "\n"), HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 1);
}
END_TEST

/* Passed over, each of these would leave out what its answer tells, and nobody would know. */
START_TEST(a_member_that_no_call_has_is_refused) {
	is_refused(PUT_1 "{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":3,\"verison\":9,"
			 "\"return\":4,\"status\":\"KV_OK\"}\n",
		   "file:2: a call has no \"verison\": see kvcheck(1)");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"Return\":2}\n",
		   "file:1: a call has no \"Return\": see kvcheck(1)");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"\":{}}\n",
		   "file:1: a call has no \"\": see kvcheck(1)");
	ck_assert_uint_eq(history_count(history), 1);
}
END_TEST

START_TEST(every_member_that_a_call_may_have_is_known) {
	ck_assert_int_eq(
	    read_text("{\"client\":1,\"op\":\"append\",\"key\":\"k\",\"value\":\"v\","
		      "\"expected\":3,\"status\":\"KV_OK\",\"old\":\"o\",\"version\":4,"
		      "\"call\":1,\"return\":2}\n"
		      "{\"client\":1,\"op\":\"append\",\"key_base64\":\"aw==\","
		      "\"value_base64\":\"dg==\",\"status\":\"KV_OK\",\"old_base64\":\"bw==\","
		      "\"call\":3,\"return\":4}\n"),
	    HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 2);
	is_equal(history_at(history, 1)->got, "o", 1);
}
END_TEST

START_TEST(an_open_line_is_completed_by_a_later_one) {
	ck_assert_int_eq(
	    read_text(
		"{\"client\":1,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"call\":1}\n"
		"{\"client\":2,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"call\":1}\n" PUT_1),
	    HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 2);
	ck_assert_uint_eq(history_at(history, 0)->return_ns, 2);
	ck_assert_uint_eq(history_at(history, 0)->version, 1);
	ck_assert_uint_eq(history_at(history, 1)->return_ns, HISTORY_OPEN);
}
END_TEST

START_TEST(half_a_line_at_the_end_is_left_out) {
	ck_assert_int_eq(read_text(PUT_1 "{\"client\":1,\"op\":\"pu"), HISTORY_CUT);
	ck_assert_uint_eq(history_count(history), 1);
}
END_TEST

START_TEST(but_not_if_it_does_not_begin_like_a_line) {
	is_refused(PUT_1 "rubbish", "file:2: this is not JSON: '[' or '{' expected near 'rubbish' "
				    "(character 7)");
	ck_assert_int_eq(read_bytes("\0\0\0", 3), HISTORY_WRONG);
}
END_TEST

START_TEST(a_whole_line_at_the_end_needs_no_newline) {
	ck_assert_int_eq(read_bytes(PUT_1, strlen(PUT_1) - 1), HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 1);
}
END_TEST

START_TEST(what_is_wrong_is_said_with_its_line) {
	is_refused(PUT_1 "nonsense\n", "file:2: this is not JSON: '[' or '{' expected near "
				       "'nonsense' (character 8)");
	is_refused("[]\n", "file:1: this is not an object");
	is_refused("{}\n", "file:1: \"client\" is missing: a number is wanted");
	is_refused("{\"client\":1.5}\n",
		   "file:1: \"client\" is not a whole number from 0 to 2^63 - 1");
	is_refused("{\"client\":1,\"op\":\"delete\"}\n",
		   "file:1: \"op\" is not \"get\", \"put\" or \"append\"");
	is_refused("{\"client\":1,\"op\":\"get\"}\n", "file:1: \"key\" is missing");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"\",\"call\":1}\n",
		   "file:1: \"key\" is empty");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":1}\n", "file:1: \"key\" is not a string");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"a\",\"key_base64\":\"YQ==\"}\n",
		   "file:1: \"key\" and \"key_base64\" are the same: give one of them");
	is_refused("{\"client\":1,\"op\":\"get\",\"key_base64\":\"Y*==\"}\n",
		   "file:1: \"key_base64\" is not base64");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"return\":2}\n",
		   "file:1: a call with \"return\" needs a \"status\", such as \"KV_OK\"");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"return\":2,"
		   "\"status\":\"OK\"}\n",
		   "file:1: there is no status \"OK\"");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":3,\"return\":2,"
		   "\"status\":\"KV_NOKEY\"}\n",
		   "file:1: it returned before it was called");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":3,\"status\":\"KV_OK\"}\n",
		   "file:1: a call with \"status\" needs a \"return\"");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"return\":2,"
		   "\"status\":\"KV_OK\",\"version\":0}\n",
		   "file:1: version 0 with KV_OK: no key is at it; leave \"version\" out if it is "
		   "not known");
}
END_TEST

START_TEST(a_call_that_is_told_twice_and_differently_is_refused) {
	is_refused("{\"client\":1,\"op\":\"put\",\"key\":\"k\",\"value\":\"w\",\"call\":1}\n" PUT_1,
		   "file:2: client 1 made another call at 1");
}
END_TEST

START_TEST(a_key_that_is_too_long_is_refused) {
	char text[1200 + HISTORY_KEY_MAX];
	char key[HISTORY_KEY_MAX + 2];

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	(void)snprintf(text, sizeof(text),
		       "{\"client\":1,\"op\":\"get\",\"key\":\"%s\",\"call\":1}\n", key);
	is_refused(text, "file:1: \"key\" has 1025 bytes, more than 1024");
}
END_TEST

START_TEST(what_is_written_is_read_again_with_every_byte) {
	char all[256];
	struct history *again = history_new();
	struct history_input input = {.name = "file"};
	struct history_call call = {.op = HISTORY_APPEND,
				    .key = {"k\n\"\\\x7f\0z", 7},
				    .value = {all, 256},
				    .expected = 5,
				    .status = KV_OK,
				    .version = 6,
				    .has_got = true,
				    .got = {"\xc3\xa9\xf0\x9f\x98\x80", 6},
				    .call_ns = 1,
				    .return_ns = 2};

	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	/* Base64 of every remainder; UTF-8 that is none. */
	for (size_t size = 250; size <= 256; size++) {
		call.value.size = size;
		ck_assert(history_add(history, &call));
	}
	call.got = (struct kv_bytes){"\xed\xa0\x80", 3};
	ck_assert(history_add(history, &call));
	call.got = (struct kv_bytes){"\xc0\x80", 2};
	ck_assert(history_add(history, &call));
	call.return_ns = HISTORY_OPEN;
	ck_assert(history_add(history, &call));

	input.file = tmpfile();
	ck_assert_ptr_nonnull(input.file);
	ck_assert(history_write(history, input.file));
	rewind(input.file);
	ck_assert_msg(history_read(again, &input, error) == HISTORY_READ, "%s", error);
	(void)fclose(input.file);
	ck_assert_uint_eq(history_count(again), history_count(history));
	for (size_t i = 0; i < history_count(history); i++) {
		const struct history_call *a = history_at(history, i);
		const struct history_call *b = history_at(again, i);
		is_equal(b->key, a->key.data, a->key.size);
		is_equal(b->value, a->value.data, a->value.size);
		ck_assert_uint_eq(b->expected, a->expected);
		ck_assert_uint_eq(b->return_ns, a->return_ns);
		if (a->return_ns != HISTORY_OPEN)
			is_equal(b->got, a->got.data, a->got.size);
	}
	history_free(again);
}
END_TEST

int main(void) {
	TCase *files = tcase_create("files");
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_add_test(files, a_line_is_a_call);
	tcase_add_test(files, empty_lines_are_passed_over);
	tcase_add_test(files, a_member_that_no_call_has_is_refused);
	tcase_add_test(files, every_member_that_a_call_may_have_is_known);
	tcase_add_test(files, an_open_line_is_completed_by_a_later_one);
	tcase_add_test(files, half_a_line_at_the_end_is_left_out);
	tcase_add_test(files, but_not_if_it_does_not_begin_like_a_line);
	tcase_add_test(files, a_whole_line_at_the_end_needs_no_newline);
	tcase_add_test(files, what_is_wrong_is_said_with_its_line);
	tcase_add_test(files, a_call_that_is_told_twice_and_differently_is_refused);
	tcase_add_test(files, a_key_that_is_too_long_is_refused);
	tcase_add_test(files, what_is_written_is_read_again_with_every_byte);
	return check_run("check_history", files);
}
