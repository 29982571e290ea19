/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * lock.c - the subcommand lock: a command run while a lock is held; or a lock broken.
 *
 * Waiting for the lock is trying, pausing and trying again, with the pauses spent where a signal
 * is seen at once. A try itself cannot be interrupted, so it is kept short (TRY_MS): that matters
 * only while the server does not answer.
 */
#include <kv/lock.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "args.h"
#include "child.h"
#include "errors.h"
#include "kvctl.h"
#include "signals.h"

enum {
	PAUSE_FIRST_MS = 10,
	PAUSE_MAX_MS = 1000,
	TRY_MS = 3000,
	NOTICE_MS = 5000, /* after this, somebody may wonder why nothing happens */
	OPTION_WAIT = 256,
	OPTION_BREAK,
};

/* What the command line asks for. */
struct request {
	const char *name;
	struct kv_bytes key;
	char **command; /* ends in NULL; NULL if the lock is to be broken */
	bool has_wait;
	unsigned wait_ms;
};

/* One contender on its way to the lock and back. */
struct contender {
	const struct settings *settings;
	const struct request *request;
	struct signals signals;
	struct kv_client *client;
	struct kv_lock *lock;
	struct action action;
	char label[FAILURE_TEXT_MAX + 8]; /* "lock NAME", for the error lines */
};

static unsigned smaller_unless_0(unsigned ms, unsigned limit_ms) {
	return limit_ms != 0 && limit_ms < ms ? limit_ms : ms;
}

/* Doubles *pause_ms and answers the old one with jitter in its upper half. */
static int next_pause_ms(unsigned *pause_ms) {
	unsigned pause = *pause_ms;
	unsigned chance = 0;
	*pause_ms = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
	/* Without chance there is no jitter, and the pause still grows. */
	(void)!getrandom(&chance, sizeof(chance), GRND_NONBLOCK);
	return (int)(pause - chance % (pause / 2 + 1));
}

/* The next pause, but not beyond the end of the wait, so that the last try is made on time. */
static int pause_for(const struct contender *contender, double waited_ms, unsigned *pause_ms) {
	int pause = next_pause_ms(pause_ms);
	double left_ms = contender->request->wait_ms - waited_ms;
	if (!contender->request->has_wait || left_ms >= pause)
		return pause;
	return left_ms > 0 ? (int)left_ms + 1 : 0;
}

/*
 * Makes sure, before kvctl gives up, that no write of its own can still take the lock; `status` is
 * how the last try ended.
 */
static void let_go(struct contender *contender, enum kv_status status) {
	if (status == KV_MAYBE)
		status = kv_lock_acquire(contender->lock, 1); /* settles before it answers */
	bool is_left = status == KV_MAYBE;
	if (status == KV_OK) {
		status = kv_lock_release(contender->lock);
		is_left = status != KV_OK && status != KV_NOTHELD && status != KV_BADSESSION;
	}
	if (is_left)
		(void)error_report(CODE_FAILED, contender->label,
				   "the lock may be left taken, by %s (if so: kvctl %s --break)",
				   kv_lock_id(contender->lock), contender->label);
}

/* How the wait came to its end, or CODE_DONE if it goes on. */
static int judge(const struct contender *contender, enum kv_status status, double waited_ms,
		 double silent_ms) {
	const struct settings *settings = contender->settings;
	const struct request *request = contender->request;
	bool is_over = request->has_wait && waited_ms >= request->wait_ms;

	switch (status) {
	case KV_BUSY:
		if (!is_over)
			return CODE_DONE;
		return error_report(
		    CODE_WAITED, contender->label,
		    "another holds it, after %g s (if its holder died: kvctl %s --break)",
		    request->wait_ms / 1000.0, contender->label);
	case KV_TIMEOUT:
	case KV_MAYBE:
	case KV_BADSESSION: /* the server was started anew: so is the wait */
		if (!is_over && (settings->timeout_ms == 0 || silent_ms < settings->timeout_ms))
			return CODE_DONE;
		break;
	case KV_OK:
	case KV_NOKEY:
	case KV_VERSION:
	case KV_STALE:
	case KV_FALSE_RETRY:
	case KV_TOOBIG:
	case KV_FULL:
	case KV_DENIED:
	case KV_INVALID:
	case KV_UNAVAILABLE:
	case KV_PROTOCOL:
	case KV_NOMEM:
	case KV_NOTHELD:
	case KV_EPOCH:
		break;
	}
	/* What is left unsettled is told by let_go(). */
	if (status == KV_MAYBE)
		status = KV_TIMEOUT;
	struct settings told = *settings;
	if (is_over)
		told.timeout_ms = request->wait_ms;
	(void)error_status(&told, contender->client, &contender->action, status);
	return CODE_FAILED;
}

