/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock that another holds is waited for on the server, in a thread, while this one waits for
 * signals and asks the server now and then whether it is there. A server that is away is tried,
 * with pauses. A try cannot be interrupted, so it is kept short (TRY_MAX_MS): that matters only
 * while the server does not reply.
 */
#include "lock_holder.h"

#include <kv/lock.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "acquisition.h"
#include "child.h"
#include "errors.h"
#include "escape.h"
#include "lease.h"
#include "signals.h"
#include "status_line.h"
#include "timing.h"

enum {
	PAUSE_FIRST_MS = 10,
	PAUSE_MAX_MS = 1000,
	TRY_MIN_MS = 250, /* else a short --wait would keep the release from ever being confirmed */
	TRY_MAX_MS = 3000,
	RELEASE_CALLS = 2, /* what one release takes: the write, and a look at what came of it */
	TRIES_A_TTL = 3,   /* else a renewal that is not answered would be the last one */
	NOTICE_MS = 5000,  /* how long nothing happens before that is mentioned */
	PROBE_MS = 5000,   /* how often a server that lets us wait is asked whether it is there */
	SETTLE_MS = 10000, /* past the end of --wait, to make sure that no lock is left taken */
	REASON_SIZE = 1280,
};

struct holder {
	const struct settings *settings;
	struct lock_request *request;
	struct signals signals;
	struct kv_client *client;
	struct kv_lock *lock;
	struct attempted attempted;
	unsigned try_ms;
	struct lease lease;
	char name[ESCAPE_WORD_SIZE];
	char label[ESCAPE_WORD_SIZE + 16]; /* "lock NAME" or "elect NAME", for the error lines */
};

static unsigned smaller_unless_0(unsigned ms, unsigned limit_ms) {
	return limit_ms != 0 && limit_ms < ms ? limit_ms : ms;
}

/* Doubles *pause_ms and returns the old one with jitter in its upper half. */
static int next_pause_ms(unsigned *pause_ms) {
	unsigned pause = *pause_ms;
	unsigned random = 0;
	*pause_ms = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
	/* Without random bits there is no jitter, and the pause still grows. */
	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	return (int)(pause - random % (pause / 2 + 1));
}

/* The next pause, but not beyond the end of the wait, so that the last try is made on time. */
static int pause_for(const struct holder *holder, double waited_ms, unsigned *pause_ms) {
	int pause = next_pause_ms(pause_ms);
	double left_ms = holder->request->wait_ms - waited_ms;
	if (!holder->request->has_wait || left_ms >= pause)
		return pause;
	return left_ms > 0 ? (int)left_ms + 1 : 0;
}

/*
 * Waits for a signal that ends a process, and returns it; 0: none came in time, or before
 * `acquisition` (NULL: none) was over.
 */
static int await_end(const struct holder *holder, int timeout_ms,
		     const struct acquisition *acquisition) {
	double end_ms = timing_now_ms() + timeout_ms;
	for (;;) {
		bool from_terminal = false;
		double left_ms = end_ms - timing_now_ms();
		int number = signals_wait(&holder->signals, left_ms > 0 ? (int)left_ms + 1 : 0,
					  &from_terminal);
		signals_stop(number);
		if (signals_terminates(number))
			return number;
		if (acquisition != NULL && acquisition_is_over(acquisition))
			return 0;
		if (number == 0 && timing_now_ms() >= end_ms)
			return 0;
	}
}

/* --- The release ------------------------------------------------------------------------------ */

enum release { RELEASED, RELEASE_LOST, RELEASE_UNCONFIRMED };

/* Shows what the release waits for: on a terminal as progress, else once as a line. */
static void show_release(const struct holder *holder, double tried_ms, unsigned limit_ms,
			 bool *is_noticed) {
	char reason[REASON_SIZE] = "";
	kv_last_error(holder->client, reason, sizeof(reason));
	if (status_line_is_shown(holder->settings)) {
		status_line_show(
		    holder->settings,
		    "kvctl: %s: not released yet, %.0f of %g s (Ctrl-C twice gives up): %s",
		    holder->label, tried_ms / 1e3, limit_ms / 1e3, reason);
	} else if (tried_ms >= NOTICE_MS && !*is_noticed) {
		*is_noticed = true;
		notice(holder->settings, holder->label,
		       "not released after %d s, goes on trying: %s", NOTICE_MS / 1000, reason);
	}
}

