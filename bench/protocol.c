/* SPDX-License-Identifier: BSD-3-Clause */
#include "protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"

static const struct protocol *const protocols[] = {
    &protocol_kv, &protocol_echo, &protocol_redis, &protocol_memcached, &protocol_etcd,
};

const struct protocol *protocol_find(const char *name) {
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++)
		if (strcmp(protocols[i]->name, name) == 0)
			return protocols[i];
	return NULL;
}

void protocol_key(uint64_t key, char text[PROTOCOL_KEY_SIZE]) {
	memcpy(text, "key-", 4);
	workload_digits(key, text + 4);
}

bool protocol_send(int fd, const void *data, size_t size) {
	const uint8_t *bytes = data;

	while (size > 0) {
		ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
		if (sent < 0) {
			log_error("the server takes no bytes: %s", strerror(errno));
			return false;
		}
		bytes += sent;
		size -= (size_t)sent;
	}
	return true;
}

bool protocol_receive(int fd, void *data, size_t size) {
	uint8_t *bytes = data;

	while (size > 0) {
		ssize_t got = recv(fd, bytes, size, 0);
		if (got <= 0) {
			log_error("the server gave no reply: %s",
				  got == 0 ? "it hung up" : strerror(errno));
			return false;
		}
		bytes += got;
		size -= (size_t)got;
	}
	return true;
}
