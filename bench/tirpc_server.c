/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tirpc_server.c - the same calls through libtirpc's own transport and svc_run: what kvd would be
 *if it had neither of its own, and a map without sessions, versions or limits behind it.
 *
 *	tirpc_server
 *
 * Listens on any port of 127.0.0.1 and prints "tirpc_server: ready tcp:127.0.0.1:PORT". Knows NULL,
 * HELLO, OPEN, GET and PUT of kv.x.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rpcsvc/kv.h>

#include "log.h"

enum { BUCKETS = 1 << 20, LANES = 64 };

struct item {
	struct item *next; /* in its bucket */
	uint64_t version;
	char *value; /* owned */
	u_int value_size, value_capacity;
	u_int key_size;
	char key[];
};

/* libtirpc's dispatcher hands a function no context. */
static struct item *buckets[BUCKETS];

static struct item **find(const kv1_key *key) {
	uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
	struct item **place = NULL;

	for (u_int i = 0; i < key->kv1_key_len; i++)
		hash = (hash ^ (uint8_t)key->kv1_key_val[i]) * UINT32_C(16777619);
	place = &buckets[hash % BUCKETS];
	while (*place != NULL && ((*place)->key_size != key->kv1_key_len ||
				  memcmp((*place)->key, key->kv1_key_val, key->kv1_key_len) != 0))
		place = &(*place)->next;
	return place;
}

static void get(const kv1_get_args *args, kv1_get_res *res) {
	const struct item *item = *find(&args->key);

	res->status = item == NULL ? KV1_NOKEY : KV1_OK;
	if (item != NULL) {
		res->current = item->version;
		res->value.kv1_value_val = item->value;
		res->value.kv1_value_len = item->value_size;
	}
}

static struct item *item_new(const kv1_key *key) {
	struct item *item = calloc(1, sizeof(*item) + key->kv1_key_len);

	if (item != NULL) {
		item->key_size = key->kv1_key_len;
		memcpy(item->key, key->kv1_key_val, key->kv1_key_len);
	}
	return item;
}

static void put(const kv1_put_args *args, kv1_put_res *res) {
	struct item **place = find(&args->key);
	u_int size = args->value.kv1_value_len;

	res->status = KV1_FULL;
	if (*place == NULL)
		*place = item_new(&args->key);
	if (*place == NULL)
		return;
	if ((*place)->value_capacity < size) {
		char *value = realloc((*place)->value, size);
		if (value == NULL)
			return;
		(*place)->value = value;
		(*place)->value_capacity = size;
	}
	if (size > 0)
		memcpy((*place)->value, args->value.kv1_value_val, size);
	(*place)->value_size = size;
	res->status = KV1_OK;
	res->current = ++(*place)->version;
}

/* Takes arguments, replies, frees: as the code does that rpcgen would make. */
static void serve_get(SVCXPRT *transport) {
	kv1_get_args args = {0};
	kv1_get_res res = {.status = KV1_OK};

	if (!svc_getargs(transport, (xdrproc_t)xdr_kv1_get_args, (char *)&args)) {
		svcerr_decode(transport);
		return;
	}
	get(&args, &res);
	(void)svc_sendreply(transport, (xdrproc_t)xdr_kv1_get_res, (char *)&res);
	(void)svc_freeargs(transport, (xdrproc_t)xdr_kv1_get_args, (char *)&args);
}

static void serve_put(SVCXPRT *transport) {
	kv1_put_args args = {0};
	kv1_put_res res = {.status = KV1_OK};

	if (!svc_getargs(transport, (xdrproc_t)xdr_kv1_put_args, (char *)&args)) {
		svcerr_decode(transport);
		return;
	}
	put(&args, &res);
	(void)svc_sendreply(transport, (xdrproc_t)xdr_kv1_put_res, (char *)&res);
	(void)svc_freeargs(transport, (xdrproc_t)xdr_kv1_put_args, (char *)&args);
}

static void serve(struct svc_req *request, SVCXPRT *transport) {
	kv1_hello_res hello = {
	    .status = KV1_OK, .epoch = 1, .key_max = KV1_KEY_MAX, .value_max = KV1_VALUE_MAX};
	kv1_open_res opened = {.status = KV1_OK, .client_id = 1, .slots = LANES};

	switch (request->rq_proc) {
	case KVPROC_NULL:
		(void)svc_sendreply(transport, (xdrproc_t)(void (*)(void))xdr_void, NULL);
		break;
	case KVPROC_HELLO:
		(void)svc_sendreply(transport, (xdrproc_t)xdr_kv1_hello_res, (char *)&hello);
		break;
	case KVPROC_OPEN:
		(void)svc_sendreply(transport, (xdrproc_t)xdr_kv1_open_res, (char *)&opened);
		break;
	case KVPROC_GET:
		serve_get(transport);
		break;
	case KVPROC_PUT:
		serve_put(transport);
		break;
	default:
		svcerr_noproc(transport);
		break;
	}
}

int main(void) {
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	const int on = 1;
	SVCXPRT *transport = NULL;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	log_open("tirpc_server", 0);
	/* Accepted sockets inherit it, and libtirpc's replies leave at once, as kvd's do. */
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, SOMAXCONN) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
		log_error("no socket on 127.0.0.1: %s", strerror(errno));
		return 1;
	}
	transport = svc_vc_create(fd, 0, 0);
	if (transport == NULL || !svc_reg(transport, KV_PROGRAM, KV_V1, serve, NULL)) {
		log_error("libtirpc makes no server");
		return 1;
	}
	printf("tirpc_server: ready tcp:127.0.0.1:%d\n", ntohs(address.sin_port));
	(void)fflush(stdout);
	svc_run();
	return 1;
}
