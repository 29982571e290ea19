/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/call_times.h"

#include <stddef.h>
#include <string.h>

#include <rpcsvc/kv.h>

_Static_assert(KVPROC_BACKUP < CALL_TIMES_MAX, "each procedure has a bit");

/* The latencies of calls that wait by their nature, or are few, are not shown. */
static const char *const get_names[] = STAT_HISTOGRAM_NAMES("latency_get_");
static const char *const put_names[] = STAT_HISTOGRAM_NAMES("latency_put_");
static const char *const append_names[] = STAT_HISTOGRAM_NAMES("latency_append_");
static const char *const delete_names[] = STAT_HISTOGRAM_NAMES("latency_delete_");
static const char *const list_names[] = STAT_HISTOGRAM_NAMES("latency_list_");
static const char *const txn_names[] = STAT_HISTOGRAM_NAMES("latency_txn_");

static const struct {
	const char *count;
	const char *const *latency; /* NULL: not shown */
} names[CALL_TIMES_MAX] = {
    [KVPROC_NULL] = {"calls_of_null", NULL},
    [KVPROC_HELLO] = {"calls_of_hello", NULL},
    [KVPROC_OPEN] = {"calls_of_open", NULL},
    [KVPROC_CLOSE] = {"calls_of_close", NULL},
    [KVPROC_GET] = {"calls_of_get", get_names},
    [KVPROC_PUT] = {"calls_of_put", put_names},
    [KVPROC_APPEND] = {"calls_of_append", append_names},
    [KVPROC_STATUS] = {"calls_of_status", NULL},
    [KVPROC_DELETE] = {"calls_of_delete", delete_names},
    [KVPROC_WAIT] = {"calls_of_wait", NULL},
    [KVPROC_LIST] = {"calls_of_list", list_names},
    [KVPROC_SNAPSHOT] = {"calls_of_snapshot", NULL},
    [KVPROC_TXN] = {"calls_of_txn", txn_names},
    [KVPROC_CHANGES] = {"calls_of_changes", NULL},
    [KVPROC_WHOAMI] = {"calls_of_whoami", NULL},
    [KVPROC_BACKUP] = {"calls_of_backup", NULL},
};

void call_times_end_turn(struct call_times *times, uint64_t now_ns) {
	uint64_t took_us = (now_ns - times->now_ns) / 1000;

	for (unsigned i = 0; i < CALL_TIMES_MAX; i++)
		if (times->immediate[i] > 0)
			stat_histogram_add(&times->of[i], took_us, times->immediate[i]);
	memset(times->immediate, 0, sizeof(times->immediate));
	times->pending = times->turns = 0;
	times->ended_ns = times->now_ns;
}

void call_times_add_stats(const struct call_times *times, struct stats *stats) {
	for (unsigned i = 0; i < CALL_TIMES_MAX; i++) {
		uint64_t count = stat_histogram_count(&times->of[i]) + times->immediate[i];

		if (count == 0 || names[i].count == NULL)
			continue;
		stats_add(stats, names[i].count, count);
		if (names[i].latency != NULL)
			stat_histogram_add_stats(&times->of[i], names[i].latency, stats);
	}
}