/* True if another try may end otherwise: the server was not reached, or lacks something. */
static bool is_passing(enum kv_status status) {
	return status == KV_MAYBE || status == KV_TIMEOUT || status == KV_FULL ||
	       status == KV_NOMEM || status == KV_UNAVAILABLE || status == KV_PROTOCOL;
}

/* Gives the lock back, or makes sure that no write of ours can still take it. */
static enum release release(const struct holder *holder, unsigned limit_ms,
			    enum kv_status *status) {
	double start_ms = timing_now_ms();
	unsigned pause_ms = PAUSE_FIRST_MS;
	unsigned interrupts = 0;
	bool is_noticed = false;

	for (;;) {
		*status = kv_lock_release(holder->lock);
		double tried_ms = timing_now_ms() - start_ms;
		/* In less than TRY_MIN_MS a try would end before its reply. */
		if (!is_passing(*status) || (limit_ms != 0 && tried_ms + TRY_MIN_MS > limit_ms))
			break;
		if (tried_ms >= STATUS_LINE_WAIT_MS)
			show_release(holder, tried_ms, limit_ms, &is_noticed);
		int number = await_end(holder, next_pause_ms(&pause_ms), NULL);
		interrupts += number == SIGINT || number == SIGQUIT;
		if (interrupts > 1)
			break;
	}
	status_line_clear(holder->settings);
	if (*status == KV_OK)
		return RELEASED;
	return *status == KV_NOTHELD || *status == KV_BADSESSION ? RELEASE_LOST
								 : RELEASE_UNCONFIRMED;
}

static int report_unconfirmed(const struct holder *holder, enum kv_status status, double tried_ms) {
	char reason[REASON_SIZE] = "";
	kv_last_error(holder->client, reason, sizeof(reason));
	const char *what =
	    status == KV_MAYBE || status == KV_TIMEOUT ? "not confirmed" : kv_status_text(status);
	if (holder->request->ttl_ms != 0)
		return error_report(CODE_NOT_RELEASED, holder->label,
				    "could not release the lock: %s for %.1f s%s%s%s. Its lease "
				    "ends by itself, %g s after the server is back",
				    what, tried_ms / 1e3, reason[0] != '\0' ? " (" : "", reason,
				    reason[0] != '\0' ? ")" : "", holder->request->ttl_ms / 1e3);
	return error_report(
	    CODE_NOT_RELEASED, holder->label,
	    "could not release the lock: %s for %.1f s%s%s%s. If \"kvctl get\" still "
	    "shows %s, free it: kvctl lock %s --break",
	    what, tried_ms / 1e3, reason[0] != '\0' ? " (" : "", reason,
	    reason[0] != '\0' ? ")" : "", kv_lock_id(holder->lock), holder->name);
}

static int report_lost(const struct holder *holder, int code) {
	return error_report(CODE_LOCK_LOST, holder->label,
			    "the lock was lost while COMMAND ran (exit code %d): it was broken, or "
			    "the server was restarted without -d",
			    code);
}

/* After a lease that came to its end while COMMAND ran. Returns what kvctl exits with. */
static int report_ended(struct holder *holder, int code) {
	const struct lease *lease = &holder->lease;
	char reason[REASON_SIZE] = "";

	if (lease->is_refused)
		return report_lost(holder, code);
	/* What is left of it need not be waited for by others; if this fails it ends by itself. */
	if (lease->state == LEASE_ENDING)
		(void)kv_lock_release(holder->lock);
	if (lease->status != KV_OK)
		kv_last_error(holder->client, reason, sizeof(reason));
	else
		(void)snprintf(reason, sizeof(reason), "kvctl or its machine was stopped");
	return error_report(CODE_LOCK_LOST, holder->label,
			    "the lock was lost while COMMAND ran (exit code %d): its lease of %g s "
			    "could not be renewed in time%s%s",
			    code, lease->ttl_ms / 1e3, reason[0] != '\0' ? ": " : "", reason);
}

