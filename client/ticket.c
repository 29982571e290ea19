/* SPDX-License-Identifier: BSD-3-Clause */
#include "ticket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "le.h"

/*
 * The file: a head of TICKET_HEAD_SIZE bytes, then, of a done one, the reply.
 *
 *    0  "kvticket"            0  number of versions, 4
 *    8  format, 4             4  size of the old value, 4
 *   12  slot, 4               8  version of the old value, 8
 *   16  store id, 16         16  the versions, 8 each
 *   32  client id, 8             the old value
 *   40  seq, 8                   checksum of all that, 8
 *   48  hash of the call, 8
 *   56  checksum of all that, 8
 *
 * A reply that was cut short is none: then the server is asked.
 */
enum {
	FORMAT = 1,
	AT_FORMAT = 8,
	AT_SLOT = 12,
	AT_STORE = 16,
	AT_CLIENT = 32,
	AT_SEQ = 40,
	AT_HASH = 48,
	AT_SUM = 56,
	REPLY_HEAD_SIZE = 16,
	OPENS_MAX = 16, /* the file may be removed between open and lock, so often */
};

static const char magic[AT_FORMAT] = {'k', 'v', 't', 'i', 'c', 'k', 'e', 't'};

struct ticket {
	char *path;
	int fd; /* -1: not opened yet */
	enum ticket_state state;
	uint64_t hash;	       /* of the write under way */
	size_t version_count;  /* in its reply */
	atomic_bool is_in_use; /* by a write */
	char error[TICKET_ERROR_MAX];
};

struct ticket *ticket_new(const char *path) {
	struct ticket *ticket = calloc(1, sizeof(*ticket));

	if (ticket == NULL)
		return NULL;
	ticket->path = strdup(path);
	ticket->fd = -1;
	atomic_init(&ticket->is_in_use, false);
	if (ticket->path == NULL) {
		free(ticket);
		return NULL;
	}
	return ticket;
}

void ticket_free(struct ticket *ticket, bool is_child) {
	if (ticket == NULL)
		return;
	if (!is_child && ticket->fd >= 0)
		(void)close(ticket->fd);
	free(ticket->path);
	free(ticket);
}

bool ticket_is_pending(const struct ticket *ticket) {
	return ticket->state == TICKET_PENDING;
}

const char *ticket_error(const struct ticket *ticket) {
	return ticket->error[0] != '\0' ? ticket->error : NULL;
}

/* Keeps "the ticket PATH ..." and returns the status. */
static enum kv_status fail(struct ticket *ticket, enum kv_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum kv_status fail(struct ticket *ticket, enum kv_status status, const char *format, ...) {
	va_list arguments;
	int size = snprintf(ticket->error, sizeof(ticket->error), "the ticket %.*s ",
			    TICKET_ERROR_MAX / 2, ticket->path);

	va_start(arguments, format);
	(void)vsnprintf(ticket->error + size, sizeof(ticket->error) - (size_t)size, format,
			arguments);
	va_end(arguments);
	return status;
}

/* --- Hashes: FNV-1a --------------------------------------------------------------------------- */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size) {
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	return hash;
}

static uint64_t sum_of(const void *data, size_t size) {
	return hash_bytes(14695981039346656037u, data, size);
}

static uint64_t hash_number(uint64_t hash, uint64_t number) {
	uint8_t bytes[8];

	le_put64(bytes, number);
	return hash_bytes(hash, bytes, sizeof(bytes));
}

/* With its size, so that no two lists of strings look alike. */
static uint64_t hash_string(uint64_t hash, struct kv_bytes string) {
	return hash_bytes(hash_number(hash, string.size), string.data, string.size);
}

static uint64_t hash_txn(uint64_t hash, const struct kv_txn *txn) {
	hash = hash_number(hash, txn->condition_count);
	for (size_t i = 0; i < txn->condition_count; i++) {
		const struct kv_condition *condition = &txn->conditions[i];

		hash = hash_string(hash_number(hash, condition->test), condition->key);
		hash = hash_string(hash_number(hash, condition->version), condition->value);
	}
	for (size_t i = 0; i < txn->change_count; i++) {
		const struct kv_change *change = &txn->changes[i];

		hash = hash_string(hash_number(hash, change->kind), change->key);
		hash = hash_string(hash_number(hash, change->ttl_ms), change->value);
	}
	return hash;
}

