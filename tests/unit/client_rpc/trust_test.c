/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: geteuid */
/* Which servers are used without being named, as seen by users that the test chooses. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rpc/last_error.h"
#include "rpc/trust.h"
#include "test.h"

enum { ANOTHER = 54321 };

static bool is_another;

uid_t __wrap_geteuid(void);
uid_t __wrap_geteuid(void) {
	return is_another ? ANOTHER : getuid();
}

static char folder[] = "/tmp/kv-test-XXXXXX";

static void make_folder(void) {
	is_another = false;
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void) {
	(void)rmdir(folder);
}

TEST(a_runtime_directory_is_used_only_if_it_is_the_users_own) {
	make_folder();
	ck_assert(trust_runtime_directory(folder));
	ck_assert_int_eq(chmod(folder, 0755), 0);
	ck_assert(trust_runtime_directory(folder));
	ck_assert_int_eq(chmod(folder, 0775), 0);
	ck_assert(!trust_runtime_directory(folder));
	ck_assert_int_eq(chmod(folder, 01777), 0);
	ck_assert(!trust_runtime_directory(folder));
	ck_assert_int_eq(chmod(folder, 0700), 0);
	is_another = true;
	ck_assert(!trust_runtime_directory(folder));
	is_another = false;
	remove_folder();
	ck_assert(!trust_runtime_directory(folder));
}

TEST(an_entry_of_rpcbind_is_used_if_root_or_the_user_made_it) {
	is_another = true;
	ck_assert(trust_rpcbind_owner("superuser"));
	ck_assert(trust_rpcbind_owner("54321"));
	ck_assert(!trust_rpcbind_owner("5432"));
	ck_assert(!trust_rpcbind_owner("543210"));
	ck_assert(!trust_rpcbind_owner("unknown"));
	ck_assert(!trust_rpcbind_owner(""));
}

/* Connects to a server of this process; root's if the test is run as root. */
static int connect_to(const struct endpoint *endpoint, int *listener) {
	int fd = socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*listener = socket(endpoint->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
	    bind(*listener, (const struct sockaddr *)&endpoint->address, endpoint->size), 0);
	ck_assert_int_eq(listen(*listener, 5), 0);
	return fd;
}

/* Of a server of another user than root a client of a third one thinks otherwise. */
static bool is_served_by_root(void) {
	return getuid() == 0;
}

TEST(a_server_on_a_local_socket_is_used_if_root_the_user_or_the_folders_owner_runs_it) {
	struct endpoint endpoint = {.is_stream = true, .size = sizeof(struct sockaddr_un)};
	struct sockaddr_un *local = (struct sockaddr_un *)&endpoint.address;
	int listener, fd;

	make_folder();
	local->sun_family = AF_UNIX;
	(void)snprintf(local->sun_path, sizeof(local->sun_path), "%s/kvd.sock", folder);
	fd = connect_to(&endpoint, &listener);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&endpoint.address, endpoint.size), 0);
	ck_assert(trust_server(fd, &endpoint, "local"));
	is_another = true;
	/* The folder's owner runs it. */
	ck_assert(trust_server(fd, &endpoint, "local"));
	(void)close(fd);
	(void)close(listener);
	(void)unlink(local->sun_path);
	remove_folder();
}

/* A server of user ANOTHER + 1 in a folder of root's; only root can set that up. */
TEST(a_server_of_another_user_on_a_local_socket_is_not_used) {
	struct endpoint endpoint = {.is_stream = true, .size = sizeof(struct sockaddr_un)};
	struct sockaddr_un *local = (struct sockaddr_un *)&endpoint.address;
	int listener, fd;

	if (!is_served_by_root()) {
		printf("skip: only root can be several users\n");
		return;
	}
	make_folder();
	ck_assert_int_eq(chmod(folder, 01777), 0);
	local->sun_family = AF_UNIX;
	(void)snprintf(local->sun_path, sizeof(local->sun_path), "%s/kvd.sock", folder);
	ck_assert_int_eq(seteuid(ANOTHER + 1), 0);
	fd = connect_to(&endpoint, &listener);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&endpoint.address, endpoint.size), 0);
	ck_assert(!trust_server(fd, &endpoint, "local"));
	ck_assert_ptr_nonnull(strstr(last_error_text(), "54322"));
	is_another = true;
	ck_assert(!trust_server(fd, &endpoint, "local"));
	/* In a folder that was made for that user it is the user's. */
	ck_assert_int_eq(chown(folder, ANOTHER + 1, (gid_t)-1), 0);
	ck_assert(trust_server(fd, &endpoint, "local"));
	(void)close(fd);
	(void)close(listener);
	(void)unlink(local->sun_path);
	remove_folder();
}