/* After COMMAND. Returns what kvctl exits with: `code` if the lock was held all the time. */
static int release_after(const struct holder *holder, int code) {
	enum kv_status status = KV_OK;
	double start_ms = timing_now_ms();
	unsigned left_ms = kv_lock_left_ms(holder->lock);

	switch (release(holder, holder->request->release_ms, &status)) {
	case RELEASED:
		return code;
	case RELEASE_LOST:
		/* A lease that ended while the release was tried is no loss. */
		if (timing_now_ms() - start_ms > left_ms)
			return code;
		return report_lost(holder, code);
	case RELEASE_UNCONFIRMED:
		break;
	}
	return report_unconfirmed(holder, status, timing_now_ms() - start_ms);
}

/*
 * Before kvctl gives up the wait: makes sure that no write of ours can still take the lock;
 * `status` is how the last try ended. CODE_DONE, or CODE_NOT_RELEASED after an error line. With a
 * lease it is not worth a long wait: what still takes the lock gives it back by itself.
 */
static int release_before(const struct holder *holder, enum kv_status status) {
	unsigned limit_ms = holder->request->release_ms;
	double start_ms = timing_now_ms();

	if (status != KV_OK && status != KV_MAYBE)
		return CODE_DONE;
	bool has_lease = holder->request->ttl_ms != 0;
	if (holder->request->has_wait || has_lease)
		limit_ms = smaller_unless_0(SETTLE_MS, limit_ms);
	if (has_lease)
		limit_ms = smaller_unless_0(limit_ms, holder->settings->timeout_ms);
	if (release(holder, limit_ms, &status) != RELEASE_UNCONFIRMED)
		return CODE_DONE;
	if (has_lease) {
		notice(holder->settings, holder->label,
		       "the lock may be taken for the lease of %g s when the server is back",
		       holder->request->ttl_ms / 1e3);
		return CODE_DONE;
	}
	return report_unconfirmed(holder, status, timing_now_ms() - start_ms);
}

/* --- The wait --------------------------------------------------------------------------------- */

/* How long has been waited, how long without a reply, and for the last try. */
struct waited {
	double start_ms;
	double try_ms;
	bool has_reply;
	double replied_ms;
	double now_ms;
	bool is_noticed;
};

static bool wait_is_over(const struct holder *holder, const struct waited *waited) {
	return holder->request->has_wait &&
	       waited->now_ms - waited->start_ms >= holder->request->wait_ms;
}

/* True if the wait goes on after a try that ended with `status`. */
static bool goes_on(const struct holder *holder, enum kv_status status,
		    const struct waited *waited) {
	unsigned timeout_ms = holder->settings->timeout_ms;

	if (wait_is_over(holder, waited))
		return false;
	if (status == KV_BUSY)
		return true;
	/* In less than TRY_MIN_MS a try would end before its reply. */
	if (holder->request->has_wait &&
	    waited->now_ms - waited->start_ms + TRY_MIN_MS > holder->request->wait_ms)
		return false;
	/* After BADSESSION the server is another one, and so is the wait. */
	if (status != KV_TIMEOUT && status != KV_MAYBE && status != KV_BADSESSION)
		return false;
	/* A try that ended early, without a reply yet: every address refused (kv.h, fail_fast). */
	if (!holder->settings->waits && !waited->has_reply &&
	    waited->now_ms - waited->try_ms < holder->try_ms)
		return false;
	/* --wait is for the server, too. */
	return holder->request->has_wait || timeout_ms == 0 ||
	       waited->now_ms - waited->replied_ms < timeout_ms;
}

