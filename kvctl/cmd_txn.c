/* SPDX-License-Identifier: BSD-3-Clause */
/* cmd_txn.c - The command txn: conditions and changes of several keys, all or nothing. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "args.h"
#include "errors.h"
#include "escape.h"
#include "kvctl.h"
#include "output.h"
#include "status_line.h"

enum {
	OPTION_AT = 256, /* above all letters */
	OPTION_MISSING,
	OPTION_EXISTS,
	OPTION_HOLDS,
	OPTION_FREE,
	OPTION_PUT,
	OPTION_APPEND,
	OPTION_DEL,
	OPTION_TOUCH,
	OPTION_TTL,
	OPTION_TICKET,
	OPTION_WAIT,
};

struct plan {
	struct kv_condition conditions[KV_CONDITIONS_MAX];
	struct kv_change changes[KV_CHANGES_MAX];
	struct kv_txn txn;
};

/* The argument behind the option's own, which getopt does not know of. NULL: there is none. */
static const char *second_argument(int argc, char **argv, const char *option, const char *names) {
	if (optind < argc)
		return argv[optind++];
	(void)error_usage(argv[0], "%s takes %s", option, names);
	return NULL;
}

static struct kv_bytes text_of(const char *text) {
	return (struct kv_bytes){text, strlen(text)};
}

static int add_condition(struct plan *plan, int option, int argc, char **argv) {
	struct kv_condition *condition = &plan->conditions[plan->txn.condition_count];
	const char *second = NULL;
	int code;

	if (plan->txn.condition_count == KV_CONDITIONS_MAX)
		return error_usage(argv[0], "more than %d conditions", KV_CONDITIONS_MAX);
	plan->txn.condition_count++;
	code = args_key(argv[0], optarg, &condition->key);
	if (code != CODE_DONE)
		return code;
	switch (option) {
	case OPTION_AT:
		condition->test = KV_AT;
		second = second_argument(argc, argv, "--at", "KEY and VERSION");
		return second != NULL && args_version(argv[0], "--at", second, &condition->version)
			   ? CODE_DONE
			   : CODE_USAGE;
	case OPTION_MISSING:
		condition->test = KV_AT;
		return CODE_DONE;
	case OPTION_EXISTS:
		condition->test = KV_EXISTS;
		return CODE_DONE;
	default:
		condition->test = option == OPTION_HOLDS ? KV_HOLDS : KV_FREE;
		second = second_argument(argc, argv, option == OPTION_HOLDS ? "--holds" : "--free",
					 "KEY and VALUE");
		if (second == NULL)
			return CODE_USAGE;
		condition->value = text_of(second);
		return CODE_DONE;
	}
}

static bool is_changed(const struct plan *plan, const struct kv_change *change) {
	for (const struct kv_change *other = plan->changes; other < change; other++)
		if (other->key.size == change->key.size &&
		    memcmp(other->key.data, change->key.data, change->key.size) == 0)
			return true;
	return false;
}

static int add_change(struct plan *plan, int option, int argc, char **argv) {
	struct kv_change *change = &plan->changes[plan->txn.change_count];
	const char *second = NULL;
	unsigned ttl_ms = 0;
	int code;

	if (plan->txn.change_count == KV_CHANGES_MAX)
		return error_usage(argv[0], "more than %d changes", KV_CHANGES_MAX);
	plan->txn.change_count++;
	code = args_key(argv[0], optarg, &change->key);
	if (code != CODE_DONE)
		return code;
	if (is_changed(plan, change))
		return error_usage(argv[0], "\"%s\" is changed twice: each key has one change",
				   optarg);
	switch (option) {
	case OPTION_DEL:
		change->kind = KV_CHANGE_DELETE;
		return CODE_DONE;
	case OPTION_TOUCH:
		change->kind = KV_CHANGE_TOUCH;
		second = second_argument(argc, argv, "--touch", "KEY and SECS");
		if (second == NULL || !args_seconds(argv[0], "--touch", second, &ttl_ms))
			return CODE_USAGE;
		change->ttl_ms = ttl_ms;
		if (ttl_ms == 0)
			return error_usage(argv[0],
					   "--touch: 0 seconds would end the key: use --del");
		return CODE_DONE;
	default:
		change->kind = option == OPTION_PUT ? KV_CHANGE_PUT : KV_CHANGE_APPEND;
		second = second_argument(argc, argv, option == OPTION_PUT ? "--put" : "--append",
					 "KEY and VALUE");
		if (second == NULL)
			return CODE_USAGE;
		change->value = text_of(second);
		return CODE_DONE;
	}
}