static void on_loopback(struct endpoint *endpoint, int family) {
	struct sockaddr_in *v4 = (struct sockaddr_in *)&endpoint->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&endpoint->address;

	*endpoint = (struct endpoint){.is_stream = true};
	endpoint->address.ss_family = (sa_family_t)family;
	endpoint->size = family == AF_INET ? sizeof(*v4) : sizeof(*v6);
	if (family == AF_INET)
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		v6->sin6_addr = in6addr_loopback;
}

static void check_loopback(int family) {
	struct endpoint endpoint;
	int listener, fd;

	on_loopback(&endpoint, family);
	is_another = false;
	if (is_served_by_root())
		ck_assert_int_eq(seteuid(ANOTHER + 1), 0);
	fd = connect_to(&endpoint, &listener);
	if (is_served_by_root())
		ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(
	    getsockname(listener, (struct sockaddr *)&endpoint.address, &endpoint.size), 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&endpoint.address, endpoint.size), 0);
	/* Root's test makes a server of another user; else its own user is trusted. */
	ck_assert_int_eq(trust_server(fd, &endpoint, "rpcbind"), !is_served_by_root());
	is_another = true;
	ck_assert(!trust_server(fd, &endpoint, "rpcbind"));
	ck_assert_ptr_nonnull(strstr(last_error_text(), "not by root or you"));
	(void)close(listener);
	(void)close(fd);
	/* Nothing listens there any more. */
	is_another = false;
	ck_assert(!trust_server(fd, &endpoint, "rpcbind"));
}

TEST(a_port_that_another_user_has_taken_from_a_dead_server_is_not_used) {
	check_loopback(AF_INET);
	check_loopback(AF_INET6);
}

/* 127.0.0.2 and all of 127.0.0.0/8 are this machine's, too: any user may listen there. */
TEST(a_port_of_another_address_says_nothing_of_this_one) {
	struct endpoint endpoint, other;
	int listener, others, fd;

	if (!is_served_by_root()) {
		printf("skip: only root can be several users\n");
		return;
	}
	is_another = false;
	on_loopback(&endpoint, AF_INET);
	fd = connect_to(&endpoint, &listener);
	ck_assert_int_eq(
	    getsockname(listener, (struct sockaddr *)&endpoint.address, &endpoint.size), 0);
	other = endpoint;
	((struct sockaddr_in *)&other.address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
	ck_assert_int_eq(seteuid(ANOTHER + 1), 0);
	(void)close(connect_to(&other, &others));
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert(trust_server(fd, &endpoint, "rpcbind"));
	ck_assert(!trust_server(fd, &other, "rpcbind"));
	(void)close(listener);
	/* Nor is a server of root's at another address the one that is there. */
	ck_assert(!trust_server(fd, &endpoint, "rpcbind"));
	(void)close(others);
	(void)close(fd);
}

/* A server of another user that listens everywhere. */
TEST(one_that_listens_at_all_addresses_is_found_at_each) {
	struct endpoint endpoint;
	static const int families[] = {AF_INET, AF_INET6};
	int listener;

	if (!is_served_by_root()) {
		printf("skip: only root can be several users\n");
		return;
	}
	is_another = false;
	for (int i = 0; i < 2; i++) {
		on_loopback(&endpoint, families[i]);
		if (families[i] == AF_INET6)
			((struct sockaddr_in6 *)&endpoint.address)->sin6_addr = in6addr_any;
		else
			((struct sockaddr_in *)&endpoint.address)->sin_addr.s_addr = INADDR_ANY;
		ck_assert_int_eq(seteuid(ANOTHER + 1), 0);
		(void)close(connect_to(&endpoint, &listener));
		ck_assert_int_eq(seteuid(0), 0);
		ck_assert_int_eq(
		    getsockname(listener, (struct sockaddr *)&endpoint.address, &endpoint.size), 0);
		const uint16_t port = endpoint_port(&endpoint);
		/* The socket of all IPv6 addresses takes connects to IPv4 ones as well. */
		on_loopback(&endpoint, AF_INET);
		endpoint_set_port(&endpoint, port);
		ck_assert(!trust_server(-1, &endpoint, "rpcbind"));
		ck_assert_ptr_nonnull(strstr(last_error_text(), "54322"));
		(void)close(listener);
	}
}
