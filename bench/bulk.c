/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bulk.c - calls of many keys, one after the other from one client: pages of a list, transactions,
 * and beside them what the peers have for it.
 *
 *	bulk ACTION SYSTEM ADDRESS COUNT
 *
 * list		pages of 1000 keys, from the first again after the last, for COUNT ms: kv; redis
 *		(SCAN, in no order); etcd (range by JSON, keys only)
 * txn		two conditions and two puts, for COUNT ms: kv, etcd
 * puts		two puts one after the other, for COUNT ms: kv
 * end		writes COUNT keys that end together, 64 in a transaction, and waits until shortly
 *		before they do: kv
 * delete	deletes COUNT keys as load writes them, 64 in a transaction: kv
 *
 * Prints calls and keys a second and the mean latency, a name and a value on a line.
 */
#include <inttypes.h>
#include <nettle/base64.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kv/kv.h>

#include "address.h"
#include "clock.h"
#include "connection.h"
#include "log.h"
#include "protocol.h"

enum {
	PAGE = 1000,
	CHANGES = 64,
	REPLY_MAX = 1 << 20,
	TEXT_MAX = 4096,
	VALUE_SIZE = 100,
	KEYS_A_MS = 50,	  /* are made; if it takes longer, some end later */
	END_MS = 2000,	  /* from the last key that is made to the end of all */
	SHORTLY_MS = 300, /* before that */
};

struct bulk {
	const char *address;
	uint64_t count;
	struct kv_client *client; /* kv's */
	int fd;			  /* a peer's */
	char reply[REPLY_MAX + 1];
	char cursor[128]; /* of the list; empty: from the first key */
	uint64_t next;	  /* the first key that was not written or deleted */
	uint64_t begin_ns;
};

/* One call. Returns the number of keys that it listed or changed; 0: it failed. */
typedef uint64_t bulk_call(struct bulk *bulk);

static const char value[VALUE_SIZE];

static uint64_t failed(const char *what, enum kv_status status) {
	log_error("%s: %s", what, kv_status_text(status));
	return 0;
}

/* --- kv ------------------------------------------------------------------------------------- */

static uint64_t list_kv(struct bulk *bulk) {
	struct kv_bytes after = {bulk->cursor, strlen(bulk->cursor)};
	struct kv_list list = {0};
	enum kv_status status = kv_list(bulk->client, (struct kv_bytes){0}, after, PAGE, &list);
	uint64_t count = list.count;

	if (status != KV_OK || count == 0)
		return failed("list", status);
	(void)snprintf(bulk->cursor, sizeof(bulk->cursor), "%.*s",
		       list.more ? (int)list.keys[count - 1].key.size : 0,
		       (const char *)list.keys[count - 1].key.data);
	kv_list_free(&list);
	return count;
}

static uint64_t txn_kv(struct bulk *bulk) {
	struct kv_condition conditions[] = {{.test = KV_FREE, .key = KV_STR("lock")},
					    {.test = KV_FREE, .key = KV_STR("other lock")}};
	struct kv_change changes[] = {
	    {.kind = KV_CHANGE_PUT, .key = KV_STR("key-a"), .value = {value, sizeof(value)}},
	    {.kind = KV_CHANGE_PUT, .key = KV_STR("key-b"), .value = {value, sizeof(value)}}};
	struct kv_txn txn = {conditions, 2, changes, 2, 0, 0, 0};
	enum kv_status status = kv_txn(bulk->client, &txn);

	return status == KV_OK ? 2 : failed("txn", status);
}

static uint64_t puts_kv(struct bulk *bulk) {
	struct kv_bytes bytes = {value, sizeof(value)};
	enum kv_status status = kv_put(bulk->client, KV_STR("key-a"), bytes, KV_ANY, NULL);

	if (status == KV_OK)
		status = kv_put(bulk->client, KV_STR("key-b"), bytes, KV_ANY, NULL);
	return status == KV_OK ? 2 : failed("put", status);
}

static uint64_t change_many(struct bulk *bulk, struct kv_change change) {
	static char names[CHANGES][PROTOCOL_KEY_SIZE];
	struct kv_change changes[CHANGES];
	struct kv_txn txn = {.changes = changes};

	for (; txn.change_count < CHANGES && bulk->next < bulk->count; txn.change_count++) {
		char *name = names[txn.change_count];

		protocol_key(bulk->next++, name);
		change.key = (struct kv_bytes){name, PROTOCOL_KEY_SIZE};
		changes[txn.change_count] = change;
	}
	enum kv_status status = kv_txn(bulk->client, &txn);
	return status == KV_OK ? txn.change_count : failed("txn", status);
}

static uint64_t delete_kv(struct bulk *bulk) {
	return change_many(bulk, (struct kv_change){.kind = KV_CHANGE_DELETE});
}