/* Of all that makes two writes the same call. */
static uint64_t hash_request(const struct request *request) {
	uint64_t hash = sum_of(NULL, 0);

	hash = hash_number(hash, request->kind);
	if (request->txn != NULL)
		return hash_txn(hash, request->txn);
	hash = hash_number(hash, request->expected);
	hash = hash_number(hash, request->want_old);
	return hash_string(hash_string(hash, request->key), request->value);
}

/* --- The file --------------------------------------------------------------------------------- */

/* Whether there is a file, perhaps a ticket that was used, where none could be opened. */
static enum kv_status cannot_open(struct ticket *ticket) {
	const int error = errno;
	struct stat info;

	if (error == ELOOP)
		return fail(ticket, KV_INVALID,
			    "is a symbolic link, which may lead elsewhere the next time; nothing "
			    "was sent (name the file itself)");
	if (error == EISDIR)
		return fail(ticket, KV_INVALID, "is a directory; nothing was sent (name a file)");
	if (lstat(ticket->path, &info) == 0)
		return fail(ticket, KV_MAYBE,
			    "cannot be opened: %s; its write may have happened (run this as the "
			    "user who made it)",
			    strerror(error));
	return fail(ticket, KV_INVALID, "cannot be made: %s; nothing was sent", strerror(error));
}

/* A file of this user alone: a reader of it can write in the session. */
static enum kv_status check_file(struct ticket *ticket, const struct stat *info) {
	/* An empty one was never sent with. */
	enum kv_status status = info->st_size > 0 ? KV_MAYBE : KV_INVALID;

	if (!S_ISREG(info->st_mode))
		return fail(ticket, KV_INVALID,
			    "is not a regular file; nothing was sent (name a file of its own)");
	if (info->st_uid != geteuid())
		return fail(ticket, status,
			    "belongs to another user (run this as that user, or use another file "
			    "for another write)");
	if ((info->st_mode & 077) != 0)
		return fail(ticket, status,
			    "can be read by other users, and holds a secret (chmod 600 it, and run "
			    "this again)");
	return KV_OK;
}

