/* SPDX-License-Identifier: BSD-3-Clause */
/* The examples of docs/PROTOCOL.md, read from there and played against a real kvd, byte by byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fixture.h"
#include "test.h"

enum {
	PROCEDURE_AT = 24, /* in a call: its number, behind the record mark */
	BYTES_MAX = 4096,
	NAMES_MAX = 8,
};

static const char document[] = "docs/PROTOCOL.md";

/* Procedures that have no number for now: SETTLE, FETCH. */
static const bool is_reserved[KVPROC_BACKUP + 1] = {[11] = true, [16] = true};

/* BACKUP is for the user that runs kvd, over a local socket. */
static struct peer local;

static void set_up(void) {
	fixture_durable();
	peer_open(&local, &fx.server, VIA_LOCAL);
}

static void tear_down(void) {
	peer_close(&local);
	fixture_end();
}

CASE(protocol_examples, .setup = set_up, .teardown = tear_down);

/* What {NAME:SIZE} stands for: bound by the first reply that has it, except {any:SIZE}. */
static struct {
	char name[16];
	unsigned char bytes[16];
} bound[NAMES_MAX];

static unsigned char *find_bound(const char *name) {
	for (unsigned i = 0; i < NAMES_MAX && bound[i].name[0] != '\0'; i++) {
		if (strcmp(bound[i].name, name) == 0)
			return bound[i].bytes;
	}
	return NULL;
}

static void bind_name(const char *name, const unsigned char *bytes, size_t size) {
	unsigned i = 0;

	while (i < NAMES_MAX && bound[i].name[0] != '\0')
		i++;
	ck_assert_uint_lt(i, NAMES_MAX);
	memcpy(bound[i].name, name, strlen(name) + 1);
	memcpy(bound[i].bytes, bytes, size);
}

static void read_exactly(int fd, unsigned char *bytes, size_t size) {
	ck_assert_int_eq(recv(fd, bytes, size, MSG_WAITALL), (ssize_t)size);
}

static size_t parse_hex(const char *word, unsigned char *bytes) {
	size_t size = strlen(word) / 2;

	ck_assert_uint_le(size, 4);
	for (size_t i = 0; i < size; i++)
		ck_assert_int_eq(sscanf(word + 2 * i, "%2hhx", &bytes[i]), 1);
	return size;
}

/* A word of a call: what to send. */
static size_t call_word(const char *word, unsigned char *bytes) {
	char name[16];
	unsigned size;

	if (sscanf(word, "{%15[a-z]:%u}", name, &size) != 2)
		return parse_hex(word, bytes);
	ck_assert_msg(find_bound(name) != NULL, "{%s} is not known yet", name);
	memcpy(bytes, find_bound(name), size);
	return size;
}

/* A word of a reply: what must have come. */
static size_t check_word(const char *word, const unsigned char *bytes) {
	unsigned char wanted[4];
	char name[16];
	unsigned size;

	if (sscanf(word, "{%15[a-z]:%u}", name, &size) != 2) {
		size = (unsigned)parse_hex(word, wanted);
		ck_assert_msg(memcmp(wanted, bytes, size) == 0, "%02x%02x%02x%02x came, not %s",
			      bytes[0], bytes[1], bytes[2], bytes[3], word);
	} else if (strcmp(name, "any") != 0) {
		ck_assert_uint_le(size, sizeof(bound[0].bytes));
		if (find_bound(name) == NULL)
			bind_name(name, bytes, size);
		ck_assert_msg(memcmp(find_bound(name), bytes, size) == 0, "another %s came", name);
	}
	return size;
}

/* An example that is being read: the call up to here, and the reply once it came. */
struct example {
	char name[256];
	unsigned char call[BYTES_MAX];
	size_t call_size;
	unsigned char reply[1 << 16];
	size_t reply_size;
	size_t at;
	bool is_open_ended;
};

static uint32_t procedure_of(const struct example *example) {
	const unsigned char *word = example->call + PROCEDURE_AT;

	return (uint32_t)word[0] << 24 | (uint32_t)word[1] << 16 | (uint32_t)word[2] << 8 | word[3];
}

static void exchange(struct example *example) {
	/* As the document says: once STATUS shows it. */
	if (procedure_of(example) == KVPROC_BACKUP) {
		counter_await(&fx.peer, "snapshots", 1);
		counter_await_zero(&fx.peer, "snapshot_under_way");
	}
	ck_assert(peer_send_bytes(&local, example->call, example->call_size));
	read_exactly(local.fd, example->reply, 4);
	example->reply_size = 4 + ((size_t)(example->reply[1] << 16) |
				   (size_t)(example->reply[2] << 8) | example->reply[3]);
	ck_assert_uint_le(example->reply_size, sizeof(example->reply));
	read_exactly(local.fd, example->reply + 4, example->reply_size - 4);
}

/* "> WORD WORD  what it is", or "< ...". */
static void play_line(struct example *example, char *line) {
	char *end = strstr(line + 2, "  ");
	char *rest = NULL;

	ck_assert_msg(end != NULL && (line[0] == '>' || line[0] == '<'), "%s: %s", example->name,
		      line);
	*end = '\0';
	for (char *word = strtok_r(line + 2, " ", &rest); word != NULL;
	     word = strtok_r(NULL, " ", &rest)) {
		if (line[0] == '>') {
			example->call_size += call_word(word, example->call + example->call_size);
			ck_assert_uint_lt(example->call_size, BYTES_MAX - 16);
			continue;
		}
		if (example->reply_size == 0)
			exchange(example);
		example->is_open_ended = strcmp(word, "...") == 0;
		if (!example->is_open_ended)
			example->at += check_word(word, example->reply + example->at);
		ck_assert_msg(example->at <= example->reply_size, "%s: the reply is short",
			      example->name);
	}
}

static void check_end(const struct example *example) {
	ck_assert_msg(example->reply_size > 0, "%s: no reply in it", example->name);
	ck_assert_msg(example->is_open_ended || example->at == example->reply_size,
		      "%s: %zu bytes more came", example->name, example->reply_size - example->at);
}

TEST(kvd_answers_each_example_of_the_protocol_byte_by_byte) {
	static struct example example;
	bool is_shown[KVPROC_BACKUP + 1] = {false};
	FILE *file = fopen(document, "r");
	char line[256];

	ck_assert_msg(file != NULL, "run it in the top folder: no %s", document);
	while (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "```kv-example ", 14) != 0)
			continue;
		memset(&example, 0, sizeof(example));
		(void)snprintf(example.name, sizeof(example.name), "%s", line + 14);
		while (fgets(line, sizeof(line), file) != NULL && strncmp(line, "```", 3) != 0) {
			line[strcspn(line, "\n")] = '\0';
			play_line(&example, line);
		}
		check_end(&example);
		ck_assert_uint_le(procedure_of(&example), KVPROC_BACKUP);
		is_shown[procedure_of(&example)] = true;
	}
	(void)fclose(file);
	for (unsigned i = 0; i <= KVPROC_BACKUP; i++)
		ck_assert_msg(is_shown[i] || is_reserved[i], "procedure %u has no example", i);
}