/* Writes to `text` the note of the holder and what can be done about it, as far as is known. */
static void describe_holder(const struct holder *holder, char text[REASON_SIZE]) {
	struct kv_lock_info info = {.is_held = false};
	char note[ESCAPE_WORD_SIZE] = "";

	if (!holder->settings->is_quiet)
		(void)kv_lock_inspect(holder->client, holder->request->key, &info);
	/* The lock is ours while we wait for shares to end. */
	const bool is_own = strcmp(info.id, kv_lock_id(holder->lock)) == 0;
	if (info.note_size > 0)
		escape_word((struct kv_bytes){info.note, info.note_size}, note);
	const char *comma = note[0] != '\0' ? "; " : "";
	if (is_own || (!info.is_held && info.token > 0))
		(void)snprintf(text, REASON_SIZE, "others share it: kvctl lock --list %s",
			       holder->name);
	else if (info.is_held && info.ttl_left_ms > 0)
		(void)snprintf(text, REASON_SIZE, "%s%sif that process is dead it ends in %.0f s",
			       note, comma, (double)info.ttl_left_ms / 1e3 + 0.5);
	else
		(void)snprintf(text, REASON_SIZE,
			       "%s%sif that process is dead: kvctl lock %s --break", note, comma,
			       holder->name);
}

/* Ends a wait in which the last try ended with `status`. Returns what kvctl exits with. */
static int give_up(const struct holder *holder, enum kv_status status) {
	int code = release_before(holder, status);
	if (code != CODE_DONE)
		return code;
	if (status == KV_BUSY) {
		char about[REASON_SIZE];
		describe_holder(holder, about);
		notice(holder->settings, holder->label,
		       "still held by another process after %g s; gave up. (%s)",
		       holder->request->wait_ms / 1e3, about);
		return CODE_WAITED;
	}
	struct settings reported = *holder->settings;
	if (holder->request->has_wait) {
		reported.timeout_ms = holder->request->wait_ms;
		reported.waits = reported.timeout_ms > 0;
	}
	(void)error_status(&reported, holder->client, &holder->attempted,
			   status == KV_MAYBE ? KV_TIMEOUT : status);
	return CODE_FAILED;
}

/* Shows what is waited for: on a terminal as progress, else once as a line. */
static void show_wait(const struct holder *holder, enum kv_status status, struct waited *waited) {
	double waited_ms = waited->now_ms - waited->start_ms;
	bool is_due = waited_ms >= NOTICE_MS || holder->settings->is_verbose;

	if (status == KV_BUSY && is_due && !waited->is_noticed) {
		char about[REASON_SIZE];
		waited->is_noticed = true;
		describe_holder(holder, about);
		notice(holder->settings, holder->label, "held by another process: waiting (%s)",
		       about);
	} else if (status != KV_BUSY && waited_ms >= STATUS_LINE_WAIT_MS) {
		char reason[REASON_SIZE] = "";
		kv_last_error(holder->client, reason, sizeof(reason));
		status_line_show(holder->settings, "kvctl: %s: waiting for a server, %.0f s: %s",
				 holder->label, waited_ms / 1e3, reason);
	}
}

/*
 * Waits for a lock that another holds. *number: the signal that ended the wait, or 0. Returns how
 * it ended; KV_TIMEOUT also if the server does not reply.
 */
static enum kv_status wait_in_turn(const struct holder *holder, struct waited *waited,
				   int *number) {
	struct acquisition acquisition;
	unsigned wait_ms = 0; /* forever */
	enum kv_status status = KV_BUSY;

	if (holder->request->has_wait) {
		double left_ms = holder->request->wait_ms - (waited->now_ms - waited->start_ms);
		wait_ms = left_ms > 1 ? (unsigned)left_ms : 1;
	}
	if (!acquisition_begin(&acquisition, holder->lock, wait_ms))
		return KV_NOMEM;
	for (;;) {
		*number =
		    await_end(holder, (int)smaller_unless_0(PROBE_MS, holder->settings->timeout_ms),
			      &acquisition);
		if (*number != 0 || acquisition_is_over(&acquisition))
			break;
		if (status != KV_BUSY && !goes_on(holder, status, waited))
			break;
		status = kv_ping(holder->client) == KV_OK ? KV_BUSY : KV_TIMEOUT;
		waited->now_ms = timing_now_ms();
		if (status == KV_BUSY)
			waited->replied_ms = waited->now_ms;
		show_wait(holder, status, waited);
	}
	status = acquisition_end(&acquisition);
	waited->now_ms = timing_now_ms();
	return status;
}

