/* SPDX-License-Identifier: BSD-3-Clause */
/* A client that names no server, on a machine where another user runs one. Needs root. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kv/kv.h>

#include "rpcbind.h"
#include "server.h"
#include "suite.h"
#include "test.h"

enum { OTHER = 5678 };

static struct process rpcbind;

/*
 * The other user's servers have their directories beside those of the test, and a copy of kvd: the
 * tree may be where only its owner can read.
 */
static void share_directory(void) {
	char dir[64];

	server_share_kvd();
	suite_directory(dir);
	*strrchr(dir, '/') = '\0';
	ck_assert_int_eq(chmod(dir, 01777), 0);
}

static bool have_machine(void) {
	share_directory();
	(void)unsetenv("KV_SERVER");
	(void)unsetenv("XDG_RUNTIME_DIR");
	if (rpcbind_enter_own_network())
		return true;
	suite_skip("only root may start servers of several users");
	return false;
}

static void start_as_other(struct server *server, const char *const arguments[]) {
	ck_assert_int_eq(setresuid(OTHER, OTHER, 0), 0);
	server_launch(server, arguments);
	ck_assert_int_eq(setresuid(0, 0, 0), 0);
	if (!server_await_ready(server))
		ck_abort_msg("kvd did not start: %s", server_said(server));
}

/* Puts a secret; `server` NULL: at the default places. The error message is in `text`. */
static enum kv_status put_secret(const char *server, uint32_t program, char text[1280]) {
	const struct kv_options options = {
	    .server = server, .timeout_ms = 20000, .fail_fast = true, .program = program};
	struct kv_client *client;
	enum kv_status status;

	ck_assert_int_eq(kv_open(&options, &client), KV_OK);
	status =
	    kv_put(client, (struct kv_bytes){"k", 1}, (struct kv_bytes){"secret", 6}, KV_ANY, NULL);
	kv_last_error(client, text, 1280);
	kv_close(client);
	return status;
}

TEST(an_entry_of_another_user_in_rpcbind_is_used_only_if_the_host_is_named) {
	struct server server;
	char text[1280], program[16];
	uint32_t number = rpcbind_program(program);

	if (!have_machine())
		return;
	rpcbind_start(&rpcbind);
	start_as_other(&server, (const char *[]){"-P", program, "-l", "tcp:127.0.0.1", NULL});
	rpcbind_await(number, "tcp");
	ck_assert_int_eq(put_secret(NULL, number, text), KV_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(text, "not root's or yours"));
	ck_assert_int_eq(put_secret("tcp:localhost", number, text), KV_OK);
	server_stop(&server);
}

TEST(the_port_of_a_dead_server_is_not_used_when_another_user_has_taken_it) {
	struct server mine, other;
	char text[1280], program[16], address[64];
	uint32_t number = rpcbind_program(program);

	if (!have_machine())
		return;
	rpcbind_start(&rpcbind);
	server_launch(&mine, (const char *[]){"-P", program, "-l", "tcp:127.0.0.1", NULL});
	ck_assert(server_await_ready(&mine));
	rpcbind_await(number, "tcp");
	ck_assert_int_eq(put_secret(NULL, number, text), KV_OK);
	(void)snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", mine.port[VIA_TCP]);
	server_kill(&mine);
	start_as_other(&other, (const char *[]){"-P", program, "-n", "-l", address, NULL});
	ck_assert_int_eq(put_secret(NULL, number, text), KV_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(text, "served by user 5678"));
	ck_assert_int_eq(put_secret(address, number, text), KV_OK);
	server_stop(&other);
}

TEST(a_local_socket_of_another_user_at_a_default_place_is_not_used) {
	struct server server;
	char text[1280];

	if (!have_machine())
		return;
	ck_assert_int_eq(chmod("/run", 01777), 0);
	start_as_other(&server, (const char *[]){"-n", "-l", "local:/run/kvd.sock", NULL});
	ck_assert_int_eq(put_secret(NULL, 0, text), KV_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(text, "served by user 5678"));
	ck_assert_int_eq(put_secret("local:/run/kvd.sock", 0, text), KV_OK);
	server_stop(&server);

	/* In a directory that root made for that user, as systemd does for kvd's, it is used. */
	ck_assert_int_eq(mkdir("/run/kvd", 0755), 0);
	ck_assert_int_eq(chown("/run/kvd", OTHER, (gid_t)-1), 0);
	start_as_other(&server, (const char *[]){"-n", "-l", "local:/run/kvd/kvd.sock", NULL});
	ck_assert_int_eq(put_secret(NULL, 0, text), KV_OK);
	server_stop(&server);
}

TEST(a_runtime_directory_of_another_user_is_not_used) {
	struct server server;
	char text[1280];

	if (!have_machine())
		return;
	ck_assert_int_eq(mkdir("/run/user", 0700), 0);
	ck_assert_int_eq(chown("/run/user", OTHER, (gid_t)-1), 0);
	ck_assert_int_eq(setenv("XDG_RUNTIME_DIR", "/run/user", 1), 0);
	start_as_other(&server, (const char *[]){"-n", "-l", "local:/run/user/kvd.sock", NULL});
	ck_assert_int_eq(put_secret(NULL, 0, text), KV_TIMEOUT);
	ck_assert_ptr_null(strstr(text, "/run/user"));
	server_stop(&server);
}
