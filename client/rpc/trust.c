/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/trust.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/last_error.h"

enum { LISTENING = 0x0a /* TCP_LISTEN in the column `st` of /proc/net/tcp */ };

static bool is_root_or_self(uid_t user) {
	return user == 0 || user == geteuid();
}

bool trust_runtime_directory(const char *path) {
	struct stat info;

	return stat(path, &info) == 0 && S_ISDIR(info.st_mode) && info.st_uid == geteuid() &&
	       (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

bool trust_rpcbind_owner(const char *owner) {
	char self[32];

	(void)snprintf(self, sizeof(self), "%lu", (unsigned long)geteuid());
	return strcmp(owner, "superuser") == 0 || strcmp(owner, self) == 0;
}

/* The owner of the directory of a local socket; root if it is not known. */
static uid_t directory_owner(const char *path) {
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *end;
	struct stat info;

	(void)snprintf(directory, sizeof(directory), "%s", path);
	end = strrchr(directory, '/');
	if (end == NULL || end == directory)
		return 0;
	*end = '\0';
	return stat(directory, &info) == 0 && S_ISDIR(info.st_mode) ? info.st_uid : 0;
}

static bool trust_local(int fd, const struct endpoint *endpoint, const char *name) {
	const struct sockaddr_un *local = (const struct sockaddr_un *)&endpoint->address;
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
		last_error_set("%s: the user that runs the server is not known", name);
		return false;
	}
	if (is_root_or_self(peer.uid) || peer.uid == directory_owner(local->sun_path))
		return true;
	last_error_set("%s: served by user %lu, not by root or you (-s local:%s if that is right)",
		       name, (unsigned long)peer.uid, local->sun_path);
	return false;
}

enum { PROC_ADDRESS_SIZE = 33 }; /* of an address in /proc/net/tcp6, with its NUL */

/* The address as /proc/net/tcp and tcp6 have it: its words, in the order of this machine. */
static void format_proc_address(const struct endpoint *endpoint, char text[PROC_ADDRESS_SIZE]) {
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&endpoint->address;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&endpoint->address;
	const uint32_t *words = v6->sin6_addr.s6_addr32;

	if (endpoint->address.ss_family == AF_INET6)
		(void)snprintf(text, PROC_ADDRESS_SIZE, "%08X%08X%08X%08X", words[0], words[1],
			       words[2], words[3]);
	else
		(void)snprintf(text, PROC_ADDRESS_SIZE, "%08X", v4->sin_addr.s_addr);
}

/* Whether a listener at `address` may get connects to `wanted`: there, everywhere, or v4-mapped. */
static bool is_reached(const char *address, const char *wanted) {
	const size_t size = strlen(address);

	return size >= strlen(wanted) && (strspn(address, "0") == size ||
					  strcmp(address + size - strlen(wanted), wanted) == 0);
}

/*
 * Looks in /proc/net/tcp or tcp6 for sockets that listen on the port at `wanted`. False: one
 * belongs to another user (*other). The sockets that accept() made say nothing: before accept()
 * their user is 0.
 */
static bool are_listeners_trusted(FILE *table, const char *wanted, uint16_t port, bool *found,
				  uid_t *other) {
	char line[512];

	while (fgets(line, sizeof(line), table) != NULL) {
		char address[PROC_ADDRESS_SIZE];
		unsigned local_port, state;
		unsigned long user;

		if (sscanf(line, " %*u: %32[0-9A-Fa-f]:%4x %*[0-9A-Fa-f]:%*4x %2x %*s %*s %*s %lu",
			   address, &local_port, &state, &user) != 4 ||
		    state != LISTENING || local_port != port || !is_reached(address, wanted))
			continue;
		*found = true;
		if (!is_root_or_self((uid_t)user)) {
			*other = (uid_t)user;
			return false;
		}
	}
	return true;
}

/*
 * Because rpcbind keeps the entry of a server that died, and then any user may listen on its port,
 * the kernel is asked for the user of the socket.
 */
static bool trust_loopback(const struct endpoint *endpoint, const char *name) {
	static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
	const uint16_t port = endpoint_port(endpoint);
	char wanted[PROC_ADDRESS_SIZE];
	bool found = false;
	bool is_trusted = true;
	uid_t other = 0;

	format_proc_address(endpoint, wanted);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && is_trusted; i++) {
		FILE *table = fopen(tables[i], "re");

		if (table == NULL)
			continue;
		is_trusted = are_listeners_trusted(table, wanted, port, &found, &other);
		(void)fclose(table);
	}
	if (!is_trusted)
		last_error_set("%s: port %u is served by user %lu, not by root or you "
			       "(-s tcp:HOST:PORT if that is right)",
			       name, port, (unsigned long)other);
	else if (!found)
		last_error_set(
		    "%s: /proc does not show the server on port %u, so its user is not known", name,
		    port);
	return is_trusted && found;
}

bool trust_server(int fd, const struct endpoint *endpoint, const char *name) {
	if (endpoint->address.ss_family == AF_UNIX)
		return trust_local(fd, endpoint, name);
	return trust_loopback(endpoint, name);
}
