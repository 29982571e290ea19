/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/get_batch.h"

#include <stdlib.h>

#include <rpcsvc/kv.h>

#include "record_marking.h"
#include "rpc/last_error.h"
#include "rpc/rpc_call.h"

/* Bytes of a GET with its mark: the header of the call, the epoch, the key with its size. */
enum { GET_SIZE_MAX = RECORD_MARK_SIZE + 40 + 8 + 4 + KV_KEY_MAX };

/* Returns how many bytes it has; 0: it cannot be encoded. */
static size_t encode(struct rpc_call *call, const struct request *request, uint8_t *to) {
	kv1_get_args arguments = {.epoch = request->epoch,
				  .key = {.kv1_key_len = (u_int)request->key.size,
					  .kv1_key_val = (char *)request->key.data}};
	size_t size =
	    rpc_call_encode(call, KVPROC_GET, (xdrproc_t)xdr_kv1_get_args, &arguments,
			    (char *)to + RECORD_MARK_SIZE, GET_SIZE_MAX - RECORD_MARK_SIZE);

	record_mark(to, size);
	return size > 0 ? RECORD_MARK_SIZE + size : 0;
}

/* Only what ends a Get in any case: whatever else it is, the call is made by itself. */
static bool decode(struct rpc_call *call, const struct rpc_reply *came, struct response *response) {
	kv1_get_res result = {0};
	bool is_final;

	rpc_call_decode(call, came, (xdrproc_t)xdr_kv1_get_res, &result);
	if (call->outcome != ATTEMPT_ANSWERED)
		return false;
	is_final = result.status == KV1_OK || result.status == KV1_NOKEY;
	if (result.status == KV1_OK) {
		response->current = result.current;
		/* libtirpc allocates with calloc(): handed on as it is, for free(). */
		response->value = (struct kv_value){.data = result.value.kv1_value_val,
						    .size = result.value.kv1_value_len,
						    .version = result.current};
		result.value = (kv1_value){0};
	}
	response->status = result.status == KV1_OK ? KV_OK : KV_NOKEY;
	xdr_free((xdrproc_t)xdr_kv1_get_res, &result);
	return is_final;
}

void get_batch(struct conn *conn, const struct request *requests, size_t count,
	       uint64_t deadline_ms, struct response *responses, bool *answered) {
	uint8_t *sent = malloc(count * GET_SIZE_MAX);
	struct rpc_batch batch = {.first_xid = requests[0].xid,
				  .count = count,
				  .replies = calloc(count, sizeof(*batch.replies))};
	struct rpc_call call;
	size_t size = 0;
	size_t one = 1;

	last_error_clear();
	for (size_t i = 0; i < count; i++)
		answered[i] = false;
	for (size_t i = 0; sent != NULL && batch.replies != NULL && one > 0 && i < count; i++) {
		rpc_call_init(&call, conn, conn_program(conn), KV_V1, requests[i].xid, deadline_ms);
		one = encode(&call, &requests[i], sent + size);
		size += one;
	}
	if (size > 0 && one > 0)
		(void)conn_call_batch(conn, (struct kv_bytes){sent, size}, deadline_ms, &batch);
	for (size_t i = 0; batch.replies != NULL && i < count; i++) {
		if (batch.replies[i].data == NULL)
			continue;
		rpc_call_init(&call, conn, conn_program(conn), KV_V1, requests[i].xid, deadline_ms);
		answered[i] = decode(&call, &batch.replies[i], &responses[i]);
		free(batch.replies[i].data);
	}
	free(batch.replies);
	free(sent);
}
