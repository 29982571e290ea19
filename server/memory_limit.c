/* SPDX-License-Identifier: BSD-3-Clause */
#include "memory_limit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { CGROUP_PATH_MAX = 4096, LINE_MAX_SIZE = 8192 };

/* The mount of a cgroup hierarchy: `root` is the cgroup that is visible at `point`. */
struct mount {
	char root[CGROUP_PATH_MAX];
	char point[CGROUP_PATH_MAX];
};

static void lower(struct memory_limit *limit, uint64_t bytes, const char *source) {
	if (bytes >= limit->bytes)
		return;
	limit->bytes = bytes;
	(void)snprintf(limit->source, sizeof(limit->source), "%.*s", MEMORY_LIMIT_SOURCE_MAX - 1,
		       source);
}

/* "max", or a number that no machine has, is no limit. */
static void lower_to_file(struct memory_limit *limit, const char *folder, const char *name) {
	char path[CGROUP_PATH_MAX + 64];
	char text[64] = "";
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "re");
	if (file == NULL)
		return;
	if (fgets(text, sizeof(text), file) != NULL && text[0] >= '0' && text[0] <= '9')
		lower(limit, strtoull(text, NULL, 10), path);
	(void)fclose(file);
}

/* --- The files of /proc/self --------------------------------------------------------------- */

static FILE *open_in(const char *proc, const char *name) {
	char path[CGROUP_PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/%s", proc, name);
	return fopen(path, "re");
}

static bool has_word(const char *list, const char *word) {
	size_t size = strlen(word);

	for (const char *at = strstr(list, word); at != NULL; at = strstr(at + 1, word))
		if ((at == list || at[-1] == ',') && (at[size] == '\0' || at[size] == ','))
			return true;
	return false;
}

/* Finds "N:CONTROLLERS:PATH" in the file cgroup; version 2 has no controllers there. */
static bool read_own_path(const char *proc, bool is_v2, char path[CGROUP_PATH_MAX]) {
	FILE *file = open_in(proc, "cgroup");
	char line[LINE_MAX_SIZE];
	bool found = false;

	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
		char *controllers = strchr(line, ':');
		char *own = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

		if (own == NULL)
			continue;
		*own++ = '\0';
		own[strcspn(own, "\n")] = '\0';
		found = is_v2 ? controllers[1] == '\0' : has_word(controllers + 1, "memory");
		if (found)
			(void)snprintf(path, CGROUP_PATH_MAX, "%s", own);
	}
	if (file != NULL)
		(void)fclose(file);
	return found;
}

/* Finds the mount in mountinfo: "36 35 98:0 ROOT POINT OPTIONS... - TYPE SOURCE SUPER". */
static bool read_mount(const char *proc, bool is_v2, struct mount *mount) {
	FILE *file = open_in(proc, "mountinfo");
	char line[LINE_MAX_SIZE];
	char type[64], super[1024];
	bool found = false;

	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
		const char *tail = strstr(line, " - ");

		found = tail != NULL && sscanf(tail, " - %63s %*s %1023s", type, super) == 2 &&
			sscanf(line, "%*s %*s %*s %4095s %4095s", mount->root, mount->point) == 2 &&
			(is_v2 ? strcmp(type, "cgroup2") == 0
			       : strcmp(type, "cgroup") == 0 && has_word(super, "memory"));
	}
	if (file != NULL)
		(void)fclose(file);
	return found;
}

/*
 * Looks at the cgroup and at its ancestors as far as they are visible. In a container the path may
 * be that of the host, of which `mount.root` is the part that is mounted.
 */
static void lower_to_cgroup(struct memory_limit *limit, const char *proc, bool is_v2) {
	char path[CGROUP_PATH_MAX], folder[2 * CGROUP_PATH_MAX];
	struct mount mount;
	const char *below = path;
	size_t root_size, point_size;

	if (!read_own_path(proc, is_v2, path) || !read_mount(proc, is_v2, &mount))
		return;
	root_size = strcmp(mount.root, "/") == 0 ? 0 : strlen(mount.root);
	if (strncmp(path, mount.root, root_size) == 0)
		below += root_size;
	else
		below = "";
	point_size = strlen(mount.point);
	(void)snprintf(folder, sizeof(folder), "%s%s", mount.point, below);
	for (;;) {
		char *end;

		lower_to_file(limit, folder, is_v2 ? "memory.max" : "memory.limit_in_bytes");
		if (is_v2)
			lower_to_file(limit, folder, "memory.high");
		end = strrchr(folder, '/');
		if (end == NULL || end < folder + point_size)
			break;
		*end = '\0';
	}
}

static void lower_to_rlimit(struct memory_limit *limit, int resource, const char *source) {
	struct rlimit resource_limit;

	if (getrlimit((__rlimit_resource_t)resource, &resource_limit) == 0 &&
	    resource_limit.rlim_cur != RLIM_INFINITY)
		lower(limit, resource_limit.rlim_cur, source);
}

void memory_limit_get(struct memory_limit *limit, const char *proc) {
	long pages = sysconf(_SC_PHYS_PAGES);
	long page_size = sysconf(_SC_PAGESIZE);

	*limit = (struct memory_limit){.bytes = (uint64_t)2 << 30, .source = "the machine"};
	if (pages > 0 && page_size > 0)
		limit->bytes = (uint64_t)pages * (uint64_t)page_size;
	lower_to_cgroup(limit, proc, true);
	lower_to_cgroup(limit, proc, false);
	lower_to_rlimit(limit, RLIMIT_AS, "ulimit -v");
	lower_to_rlimit(limit, RLIMIT_DATA, "ulimit -d");
}
