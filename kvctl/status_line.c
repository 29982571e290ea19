/* SPDX-License-Identifier: BSD-3-Clause */
#include "status_line.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "escape.h"
#include "output.h"
#include "timing.h"

enum { WIDTH_DEFAULT = 80, LINE_SIZE = 2048, REASON_SIZE = 1280 };

bool status_line_is_shown(const struct settings *settings) {
	return !settings->is_quiet && isatty(STDERR_FILENO);
}

static size_t line_width(void) {
	struct winsize window = {.ws_col = 0};
	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_col < ESCAPE_SIZE_MIN)
		return WIDTH_DEFAULT;
	return window.ws_col;
}

void status_line_show(const struct settings *settings, const char *format, ...) {
	char text[LINE_SIZE];
	char safe[LINE_SIZE];
	char line[LINE_SIZE + 16];
	va_list arguments;

	if (!status_line_is_shown(settings))
		return;
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	(void)escape_bytes((struct kv_bytes){text, strlen(text)}, ESCAPE_LINE, safe, sizeof(safe));
	int size = snprintf(line, sizeof(line), "\r%.*s\033[K", (int)line_width() - 1, safe);
	(void)output_write(STDERR_FILENO, (struct kv_bytes){line, (size_t)size});
}

void status_line_clear(const struct settings *settings) {
	status_line_show(settings, "%s", "");
}

static void *show_wait(void *context) {
	struct status_line_wait *wait = context;
	double start_ms = timing_now_ms();
	bool is_shown = false;

	(void)pthread_mutex_lock(&wait->mutex);
	while (!wait->is_over) {
		struct timespec until;
		(void)clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += STATUS_LINE_WAIT_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000L;
		until.tv_nsec %= 1000000000L;
		if (pthread_cond_timedwait(&wait->changed, &wait->mutex, &until) == 0)
			continue;
		char reason[REASON_SIZE] = "";
		kv_last_error(wait->client, reason, sizeof(reason));
		double seconds = (timing_now_ms() - start_ms) / 1e3;
		status_line_show(wait->settings, "kvctl: waiting for %s, %.1f s%s%s",
				 wait->settings->server != NULL ? wait->settings->server
								: "a server",
				 seconds, reason[0] != '\0' ? ": " : "", reason);
		is_shown = true;
	}
	(void)pthread_mutex_unlock(&wait->mutex);
	if (is_shown)
		status_line_clear(wait->settings);
	return NULL;
}

void status_line_wait_begin(struct status_line_wait *wait, const struct settings *settings,
			    struct kv_client *client) {
	pthread_condattr_t attributes;

	*wait = (struct status_line_wait){.settings = settings, .client = client};
	if (!status_line_is_shown(settings))
		return;
	(void)pthread_condattr_init(&attributes);
	(void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&wait->mutex, NULL);
	(void)pthread_cond_init(&wait->changed, &attributes);
	(void)pthread_condattr_destroy(&attributes);
	wait->is_started = pthread_create(&wait->thread, NULL, show_wait, wait) == 0;
}

void status_line_wait_end(struct status_line_wait *wait) {
	if (!wait->is_started)
		return;
	(void)pthread_mutex_lock(&wait->mutex);
	wait->is_over = true;
	(void)pthread_cond_signal(&wait->changed);
	(void)pthread_mutex_unlock(&wait->mutex);
	(void)pthread_join(wait->thread, NULL);
}