/* CODE_DONE: the lock is held. Else what kvctl exits with, and the lock is not left taken. */
static int take(struct contender *contender) {
	double start_ms = kvctl_now_ms();
	double answered_ms = start_ms;
	unsigned pause_ms = PAUSE_FIRST_MS;
	bool is_told = false;

	for (;;) {
		enum kv_status status = kv_lock_try(contender->lock);
		double now_ms = kvctl_now_ms();
		double waited_ms = now_ms - start_ms;
		if (status == KV_BUSY || status == KV_OK)
			answered_ms = now_ms;

		int code = status == KV_OK
			       ? CODE_DONE
			       : judge(contender, status, waited_ms, now_ms - answered_ms);
		bool is_shared = false;
		int number = 0;
		if (code == CODE_DONE)
			number = signals_wait(
			    &contender->signals,
			    status == KV_OK ? 0 : pause_for(contender, waited_ms, &pause_ms),
			    &is_shared);
		if (number != 0 && number != SIGCHLD)
			code = CODE_SIGNAL + number;
		if (code != CODE_DONE) {
			let_go(contender, status);
			return code;
		}
		if (status == KV_OK)
			return CODE_DONE;
		if (status == KV_BUSY && !is_told &&
		    (waited_ms >= NOTICE_MS || contender->settings->is_verbose)) {
			notice(
			    contender->settings, contender->label,
			    "another holds it: waiting (if its holder died: kvctl %s --break)",
			    contender->label);
			is_told = true;
		}
	}
}

/* Gives the lock back; what is not confirmed within -t, or until a signal comes, is told. */
static void release(struct contender *contender) {
	const struct settings *settings = contender->settings;
	double start_ms = kvctl_now_ms();
	unsigned pause_ms = PAUSE_FIRST_MS;
	enum kv_status status = KV_OK;

	for (;;) {
		status = kv_lock_release(contender->lock);
		if (status != KV_MAYBE && status != KV_TIMEOUT)
			break;
		if (settings->timeout_ms != 0 && kvctl_now_ms() - start_ms >= settings->timeout_ms)
			break;
		bool is_shared = false;
		int number =
		    signals_wait(&contender->signals, next_pause_ms(&pause_ms), &is_shared);
		if (number != 0 && number != SIGCHLD)
			break;
	}
	if (status == KV_OK)
		return;
	if (status == KV_NOTHELD || status == KV_BADSESSION) {
		(void)error_report(CODE_FAILED, contender->label,
				   "the lock was lost while COMMAND ran: somebody broke it, or the "
				   "server was started anew");
		return;
	}
	char reason[FAILURE_TEXT_MAX] = "";
	kv_reason(contender->client, reason, sizeof(reason));
	(void)error_report(CODE_FAILED, contender->label,
			   "the release is not confirmed: %s%s%s (if %s stays in the key: "
			   "kvctl %s --break)",
			   kv_status_text(status), reason[0] != '\0' ? ": " : "", reason,
			   kv_lock_id(contender->lock), contender->label);
}

static int run_command(struct contender *contender) {
	char token[32];
	(void)snprintf(token, sizeof(token), "%llu",
		       (unsigned long long)kv_lock_token(contender->lock));
	if (setenv("KV_LOCK_NAME", contender->request->name, 1) != 0 ||
	    setenv("KV_LOCK_TOKEN", token, 1) != 0)
		return error_report(CODE_FAILED, contender->label, "no memory");
	if (contender->settings->is_verbose)
		notice(contender->settings, contender->label, "held, with token %s", token);
	return child_run(contender->label, contender->request->command, &contender->signals);
}

static int hold(const struct settings *settings, const struct request *request) {
	struct contender contender = {
	    .settings = settings,
	    .request = request,
	    .action = {.command = lock_command.name, .key = request->key, .expected = KV_ANY},
	};
	char name[FAILURE_TEXT_MAX];
	printable(request->key, name);
	(void)snprintf(contender.label, sizeof(contender.label), "lock %s", name);
	signals_catch(&contender.signals);

	unsigned try_ms = smaller_unless_0(TRY_MS, settings->timeout_ms);
	try_ms = smaller_unless_0(try_ms, request->wait_ms);
	if (!kvctl_open(settings, contender.label, try_ms, &contender.client))
		return CODE_FAILED;

	int code = CODE_FAILED;
	enum kv_status status = kv_lock_open(contender.client, request->key, &contender.lock);
	if (status != KV_OK) {
		(void)error_status(settings, contender.client, &contender.action, status);
	} else {
		code = take(&contender);
		if (code == CODE_DONE) {
			code = run_command(&contender);
			release(&contender);
		}
	}
	kv_lock_close(contender.lock);
	kvctl_close(settings, contender.label, contender.client, code != CODE_FAILED);
	return code;
}

