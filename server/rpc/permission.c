/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/permission.h"

#include "rpc/call.h"

void permission_check_owner(const struct call *call, struct operation *operation) {
	operation->principal = principal_bytes(call->caller);
	operation->checks_owner = true;
}

void permission_write(struct procedure_context *context, struct call *call, uint64_t epoch,
		      struct operation *operation, uint32_t wait_ms) {
	struct access *access = &context->access;
	bool has_reply;

	permission_check_owner(call, operation);
	if (!operation->is_unread)
		operation->refusal = access_check_write(access, call, operation);
	has_reply = parking_write(context->parking, call, epoch, operation, wait_ms);
	if (has_reply && operation->refusal != KV_OK && call->reply.status == KV_DENIED)
		access_log_write(access, call, operation);
}

bool permission_read(struct procedure_context *context, struct call *call, uint64_t epoch,
		     struct kv_bytes key) {
	if (!service_is_epoch(context->service, epoch) ||
	    access_may_read(&context->access, call, key))
		return true;
	call->reply.status = KV_DENIED;
	access_log_read(&context->access, call, key);
	return false;
}

bool permission_other(struct procedure_context *context, struct call *call, bool is_allowed,
		      const char *why) {
	if (is_allowed)
		return true;
	call->reply.status = KV_DENIED;
	access_log_other(&context->access, call, why);
	return false;
}

bool permission_show(struct procedure_context *context, struct call *call, uint64_t epoch,
		     struct kv_bytes prefix, struct access_filter *filter,
		     const struct key_filter **shown) {
	struct access *access = &context->access;

	*shown = NULL;
	if (access_is_open(access) || !service_is_epoch(context->service, epoch))
		return true;
	return permission_other(context, call, access_show(access, call, prefix, filter, shown),
				ACCESS_NO_PREFIX);
}

bool permission_is_administrator(const struct procedure_context *context, const struct call *call) {
	if (!access_is_open(&context->access))
		return access_is_admin(&context->access, call);
	return call->caller != NULL && call->caller->is_administrator;
}
