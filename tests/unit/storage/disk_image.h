/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DISK_IMAGE_H
#define DISK_IMAGE_H

/*
 * disk_image.h - the files of a fake disk as few bytes: what the fuzzer of recovery is fed with.
 *
 *	kind (1: see below), number (1), size of the file in units of 16 bytes (2), size of what is
 *	stored (2), that many bytes; the rest of the file is zeros; and so on
 *
 * Numbers are little-endian. The kind is 0 for segments, 1 for snapshots, 2 for "snapshot.tmp", 3
 * for "spare", 4 for "manifest", modulo 5. With IMAGE_MENDED set the checksums are made right after
 *the file was filled, so that a fuzzer gets behind them.
 */

#include "fake_disk.h"

enum { IMAGE_MENDED = 0x80, IMAGE_MAX = 65536 };

/* Puts files on a disk; stops where the bytes make no sense. */
void image_read(struct fake_disk *disk, const uint8_t *data, size_t size);

/* All files, with IMAGE_MENDED; at most IMAGE_MAX bytes. Answers how many. */
size_t image_write(struct fake_disk *disk, uint8_t to[IMAGE_MAX]);

#endif
