/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_whoami.c - The command whoami: the client as its server knows it, and its rights. */
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"

enum { RIGHTS_TEXT_SIZE = 32 };

static const char *format_rights(unsigned rights, char text[RIGHTS_TEXT_SIZE]) {
	bool reads = (rights & KV_RIGHT_READ) != 0, appends = (rights & KV_RIGHT_APPEND) != 0;

	if ((rights & KV_RIGHT_ADMIN) != 0)
		return "admin";
	if ((rights & KV_RIGHT_WRITE) != 0)
		return "rw";
	(void)snprintf(text, RIGHTS_TEXT_SIZE, "%s%s%s",
		       (rights & KV_RIGHT_LOCK) != 0 ? "lock"
		       : reads			     ? "ro"
						     : "",
		       reads && appends ? "," : "", appends ? "add" : "");
	return text;
}

static json_t *make_grant(const struct kv_grant *grant) {
	char text[RIGHTS_TEXT_SIZE];
	json_t *object = json_object();

	if (!output_add_bytes(object, "prefix", grant->prefix) ||
	    json_object_set_new(object, "rights",
				json_string(format_rights(grant->rights, text))) != 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int print_json(const struct kv_identity *identity) {
	json_t *grants = json_array();
	char principal[ESCAPE_WORD_SIZE];

	for (size_t i = 0; i < identity->grant_count; i++)
		if (json_array_append_new(grants, make_grant(&identity->grants[i])) != 0) {
			json_decref(grants);
			return output_json(NULL);
		}
	escape_word((struct kv_bytes){identity->principal, strlen(identity->principal)}, principal);
	return output_json(json_pack("{s:s, s:b, s:b, s:o, s:b}", "principal", principal, "rules",
				     identity->has_rules, "secure", identity->is_secure, "grants",
				     grants, "more", identity->more));
}

static int print_simple(const struct settings *settings, const struct kv_identity *identity) {
	char text[ESCAPE_WORD_SIZE], rights[RIGHTS_TEXT_SIZE];
	int code;

	escape_word((struct kv_bytes){identity->principal, strlen(identity->principal)}, text);
	code = output_text("%s\n", text);
	for (size_t i = 0; code == CODE_DONE && i < identity->grant_count; i++) {
		escape_word(identity->grants[i].prefix, text);
		code = output_text("%s  %s\n", text[0] == '\0' ? "*" : text,
				   format_rights(identity->grants[i].rights, rights));
	}
	if (!identity->has_rules)
		notice(settings, "whoami", "the server has no access rules (kvd --acl)");
	if (identity->more)
		notice(settings, "whoami", "there are more prefixes than one reply can hold");
	return code;
}

static int run(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {{NULL, 0, NULL, 0}};
	struct attempted attempted = {.command = argv[0], .expected = KV_ANY};
	struct kv_client *client = NULL;
	struct kv_identity identity;
	struct status_line_wait wait;
	enum kv_status status;
	int option, code;

	optind = 0;
	option = args_option(settings, argv[0], argc, argv, ":", options);
	if (option == 'h')
		return kvctl_help(&whoami_command);
	if (option != -1 || !args_operands(argv[0], argc, argv, 0, ""))
		return CODE_USAGE;
	code = kvctl_open(settings, argv[0], settings->timeout_ms, &client);
	if (code != CODE_DONE)
		return code;
	status_line_wait_begin(&wait, settings, client);
	status = kv_whoami(client, &identity);
	status_line_wait_end(&wait);
	if (status != KV_OK)
		code = error_status(settings, client, &attempted, status);
	else if (settings->format == FORMAT_JSON)
		code = print_json(&identity);
	else
		code = print_simple(settings, &identity);
	kv_identity_free(&identity);
	kvctl_close(settings, argv[0], client, status == KV_OK);
	return code;
}

const struct command whoami_command = {
    .name = "whoami",
    .operands = "",
    .summary = "print how the server knows this client, and what it may do",
    .details =
	"Prints the principal that the server's access rules know this client by (uid:1000 at a\n"
	"local socket; any elsewhere), and then, a prefix and a right a line, what it may do: ro,\n"
	"rw, lock, add or admin; * is the prefix of all keys. The longest prefix of a key "
	"decides,\n"
	"alone; prefixes without a right are not shown.\n"
	"\n"
	"  -h, --help      print this\n"
	"\n"
	"Example: kvctl whoami\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 6 server not reached, 1 or 7 refused.\n",
    .run = run,
};
