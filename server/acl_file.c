/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acl/acl.h"
#include "core/operation.h"
#include "log.h"

enum { GROUPS_MAX = 65536 }; /* of a user: NGROUPS_MAX of Linux */

static bool find_user(const char *name, uint32_t *uid) {
	const struct passwd *user = getpwnam(name);

	if (user != NULL)
		*uid = user->pw_uid;
	return user != NULL;
}

static bool find_group(const char *name, uint32_t *gid) {
	const struct group *group = getgrnam(name);

	if (group != NULL)
		*gid = group->gr_gid;
	return group != NULL;
}

static const struct who_names names = {.user = find_user, .group = find_group};

/* --- The file ------------------------------------------------------------------------------ */

/* Whether only root and the user of this process may change it. */
static bool check_owner(int fd, const char *path, const char *what) {
	struct stat status;

	if (fstat(fd, &status) != 0)
		log_error("%s%s: %s", what, path, strerror(errno));
	else if (!S_ISREG(status.st_mode))
		log_error("%s%s: it is not a file", what, path);
	else if (status.st_uid != 0 && status.st_uid != geteuid())
		log_error("%s%s: it belongs to uid %u, who could change the rules (chown root %s)",
			  what, path, (unsigned)status.st_uid, path);
	else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		log_error("%s%s: its group or others may write it (chmod go-w %s)", what, path,
			  path);
	else
		return true;
	return false;
}

/* The whole file, at most one byte more than may be; `data` is to be freed. */
static bool read_whole(int fd, char **data, size_t *size) {
	const size_t max = (size_t)ACL_TEXT_MAX + 1;
	ssize_t got = 1;

	*size = 0;
	*data = malloc(max);
	while (*data != NULL && got > 0 && *size < max) {
		got = read(fd, *data + *size, max - *size);
		*size += got > 0 ? (size_t)got : 0;
	}
	return *data != NULL && got >= 0;
}

static bool read_text(const char *path, const char *what, char **data, size_t *size) {
	/* A FIFO would wait for its other end. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is_read = false;

	*data = NULL;
	if (fd < 0) {
		log_error("%s%s: %s", what, path, strerror(errno));
		return false;
	}
	if (check_owner(fd, path, what)) {
		is_read = read_whole(fd, data, size);
		if (!is_read)
			log_error("%s%s: %s", what, path, strerror(errno));
	}
	(void)close(fd);
	return is_read;
}

static struct acl *parse(const char *path, const char *what, struct kv_bytes text) {
	char error[ACL_ERROR_MAX];
	struct acl *acl = acl_parse(path, text, &names, error);

	if (acl == NULL)
		log_error("%s%s", what, error);
	return acl;
}

struct acl *acl_file_read(const char *path, const char *what) {
	struct acl *acl = NULL;
	char *data;
	size_t size;

	if (read_text(path, what, &data, &size))
		acl = parse(path, what, (struct kv_bytes){data, size});
	free(data);
	return acl;
}

/* --- --who and --key ----------------------------------------------------------------------- */

/* The groups of a user, to be freed. */
static void set_groups(struct caller *caller) {
	const struct passwd *user = getpwuid(caller->uid);
	int count = GROUPS_MAX;
	gid_t *groups = calloc(GROUPS_MAX, sizeof(*groups));

	if (user == NULL || groups == NULL ||
	    getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
		count = 0;
	caller->groups = groups;
	caller->group_count = (unsigned)count;
}

/* False: logged. */
static bool make_caller(const char *text, struct caller *caller) {
	char error[WHO_ERROR_MAX];
	char *copy = strdup(text);
	struct who who;
	bool is_who = copy != NULL && who_parse(copy, &names, &who, error);

	*caller = (struct caller){.is_known = false};
	free(copy);
	if (!is_who) {
		log_error("--who %s", copy == NULL ? strerror(ENOMEM) : error);
		return false;
	}
	if (who.kind == WHO_UID) {
		principal_set_user(caller, who.id);
		set_groups(caller);
	} else if (who.kind == WHO_HOST && who.bits == 8 * CALLER_ADDRESS_SIZE) {
		caller->has_address = true;
		memcpy(caller->address, who.address, CALLER_ADDRESS_SIZE);
	} else if (who.kind != WHO_ANY) {
		log_error("--who %s: name one caller: uid:USER, host:ADDRESS or any", text);
		return false;
	}
	return true;
}

static void print_line(struct kv_bytes text, unsigned line) {
	const char *at = text.data;
	const char *end = at + text.size, *end_of_line;

	for (unsigned i = 1; i < line; i++)
		at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
	end_of_line = memchr(at, '\n', (size_t)(end - at));
	(void)printf("line %u: %.*s\n", line, (int)((end_of_line == NULL ? end : end_of_line) - at),
		     at);
}

static bool explain(struct kv_bytes text, const struct acl *acl, const struct caller *caller,
		    const char *who, const char *key) {
	const struct kv_bytes bytes = {key, strlen(key)};
	char rights[ACL_RIGHTS_TEXT_MAX];
	struct kv_bytes prefix;
	unsigned line;

	if (acl_find_rule(acl, bytes, &prefix, &line))
		print_line(text, line);
	else
		(void)puts("no line: no prefix begins this key");
	(void)printf("%s \"%s\": %s\n", who, key,
		     acl_rights_format(acl_check(acl, caller, bytes), rights));
	return fflush(stdout) == 0;
}

bool acl_file_explain(const char *path, const char *who, const char *key) {
	struct caller caller = {.is_known = false};
	struct acl *acl = NULL;
	char *data = NULL;
	size_t size;
	bool done = false;

	if (strlen(key) == 0 || strlen(key) > KEY_MAX)
		log_error("--key: a key has 1 to %d bytes", KEY_MAX);
	else if (make_caller(who, &caller) && read_text(path, "", &data, &size))
		acl = parse(path, "", (struct kv_bytes){data, size});
	if (acl != NULL)
		done = explain((struct kv_bytes){data, size}, acl, &caller, who, key);
	acl_free(acl);
	free(data);
	free((void *)(uintptr_t)caller.groups);
	return done;
}
