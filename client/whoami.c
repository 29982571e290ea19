/* SPDX-License-Identifier: BSD-3-Clause */
/* whoami.c - the client as its server knows it. */
#include <kv/kv.h>

#include <stdlib.h>

#include "client.h"

enum kv_status kv_whoami(struct kv_client *client, struct kv_identity *identity) {
	struct request request = {.kind = REQUEST_WHOAMI};
	struct response response = {0};
	enum kv_status status = client_call(client, &request, &response);

	*identity = response.identity;
	response.identity = (struct kv_identity){0};
	response_free(&response);
	return status;
}

void kv_identity_free(struct kv_identity *identity) {
	if (identity == NULL)
		return;
	free(identity->grants);
	*identity = (struct kv_identity){0};
}
