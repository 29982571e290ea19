/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/local_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "address.h"
#include "log.h"

enum {
	LOCK_RETRY_MS = 10,
	LOCK_PATH_MAX = ADDRESS_PATH_MAX + sizeof(".lock"),
	NOT_FOR_EXECUTION = 0111, /* a umask that leaves 0666 */
};

/* --- The lock of those that start ---------------------------------------------------------- */

/* Whether the file that was locked is still the one that others find at the path. */
static bool is_at(int fd, const char *path) {
	struct stat held, found;

	return fstat(fd, &held) == 0 && lstat(path, &found) == 0 && held.st_dev == found.st_dev &&
	       held.st_ino == found.st_ino;
}

/* The kernel releases a lock whose owner dies, so a file that was left behind locks nothing. */
static int lock(const char *path) {
	for (int waited_ms = 0;;) {
		int fd =
		    open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
			 0600);
		int error;

		if (fd < 0)
			return -1;
		if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
			if (is_at(fd, path))
				return fd;
			error = EINTR; /* removed by its last owner: look again */
		} else {
			error = errno;
		}
		(void)close(fd);
		if (error == EWOULDBLOCK) {
			if (waited_ms >= LOCAL_SOCKET_LOCK_WAIT_MS) {
				errno = EWOULDBLOCK;
				return -1;
			}
			(void)poll(NULL, 0, LOCK_RETRY_MS);
			waited_ms += LOCK_RETRY_MS;
		} else if (error != EINTR) {
			errno = error;
			return -1;
		}
	}
}

static void unlock(int fd, const char *path) {
	(void)unlink(path);
	(void)close(fd);
}

/* --- The socket ---------------------------------------------------------------------------- */

/* What is at the path. */
enum occupant { OCCUPANT_NONE, OCCUPANT_STALE, OCCUPANT_SERVER, OCCUPANT_OTHER };

static enum occupant find_occupant(const struct sockaddr_un *sockaddr) {
	struct stat status;
	enum occupant occupant = OCCUPANT_OTHER;
	int fd;

	if (lstat(sockaddr->sun_path, &status) != 0)
		return OCCUPANT_NONE;
	if (!S_ISSOCK(status.st_mode))
		return OCCUPANT_OTHER;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return OCCUPANT_OTHER;
	/* EAGAIN: its queue is full, so there is a server behind it. */
	if (connect(fd, (const struct sockaddr *)sockaddr, sizeof(*sockaddr)) == 0 ||
	    errno == EAGAIN)
		occupant = OCCUPANT_SERVER;
	else if (errno == ECONNREFUSED)
		occupant = OCCUPANT_STALE;
	(void)close(fd);
	return occupant;
}

static bool remove_stale(const struct sockaddr_un *sockaddr) {
	switch (find_occupant(sockaddr)) {
	case OCCUPANT_NONE:
		return true;
	case OCCUPANT_STALE:
		log_verbose("removing %s, left by a server that is gone", sockaddr->sun_path);
		if (unlink(sockaddr->sun_path) == 0 || errno == ENOENT)
			return true;
		log_error("cannot remove the stale socket %s: %s (remove it, or choose another "
			  "path with -l)",
			  sockaddr->sun_path, strerror(errno));
		return false;
	case OCCUPANT_SERVER:
		log_error("cannot listen at local:%s: another server listens there (stop it, or "
			  "choose another path with -l)",
			  sockaddr->sun_path);
		return false;
	case OCCUPANT_OTHER:
		log_error("cannot listen at local:%s: the path exists and is not a socket, or is "
			  "owned by another user (choose another path with -l)",
			  sockaddr->sun_path);
		return false;
	}
	return false;
}

/* The mode is right from the first moment: at a later one the path may lead to another file. */
static int bind_with_mode(const struct sockaddr_un *sockaddr) {
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	mode_t before = umask(NOT_FOR_EXECUTION);
	bool is_bound =
	    fd >= 0 && bind(fd, (const struct sockaddr *)sockaddr, sizeof(*sockaddr)) == 0;
	int error = errno;

	(void)umask(before);
	if (is_bound && listen(fd, SOMAXCONN) == 0)
		return fd;
	if (is_bound) {
		error = errno;
		(void)unlink(sockaddr->sun_path);
	}
	if (fd >= 0)
		(void)close(fd);
	errno = error;
	return -1;
}

static const char *cure(int error) {
	return error == EMFILE || error == ENFILE ? "raise the limit of open files, ulimit -n"
						  : "choose another path with -l";
}

static bool open_locked(struct local_socket *local, const struct sockaddr_un *sockaddr) {
	struct stat status;

	if (!remove_stale(sockaddr))
		return false;
	local->fd = bind_with_mode(sockaddr);
	if (local->fd < 0) {
		log_error("cannot listen at local:%s: %s (%s)", sockaddr->sun_path, strerror(errno),
			  cure(errno));
		return false;
	}
	if (lstat(sockaddr->sun_path, &status) == 0) {
		local->device = status.st_dev;
		local->inode = status.st_ino;
	}
	return true;
}

static void log_no_lock(const char *path, const char *lock_path) {
	if (errno == EWOULDBLOCK)
		log_error(
		    "cannot listen at local:%s: another server has been starting there for %d s "
		    "(stop what holds %s, or choose another path with -l)",
		    path, LOCAL_SOCKET_LOCK_WAIT_MS / 1000, lock_path);
	else if (errno == EACCES || errno == ELOOP)
		log_error("cannot listen at local:%s: cannot make %s: %s (use a directory that is "
			  "yours, or remove that file)",
			  path, lock_path, strerror(errno));
	else
		log_error("cannot listen at local:%s: %s (%s)", path, strerror(errno), cure(errno));
}

bool local_socket_open(struct local_socket *local, const char *path) {
	struct sockaddr_un sockaddr = {.sun_family = AF_UNIX};
	char lock_path[LOCK_PATH_MAX];
	bool is_open;
	int locked;

	*local = (struct local_socket){.fd = -1};
	(void)snprintf(sockaddr.sun_path, sizeof(sockaddr.sun_path), "%s", path);
	(void)snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	locked = lock(lock_path);
	if (locked < 0) {
		log_no_lock(path, lock_path);
		return false;
	}
	is_open = open_locked(local, &sockaddr);
	unlock(locked, lock_path);
	return is_open;
}

bool local_socket_unlink(struct local_socket *local, const char *path) {
	struct stat status;

	if (local->inode == 0 || lstat(path, &status) != 0)
		return true;
	if (status.st_dev != local->device || status.st_ino != local->inode)
		return false;
	(void)unlink(path);
	local->inode = 0;
	return true;
}
