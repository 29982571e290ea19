/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DATA_DIRECTORY_H
#define DATA_DIRECTORY_H

/*
 * data_directory.h - access to the directory of a durable kvd, to look into it and to damage it
 * while no kvd uses it. The layout is that of server/storage/journal_format.h and snapshot.h. Any
 * failure fails the test.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DATADIR_PATH_MAX = 160, SEGMENT_HEADER_SIZE = 4096, SNAPSHOT_HEADER_SIZE = 64 };

/* How many files begin with `prefix` ("journal-"). */
unsigned datadir_count(const char *directory, const char *prefix);

/* The path of the last of them in the order of names; there must be one. */
void datadir_last(const char *directory, const char *prefix, char path[DATADIR_PATH_MAX]);

/* Bytes of a file; all of them are there, or the test fails. */
void datadir_read(const char *path, uint64_t offset, void *data, size_t size);
void datadir_write(const char *path, uint64_t offset, const void *data, size_t size);

/* One bit becomes another. */
void datadir_flip(const char *path, uint64_t offset);

/*
 * Gives the header of a segment or a snapshot, of `size` bytes, another format, and the checksum
 * that it then has: it is whole, and of a kvd to come.
 */
void datadir_set_format(const char *path, size_t size, uint32_t format);

/* Where the batch number `index` (0: the first) of a segment begins; 0: there are not so many. */
uint64_t datadir_batch(const char *path, unsigned index);

/* A second name for a file, which keeps its bytes when kvd removes the first. */
void datadir_keep(const char *path, char kept[DATADIR_PATH_MAX]);
/* Gives a kept file its own name back. */
void datadir_put_back(const char *kept);

#endif
