/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_backup.c - The command backup: all of a store in one file, while the server runs. */
#include <inttypes.h>

#include "args.h"
#include "backup_file.h"
#include "errors.h"
#include "kvctl.h"
#include "output.h"
#include "snapshot_stream.h"
#include "snapshot_wait.h"
#include "status_line.h"
#include "timing.h"

enum {
	TRIES = 3, /* snapshots that were replaced before their first page was read */
	PAUSE_FIRST_MS = 1,
	PAUSE_MAX_MS = 32,
};

/* A backup under way. */
struct backup {
	const struct settings *settings;
	const char *name;
	struct kv_client *client;
	uint64_t position;
	uint64_t done;	/* bytes ... */
	uint64_t total; /* ... of so many */
	struct snapshot_stream stream;
	struct backup_file *file;
};

static int report_call(const struct backup *backup, enum kv_status status) {
	struct attempted attempted = {.command = backup->name, .expected = KV_ANY};

	status_line_clear(backup->settings);
	if (status == KV_DENIED)
		return error_report(CODE_DENIED, backup->name,
				    "only root and the user that runs kvd may, over its local "
				    "socket (-s local:/PATH)");
	if (status == KV_COMPACTED)
		return error_report(CODE_REFUSED, backup->name,
				    "the server no longer has the snapshot that was copied (run "
				    "it again)");
	if (status == KV_FULL)
		return error_report(CODE_LIMIT, backup->name,
				    "the server has as many backups under way as it can (wait for "
				    "one, and run it again)");
	if (status == KV_UNAVAILABLE)
		return error_report(CODE_REFUSED, backup->name,
				    "the server cannot read its snapshot (its log says why), or "
				    "is older than kvctl");
	return error_status(backup->settings, backup->client, &attempted, status);
}

/* Takes a page that came. */
static int take(struct backup *backup, const struct kv_backup_page *page) {
	int code;

	if (page->size > page->total - backup->done ||
	    !snapshot_stream_feed(&backup->stream, page->data, page->size)) {
		status_line_clear(backup->settings);
		return error_report(CODE_REFUSED, backup->name,
				    "the snapshot is damaged before byte %" PRIu64
				    " (look at the server's disk; kvctl snapshot writes another)",
				    backup->done + page->size);
	}
	code = backup_file_write(backup->file, (struct kv_bytes){page->data, page->size});
	if (code != CODE_DONE)
		return code;
	backup->done += page->size;
	status_line_show(backup->settings, "kvctl: %s: %" PRIu64 " of %" PRIu64 " MiB",
			 backup->name, backup->done >> 20, page->total >> 20);
	return CODE_DONE;
}

/* Copies page after page. *status is that of the call that failed, else KV_OK. */
static int copy(struct backup *backup, enum kv_status *status) {
	unsigned pause_ms = PAUSE_FIRST_MS;
	struct kv_backup_page page;
	int code = CODE_DONE;

	do {
		*status = kv_backup(backup->client, backup->position, backup->done, &page);
		if (*status != KV_OK)
			return CODE_REFUSED;
		backup->total = page.total;
		if (page.size == 0 && backup->done < page.total) {
			timing_sleep_ms(pause_ms);
			pause_ms = 2 * pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : PAUSE_MAX_MS;
			continue;
		}
		pause_ms = PAUSE_FIRST_MS;
		code = take(backup, &page);
		kv_backup_page_free(&page);
	} while (code == CODE_DONE && backup->done < backup->total);
	status_line_clear(backup->settings);
	if (code == CODE_DONE && !snapshot_stream_is_whole(&backup->stream))
		code = error_report(CODE_REFUSED, backup->name,
				    "the snapshot ends too early (look at the server's disk)");
	return code;
}

/* Takes a snapshot and copies it. */
static int copy_newest(struct backup *backup, bool *has_answered) {
	struct snapshot_progress progress;
	enum kv_status status = KV_OK;
	int code = CODE_DONE;

	for (int tries = 0; tries < TRIES; tries++) {
		code = snapshot_take(backup->settings, backup->name, backup->client,
				     SNAPSHOT_FOREVER, &progress, has_answered);
		if (code != CODE_DONE)
			return code;
		backup->position = progress.position;
		code = copy(backup, &status);
		if (status != KV_COMPACTED || backup->done > 0)
			break;
	}
	return status != KV_OK ? report_call(backup, status) : code;
}

static int print_done(const struct backup *backup) {
	const struct settings *settings = backup->settings;

	if (settings->format == FORMAT_JSON)
		return output_json(json_pack("{s:I, s:I}", "position", (json_int_t)backup->position,
					     "bytes", (json_int_t)backup->done));
	return settings->is_quiet ? CODE_DONE : output_text("%" PRIu64 "\n", backup->position);
}

static int back_up(const struct settings *settings, const char *name, const char *path) {
	struct backup_file file;
	struct backup backup = {.settings = settings, .name = name, .file = &file};
	bool has_answered = false;
	int code = backup_file_open(&file, name, path);

	if (code != CODE_DONE)
		return code;
	code = kvctl_open(settings, name, settings->timeout_ms, &backup.client);
	if (code == CODE_DONE) {
		code = copy_newest(&backup, &has_answered);
		kvctl_close(settings, name, backup.client, has_answered);
	}
	if (code != CODE_DONE) {
		backup_file_give_up(&file);
		return code;
	}
	code = backup_file_finish(&file);
	return code == CODE_DONE && file.temporary[0] != '\0' ? print_done(&backup) : code;
}

static int run(struct settings *settings, int argc, char **argv) {
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	int option;

	optind = 0;
	option = args_option(settings, argv[0], argc, argv, ":", none);
	if (option != -1)
		return option == 'h' ? kvctl_help(&backup_command) : CODE_USAGE;
	if (!args_operands(argv[0], argc, argv, 1, "one FILE"))
		return CODE_USAGE;
	return back_up(settings, argv[0], argv[optind]);
}

const struct command backup_command = {
    .name = "backup",
    .operands = "FILE",
    .summary = "copy the whole store into a file, while the server runs",
    .details =
	"Has a kvd that was started with -d write a snapshot, copies it to FILE (-: to standard\n"
	"output), verifies its checksums, and prints the number of the last operation in it.\n"
	"FILE is of one moment. It is written as FILE.tmp and renamed when all of it is on the\n"
	"disk: a FILE that was there is replaced by a whole one or not at all. Only root and the\n"
	"user that runs kvd may, over its local socket, because FILE has the secrets of clients.\n"
	"\n"
	"kvd --check FILE verifies it; kvd -d DIR --restore FILE makes a new store of it.\n"
	"\n"
	"  -h, --help        print this\n"
	"\n"
	"Example: kvctl backup /backup/kv\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 6 server not reached, 7 not allowed, 8 no space for FILE or "
	"for\n"
	"the snapshot, 1 refused or not whole.\n",
    .run = run,
};
