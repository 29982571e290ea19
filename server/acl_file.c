/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl_file.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acl/acl.h"
#include "core/operation.h"
#include "log.h"
#include "trusted_file.h"

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

static bool read_text(const char *path, const char *what, char **data, size_t *size) {
	return trusted_file_read(path, what, TRUSTED_FILE_PUBLIC, ACL_TEXT_MAX, data, size);
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

/* One of this name, over TLS. False: logged. */
static bool set_certificate(struct caller *caller, const char *name) {
	static const uint8_t unknown[CERTIFICATE_FINGERPRINT_SIZE];
	const struct certificate *certificate = certificate_new(&name, 1, unknown);

	if (certificate == NULL) {
		log_error("--who cert:%s: %s", name, strerror(ENOMEM));
		return false;
	}
	caller->tls = "";
	principal_set_certificate(caller, certificate);
	return true;
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
	if (who.kind == WHO_CERT && who.name[0] != '*') {
		is_who = set_certificate(caller, who.name);
	} else if (who.kind == WHO_UID) {
		principal_set_user(caller, who.id);
		set_groups(caller);
	} else if (who.kind == WHO_HOST && who.bits == 8 * CALLER_ADDRESS_SIZE) {
		caller->has_address = true;
		memcpy(caller->address, who.address, CALLER_ADDRESS_SIZE);
	} else if (who.kind != WHO_ANY) {
		log_error("--who %s: name one caller: uid:USER, cert:NAME, host:ADDRESS or any",
			  text);
		is_who = false;
	}
	who_free(&who);
	return is_who;
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
	certificate_free((struct certificate *)(uintptr_t)caller.certificate);
	return done;
}
