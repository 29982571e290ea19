/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of the log: their form, and what becomes of them when standard error is full. */

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "test.h"

/* Standard error becomes the writing end of a pipe or socket; returns the other end. */
static int replace_stderr(bool is_socket) {
	int ends[2];

	ck_assert_int_eq(is_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	(void)close(ends[1]);
	return ends[0];
}

static const char *read_all(int fd) {
	static char text[1 << 20];
	ssize_t got = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (got < 0) {
		ck_assert_int_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		got = read(fd, text, sizeof(text) - 1);
	}
	text[got > 0 ? got : 0] = '\0';
	return text;
}

TEST(before_the_start_a_line_is_the_name_and_the_text) {
	int fd = replace_stderr(false);

	log_open("name", 0);
	log_error("what: %d", 7);
	ck_assert_str_eq(read_all(fd), "name: what: 7\n");
}

TEST(a_line_for_the_journal_has_its_level) {
	int fd = replace_stderr(true);
	struct stat status;
	char stream[64];

	ck_assert_int_eq(fstat(STDERR_FILENO, &status), 0);
	(void)snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)status.st_dev,
		       (unsigned long long)status.st_ino);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
	log_open("kvd", 0);
	log_start(2);
	log_error("a");
	log_warn("b");
	log_info("c");
	log_verbose("d");
	log_debug("e");
	ck_assert_str_eq(read_all(fd), "<3>kvd: a\n<4>kvd: b\n<6>kvd: c\n<6>kvd: d\n<7>kvd: e\n");
}

TEST(a_line_for_anything_else_has_its_time_and_its_weight_in_words) {
	static const char *const others[] = {NULL, "", "1", "1:1", "x:y"};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		int fd = replace_stderr(true);
		int year, fields, end = 0;

		if (others[i] != NULL)
			ck_assert_int_eq(setenv("JOURNAL_STREAM", others[i], 1), 0);
		log_open("kvd", 0);
		log_start(0);
		log_warn("b");
		const char *line = read_all(fd);
		fields = sscanf(line, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ kvd: warning: b%n", &year,
				&end);
		ck_assert_msg(fields == 1 && end > 0, "%s", line);
		(void)close(fd);
	}
}

TEST(what_is_more_verbose_than_asked_for_is_not_written) {
	int fd = replace_stderr(false);

	log_open("kvd", -1);
	log_error("never");
	log_open("kvd", 1);
	log_debug("not this");
	log_verbose("this");
	ck_assert_str_eq(read_all(fd), "kvd: this\n");
}

TEST(bytes_that_a_terminal_or_a_parser_would_obey_are_escaped) {
	int fd = replace_stderr(false);

	log_open("kvd", 0);
	log_warn("a%sb", "\n<0>kvd: \033]0;x\007\177\233");
	ck_assert_str_eq(read_all(fd), "kvd: a\\x0a<0>kvd: \\x1b]0;x\\x07\\x7f\\x9bb\n");
}

TEST(a_long_line_is_cut_and_stays_one_line) {
	int fd = replace_stderr(false);
	char text[2 * LOG_LINE_MAX];

	memset(text, '\n', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_open("kvd", 0);
	log_warn("%s", text);
	const char *line = read_all(fd);
	ck_assert_uint_le(strlen(line), LOG_LINE_MAX);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
}

/* A call that waited would be ended by the time limit of the test. */
static void check_never_waits(bool is_socket) {
	int fd = replace_stderr(is_socket);
	char text[1000];
	unsigned lost = 0;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	log_open("kvd", 0);
	for (int i = 0; i < 2000; i++)
		log_warn("%s", text);
	ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
	while (strstr(read_all(fd), "xxx") != NULL)
		;
	log_warn("again");
	ck_assert_int_eq(
	    sscanf(read_all(fd), "kvd: %u lines of the log were dropped here\nkvd: again\n", &lost),
	    1);
	ck_assert_uint_gt(lost, 1000);
	ck_assert_uint_lt(lost, 2000);
}

CASE(full, .seconds = 20);

TEST(a_full_pipe_is_not_waited_for_and_the_lost_lines_are_counted) {
	check_never_waits(false);
}

TEST(a_full_socket_is_not_waited_for_and_the_lost_lines_are_counted) {
	check_never_waits(true);
}

TEST(a_pipe_without_a_reader_is_no_end) {
	int fd = replace_stderr(false);

	/* As in kvd. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)close(fd);
	log_open("kvd", 0);
	log_warn("unheard");
}