static int break_lock(const struct settings *settings, const struct request *request) {
	struct action action = {
	    .command = lock_command.name, .key = request->key, .expected = KV_ANY};
	struct kv_client *client = NULL;
	if (!kvctl_open(settings, action.command, settings->timeout_ms, &client))
		return CODE_REFUSED;

	enum kv_status status = kv_lock_break(client, request->key);
	int code = CODE_DONE;
	if (status != KV_OK)
		code = error_status(settings, client, &action, status);
	else
		notice(settings, action.command, "the lock is free");
	kvctl_close(settings, action.command, client, status == KV_OK);
	return code;
}

/*
 * Reads the options up to the first operand. Twice: before NAME and after it; what follows the
 * second time is COMMAND, whose options are not ours. 'h', '?', or -1 with optind moved on.
 */
static int read_options(int argc, char **argv, struct request *request, bool *breaks) {
	static const struct option options[] = {
	    {"wait", required_argument, NULL, OPTION_WAIT},
	    {"break", no_argument, NULL, OPTION_BREAK},
	    {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0},
	};
	int option = 0;

	optind = 0;
	while ((option = arguments_option("lock", argc, argv, "+:h", options)) != -1) {
		if (option == OPTION_BREAK)
			*breaks = true;
		else if (option != OPTION_WAIT)
			return option;
		else if (arguments_seconds("lock", "--wait", optarg, &request->wait_ms))
			request->has_wait = true;
		else
			return '?';
	}
	return -1;
}

static int run(const struct settings *settings, int argc, char **argv) {
	struct request request = {.name = NULL};
	bool breaks = false;

	int option = read_options(argc, argv, &request, &breaks);
	if (option == -1) {
		argc -= optind;
		argv += optind;
		if (argc == 0)
			return error_usage("lock", "the NAME of a lock is wanted");
		request.name = argv[0];
		option = read_options(argc, argv, &request, &breaks);
	}
	if (option != -1)
		return option == 'h' ? kvctl_help(&lock_command) : CODE_USAGE;

	request.command = argv + optind;
	bool has_command = request.command[0] != NULL;
	if (breaks && (has_command || request.has_wait))
		return error_usage("lock", "--break takes neither --wait nor a COMMAND");
	if (!breaks && !has_command)
		return error_usage("lock", "the COMMAND to run is missing");

	int code = arguments_key("lock", request.name, &request.key);
	if (code != CODE_DONE)
		return code == CODE_LIMIT && has_command ? CODE_FAILED : code;
	return breaks ? break_lock(settings, &request) : hold(settings, &request);
}

const struct command lock_command = {
    .name = "lock",
    .operands = "NAME [--wait SECS] -- COMMAND...   |   lock NAME --break",
    .summary = "run a command while holding a lock",
    .details =
	"Waits for the lock NAME, runs COMMAND while holding it, then releases it. COMMAND has\n"
	"KV_LOCK_NAME and KV_LOCK_TOKEN (the fencing token: greater for each holder) in its\n"
	"environment, and gets the TERM, INT, HUP and QUIT that kvctl is sent. There is no lease:\n"
	"a holder that dies keeps the lock until it is broken.\n"
	"\n"
	"      --wait SECS  wait no longer than this (0: try once; default: for ever)\n"
	"      --break      free the lock, whoever holds it: for a holder that died\n"
	"  -h, --help       print this\n"
	"\n"
	"Example: kvctl lock backup --wait 60 -- sh -c 'echo holding $KV_LOCK_NAME; sleep 5'\n"
	"\n"
	"Exit codes: COMMAND's own (128+n for signal n), 124 time was up, 125 kvctl failed,\n"
	"126 COMMAND cannot be run, 127 COMMAND was not found, 2 usage. A signal that ends the\n"
	"wait: 128+n. With --break: 0 free, 3 no such lock, 4 it changed hands meanwhile, 5 or 6\n"
	"no answer, 1, 7 or 8 refused.\n",
    .run = run,
};
