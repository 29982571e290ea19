/* SPDX-License-Identifier: BSD-3-Clause */
#include "log_table.h"

#include <stdio.h>

static bool is_over(const struct log_place *place, uint64_t now_ms) {
	return place->key == 0 || now_ms - place->period_ms >= LOG_LIMIT_PERIOD_MS;
}

/* The place of the key, else one whose period is over, the longest first. NULL: there is none. */
static struct log_place *find(struct log_table *table, uint64_t key, uint64_t now_ms) {
	struct log_place *set =
	    &table->list[key % (LOG_TABLE_MAX / LOG_TABLE_WAYS) * LOG_TABLE_WAYS];
	struct log_place *place = NULL;

	for (unsigned i = 0; i < LOG_TABLE_WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (is_over(&set[i], now_ms) &&
		    (place == NULL || set[i].period_ms < place->period_ms))
			place = &set[i];
	}
	return place;
}

bool log_table_allows(struct log_table *table, uint64_t key, uint64_t now_ms,
		      char more[LOG_LIMIT_TEXT_MAX]) {
	key += key == 0;
	struct log_place *place = find(table, key, now_ms);

	if (place == NULL)
		return log_limit_allows(&table->others, now_ms, more);
	if (place->key != key)
		*place = (struct log_place){.key = 0};
	if (!is_over(place, now_ms)) {
		place->left_out++;
		return false;
	}
	more[0] = '\0';
	if (place->left_out > 0)
		(void)snprintf(more, LOG_LIMIT_TEXT_MAX, " (and %u more like it)", place->left_out);
	*place = (struct log_place){.key = key, .period_ms = now_ms};
	return true;
}
