/* SPDX-License-Identifier: BSD-3-Clause */
#include "trusted_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static bool check_owner(int fd, const char *path, const char *what, enum trusted_file_kind kind) {
	struct stat status;

	if (fstat(fd, &status) != 0)
		log_error("%s%s: %s", what, path, strerror(errno));
	else if (!S_ISREG(status.st_mode))
		log_error("%s%s: it is not a file", what, path);
	else if (status.st_uid != 0 && status.st_uid != geteuid())
		log_error("%s%s: it belongs to uid %u, who could change it (chown root %s)", what,
			  path, (unsigned)status.st_uid, path);
	else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		log_error("%s%s: its group or others may write it (chmod go-w %s)", what, path,
			  path);
	else if (kind == TRUSTED_FILE_SECRET && (status.st_mode & (S_IRGRP | S_IROTH)) != 0)
		log_error("%s%s: its group or others may read it (chmod go-r %s)", what, path,
			  path);
	else
		return true;
	return false;
}

static bool read_whole(int fd, size_t max, char **data, size_t *size) {
	ssize_t got = 1;

	*size = 0;
	*data = malloc(max + 1);
	while (*data != NULL && got > 0 && *size < max + 1) {
		got = read(fd, *data + *size, max + 1 - *size);
		*size += got > 0 ? (size_t)got : 0;
	}
	return *data != NULL && got >= 0;
}

bool trusted_file_read(const char *path, const char *what, enum trusted_file_kind kind, size_t max,
		       char **data, size_t *size) {
	/* A FIFO would wait for its other end. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is_read = false;

	*data = NULL;
	if (fd < 0) {
		log_error("%s%s: %s", what, path, strerror(errno));
		return false;
	}
	if (check_owner(fd, path, what, kind)) {
		is_read = read_whole(fd, max, data, size);
		if (!is_read)
			log_error("%s%s: %s", what, path, strerror(errno));
	}
	(void)close(fd);
	if (!is_read) {
		free(*data);
		*data = NULL;
	}
	return is_read;
}
