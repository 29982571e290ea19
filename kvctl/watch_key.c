/* SPDX-License-Identifier: BSD-3-Clause */
#include "watch_key.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "errors.h"
#include "output.h"
#include "status_line.h"

enum { WAIT_MS = 3600 * 1000 }; /* of one call; then the next one follows */

/* One state; version 0: the key is missing. */
static int print_state(const struct settings *settings, struct kv_bytes key,
		       const struct kv_value *value) {
	struct kv_bytes bytes = {value->data, value->size};
	int code;

	if (settings->format == FORMAT_JSON) {
		json_t *object = json_object();
		bool is_made = output_add_bytes(object, "key", key) &&
			       (value->version == 0 || output_add_bytes(object, "value", bytes)) &&
			       output_add_number(object, "version", value->version);

		if (!is_made) {
			json_decref(object);
			object = NULL;
		}
		code = output_json(object);
	} else {
		code = output_text("%llu\n", (unsigned long long)value->version);
	}
	if (code == CODE_DONE && fflush(stdout) != 0)
		code = error_report(CODE_REFUSED, watch_command.name,
				    "cannot write to standard output: %s", strerror(errno));
	return code;
}

/* Learns the version to begin with. */
static enum kv_status begin(struct kv_client *client, struct watch_key *watch) {
	struct kv_value value;
	enum kv_status status;

	if (watch->has_from)
		return KV_OK;
	status = kv_get(client, watch->key, &value);
	if (status == KV_NOKEY)
		return KV_OK;
	watch->seen = value.version;
	kv_value_free(&value);
	return status;
}

int watch_key_run(const struct settings *settings, struct watch_key *watch) {
	struct attempted attempted = {
	    .command = watch_command.name, .key = watch->key, .expected = KV_ANY, .waits = true};
	struct kv_client *client = NULL;
	struct status_line_wait progress;
	enum kv_status status;
	uint64_t printed = 0;
	/* A server that goes away later is waited for, as one that never answers is not. */
	int code = kvctl_open(settings, watch_command.name, settings->timeout_ms, &client);

	if (code != CODE_DONE)
		return code;
	status_line_wait_begin(&progress, settings, client);
	status = begin(client, watch);
	status_line_wait_end(&progress);
	kv_set_timeout(client, 0);
	while (status == KV_OK && code == CODE_DONE &&
	       (watch->count == 0 || printed < watch->count)) {
		struct kv_value value;

		status = kv_wait(client, watch->key, watch->seen, WAIT_MS, &value);
		if (status == KV_TIMEOUT) {
			status = KV_OK;
			continue;
		}
		if (status != KV_OK && status != KV_NOKEY)
			break;
		status = KV_OK;
		watch->seen = value.version;
		code = print_state(settings, watch->key, &value);
		printed++;
		kv_value_free(&value);
	}
	if (status != KV_OK)
		code = error_status(settings, client, &attempted, status);
	kvctl_close(settings, watch_command.name, client, status == KV_OK);
	return code;
}
