/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport.h"

#include <stdlib.h>

void response_free(struct response *response) {
	free(response->value.data);
	free(response->stats.counters);
	free(response->list.keys);
	free(response->changes.keys);
	free(response->versions);
	free(response->identity.grants);
	*response = (struct response){0};
}
