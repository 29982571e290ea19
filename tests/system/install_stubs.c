/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A client made of the stubs of libkv, without its clerk. install.sh builds it
 * against the installed headers and library and runs it: install_stubs PORT.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rpcsvc/kv.h>

int main(int argc, char **argv) {
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = RPC_ANYSOCK;

	if (argc != 2) {
		return 1;
	}
	address.sin_port = htons((unsigned short)atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CLIENT *client = clnttcp_create(&address, KV_PROGRAM, KV_V1, &fd, 0, 0);
	if (client == NULL) {
		clnt_pcreateerror("connect");
		return 1;
	}

	/* Without a session: a conditional Put, then a Get. */
	kv1_put_args put = {.expected = 0, .key = {5, "stubs"}, .value = {5, "alone"}};
	kv1_put_res written = {0};
	enum clnt_stat stat = kvproc_put_1(&put, &written, client);
	if (stat != RPC_SUCCESS || (written.status != KV1_OK && written.status != KV1_VERSION)) {
		fprintf(stderr, "put: %s, status %d\n", clnt_sperrno(stat), (int)written.status);
		return 1;
	}
	kv1_get_args get = {.key = put.key};
	kv1_get_res found = {0};
	stat = kvproc_get_1(&get, &found, client);
	if (stat != RPC_SUCCESS || found.status != KV1_OK) {
		fprintf(stderr, "get: %s, status %d\n", clnt_sperrno(stat), (int)found.status);
		return 1;
	}
	printf("%.*s %llu\n", (int)found.value.kv1_value_len, found.value.kv1_value_val,
	       (unsigned long long)found.current);
	xdr_free((xdrproc_t)xdr_kv1_get_res, (char *)&found);
	clnt_destroy(client);
	return 0;
}