/* A server that knows no lease, or lets no session have one: goes on without, unless it was asked
 * for. */
static bool can_do_without(const struct holder *holder, enum kv_status status) {
	struct lock_request *request = holder->request;

	if (status != KV_UNAVAILABLE || request->ttl_ms == 0 || request->has_ttl ||
	    request->needs_note || request->is_shared)
		return false;
	request->ttl_ms = 0;
	notice(holder->settings, holder->label,
	       "the server is older than kvctl: the lock has no lease, and if kvctl dies it stays "
	       "taken until it is broken");
	return kv_lock_set_ttl(holder->lock, 0) == KV_OK;
}

/* Ends a wait because of a signal. Returns what kvctl exits with. */
static int end_by_signal(const struct holder *holder, enum kv_status status, int number) {
	status_line_clear(holder->settings);
	int code = release_before(holder, status);
	return code != CODE_DONE ? code : CODE_SIGNAL + number;
}

/* One try, and its progress. */
static enum kv_status try_once(const struct holder *holder, struct waited *waited) {
	struct status_line_wait progress;
	enum kv_status status;

	waited->try_ms = timing_now_ms();
	status_line_wait_begin(&progress, holder->settings, holder->client);
	do
		status = kv_lock_try(holder->lock);
	while (can_do_without(holder, status));
	status_line_wait_end(&progress);
	waited->now_ms = timing_now_ms();
	if (status == KV_BUSY || status == KV_OK) {
		waited->replied_ms = waited->now_ms;
		waited->has_reply = true;
	}
	return status;
}

/* CODE_DONE: the lock is held. Else what kvctl exits with, and the lock is not left taken. */
static int acquire(const struct holder *holder) {
	double now_ms = timing_now_ms();
	struct waited waited = {.start_ms = now_ms, .replied_ms = now_ms};
	unsigned pause_ms = PAUSE_FIRST_MS;

	for (;;) {
		int number = 0;
		enum kv_status status = try_once(holder, &waited);
		if (status != KV_OK && !goes_on(holder, status, &waited))
			return give_up(holder, status);
		if (status != KV_OK)
			show_wait(holder, status, &waited);
		bool is_held = status == KV_BUSY;
		if (is_held) {
			status_line_clear(holder->settings);
			status = wait_in_turn(holder, &waited, &number);
		}
		if (number == 0 && (!is_held || status == KV_OK))
			number = await_end(
			    holder,
			    status == KV_OK
				? 0
				: pause_for(holder, waited.now_ms - waited.start_ms, &pause_ms),
			    NULL);
		if (number != 0)
			return end_by_signal(holder, status, number);
		if (status == KV_OK) {
			status_line_clear(holder->settings);
			return CODE_DONE;
		}
		/* The end of the wait: whether the lock or the server was waited for, a try tells.
		 */
		if (is_held && status != KV_TIMEOUT && !goes_on(holder, status, &waited))
			return give_up(holder, status);
	}
}

/* --- COMMAND ---------------------------------------------------------------------------------- */

/* What COMMAND finds in its environment. False: no memory. */
static bool set_environment(const struct holder *holder) {
	const struct settings *settings = holder->settings;
	const struct lock_request *request = holder->request;
	const struct kv_condition held = kv_lock_fence(holder->lock);
	char name[KV_KEY_MAX + 1];
	char fence[KV_KEY_MAX + 32];
	char program[32];
	/* Of a share it is the key of its own, that the token is of. */
	(void)snprintf(name, sizeof(name), "%.*s", (int)held.key.size, (const char *)held.key.data);
	(void)snprintf(fence, sizeof(fence), "%s:%llu", name, (unsigned long long)held.version);
	(void)snprintf(program, sizeof(program), "%u", (unsigned)settings->program);
	return setenv("KV_LOCK_NAME", name, 1) == 0 &&
	       setenv("KV_LOCK_TOKEN", strrchr(fence, ':') + 1, 1) == 0 &&
	       (request->fence_env == NULL || setenv(request->fence_env, fence, 1) == 0) &&
	       (settings->server == NULL || setenv("KV_SERVER", settings->server, 1) == 0) &&
	       (settings->program == 0 || setenv("KV_PROGRAM", program, 1) == 0);
}

