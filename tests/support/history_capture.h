/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef HISTORY_CAPTURE_H
#define HISTORY_CAPTURE_H

/*
 * history_capture.h - the history of a test: the calls of its clients with their times and
 * replies, as libkv writes it (`history` in struct kv_options); given to kvcheck's checker at the
 * end.
 */

struct history_capture {
	char path[96]; /* of the file, for any number of clients */
};

/* Makes a place for the file. */
void history_capture_begin(struct history_capture *capture);

/*
 * Once every client is closed: fails the test unless one order of all calls explains all answers.
 * Then the history and a page with a timeline stay behind, and their directory is printed.
 */
void history_capture_judge(const struct history_capture *capture);

#endif
