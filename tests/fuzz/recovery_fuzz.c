/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recovery_fuzz.c - whatever stands in the files of a directory: `kvd --check` and a start of kvd
 * refuse it, or it is a store, and then one that goes on, stops and starts again as it was. What
 * --check finds sound starts.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "log.h"
#include "storage/disk_image.h"
#include "storage/recovery.h"

enum { SEGMENT = 4096 + 4096 };

static uint64_t salt(void) {
	return 0x5a17;
}

struct bytes {
	uint8_t *data;
	size_t size;
	size_t room;
};

static bool put(void *context, const void *data, size_t size) {
	struct bytes *bytes = context;

	if (size > bytes->room - bytes->size) {
		bytes->room = 2 * bytes->room + size;
		bytes->data = realloc(bytes->data, bytes->room);
		must(bytes->data != NULL);
	}
	memcpy(bytes->data + bytes->size, data, size);
	bytes->size += size;
	return true;
}

/* A kvd on a disk. */
struct process {
	struct recovery recovery;
	struct service *service;
};

static bool start(struct process *process, struct fake_disk *disk) {
	static const struct journal_file_options options = {SEGMENT, salt};
	static const struct service_limits limits = {
	    .value_max = 4096, .memory_max = 1 << 20, .sessions_max = 4, .lease_ms = 1000};
	struct server_identity identity = {.epoch = 1, .seed = 1};
	bool started = recovery_open_disk(&process->recovery, fake_disk_of(disk), &options);

	memcpy(identity.store, process->recovery.store, STORE_ID_SIZE);
	process->service = service_new(&identity, &limits, NULL);
	must(process->service != NULL);
	return started && recovery_run(&process->recovery, process->service);
}

static void stop(struct process *process) {
	journal_file_close(process->recovery.file, true);
	recovery_close(&process->recovery);
	service_free(process->service);
}

/* Writes one more operation. */
static void go_on(struct process *process) {
	static const struct operation append = {.kind = OPERATION_APPEND,
						.expected = VERSION_ANY,
						.client_id = 1,
						.seq = UINT64_MAX,
						.key = {.data = "k", .size = 1},
						.value = {.data = "value", .size = 5},
						.want_old = true};
	struct journal_file *file = process->recovery.file;
	uint64_t now_ms = service_time(process->service);
	uint8_t batch[256];
	char why[JOURNAL_WHY_SIZE];
	enum journal_spare spare;
	bool is_full;

	do
		spare = journal_file_make_spare(file);
	while (spare == SPARE_BEGUN);
	must(spare == SPARE_READY);
	operation_encode(batch + BATCH_HEADER_SIZE, &append, now_ms);
	must(journal_file_append(file, batch, operation_encoded_size(&append), 1, &is_full, why));
	must(service_apply(process->service, &append, now_ms, NULL));
}

/* From a start that went well: the next ones find the same, and one operation more. */
static void use(struct process *process, struct fake_disk *disk) {
	uint64_t last = process->recovery.last;
	struct bytes before = {.size = 0};
	struct bytes after = {.size = 0};
	struct process next;

	/* Positions may be anything, but no server will ever write so many. */
	if (last < UINT64_MAX / 2 && process->recovery.found.segments < UINT8_MAX)
		go_on(process);
	else
		last--;
	must(service_save(process->service, put, &before) == STATE_DONE);
	stop(process);
	must(start(&next, disk));
	must(next.recovery.last == last + 1);
	must(service_save(next.service, put, &after) == STATE_DONE);
	must(after.size == before.size && memcmp(after.data, before.data, after.size) == 0);
	stop(&next);
	free(before.data);
	free(after.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static FILE *nowhere;
	struct fake_disk *disk = fake_disk_new(1);
	struct process process;
	bool is_sound;

	if (nowhere == NULL) {
		nowhere = fopen("/dev/null", "w");
		must(nowhere != NULL);
		log_open("fuzz", -1);
	}
	image_read(disk, data, size);
	is_sound = recovery_check_disk(fake_disk_of(disk), nowhere);
	if (start(&process, disk)) {
		use(&process, disk);
	} else {
		must(!is_sound);
		recovery_close(&process.recovery);
		service_free(process.service);
	}
	must(fake_disk_open_files(disk) == 0);
	fake_disk_free(disk);
	return 0;
}
