/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client made of kv.x only: rpcgen's plain stubs and libtirpc. install.sh builds it
 * against the installed kv.x and runs it: install_rpcgen PORT.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kv.h"

static int failed(const char *what) {
	fprintf(stderr, "%s failed\n", what);
	return 1;
}

int main(int argc, char **argv) {
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = RPC_ANYSOCK;

	if (argc != 2) {
		return failed("usage");
	}
	address.sin_port = htons((unsigned short)atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CLIENT *client = clnttcp_create(&address, KV_PROGRAM, KV_V1, &fd, 0, 0);
	if (client == NULL) {
		clnt_pcreateerror("connect");
		return 1;
	}

	kv1_hello_res *hello = kvproc_hello_1(NULL, client);
	if (hello == NULL || hello->status != KV1_OK) {
		return failed("hello");
	}
	uint64_t epoch = hello->epoch;
	kv1_open_args open = {.epoch = epoch, .nonce = "0123456789abcde", .slots = 1};
	kv1_open_res *session = kvproc_open_1(&open, client);
	if (session == NULL || session->status != KV1_OK) {
		return failed("open");
	}
	kv1_append_args append = {
	    .writer = {.epoch = epoch, .client_id = session->client_id, .slot = 0, .seq = 1},
	    .expected = KV1_ANY,
	    .key = {5, "plain"},
	    .value = {5, "stubs"},
	    .want_old = TRUE,
	};
	/* Twice the same call: the second one is a copy. */
	for (int copies = 0; copies < 2; copies++) {
		kv1_append_res *appended = kvproc_append_1(&append, client);
		if (appended == NULL || appended->status != KV1_OK || appended->current != 1) {
			return failed("append");
		}
		clnt_freeres(client, (xdrproc_t)xdr_kv1_append_res, (char *)appended);
	}
	kv1_get_args get = {.epoch = epoch, .key = append.key};
	kv1_get_res *found = kvproc_get_1(&get, client);
	if (found == NULL || found->status != KV1_OK) {
		return failed("get");
	}
	printf("%.*s %llu\n", (int)found->value.kv1_value_len, found->value.kv1_value_val,
	       (unsigned long long)found->current);
	clnt_freeres(client, (xdrproc_t)xdr_kv1_get_res, (char *)found);
	clnt_destroy(client);
	return 0;
}
