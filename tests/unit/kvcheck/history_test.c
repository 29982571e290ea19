/* SPDX-License-Identifier: BSD-3-Clause */
/* Histories in files: what is read, what is refused and how that is said, and writing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checker.h"
#include "test.h"
#define PUT_1                                                                                      \
	"{\"client\":1,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"status\":\"KV_OK\","         \
	"\"version\":1,\"call\":1,\"return\":2}\n"

#define OPEN_1 "{\"client\":1,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\",\"call\":1}\n"
#define GET_3(version)                                                                             \
	"{\"client\":3,\"op\":\"get\",\"key\":\"k\",\"status\":\"KV_OK\",\"version\":" #version    \
	",\"call\":3,\"return\":4}\n"

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

CASE(files, .setup = setup, .teardown = teardown);

TEST(a_line_is_a_call) {
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

TEST(empty_lines_are_passed_over) {
	ck_assert_int_eq(read_text("\n  \r\n" PUT_1 "\n"), HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 1);
}

/* Passed over, each of these would leave out what its answer tells, and it would go unnoticed. */
TEST(a_member_that_no_call_has_is_refused) {
	is_refused(PUT_1 "{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":3,\"verison\":9,"
			 "\"return\":4,\"status\":\"KV_OK\"}\n",
		   "file:2: a call has no \"verison\": see kvcheck(1)");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"Return\":2}\n",
		   "file:1: a call has no \"Return\": see kvcheck(1)");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"\":{}}\n",
		   "file:1: a call has no \"\": see kvcheck(1)");
	ck_assert_uint_eq(history_count(history), 1);
}