/* --ttl is that of the put before it. */
static int add_ttl(struct plan *plan, char **argv) {
	struct kv_change *last =
	    plan->txn.change_count > 0 ? &plan->changes[plan->txn.change_count - 1] : NULL;
	unsigned ttl_ms = 0;

	if (last == NULL || last->kind != KV_CHANGE_PUT)
		return error_usage(argv[0], "--ttl belongs behind a --put");
	if (!args_seconds(argv[0], "--ttl", optarg, &ttl_ms))
		return CODE_USAGE;
	last->ttl_ms = ttl_ms;
	return CODE_DONE;
}

static int print_versions(const struct settings *settings, const struct kv_txn *txn) {
	int code = CODE_DONE;

	if (settings->is_quiet)
		return CODE_DONE;
	for (size_t i = 0; i < txn->change_count && code == CODE_DONE; i++) {
		const struct kv_change *change = &txn->changes[i];

		if (settings->format == FORMAT_SIMPLE) {
			code = output_text("%llu\n", (unsigned long long)change->version);
			continue;
		}
		json_t *object = json_object();
		if (!output_add_bytes(object, "key", change->key) ||
		    !output_add_number(object, "version", change->version)) {
			json_decref(object);
			object = NULL;
		}
		code = output_json(object);
	}
	/* It is done: a script must not take this for a refusal. */
	return code == CODE_DONE ? CODE_DONE : CODE_MAYBE;
}

static int report_unmet(const struct kv_txn *txn) {
	char key[ESCAPE_WORD_SIZE];

	escape_word(txn->conditions[txn->which].key, key);
	if (txn->which == 0 && txn->wait_ms > 0)
		return error_report(
		    CODE_UNREACHED, txn_command.name,
		    "condition 1 on %s did not hold within %g s; nothing was changed", key,
		    txn->wait_ms / 1e3);
	if (txn->current == 0)
		return error_report(CODE_VERSION, txn_command.name,
				    "condition %zu does not hold: %s does not exist; nothing was "
				    "changed",
				    txn->which + 1, key);
	return error_report(CODE_VERSION, txn_command.name,
			    "condition %zu does not hold: %s is at version %llu; nothing was "
			    "changed",
			    txn->which + 1, key, (unsigned long long)txn->current);
}

static int run_txn(const struct settings *settings, struct kv_txn *txn) {
	struct attempted attempted = {
	    .command = txn_command.name, .expected = KV_ANY, .waits = txn->wait_ms > 0};
	struct kv_client *client = NULL;
	struct status_line_wait wait;
	unsigned limit_ms = settings->timeout_ms;
	if (limit_ms > 0)
		limit_ms = limit_ms > UINT_MAX - txn->wait_ms ? 0 : limit_ms + txn->wait_ms;
	int code = kvctl_open(settings, txn_command.name, limit_ms, &client);
	if (code != CODE_DONE)
		return code;

	status_line_wait_begin(&wait, settings, client);
	enum kv_status status = kv_txn(client, txn);
	status_line_wait_end(&wait);
	if (status == KV_NOKEY || status == KV_TOOBIG) {
		attempted.key = txn->changes[txn->which].key;
		attempted.value_size = txn->changes[txn->which].value.size;
		attempted.appends = txn->changes[txn->which].kind == KV_CHANGE_APPEND;
	}
	if (status == KV_OK)
		code = print_versions(settings, txn);
	else if (status == KV_UNMET)
		code = report_unmet(txn);
	else
		code = error_status(settings, client, &attempted, status);
	kvctl_close(settings, txn_command.name, client, status == KV_OK);
	return code;
}