static bool is_same_file(const struct stat *a, const struct stat *b) {
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* One try; KV_OK with ticket->fd -1: the file was removed meanwhile. */
static enum kv_status open_once(struct ticket *ticket) {
	int fd = open(ticket->path,
		      O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	struct stat info, named;
	enum kv_status status;

	if (fd < 0)
		return cannot_open(ticket);
	if (fstat(fd, &info) != 0)
		status = fail(ticket, KV_MAYBE, "cannot be read: %s", strerror(errno));
	else
		status = check_file(ticket, &info);
	if (status == KV_OK && flock(fd, LOCK_EX | LOCK_NB) != 0)
		status = errno == EWOULDBLOCK
			     ? fail(ticket, KV_BUSY,
				    "is held by another process, which may be making this write "
				    "now (run this again when it has ended)")
			     : fail(ticket, KV_MAYBE, "cannot be locked: %s", strerror(errno));
	if (status == KV_OK && lstat(ticket->path, &named) == 0 && is_same_file(&info, &named))
		ticket->fd = fd;
	else
		(void)close(fd);
	return status;
}

static enum kv_status open_file(struct ticket *ticket) {
	enum kv_status status = KV_OK;

	for (int i = 0; i < OPENS_MAX && status == KV_OK && ticket->fd < 0; i++)
		status = open_once(ticket);
	if (status == KV_OK && ticket->fd < 0)
		return fail(ticket, KV_BUSY, "is being replaced by others (use a file of its own)");
	return status;
}

/* The whole file, to be freed. NULL: errno; 0: it is larger than a ticket. */
static uint8_t *read_file(const struct ticket *ticket, size_t *size) {
	struct stat info;
	uint8_t *data;
	size_t got = 0;

	if (fstat(ticket->fd, &info) != 0)
		return NULL;
	errno = 0;
	if (info.st_size > TICKET_SIZE_MAX)
		return NULL;
	*size = (size_t)info.st_size;
	data = malloc(*size + 1);
	while (data != NULL && got < *size) {
		ssize_t part = pread(ticket->fd, data + got, *size - got, (off_t)got);

		if (part > 0) {
			got += (size_t)part;
		} else if (part == 0 || errno != EINTR) {
			errno = part == 0 ? EIO : errno;
			free(data);
			return NULL;
		}
	}
	return data;
}

static bool write_at(const struct ticket *ticket, const uint8_t *data, size_t size, size_t at) {
	while (size > 0) {
		ssize_t part = pwrite(ticket->fd, data, size, (off_t)at);

		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0)
			return false;
		data += part;
		at += (size_t)part;
		size -= (size_t)part;
	}
	return true;
}

/* The name of a new file must survive a power cut, too. */
static bool sync_directory(const struct ticket *ticket) {
	const char *slash = strrchr(ticket->path, '/');
	char *directory =
	    slash == NULL ? strdup(".") : strndup(ticket->path, (size_t)(slash - ticket->path) + 1);
	int fd = directory != NULL ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	bool is_synced = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
	int error = errno;

	if (fd >= 0)
		(void)close(fd);
	free(directory);
	errno = error;
	return is_synced;
}

/* Back to a ticket with which nothing was sent. Whatever is left is judged by its checksum. */
static void empty_file(struct ticket *ticket) {
	if (ftruncate(ticket->fd, 0) == 0 && fsync(ticket->fd) == 0)
		ticket->state = TICKET_EMPTY;
}

/* --- What the file says ----------------------------------------------------------------------- */

/* False, and *response stays empty: it is cut short, or there is no memory. */
static bool read_reply(const uint8_t *data, size_t size, size_t count, bool is_txn,
		       struct response *response) {
	const uint8_t *versions = data + REPLY_HEAD_SIZE;
	size_t old_size, whole;

	if (size < REPLY_HEAD_SIZE || le_get32(data) != count)
		return false;
	old_size = le_get32(data + 4);
	whole = REPLY_HEAD_SIZE + 8 * count + old_size;
	if (size != whole + 8 || le_get64(data + whole) != sum_of(data, whole))
		return false;
	if (is_txn) {
		response->versions = calloc(count, sizeof(*response->versions));
		if (response->versions == NULL)
			return false;
		for (size_t i = 0; i < count; i++)
			response->versions[i] = le_get64(versions + 8 * i);
	} else {
		response->current = le_get64(versions);
	}
	if (old_size > 0) {
		response->value.data = malloc(old_size);
		if (response->value.data == NULL) {
			response_free(response);
			return false;
		}
		memcpy(response->value.data, versions + 8 * count, old_size);
	}
	response->value.size = old_size;
	response->value.version = le_get64(data + 8);
	return true;
}

static enum kv_status read_ticket(struct ticket *ticket, const struct request *request,
				  const uint8_t *data, size_t size, struct ticket_call *call,
				  struct response *response) {
	if (size == 0) {
		ticket->state = TICKET_EMPTY;
		return KV_OK;
	}
	if (size < TICKET_HEAD_SIZE || memcmp(data, magic, sizeof(magic)) != 0 ||
	    le_get64(data + AT_SUM) != sum_of(data, AT_SUM))
		return fail(ticket, KV_MAYBE,
			    "is damaged, or is none: if it was one, its write may have happened "
			    "(get the key; then use another file)");
	if (le_get32(data + AT_FORMAT) != FORMAT)
		return fail(ticket, KV_MAYBE, "has format %u, and this kv knows %d only",
			    le_get32(data + AT_FORMAT), FORMAT);
	if (le_get64(data + AT_HASH) != ticket->hash)
		return fail(ticket, KV_FALSE_RETRY,
			    "is of another command or other arguments; nothing was sent (use one "
			    "file for each write)");
	ticket->state = TICKET_PENDING;
	memcpy(call->store, data + AT_STORE, STORE_ID_SIZE);
	call->client_id = le_get64(data + AT_CLIENT);
	call->slot = le_get32(data + AT_SLOT);
	call->seq = le_get64(data + AT_SEQ);
	if (read_reply(data + TICKET_HEAD_SIZE, size - TICKET_HEAD_SIZE, ticket->version_count,
		       request->kind == REQUEST_TXN, response))
		ticket->state = TICKET_DONE;
	return KV_OK;
}

static enum kv_status begin(struct ticket *ticket, const struct request *request,
			    struct ticket_call *call, struct response *response) {
	enum kv_status status = KV_OK;
	uint8_t *data;
	size_t size = 0;

	ticket->hash = hash_request(request);
	ticket->version_count = request->txn != NULL ? request->txn->change_count : 1;
	if (ticket->fd < 0)
		status = open_file(ticket);
	if (status != KV_OK)
		return status;
	data = read_file(ticket, &size);
	if (data == NULL && errno == ENOMEM)
		return KV_NOMEM;
	if (data == NULL && errno != 0)
		return fail(ticket, KV_MAYBE, "cannot be read: %s", strerror(errno));
	status = data != NULL ? read_ticket(ticket, request, data, size, call, response)
			      : fail(ticket, KV_MAYBE, "is too large to be one (use another file)");
	free(data);
	return status;
}

enum kv_status ticket_begin(struct ticket *ticket, const struct request *request,
			    enum ticket_state *state, struct ticket_call *call,
			    struct response *response) {
	enum kv_status status;

	/* Another thread's write is under way. Its error, if any, is its own. */
	if (atomic_exchange(&ticket->is_in_use, true))
		return KV_BUSY;
	ticket->error[0] = '\0';
	status = begin(ticket, request, call, response);
	*state = ticket->state;
	if (status != KV_OK)
		atomic_store(&ticket->is_in_use, false);
	return status;
}

bool ticket_note(struct ticket *ticket, const struct ticket_call *call) {
	uint8_t head[TICKET_HEAD_SIZE] = {0};
	int error;

	memcpy(head, magic, sizeof(magic));
	le_put32(head + AT_FORMAT, FORMAT);
	le_put32(head + AT_SLOT, call->slot);
	memcpy(head + AT_STORE, call->store, STORE_ID_SIZE);
	le_put64(head + AT_CLIENT, call->client_id);
	le_put64(head + AT_SEQ, call->seq);
	le_put64(head + AT_HASH, ticket->hash);
	le_put64(head + AT_SUM, sum_of(head, AT_SUM));
	if (write_at(ticket, head, sizeof(head), 0) && fsync(ticket->fd) == 0 &&
	    sync_directory(ticket)) {
		ticket->state = TICKET_PENDING;
		return true;
	}
	error = errno;
	empty_file(ticket);
	(void)fail(ticket, KV_INVALID, "cannot be written: %s; nothing was sent", strerror(error));
	return false;
}

/* --- The end ---------------------------------------------------------------------------------- */

void ticket_lose(struct ticket *ticket, enum ticket_loss loss) {
	const char *why = "";

	switch (loss) {
	case TICKET_SESSION_ENDED:
		why = "is too old: its session at the server has ended";
		break;
	case TICKET_OTHER_STORE:
		why = "is of another store than the server's";
		break;
	case TICKET_USED_ELSEWHERE:
		why = "was copied: its session is used by another client, too";
		break;
	}
	(void)fail(ticket, KV_MAYBE,
		   "%s, so whether its write happened cannot be told any more (get the key; then "
		   "use another file)",
		   why);
}

/* A reply that cannot be kept is no loss: the server still has it, and the session is kept. */
static void note_reply(struct ticket *ticket, const struct response *response) {
	const size_t count = ticket->version_count;
	const size_t whole = REPLY_HEAD_SIZE + 8 * count + response->value.size;
	uint8_t *reply = calloc(1, whole + 8);

	if (reply == NULL)
		return;
	le_put32(reply, (uint32_t)count);
	le_put32(reply + 4, (uint32_t)response->value.size);
	le_put64(reply + 8, response->value.version);
	for (size_t i = 0; i < count; i++)
		le_put64(reply + REPLY_HEAD_SIZE + 8 * i,
			 response->versions != NULL ? response->versions[i] : response->current);
	if (response->value.size > 0)
		memcpy(reply + REPLY_HEAD_SIZE + 8 * count, response->value.data,
		       response->value.size);
	le_put64(reply + whole, sum_of(reply, whole));
	if (write_at(ticket, reply, whole + 8, TICKET_HEAD_SIZE) && fsync(ticket->fd) == 0)
		ticket->state = TICKET_DONE;
	free(reply);
}

void ticket_end(struct ticket *ticket, enum kv_status status, const struct response *response) {
	if (status == KV_OK && ticket->state == TICKET_PENDING)
		note_reply(ticket, response);
	else if (status != KV_OK && status != KV_MAYBE && ticket->state == TICKET_PENDING)
		empty_file(ticket);
	atomic_store(&ticket->is_in_use, false);
}
