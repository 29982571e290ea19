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
	/* A parent that ignores SIGCHLD hands that on, and then there is no exit status to get. */
	(void)signal(SIGCHLD, SIG_DFL);
	(void)sigfillset(&signals->caught);
	for (int number = 1; number <= SIGRTMAX; number++) {
		if (is_ignored(number))
			(void)sigdelset(&signals->caught, number);
	}
	(void)sigprocmask(SIG_BLOCK, &signals->caught, &signals->before);
}

/*
 * The kernel is the sender of what a terminal raises, for all of its foreground group; but HUP (and
 * the CONT with it), when the terminal is gone, goes to the leader of its session alone. Of other
 * signals, such as ALRM, the kernel is the sender too, and we alone get them.
 */
static bool is_from_terminal(int number, const siginfo_t *about) {
	if (about->si_code != SI_KERNEL)
		return false;
	switch (number) {
	case SIGINT:
	case SIGQUIT:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGWINCH:
		return true;
	case SIGHUP:
	case SIGCONT:
		return getsid(0) != getpid();
	default:
		return false;
	}
}

int signals_wait(const struct signals *signals, int timeout_ms, bool *from_terminal) {
	struct timespec timeout = {.tv_sec = timeout_ms / 1000,
				   .tv_nsec = (long)(timeout_ms % 1000) * 1000000};
	siginfo_t about;
	int number = timeout_ms < 0 ? sigwaitinfo(&signals->caught, &about)
				    : sigtimedwait(&signals->caught, &about, &timeout);
	if (number <= 0 || (number == SIGPIPE && about.si_pid == getpid()))
		return 0;
	*from_terminal = is_from_terminal(number, &about);
	return number;
}

static bool stops(int number) {
	return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

bool signals_terminates(int number) {
	return number > 0 && !stops(number) && number != SIGCHLD && number != SIGCONT &&
	       number != SIGURG && number != SIGWINCH;
}

/*
 * Raised again and unblocked, not replaced by SIGSTOP, because the kernel stops no group that has
 * no shell to continue it.
 */
void signals_stop(int number) {
	sigset_t set;
	if (!stops(number))
		return;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, number);
	(void)raise(number);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static void ignore(int number) {
	(void)number;
}

void signals_write_errors(void) {
	static const int numbers[] = {SIGPIPE, SIGXFSZ};
	struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
	(void)sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (!is_ignored(numbers[i]))
			(void)sigaction(numbers[i], &action, NULL);
	}
}

void signals_default_pipe(void) {
	if (is_ignored(SIGPIPE))
		return;
	(void)signal(SIGPIPE, SIG_DFL);
	(void)raise(SIGPIPE);
}