TEST(every_member_that_a_call_may_have_is_known) {
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

/* A transaction that was sent, and its answer; a delete. */
#define PARTS                                                                                      \
	"{\"client\":1,\"op\":\"check\",\"part\":1,\"test\":\"at\",\"key\":\"l\",\"expected\":7,"  \
	"\"call\":5}\n"                                                                            \
	"{\"client\":1,\"op\":\"put\",\"part\":2,\"key\":\"k\",\"value\":\"v\",\"ttl\":9,"         \
	"\"call\":5}\n"                                                                            \
	"{\"client\":1,\"op\":\"touch\",\"part\":3,\"key\":\"l\",\"expected\":7,\"ttl\":9,"        \
	"\"call\":5}\n"
#define ANSWERED_PARTS                                                                             \
	"{\"client\":1,\"op\":\"check\",\"part\":1,\"test\":\"at\",\"key\":\"l\",\"expected\":7,"  \
	"\"status\":\"KV_OK\",\"version\":7,\"position\":4,\"call\":5,\"return\":6}\n"             \
	"{\"client\":1,\"op\":\"put\",\"part\":2,\"key\":\"k\",\"value\":\"v\",\"ttl\":9,"         \
	"\"status\":\"KV_OK\",\"version\":3,\"position\":4,\"call\":5,\"return\":6}\n"             \
	"{\"client\":1,\"op\":\"touch\",\"part\":3,\"key\":\"l\",\"expected\":7,\"ttl\":9,"        \
	"\"status\":\"KV_OK\",\"version\":7,\"position\":4,\"call\":5,\"return\":6}\n"             \
	"{\"client\":1,\"op\":\"check\",\"part\":1,\"test\":\"holds\",\"key\":\"l\",\"value\":"    \
	"\"h\","                                                                                   \
	"\"status\":\"KV_UNMET\",\"version\":7,\"call\":7,\"return\":8}\n"                         \
	"{\"client\":1,\"op\":\"delete\",\"key\":\"k\",\"expected\":3,\"status\":\"KV_OK\","       \
	"\"version\":4,\"call\":9,\"return\":10}\n"

TEST(a_hold_is_completed_by_its_end) {
	ck_assert_int_eq(
	    read_text("{\"client\":1,\"op\":\"hold\",\"key\":\"l\",\"expected\":7,\"call\":5}\n"
		      "{\"client\":1,\"op\":\"hold\",\"key\":\"l\",\"expected\":7,"
		      "\"status\":\"KV_OK\",\"call\":5,\"return\":9}\n"),
	    HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 1);
	ck_assert_int_eq(history_at(history, 0)->op, HISTORY_HOLD);
	ck_assert_uint_eq(history_at(history, 0)->return_ns, 9);
	is_refused("{\"client\":1,\"op\":\"hold\",\"key\":\"l\",\"call\":5}\n",
		   "file:1: \"expected\" is missing: a number is wanted");
	is_refused("{\"client\":1,\"op\":\"hold\",\"key\":\"l\",\"expected\":0,\"call\":5}\n",
		   "file:1: a hold has the token in \"expected\", above 0, and no \"part\"");
	is_refused("{\"client\":1,\"op\":\"hold\",\"key\":\"l\",\"expected\":7,\"call\":6,"
		   "\"return\":9,\"status\":\"KV_MAYBE\"}\n",
		   "file:1: a hold has the status KV_OK, and no \"version\"");
}

TEST(a_transaction_is_a_line_for_each_part_and_is_written_as_it_is_read) {
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	ck_assert_int_eq(read_text(PARTS ANSWERED_PARTS), HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 5);
	ck_assert_int_eq(history_at(history, 0)->op, HISTORY_CHECK);
	ck_assert_uint_eq(history_at(history, 1)->part, 2);
	ck_assert_uint_eq(history_at(history, 2)->ttl_ms, 9);
	ck_assert_uint_eq(history_at(history, 2)->position, 4);
	ck_assert_int_eq(history_at(history, 3)->status, KV_UNMET);
	ck_assert(history_has_ends(history));
	ck_assert_ptr_nonnull(file);
	ck_assert(history_write(history, file));
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_str_eq(text, ANSWERED_PARTS);
	free(text);
}

TEST(what_only_a_transaction_has_is_refused_elsewhere) {
	is_refused("{\"client\":1,\"op\":\"check\",\"key\":\"k\",\"call\":1}\n",
		   "file:1: a check needs a \"part\": it is of a transaction");
	is_refused("{\"client\":1,\"op\":\"touch\",\"key\":\"k\",\"ttl\":1,\"call\":1}\n",
		   "file:1: a touch needs a \"part\": it is of a transaction");
	is_refused("{\"client\":1,\"op\":\"touch\",\"part\":1,\"key\":\"k\",\"call\":1}\n",
		   "file:1: \"ttl\" is missing: a number is wanted");
	is_refused("{\"client\":1,\"op\":\"delete\",\"key\":\"k\",\"ttl\":1,\"call\":1}\n",
		   "file:1: a delete has no \"ttl\"");
	is_refused("{\"client\":1,\"op\":\"get\",\"part\":81,\"key\":\"k\",\"call\":1}\n",
		   "file:1: \"part\" is above 80");
	is_refused("{\"client\":1,\"op\":\"check\",\"part\":1,\"test\":\"no\",\"key\":\"k\","
		   "\"call\":1}\n",
		   "file:1: \"test\" is not \"at\", \"exists\", \"holds\" or \"free\"");
	is_refused("{\"client\":1,\"op\":\"check\",\"part\":1,\"test\":\"at\",\"key\":\"k\","
		   "\"call\":1}\n",
		   "file:1: \"expected\" is missing: a number is wanted");
	is_refused("{\"client\":1,\"op\":\"get\",\"key\":\"k\",\"call\":1,\"return\":2,"
		   "\"status\":\"KV_NOKEY\",\"position\":3}\n",
		   "file:1: a call without \"part\" has no \"position\"");
}

TEST(an_open_line_is_completed_by_a_later_one) {
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

TEST(half_a_line_at_the_end_is_left_out) {
	ck_assert_int_eq(read_text(PUT_1 "{\"client\":1,\"op\":\"pu"), HISTORY_CUT);
	ck_assert_uint_eq(history_count(history), 1);
}

TEST(but_not_if_it_does_not_begin_like_a_line) {
	is_refused(PUT_1 "garbage", "file:2: this is not JSON: '[' or '{' expected near 'garbage' "
				    "(character 7)");
	ck_assert_int_eq(read_bytes("\0\0\0", 3), HISTORY_WRONG);
}

TEST(a_whole_line_at_the_end_needs_no_newline) {
	ck_assert_int_eq(read_bytes(PUT_1, strlen(PUT_1) - 1), HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 1);
}

TEST(what_is_wrong_is_said_with_its_line) {
	is_refused(PUT_1 "nonsense\n", "file:2: this is not JSON: '[' or '{' expected near "
				       "'nonsense' (character 8)");
	is_refused("[]\n", "file:1: this is not an object");
	is_refused("{}\n", "file:1: \"client\" is missing: a number is wanted");
	is_refused("{\"client\":1.5}\n",
		   "file:1: \"client\" is not a whole number from 0 to 2^63 - 1");
	is_refused("{\"client\":1,\"op\":\"remove\"}\n",
		   "file:1: \"op\" is not \"get\", \"put\", \"append\", \"delete\", \"touch\", "
		   "\"check\" or \"hold\"");
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

TEST(a_call_that_is_told_twice_and_differently_is_refused) {
	is_refused("{\"client\":1,\"op\":\"put\",\"key\":\"k\",\"value\":\"w\",\"call\":1}\n" PUT_1,
		   "file:2: another line tells otherwise of client 1's call at 1");
	is_refused(GET_3(2) GET_3(7),
		   "file:2: another line tells otherwise of client 3's call at 3");
}

TEST(a_line_that_is_there_again_counts_once) {
	ck_assert_int_eq(read_text(PUT_1 OPEN_1 PUT_1), HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 1);
	ck_assert_uint_eq(history_at(history, 0)->return_ns, 2);
	/* From another file, too. */
	ck_assert_int_eq(read_text(PUT_1 GET_3(2) OPEN_1), HISTORY_READ);
	ck_assert_uint_eq(history_count(history), 2);
	for (uint64_t i = 0; i < 3000; i++) {
		char line[256];

		(void)snprintf(line, sizeof(line),
			       "{\"client\":9,\"op\":\"put\",\"key\":\"k\",\"value\":\"v\","
			       "\"call\":%llu}\n",
			       (unsigned long long)(i % 1000));
		ck_assert_int_eq(read_text(line), HISTORY_READ);
	}
	ck_assert_uint_eq(history_count(history), 1002);
}

TEST(half_a_line_with_the_next_behind_it_is_left_out_alone) {
	static const char whole[] = OPEN_1;

	/* Wherever it was cut; a newline more, and it is the writer's own. */
	for (size_t size = 1; size < sizeof(whole) - 2; size++) {
		char file[1024];

		history_free(history);
		history = history_new();
		(void)snprintf(file, sizeof(file), "%s%.*s%s", GET_3(2), (int)size, whole, PUT_1);
		ck_assert_msg(read_text(file) == HISTORY_CUT, "%s", error);
		ck_assert_uint_eq(history_count(history), 2);
		ck_assert_str_eq(error, "file:2: half a line is left out: its writer was stopped "
					"before the call was sent, or its reply recorded");
	}
	is_refused("garbage" PUT_1, "file:1: this is not JSON: '[' or '{' expected near 'garbage' "
				    "(character 7)");
	is_refused("{\"client\":1,\"op\":\"pu\n",
		   "file:1: this is not JSON: premature end of input near '\"pu' (character 20)");
}

static unsigned left_out;

static void count_left_out(void *context, const char *line) {
	ck_assert_ptr_eq(context, &left_out);
	left_out++;
	if (left_out == 1)
		ck_assert_str_eq(line, "file:2: \"key\" is missing");
}

TEST(who_is_lenient_loses_the_broken_lines_only) {
	static const char file_text[] =
	    PUT_1 "{\"client\":1,\"op\":\"get\"}\n" GET_3(2) "{]\n" GET_3(7) "[1]\n{\"cli";
	struct history_input input = {
	    .name = "file", .left_out = count_left_out, .context = &left_out, .is_lenient = true};

	input.file = tmpfile();
	ck_assert_ptr_nonnull(input.file);
	ck_assert_uint_eq(fwrite(file_text, 1, strlen(file_text), input.file), strlen(file_text));
	rewind(input.file);
	ck_assert_int_eq(history_read(history, &input, error), HISTORY_CUT);
	(void)fclose(input.file);
	ck_assert_uint_eq(history_count(history), 2);
	ck_assert_uint_eq(input.skipped, 4);
	ck_assert_uint_eq(left_out, 5);
}

TEST(calls_are_told_apart_by_their_clock) {
	struct history *part;

	ck_assert_int_eq(
	    read_text(PUT_1 "{\"client\":1,\"boot\":7,\"op\":\"get\",\"key\":\"k\",\"call\":5}\n"
			    "{\"client\":2,\"boot\":8,\"op\":\"get\",\"key\":\"k\",\"call\":6}\n"
			    "{\"client\":2,\"boot\":7,\"op\":\"get\",\"key\":\"k\",\"call\":8}\n"),
	    HISTORY_READ);
	ck_assert_uint_eq(history_boot(history, 0), 7);
	ck_assert_uint_eq(history_boot(history, 1), 8);
	ck_assert_uint_eq(history_boot(history, 2), 0);
	ck_assert_uint_eq(history_boot(history, HISTORY_BOOTS_MAX), 0);
	/* Those of no known clock may be of any. */
	part = history_of_boot(history, 7);
	ck_assert_uint_eq(history_count(part), 3);
	ck_assert_uint_eq(history_at(part, 2)->call_ns, 8);
	history_free(part);
}

TEST(a_key_that_is_too_long_is_refused) {
	char text[1200 + HISTORY_KEY_MAX];
	char key[HISTORY_KEY_MAX + 2];

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	(void)snprintf(text, sizeof(text),
		       "{\"client\":1,\"op\":\"get\",\"key\":\"%s\",\"call\":1}\n", key);
	is_refused(text, "file:1: \"key\" has 1025 bytes, more than 1024");
}

TEST(what_is_written_is_read_again_with_every_byte) {
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
		call.client++;
		ck_assert(history_add(history, &call));
	}
	call.got = (struct kv_bytes){"\xed\xa0\x80", 3};
	call.client++;
	ck_assert(history_add(history, &call));
	call.got = (struct kv_bytes){"\xc0\x80", 2};
	call.client++;
	call.boot = (uint64_t)1 << 52;
	ck_assert(history_add(history, &call));
	call.client++;
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
		ck_assert_uint_eq(b->boot, a->boot);
		ck_assert_uint_eq(b->return_ns, a->return_ns);
		if (a->return_ns != HISTORY_OPEN)
			is_equal(b->got, a->got.data, a->got.size);
	}
	history_free(again);
}
