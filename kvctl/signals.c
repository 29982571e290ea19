/* SPDX-License-Identifier: BSD-3-Clause */
#include "signals.h"

#include <stddef.h>
#include <time.h>

/* A blocked signal is kept even if it is ignored, so those that are must stay out of the set. */
static bool is_ignored(int number) {
	struct sigaction action;
	return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

void signals_catch(struct signals *signals) {
	static const int stopping[] = {SIGTERM, SIGINT, SIGHUP};
	(void)sigemptyset(&signals->caught);
	for (size_t i = 0; i < sizeof(stopping) / sizeof(stopping[0]); i++) {
		if (!is_ignored(stopping[i]))
			(void)sigaddset(&signals->caught, stopping[i]);
	}

	/* A parent that ignores SIGCHLD hands that on, and then there is no exit status to get. */
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigaddset(&signals->caught, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals->caught, &signals->before);
}

int signals_wait(const struct signals *signals, int timeout_ms, bool *is_from_terminal) {
	struct timespec timeout = {.tv_sec = timeout_ms / 1000,
				   .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
	siginfo_t about;
	int number = timeout_ms < 0 ? sigwaitinfo(&signals->caught, &about)
				    : sigtimedwait(&signals->caught, &about, &timeout);
	*is_from_terminal = number > 0 && about.si_code == SI_KERNEL;
	return number > 0 ? number : 0;
}
