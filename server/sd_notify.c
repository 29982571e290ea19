/* SPDX-License-Identifier: BSD-3-Clause */
#include "sd_notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"

enum { SD_NOTIFY_WAIT_S = 5 };

void sd_notify_state(const char *state) {
	const char *path = getenv("NOTIFY_SOCKET");
	const struct timeval wait = {.tv_sec = SD_NOTIFY_WAIT_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
	    strlen(path) >= sizeof(address.sun_path))
		return;
	memcpy(address.sun_path, path, strlen(path));
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	/* An abstract name begins with a NUL, which is written as '@'. */
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* The queue of a manager that hangs is full. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
		   size) < 0 &&
	    errno == EAGAIN)
		log_warn("the service manager did not take %s within %d s", state,
			 SD_NOTIFY_WAIT_S);
	(void)close(fd);
}
