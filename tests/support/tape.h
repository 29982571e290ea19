/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TAPE_H
#define TAPE_H

/*
 * tape.h - the history of a test: what clients asked, when, and what they were told, as libkv
 * writes it (`history` in struct kv_options); handed to kvcheck's checker at the end.
 */

struct tape {
	char path[96]; /* of the file, for any number of clients */
};

/* Makes a place for the file. */
void tape_begin(struct tape *tape);

/*
 * Once every client is closed: fails the test unless one order of all calls explains all answers.
 * Then the history and a page with a timeline stay behind, and their directory is printed.
 */
void tape_judge(const struct tape *tape);

#endif
