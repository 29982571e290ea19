/* SPDX-License-Identifier: BSD-3-Clause */
#include "signals.h"

#include <stddef.h>
#include <time.h>
#include <unistd.h>

/* A blocked signal is kept even if it is ignored, so those that are must stay out of the set. */
static bool is_ignored(int number) {
	struct sigaction action;
	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void signals_catch(struct signals *signals) {
	static const int stopping[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	(void)sigemptyset(&signals->caught);
	for (size_t i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++) {
		if (!is_ignored(stopping[i]))
			(void)sigaddset(&signals->caught, stopping[i]);
	}

	/* A parent that ignores SIGCHLD hands that on, and then there is no exit status to get. */
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigaddset(&signals->caught, SIGCHLD);

	sigset_t blocked = signals->caught;
	(void)sigaddset(&blocked, SIGPIPE);
	(void)sigprocmask(SIG_BLOCK, &blocked, &signals->before);
}

/*
 * What the kernel itself sends comes from the terminal: INT and QUIT to all of its foreground, but
 * HUP, when the terminal is gone, to the leader of its session alone.
 */
static bool is_for_all(int number, const siginfo_t *about) {
	bool is_mine = number == SIGHUP && getsid(0) == getpid();
	return about->si_code == SI_KERNEL && !is_mine;
}

int signals_wait(const struct signals *signals, int timeout_ms, bool *is_shared) {
	struct timespec timeout = {.tv_sec = timeout_ms / 1000,
				   .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
	siginfo_t about;
	int number = timeout_ms < 0 ? sigwaitinfo(&signals->caught, &about)
				    : sigtimedwait(&signals->caught, &about, &timeout);
	*is_shared = number > 0 && is_for_all(number, &about);
	return number > 0 ? number : 0;
}
