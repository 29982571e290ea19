/* SPDX-License-Identifier: BSD-3-Clause */
#include "control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CALLERS_MAX = 16 };

/* One that is connected. */
struct caller {
	struct watch watch;
	struct control *control;
	int fd; /* -1: free */
	char line[CONTROL_LINE_MAX];
	size_t size;
};

struct control {
	struct watch watch;
	struct network *network;
	int fd;
	char path[ADDRESS_PATH_MAX + 1];
	struct caller callers[CALLERS_MAX];
};

static void hang_up(struct caller *caller) {
	(void)close(caller->fd);
	caller->fd = -1;
	caller->size = 0;
}

/* A reply is short: a client that does not read it is not waited for. */
static bool answer(struct caller *caller, const char *command) {
	char text[CONTROL_ANSWER_MAX + 1];
	size_t size;

	(void)control_obey(caller->control->network, command, text);
	size = strlen(text);
	text[size++] = '\n';
	return send(caller->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

static void on_line(struct watch *watch, uint32_t events) {
	struct caller *caller = (struct caller *)watch;
	ssize_t got;
	char *end;

	(void)events;
	if (caller->fd < 0)
		return;
	got = recv(caller->fd, caller->line + caller->size, sizeof caller->line - caller->size,
		   MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		hang_up(caller);
		return;
	}
	caller->size += (size_t)got;
	while ((end = memchr(caller->line, '\n', caller->size)) != NULL) {
		*end = '\0';
		if (!answer(caller, caller->line)) {
			hang_up(caller);
			return;
		}
		caller->size -= (size_t)(end + 1 - caller->line);
		memmove(caller->line, end + 1, caller->size);
	}
	if (caller->size == sizeof caller->line)
		hang_up(caller);
}

static void on_caller(struct watch *watch, uint32_t events) {
	struct control *control = (struct control *)watch;
	struct caller *caller = control->callers;
	int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		network_accept_failed(control->network, errno, control->fd, watch);
		return;
	}
	while (caller < control->callers + CALLERS_MAX && caller->fd >= 0)
		caller++;
	if (caller == control->callers + CALLERS_MAX ||
	    !network_watch(control->network, fd, &caller->watch, EPOLLIN)) {
		(void)close(fd);
		return;
	}
	caller->fd = fd;
}

struct control *control_open(struct network *network, const char *path) {
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct control *control = calloc(1, sizeof *control);

	if (control == NULL)
		return NULL;
	if (strlen(path) >= sizeof control->path) {
		free(control);
		errno = ENAMETOOLONG;
		return NULL;
	}
	memcpy(control->path, path, strlen(path) + 1);
	memcpy(at.sun_path, path, strlen(path) + 1);
	control->network = network;
	control->watch.ready = on_caller;
	for (int i = 0; i < CALLERS_MAX; i++)
		control->callers[i] =
		    (struct caller){.watch = {on_line}, .control = control, .fd = -1};
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0 || bind(control->fd, (struct sockaddr *)&at, sizeof at) != 0 ||
	    listen(control->fd, CALLERS_MAX) != 0 ||
	    !network_watch(network, control->fd, &control->watch, EPOLLIN)) {
		int error = errno;

		if (control->fd >= 0)
			(void)close(control->fd);
		free(control);
		errno = error;
		return NULL;
	}
	return control;
}

void control_close(struct control *control) {
	if (control == NULL)
		return;
	for (int i = 0; i < CALLERS_MAX; i++)
		if (control->callers[i].fd >= 0)
			hang_up(&control->callers[i]);
	(void)close(control->fd);
	(void)unlink(control->path);
	free(control);
}