/* Until the keys end, at least `least_ms`. */
static uint64_t left_ms(const struct bulk *bulk, uint64_t least_ms) {
	uint64_t all_ms = bulk->count / KEYS_A_MS + END_MS;
	uint64_t past_ms = (clock_ns() - bulk->begin_ns) / 1000000;

	return past_ms + least_ms < all_ms ? all_ms - past_ms : least_ms;
}

/* The later a key is made, the shorter its ttl. */
static uint64_t end_kv(struct bulk *bulk) {
	return change_many(bulk, (struct kv_change){
				     .kind = KV_CHANGE_PUT,
				     .value = {value, sizeof(value)},
				     .ttl_ms = left_ms(bulk, END_MS),
				 });
}

/* --- Peers ---------------------------------------------------------------------------------- */

/* Receives until the end of the reply, which `is_whole` knows; NULL: the peer closes. */
static size_t ask(struct bulk *bulk, const char *call, const char *(*end_of)(const char *reply)) {
	size_t size = 0;
	ssize_t got = 0;

	if (!protocol_send(bulk->fd, call, strlen(call)))
		return 0;
	do {
		got = recv(bulk->fd, bulk->reply + size, REPLY_MAX - size, 0);
		size += got > 0 ? (size_t)got : 0;
		bulk->reply[size] = '\0';
	} while (got > 0 && size < REPLY_MAX && (end_of == NULL || end_of(bulk->reply) == NULL));
	if (got < 0 || size == REPLY_MAX || (got == 0 && end_of != NULL)) {
		log_error("the peer sends no whole reply");
		return 0;
	}
	return size;
}

/* "*2", the cursor, "*n", n keys; each string is its size and its bytes, on two lines. */
static const char *end_of_scan(const char *reply) {
	unsigned long lines = 4;
	unsigned long keys = 0;

	for (const char *line = reply; (line = strstr(line, "\r\n")) != NULL; line += 2) {
		if (--lines == 0)
			return line + 2;
		if (lines == 1 && keys == 0) {
			keys = strtoul(line + 3, NULL, 10);
			lines += 2 * keys;
			keys = 1;
		}
	}
	return NULL;
}

static uint64_t list_redis(struct bulk *bulk) {
	const char *cursor = bulk->cursor[0] == '\0' ? "0" : bulk->cursor;
	char call[TEXT_MAX];

	(void)snprintf(call, sizeof(call), "SCAN %s COUNT %d\r\n", cursor, PAGE);
	if (ask(bulk, call, end_of_scan) == 0)
		return 0;
	const char *at = strstr(bulk->reply, "\r\n");
	const char *next = at == NULL ? NULL : strstr(at + 2, "\r\n");
	const char *keys = next == NULL ? NULL : strstr(next, "\r\n*");
	if (bulk->reply[0] != '*' || keys == NULL) {
		log_error("redis: %.80s", bulk->reply);
		return 0;
	}
	(void)snprintf(bulk->cursor, sizeof(bulk->cursor), "%.*s", (int)(keys - next - 2),
		       next + 2);
	return strtoull(keys + 3, NULL, 10);
}

static void post(char call[TEXT_MAX], const char *path, const char *version, const char *body) {
	(void)snprintf(call, TEXT_MAX,
		       "POST /v3/kv/%s HTTP/%s\r\nHost: localhost\r\nContent-Type: "
		       "application/json\r\nContent-Length: %zu\r\n\r\n%s",
		       path, version, strlen(body), body);
}

/* A connection for each page: by HTTP/1.0 the reply comes in one piece. */
static uint64_t list_etcd(struct bulk *bulk) {
	const char *from = bulk->cursor[0] == '\0' ? "AA==" : bulk->cursor;
	bool is_first = bulk->cursor[0] == '\0';
	char call[TEXT_MAX];
	char body[TEXT_MAX / 2];
	struct address server;
	uint64_t count = 0;

	(void)snprintf(body, sizeof(body),
		       "{\"key\":\"%s\",\"range_end\":\"AA==\",\"limit\":%d,\"keys_only\":true}",
		       from, PAGE + !is_first);
	post(call, "range", "1.0", body);
	if (address_parse(bulk->address, &server) != NULL)
		return 0;
	bulk->fd = connection_dial(&server);
	size_t size = bulk->fd < 0 ? 0 : ask(bulk, call, NULL);
	(void)close(bulk->fd);
	bulk->cursor[0] = '\0';
	for (const char *at = bulk->reply; size > 0 && (at = strstr(at, "\"key\":\"")) != NULL;) {
		at += strlen("\"key\":\"");
		(void)snprintf(bulk->cursor, sizeof(bulk->cursor), "%.*s", (int)strcspn(at, "\""),
			       at);
		count++;
	}
	if (count == 0)
		log_error("etcd: %.200s", bulk->reply);
	if (count < PAGE)
		bulk->cursor[0] = '\0';
	return count - (!is_first && count > 0);
}