static int txn(struct settings *settings, int argc, char **argv) {
	static const struct option options[] = {
	    {"at", required_argument, NULL, OPTION_AT},
	    {"missing", required_argument, NULL, OPTION_MISSING},
	    {"exists", required_argument, NULL, OPTION_EXISTS},
	    {"holds", required_argument, NULL, OPTION_HOLDS},
	    {"free", required_argument, NULL, OPTION_FREE},
	    {"put", required_argument, NULL, OPTION_PUT},
	    {"append", required_argument, NULL, OPTION_APPEND},
	    {"del", required_argument, NULL, OPTION_DEL},
	    {"touch", required_argument, NULL, OPTION_TOUCH},
	    {"ttl", required_argument, NULL, OPTION_TTL},
	    {"ticket", required_argument, NULL, OPTION_TICKET},
	    {"wait", required_argument, NULL, OPTION_WAIT},
	    {NULL, 0, NULL, 0},
	};
	static struct plan plan;
	int option = 0;
	int code = CODE_DONE;

	plan.txn = (struct kv_txn){.conditions = plan.conditions, .changes = plan.changes};
	optind = 0;
	/* In order, because some options take a second argument. */
	while (code == CODE_DONE &&
	       (option = args_option(settings, argv[0], argc, argv, "+:", options)) != -1) {
		if (option == 'h')
			return kvctl_help(&txn_command);
		if (option >= OPTION_AT && option <= OPTION_FREE)
			code = add_condition(&plan, option, argc, argv);
		else if (option >= OPTION_PUT && option <= OPTION_TOUCH)
			code = add_change(&plan, option, argc, argv);
		else if (option == OPTION_TICKET)
			settings->ticket = optarg;
		else if (option == OPTION_WAIT)
			code = args_seconds(argv[0], "--wait", optarg, &plan.txn.wait_ms)
				   ? CODE_DONE
				   : CODE_USAGE;
		else if (option == OPTION_TTL)
			code = add_ttl(&plan, argv);
		else
			return CODE_USAGE;
	}
	if (code != CODE_DONE)
		return code;
	if (optind < argc)
		return error_usage(argv[0], "unexpected argument \"%s\"", argv[optind]);
	if (plan.txn.change_count == 0)
		return error_usage(
		    argv[0], "no change: give --put, --append, --del or --touch at least once");
	return run_txn(settings, &plan.txn);
}

const struct command txn_command = {
    .name = "txn",
    .operands = "[CONDITION]... CHANGE... [--wait SECS] [--ticket FILE]",
    .summary = "change several keys together or not at all",
    .details =
	"Does all changes at one moment, if all conditions hold, and prints the version of\n"
	"each. VALUE is taken as it is.\n"
	"\n"
	"Conditions:\n"
	"      --at KEY N          it is at version N (0: does not exist)\n"
	"      --missing KEY       it does not exist\n"
	"      --exists KEY        it exists\n"
	"      --holds KEY VALUE   it holds VALUE\n"
	"      --free KEY VALUE    it does not exist, or holds VALUE\n"
	"Changes, each of another key:\n"
	"      --put KEY VALUE     write it; --ttl SECS behind it lets it end by itself\n"
	"      --append KEY VALUE  add to its end\n"
	"      --del KEY           remove it; it must exist\n"
	"      --touch KEY SECS    let it live so long from now; it must exist\n"
	"      --wait SECS         wait so long for the first condition, first come first served\n"
	"      --ticket FILE       run it again as often as you like, after a kill, a reboot or\n"
	"                          a time-out: it happens once (kvctl(1), TICKETS)\n"
	"  -h, --help              print this\n"
	"\n"
	"Examples: kvctl txn --at lock 7 --put report done\n"
	"          kvctl txn --missing leader --put leader me --ttl 15\n"
	"\n"
	"Exit codes: 0 done, 2 usage, 3 no such key, 4 a condition does not hold, 5 outcome\n"
	"unknown, 6 server not reached, or the wait is over, and nothing changed, 8 too big or no "
	"space, 1 or 7\n"
	"refused.\n",
    .run = txn,
};
