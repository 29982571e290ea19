/* SPDX-License-Identifier: BSD-3-Clause */
#include "full_log.h"

#include <inttypes.h>

#include "log.h"

uint64_t full_log_observe(struct full_log *log, uint64_t refused, uint64_t now_ms) {
	uint64_t quiet_ms;

	if (refused != log->refused) {
		if (!log->is_full) {
			log->first = log->refused;
			log_warn("refusing %s", log->what);
		}
		log->is_full = true;
		log->refused = refused;
		log->refused_ms = now_ms;
	}
	if (!log->is_full)
		return UINT64_MAX;
	quiet_ms = now_ms - log->refused_ms;
	if (quiet_ms < FULL_LOG_QUIET_MS)
		return FULL_LOG_QUIET_MS - quiet_ms;
	log->is_full = false;
	log_info("no longer refusing %s; %" PRIu64 " were", log->what, refused - log->first);
	return UINT64_MAX;
}
