/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock_options.h"

#include <kv/lock.h>

#include <ctype.h>
#include <string.h>

#include "args.h"
#include "errors.h"

enum {
	OPTION_WAIT = 256,
	OPTION_RELEASE,
	OPTION_TTL,
	OPTION_NO_TTL,
	OPTION_KILL_AFTER,
	OPTION_NOTE,
	OPTION_FENCE_ENV,
	OPTION_SHARED,
	OPTION_COUNT,
	OPTION_ACTION, /* and the action */

	TTL_MIN_MS = 1000,   /* in less a renewal that is lost on the way cannot be made up for */
	KILL_AFTER_PART = 5, /* of the ttl, if it is not chosen */
	KILL_AFTER_MAX_PART = 2, /* else it would come between two renewals */
};

static const struct option lock_table[] = {
    {"wait", required_argument, NULL, OPTION_WAIT},
    {"release-timeout", required_argument, NULL, OPTION_RELEASE},
    {"ttl", required_argument, NULL, OPTION_TTL},
    {"no-ttl", no_argument, NULL, OPTION_NO_TTL},
    {"kill-after", required_argument, NULL, OPTION_KILL_AFTER},
    {"note", required_argument, NULL, OPTION_NOTE},
    {"fence-env", required_argument, NULL, OPTION_FENCE_ENV},
    {"shared", no_argument, NULL, OPTION_SHARED},
    {"break", no_argument, NULL, OPTION_ACTION + LOCK_BREAK},
    {"list", no_argument, NULL, OPTION_ACTION + LOCK_LIST},
    {"check", no_argument, NULL, OPTION_ACTION + LOCK_CHECK},
    {NULL, 0, NULL, 0},
};

static const struct option elect_table[] = {
    {"wait", required_argument, NULL, OPTION_WAIT},
    {"release-timeout", required_argument, NULL, OPTION_RELEASE},
    {"ttl", required_argument, NULL, OPTION_TTL},
    {"kill-after", required_argument, NULL, OPTION_KILL_AFTER},
    {"fence-env", required_argument, NULL, OPTION_FENCE_ENV},
    {"observe", no_argument, NULL, OPTION_ACTION + ELECT_OBSERVE},
    {"count", required_argument, NULL, OPTION_COUNT},
    {NULL, 0, NULL, 0},
};

void lock_options_begin(struct lock_options *options, const struct command *command) {
	*options = (struct lock_options){
	    .action = command == &elect_command ? ELECT_RUN : LOCK_RUN,
	    .request = {.verb = command,
			.ttl_ms = LEASE_DEFAULT_MS,
			.release_ms = RELEASE_DEFAULT_MS},
	};
}

static bool read_ttl(const char *verb, struct lock_request *request) {
	if (!args_seconds(verb, "--ttl", optarg, &request->ttl_ms))
		return false;
	request->has_ttl = true;
	if (request->ttl_ms >= TTL_MIN_MS)
		return true;
	(void)error_usage(verb, "--ttl is at least %d s, not %s%s", TTL_MIN_MS / 1000, optarg,
			  request->verb == &lock_command ? " (--no-ttl for none)" : "");
	return false;
}

static bool read_note(const char *verb, struct lock_request *request) {
	request->note = (struct kv_bytes){optarg, strlen(optarg)};
	if (request->note.size <= KV_LOCK_NOTE_MAX)
		return true;
	(void)error_usage(verb, "--note has %zu bytes: at most %d", request->note.size,
			  KV_LOCK_NOTE_MAX);
	return false;
}

static bool read_fence_env(const char *verb, struct lock_request *request) {
	const char *at = optarg;

	request->fence_env = optarg;
	while (isalnum((unsigned char)*at) || *at == '_')
		at++;
	if (at != optarg && *at == '\0' && !isdigit((unsigned char)optarg[0]))
		return true;
	(void)error_usage(verb, "--fence-env is the name of a variable, not \"%s\"", optarg);
	return false;
}

/* Takes in one option. False, after an error line: it is wrong. */
static bool read_option(struct lock_options *options, int option) {
	struct lock_request *request = &options->request;
	const char *verb = request->verb->name;

	options->is_for_command = options->is_for_command || option < OPTION_COUNT;
	switch (option) {
	case OPTION_WAIT:
		request->has_wait = true;
		return args_seconds(verb, "--wait", optarg, &request->wait_ms);
	case OPTION_RELEASE:
		return args_seconds(verb, "--release-timeout", optarg, &request->release_ms);
	case OPTION_TTL:
		return read_ttl(verb, request);
	case OPTION_NO_TTL:
		request->ttl_ms = 0;
		return true;
	case OPTION_KILL_AFTER:
		options->has_kill_after = true;
		return args_seconds(verb, "--kill-after", optarg, &request->kill_after_ms);
	case OPTION_NOTE:
		return read_note(verb, request);
	case OPTION_FENCE_ENV:
		return read_fence_env(verb, request);
	case OPTION_SHARED:
		request->is_shared = true;
		return true;
	case OPTION_COUNT:
		return args_number(verb, "--count", optarg, 1, UINT64_MAX, &options->count);
	default:
		options->action = (enum lock_action)(option - OPTION_ACTION);
		return true;
	}
}

int lock_options_read(struct lock_options *options, struct settings *settings, int *argc,
		      char ***argv, bool *is_over) {
	const struct command *verb = options->request.verb;
	const struct option *table = verb == &elect_command ? elect_table : lock_table;
	int option = 0;

	*is_over = true;
	optind = 0;
	while ((option = args_option(settings, verb->name, *argc, *argv, "+:", table)) != -1) {
		if (option == 'h')
			return kvctl_help(verb);
		if (option == '?' || !read_option(options, option))
			return CODE_USAGE;
	}
	*argc -= optind;
	*argv += optind;
	*is_over = false;
	return CODE_DONE;
}

/* The lease and how it ends. */
static int complete_lease(struct lock_options *options) {
	struct lock_request *request = &options->request;
	const char *verb = request->verb->name;

	if (request->ttl_ms == 0 && request->has_ttl)
		return error_usage(verb, "--ttl and --no-ttl exclude each other");
	if (request->ttl_ms == 0 && options->has_kill_after)
		return error_usage(verb, "--kill-after is about the end of a lease: not with "
					 "--no-ttl");
	if (!options->has_kill_after)
		request->kill_after_ms = request->ttl_ms / KILL_AFTER_PART;
	if (request->kill_after_ms > request->ttl_ms / KILL_AFTER_MAX_PART)
		return error_usage(verb, "--kill-after is at most half of --ttl (%g s)",
				   request->ttl_ms / 1e3);
	return CODE_DONE;
}

int lock_options_end(struct lock_options *options, struct settings *settings, char **argv) {
	static const char *const names[] = {[LOCK_BREAK] = "--break",
					    [LOCK_LIST] = "--list",
					    [LOCK_CHECK] = "--check",
					    [ELECT_OBSERVE] = "--observe"};
	struct lock_request *request = &options->request;
	const char *verb = request->verb->name;
	bool has_command = argv[0] != NULL;
	bool runs = options->action == LOCK_RUN || options->action == ELECT_RUN;

	if (!runs && (has_command || options->is_for_command))
		return error_usage(verb, "%s takes no option of a COMMAND and no COMMAND",
				   names[options->action]);
	if (runs && options->count != 0)
		return error_usage(verb, "--count is for --observe");
	if (runs && !has_command)
		return error_usage(verb, "expected a COMMAND to run");
	request->command = argv;
	if (request->has_wait)
		settings->waits = true;
	return complete_lease(options);
}