static const char *end_of_http(const char *reply) {
	const char *body = strstr(reply, "\r\n\r\n");
	const char *length = strstr(reply, "Content-Length: ");

	if (body == NULL || length == NULL)
		return NULL;
	size_t size = strtoul(length + strlen("Content-Length: "), NULL, 10);
	return strlen(body + 4) < size ? NULL : body + 4 + size;
}

static uint64_t txn_etcd(struct bulk *bulk) {
	char text[BASE64_ENCODE_RAW_LENGTH(VALUE_SIZE) + 1] = {0};
	char body[TEXT_MAX / 2];
	char call[TEXT_MAX];

	base64_encode_raw(text, sizeof(value), (const uint8_t *)value);
	(void)snprintf(
	    body, sizeof(body),
	    "{\"compare\":[{\"key\":\"bG9jaw==\",\"target\":\"VERSION\",\"version\":\"0\"},"
	    "{\"key\":\"bG9jazI=\",\"target\":\"VERSION\",\"version\":\"0\"}],\"success\":["
	    "{\"requestPut\":{\"key\":\"a2V5LWE=\",\"value\":\"%s\"}},"
	    "{\"requestPut\":{\"key\":\"a2V5LWI=\",\"value\":\"%s\"}}]}",
	    text, text);
	post(call, "txn", "1.1", body);
	if (ask(bulk, call, end_of_http) == 0)
		return 0;
	if (strstr(bulk->reply, "\"succeeded\":true") == NULL) {
		log_error("etcd: %.300s", bulk->reply);
		return 0;
	}
	return 2;
}

/* --- All together --------------------------------------------------------------------------- */

static const struct {
	const char *action;
	const char *system;
	bulk_call *call;
	bool is_timed; /* COUNT is milliseconds, else keys */
} kinds[] = {
    {"list", "kv", list_kv, true},	{"list", "redis", list_redis, true},
    {"list", "etcd", list_etcd, true},	{"txn", "kv", txn_kv, true},
    {"txn", "etcd", txn_etcd, true},	{"puts", "kv", puts_kv, true},
    {"delete", "kv", delete_kv, false}, {"end", "kv", end_kv, false},
};

static bool run(struct bulk *bulk, bulk_call *call, bool is_timed) {
	uint64_t end_ns = is_timed ? clock_ns() + bulk->count * 1000000 : UINT64_MAX;
	uint64_t calls = 0;
	uint64_t keys = 0;

	bulk->begin_ns = clock_ns();
	while (is_timed ? clock_ns() < end_ns : bulk->next < bulk->count) {
		uint64_t more = call(bulk);

		if (more == 0)
			return false;
		keys += more;
		calls++;
	}
	double seconds = (double)(clock_ns() - bulk->begin_ns) / 1e9;
	printf("calls_per_second %.1f\nkeys_per_second %.1f\nmean_us %.3f\nus_a_key %.4f\n",
	       (double)calls / seconds, (double)keys / seconds, seconds * 1e6 / (double)calls,
	       seconds * 1e6 / (double)keys);
	return true;
}

int main(int argc, char **argv) {
	static struct bulk bulk;
	size_t kind = 0;
	struct address server;
	char *end = NULL;

	log_open("bulk", 0);
	while (
	    argc == 5 && kind < sizeof(kinds) / sizeof(kinds[0]) &&
	    (strcmp(kinds[kind].action, argv[1]) != 0 || strcmp(kinds[kind].system, argv[2]) != 0))
		kind++;
	bulk.count = argc == 5 ? strtoull(argv[4], &end, 10) : 0;
	if (argc != 5 || kind == sizeof(kinds) / sizeof(kinds[0]) || bulk.count == 0 ||
	    *end != '\0' || address_parse(argv[3], &server) != NULL) {
		log_error("usage: bulk list|txn|puts|end|delete kv|redis|etcd ADDRESS COUNT");
		return 2;
	}
	bulk.address = argv[3];
	if (strcmp(argv[2], "kv") == 0) {
		struct kv_options options = {.server = argv[3], .timeout_ms = 60000};
		enum kv_status status = kv_open(&options, &bulk.client);

		if (status != KV_OK)
			return failed("open", status) == 0 ? 1 : 0;
	} else if (kinds[kind].call != list_etcd) {
		bulk.fd = connection_dial(&server);
		if (bulk.fd < 0)
			return 1;
	}
	bool is_done = run(&bulk, kinds[kind].call, kinds[kind].is_timed);
	kv_close(bulk.client);
	if (kinds[kind].call == end_kv)
		(void)usleep((useconds_t)(left_ms(&bulk, SHORTLY_MS) - SHORTLY_MS) * 1000);
	return is_done ? 0 : 1;
}
