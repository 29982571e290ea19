/* SPDX-License-Identifier: BSD-3-Clause */
#include "net/identity.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/peer.h"
#include "number.h"

enum { OVERFLOW_ID = 65534, MAPPED_SIZE = 12 };

/* The number in a file of /proc, or the one that it has if no one changes it. */
static uint32_t read_id(const char *path) {
	char text[32] = "", error[NUMBER_ERROR_MAX];
	uint64_t number = OVERFLOW_ID;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		(void)close(fd);
	if (size > 0)
		text[strcspn(text, "\n")] = '\0';
	if (size <= 0 || !number_parse(text, NUMBER_COUNT, 0, UINT32_MAX, &number, error))
		number = OVERFLOW_ID;
	return (uint32_t)number;
}

/*
 * Whether each id of the machine is itself here, as in the first user namespace: then the overflow
 * id is that of a user, and stands for no other.
 */
static bool shows_all_ids(const char *path) {
	unsigned inside = 1;
	unsigned outside = 1;
	unsigned count = 0;
	FILE *file = fopen(path, "re");

	if (file == NULL)
		return false;
	bool is_read = fscanf(file, "%u %u %u", &inside, &outside, &count) == 3;
	(void)fclose(file);
	return is_read && inside == 0 && outside == 0 && count == UINT32_MAX;
}

struct overflow_ids identity_overflow_ids(void) {
	const uint32_t none = UINT32_MAX;

	return (struct overflow_ids){
	    .uid = shows_all_ids("/proc/self/uid_map") ? none
						       : read_id("/proc/sys/kernel/overflowuid"),
	    .gid = shows_all_ids("/proc/self/gid_map") ? none
						       : read_id("/proc/sys/kernel/overflowgid")};
}

/* The kernel's list of the peer's supplementary groups; NULL: it has none, or there is no memory.
 */
static uint32_t *read_groups(int fd, socklen_t *size) {
	uint32_t *groups;

	*size = 0;
	/* Asks for the size first; a peer's groups are those of its connect(), and stay. */
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, size);
	groups = calloc(*size / sizeof(*groups) + 1, sizeof(*groups));
	if (groups == NULL || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, size) != 0)
		*size = 0;
	return groups;
}

/* All groups of the peer but those that the kernel cannot name. */
static void set_groups(struct caller *caller, int fd, gid_t gid, uint32_t overflow) {
	socklen_t size;
	uint32_t *groups = read_groups(fd, &size);
	unsigned count = 0;

	if (groups == NULL)
		return;
	/* There is room for one more. */
	groups[size / sizeof(*groups)] = gid;
	for (unsigned i = 0; i <= size / sizeof(*groups); i++)
		if (groups[i] != overflow)
			groups[count++] = groups[i];
	caller->groups = groups;
	caller->group_count = count;
}

static void set_user(struct caller *caller, int fd, const struct overflow_ids *overflow) {
	struct ucred user;
	socklen_t size = sizeof(user);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &user, &size) != 0 || user.uid == (uid_t)-1 ||
	    user.uid == overflow->uid)
		return;
	principal_set_user(caller, user.uid);
	set_groups(caller, fd, user.gid, overflow->gid);
}

static void set_address(struct caller *caller, const struct peer_name *name) {
	caller->has_address = true;
	if (name->address.family == AF_INET6) {
		memcpy(caller->address, &name->address.inet6.sin6_addr, CALLER_ADDRESS_SIZE);
		return;
	}
	caller->address[10] = caller->address[11] = 0xff;
	memcpy(caller->address + MAPPED_SIZE, &name->address.inet.sin_addr,
	       CALLER_ADDRESS_SIZE - MAPPED_SIZE);
}

struct caller identity_of(int fd, const struct peer_name *name,
			  const struct overflow_ids *overflow) {
	struct caller caller = {.is_known = false};

	switch (name->kind) {
	case ADDRESS_LOCAL:
		set_user(&caller, fd, overflow);
		break;
	case ADDRESS_TCP:
		set_address(&caller, name);
		break;
	case ADDRESS_UDP:
		/* The sender may be forged. */
		break;
	}
	return caller;
}

void identity_free(struct caller *caller) {
	free((void *)(uintptr_t)caller->groups);
	caller->groups = NULL;
	caller->group_count = 0;
	certificate_free((struct certificate *)(uintptr_t)caller->certificate);
	caller->certificate = NULL;
}