/* Runs COMMAND and releases the lock. Returns what kvctl exits with. */
static int run_command(struct holder *holder) {
	const struct lock_request *request = holder->request;
	struct lease *lease = request->ttl_ms != 0 ? &holder->lease : NULL;
	int code = CODE_FAILED;

	if (holder->settings->is_verbose)
		notice(holder->settings, holder->label, "held, with token %llu",
		       (unsigned long long)kv_lock_token(holder->lock));
	if (!set_environment(holder) ||
	    (lease != NULL &&
	     !lease_begin(lease, holder->lock, request->ttl_ms, request->kill_after_ms)))
		return release_after(holder, error_report(code, holder->label, "no memory"));

	code = child_run(holder->label, request->command, &holder->signals, lease);
	if (lease != NULL)
		lease_end(lease);
	return lease != NULL && (lease->state != LEASE_HELD || lease->is_refused)
		   ? report_ended(holder, code)
		   : release_after(holder, code);
}

/* The handle of the lock, with its lease and note. */
static enum kv_status open_lock(struct holder *holder) {
	const struct lock_request *request = holder->request;
	struct kv_bytes note = request->note;
	enum kv_status status = kv_lock_open(holder->client, request->key, &holder->lock);

	if (status == KV_OK)
		status = kv_lock_set_mode(holder->lock,
					  request->is_shared ? KV_LOCK_SHARED : KV_LOCK_EXCLUSIVE);
	if (status == KV_OK && request->ttl_ms != 0)
		status = kv_lock_set_ttl(holder->lock, request->ttl_ms);
	if (status != KV_OK)
		return status;
	status = note.data != NULL ? kv_lock_set_note(holder->lock, note)
				   : kv_lock_describe(holder->lock, request->command[0]);
	/* Its key would be too long. */
	return status == KV_INVALID && request->note.data == NULL ? KV_OK : status;
}

/* How long one call may take. */
static unsigned choose_try_ms(const struct settings *settings, const struct lock_request *request) {
	unsigned try_ms = smaller_unless_0(TRY_MAX_MS, settings->timeout_ms);
	try_ms = smaller_unless_0(try_ms, request->wait_ms);
	try_ms = smaller_unless_0(try_ms, (request->release_ms + 1) / RELEASE_CALLS);
	try_ms = smaller_unless_0(try_ms, request->ttl_ms / TRIES_A_TTL);
	return try_ms < TRY_MIN_MS ? TRY_MIN_MS : try_ms;
}

int lock_holder_run(const struct settings *settings, struct lock_request *request) {
	struct holder holder = {
	    .settings = settings,
	    .request = request,
	    .attempted = {.command = request->verb->name, .key = request->key, .expected = KV_ANY},
	};
	escape_word(request->key, holder.name);
	(void)snprintf(holder.label, sizeof(holder.label), "%s %s", request->verb->name,
		       holder.name);
	signals_catch(&holder.signals);

	int code =
	    kvctl_open(settings, holder.label, choose_try_ms(settings, request), &holder.client);
	if (code != CODE_DONE)
		return code == CODE_USAGE ? code : CODE_FAILED;

	code = CODE_FAILED;
	enum kv_status status = open_lock(&holder);
	if (status != KV_OK) {
		(void)error_status(settings, holder.client, &holder.attempted, status);
	} else {
		code = acquire(&holder);
		if (code == CODE_DONE)
			code = run_command(&holder);
	}
	kv_lock_close(holder.lock);
	kvctl_close(settings, holder.label, holder.client,
		    code != CODE_FAILED && code != CODE_NOT_RELEASED);
	return code;
}
