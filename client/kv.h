/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_KV_H
#define KV_KV_H

/*
 * kv/kv.h - libkv, the client of a kv server: Get, Put and Append that happen exactly once.
 *
 * A handle (struct kv_client) connects when it is first used, reconnects when the connection is
 * lost, and repeats a call that got no reply; the server recognises repeats. Every call blocks
 * until it has a reply or its time is up. A handle may be used by many threads at once.
 *
 * The library installs no signal handler, never raises SIGPIPE, never prints, never exits.
 *
 * What will hurt you:
 *  - KV_MAYBE is not a failure: the write may have happened, or may still. See kv/status.h.
 *  - Without a time limit a call waits forever for a server that is away.
 *  - Two servers in one list must be addresses of one store.
 *  - A memory-only server has another store after each start, where versions begin again. Each
 *    handle that has seen the old one gets KV_BADSESSION once (KV_MAYBE, if a write was already
 *    sent), and then goes on in the new one. A handle counts as having seen a store once any call
 * on it was answered by that store, or a write on it may have reached it. A write with an expected
 *    version always counts. Of threads that share a handle those get it that have a call under way,
 *    else the first to call: threads that remember versions open a view each (kv_with_timeout()).
 *  - After fork() a handle belongs to the parent: open another in the child.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kv/bytes.h>
#include <kv/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The limits of the protocol, in bytes; a server may have a lower one for values. */
#define KV_KEY_MAX 1024
#define KV_VALUE_MAX 16777216

/* As `expected`: whatever the version is. `expected` 0 means "create: the key must not exist". */
#define KV_ANY UINT64_MAX

/* A value that the library allocated. kv_value_free() frees it; size 0 may have data NULL. */
struct kv_value {
	void *data;
	size_t size;
	uint64_t version;
};

struct kv_client;

/* All zero = the defaults. */
struct kv_options {
	/*
	 * Where the server is, e.g. "tcp:kv.example.org:7000", "local:/run/kvd.sock", or several
	 * with commas, tried in turn: local:/path, tcp:HOST[:PORT], HOST, udp:HOST[:PORT],
	 * tls:HOST[:PORT] (tcp with TLS, and never without); IPv6 in brackets; no port: rpcbind is
	 * asked. NULL: $KV_SERVER if set, else the local sockets ($XDG_RUNTIME_DIR/kvd.sock,
	 * /run/kvd.sock, /run/kvd/kvd.sock), then tcp:localhost by rpcbind. Copied.
	 */
	const char *server;

	/* Milliseconds for each call, retries included; 0 = none. */
	unsigned timeout_ms;

	/*
	 * Milliseconds for one attempt; 0 = 1000. Connecting takes at most this. Each attempt of a
	 * call that got no answer in time doubles it for the next one, up to 32 times, so that a
	 * slow answer is not asked for again and again. While bytes of a large call or answer move,
	 * the attempt goes on.
	 */
	unsigned attempt_ms;

	/* Milliseconds of the first pause before a retry; 0 = 10. Doubles, with jitter, ... */
	unsigned backoff_ms;

	/* ... up to this; 0 = 1000. */
	unsigned backoff_max_ms;

	/*
	 * No session and so no memory of past calls on the server: conditional Puts only (expected
	 * is not KV_ANY, no Append), and a retried Put that is then refused is KV_MAYBE.
	 */
	bool stateless;

	/*
	 * Until a server was reached for the first time, a call ends with KV_TIMEOUT as soon as
	 * every address has failed (connection refused, no such socket, unknown name), without
	 * waiting for a server to come. An address that is silent is waited for as ever.
	 */
	bool fail_fast;

	/* RPC program number, if the server was started with another one; 0 = 0x20004b56. */
	unsigned program;

	/*
	 * A file to which each call on keys (not of pages) on this handle and its views is added,
	 * with its answer and the times between which it happened (CLOCK_MONOTONIC), for
	 * kvcheck(1); made if it does not exist, readable by its owner only. NULL: none. Processes
	 * on one machine may share a file; each note is one write(2). A write is noted before it is
	 * sent, too, so that a process may be killed; if that note cannot be written, the write is
	 * not sent and returns KV_INVALID; kv_history_error() and kv_last_error() have the reason.
	 */
	const char *history;

	/*
	 * A file that makes one write repeatable by another process: after this one was killed,
	 * after a reboot, after a timeout. It holds the write's place at the server (store,
	 * session, slot, number) and a hash of its arguments, synced before the write is first
	 * sent. The same write on another handle with the same file, in whatever process, gets the
	 * reply of the first, or runs now: it happens once. NULL: none. Copied; opened by the first
	 * write.
	 *
	 * - One ticket is for one write: another one is KV_FALSE_RETRY. After KV_OK the file holds
	 *   the reply (the old value of an Append, too), and the same write gets it from there,
	 *   whenever. A write that did not happen leaves the file empty, and so does what makes it
	 *   empty by hand: then it is the ticket of the next write. Remove it when it is done with.
	 * - After KV_MAYBE run the same write again, before its session ends (the server's lease, 1
	 *   hour without calls unless kvd was told otherwise; kv_close() leaves it open). Later,
	 *   and with another store, it is KV_MAYBE for good, and kv_ticket_error() says so.
	 * - The file is locked (flock(2)) from the first write to kv_close(). KV_BUSY: another
	 *   process, handle or thread has it. Nothing but the process that has the lock may send
	 * the call, so do not copy the file; a network file system must have locks that all hosts
	 * see. A child of fork() shares the lock until it calls exec or exits.
	 * - The file is made if need be, readable by its owner only, for it holds the secret of the
	 *   session. KV_INVALID: it cannot be made or written, or is no regular file (a symbolic
	 *   link is none); nothing was sent. KV_MAYBE: it is damaged, or open to other users. In
	 * each case kv_ticket_error() says what is wrong and how to go on.
	 *
	 * kv_open() returns KV_INVALID for a ticket with `stateless` or `history`.
	 */
	const char *ticket;

	/*
	 * For tls: addresses, which need libkv-tls.so.0; for others they mean nothing. Files are in
	 * PEM, and read at each connect, so that renewed ones are used. Copied.
	 *
	 * The server's certificate must be issued by a CA of the file tls_ca, be valid, be for
	 * tls_name, and, if it has an extended key usage, be for serverAuth or id-kp-rpcTLSServer
	 * (RFC 9289). NULL: $KV_TLS_CA, else the CAs of the system.
	 *
	 * A certificate that one of the sides refuses ends a call with KV_DENIED, if no other
	 * address of the list can be used; and files, or a library, that cannot be used with
	 * KV_INVALID. It is not tried again then; kv_last_error() has the reason.
	 */
	const char *tls_ca;

	/* This client's own certificate, with the CAs between it and the server's, and its key,
	 * which others must not be able to read. NULL: $KV_TLS_CERT and $KV_TLS_KEY, else none. */
	const char *tls_cert;
	const char *tls_key;

	/* The name that the server's certificate must have as a dNSName, or the address that it
	 * must have as an iPAddress; NULL: HOST of the address, as it is written there. */
	const char *tls_name;
};

/*
 * Makes a handle in *client, to be closed with kv_close(). Does not connect yet. `options` may be
 * NULL. KV_INVALID: the server's address cannot be read (kv_address_error() says why), or the
 * history cannot be opened (errno says why). KV_NOMEM.
 */
enum kv_status kv_open(const struct kv_options *options, struct kv_client **client);

/*
 * Returns what is wrong with a server list and how to fix it, as one line; NULL if nothing is. A
 * constant string.
 */
const char *kv_address_error(const char *server);

/*
 * The version of the library that runs, "0.1.0"; "kvd --version" and struct kv_stats have the
 * server's. A constant string.
 */
const char *kv_version(void);

/*
 * Frees the handle. No call may be under way on it. Tries once to end the session, for at most
 * attempt_ms. NULL is fine. In a forked child it only frees, and closes no descriptor that the
 * child has opened.
 */
void kv_close(struct kv_client *client);

/*
 * Returns whether this process opened the handle. False in a forked child, where every call on the
 * handle returns KV_INVALID.
 */
bool kv_is_owner(const struct kv_client *client);

/*
 * Makes another handle in *view on the same session and connections, with a time limit of its own
 * (0 = none). It counts as having seen the store that `client` has seen, and gets KV_BADSESSION
 * for itself when that is gone. kv_close() it before the first. KV_NOMEM; KV_INVALID in a forked
 * child.
 */
enum kv_status kv_with_timeout(struct kv_client *client, unsigned timeout_ms,
			       struct kv_client **view);

/* The time limit of a handle's calls, in milliseconds, retries included; 0 = none. */
unsigned kv_timeout(const struct kv_client *client);

/*
 * Gives all later calls on this handle another time limit; not those of its views, nor calls under
 * way. Threads that share a handle share the limit: one that wants its own opens a view.
 */
void kv_set_timeout(struct kv_client *client, unsigned timeout_ms);

/*
 * Reads a key (1 to 1024 bytes) into *value, to be freed with kv_value_free(). On any status but
 * KV_OK *value is left empty and needs no free.
 *
 * KV_NOKEY; KV_TIMEOUT; KV_TOOBIG (also: the value does not fit a udp datagram, use tcp);
 * KV_BADSESSION (the store that this handle knew is gone: forget its versions, and call again);
 * KV_INVALID; KV_DENIED; KV_UNAVAILABLE; KV_PROTOCOL; KV_NOMEM.
 */
enum kv_status kv_get(struct kv_client *client, struct kv_bytes key, struct kv_value *value);

/*
 * Reads `count` keys, as kv_get() would one after the other, but over a stream with up to 64 calls
 * under way. values[i], to be freed with kv_value_free(), and statuses[i] are those of keys[i]. All
 * values are in memory at once. The time limit is that of each call.
 *
 * KV_OK: each status is KV_OK or KV_NOKEY. Else the first other one.
 */
enum kv_status kv_get_many(struct kv_client *client, const struct kv_bytes keys[], size_t count,
			   struct kv_value values[], enum kv_status statuses[]);

/*
 * Waits until the key is not at version `seen_version` (0: missing), for at most wait_ms, within
 * the time limit of the handle, and reads it as kv_get() does: the newest state, so versions
 * between may be skipped. wait_ms 0 looks once.
 *
 * KV_OK; KV_NOKEY: it is missing now; KV_TIMEOUT: nothing new, or the server was not reached;
 * KV_FULL: too many calls wait on the server (--max-waiting); KV_UNAVAILABLE: the server is older
 * than this library; KV_INVALID: over udp, or the handle keeps a history. Other statuses as
 * kv_get().
 */
enum kv_status kv_wait(struct kv_client *client, struct kv_bytes key, uint64_t seen_version,
		       unsigned wait_ms, struct kv_value *value);

/*
 * Writes a value (0 to 16 MiB) if the key is at version `expected` (KV_ANY: whatever it is; 0: it
 * must not exist). *version, unless NULL, becomes the new version; on KV_VERSION the current one;
 * on any other status 0. `key` and `value` are copied before the call returns.
 *
 * KV_NOKEY (expected > 0); KV_VERSION; KV_MAYBE; KV_TIMEOUT (it was never sent); KV_BADSESSION (as
 * kv_get()); KV_TOOBIG; KV_FULL; KV_INVALID (also: stateless and KV_ANY); KV_DENIED;
 * KV_UNAVAILABLE; KV_PROTOCOL; KV_NOMEM. All but KV_OK and KV_MAYBE: nothing was written.
 */
enum kv_status kv_put(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
		      uint64_t expected, uint64_t *version);

/*
 * Adds bytes to the end of a value, as kv_put() decides; a missing key counts as an empty value.
 * *old, unless NULL, becomes the value as it was before with the version that it had (empty and 0
 * if there was none), to be freed with kv_value_free(); on any status but KV_OK it is left empty.
 * Statuses as kv_put(); KV_TOOBIG also if the result would pass the limit; KV_INVALID if stateless.
 */
enum kv_status kv_append(struct kv_client *client, struct kv_bytes key, struct kv_bytes value,
			 uint64_t expected, struct kv_value *old, uint64_t *version);

/*
 * Removes a key if it is at version `expected` (KV_ANY: whatever it is). A delete spends a version,
 * which *version, unless NULL, becomes; the key was at the one before. A key that is made again
 * begins above it: versions never go back. On KV_VERSION *version is the current one, on any other
 * status 0. `expected` 0 is KV_NOKEY or KV_VERSION, for a key at version 0 does not exist.
 *
 * Statuses as kv_put(); KV_NOKEY: there is no such key. KV_INVALID also: stateless, and `expected`
 * is KV_ANY or 0.
 */
enum kv_status kv_delete(struct kv_client *client, struct kv_bytes key, uint64_t expected,
			 uint64_t *version);

/* Keys in one page of kv_list(), at most. */
#define KV_PAGE_MAX 1000

/* What kv_list() returns of a key. */
struct kv_key {
	struct kv_bytes key; /* borrowed from the list */
	uint64_t version;
	uint64_t ttl_left_ms; /* about; 0: it has no ttl */
	uint32_t size;	      /* bytes in its value */
	uint32_t waiting;     /* calls that wait for a change of the key */
};

/* One page: one point in time. Freed with kv_list_free(); all zero needs no free. */
struct kv_list {
	struct kv_key *keys; /* owned, with the bytes of the keys */
	size_t count;
	bool more;	   /* keys are left: ask again, `after` the last one here */
	uint64_t position; /* of the last operation that the page shows */
};

/*
 * Lists keys that begin with `prefix` (empty: all), in the order of their bytes, those behind
 * `after` only, if that is not empty (it need not exist), at most `limit` of them (0, or more than
 * KV_PAGE_MAX: KV_PAGE_MAX). Several pages are several points in time: a key that exists all the
 * while is in one of them, none is in two.
 *
 * Statuses as kv_get(); KV_TOOBIG: `prefix` or `after` is longer than a key can be; KV_UNAVAILABLE:
 * the server is older than this library. On any but KV_OK *list is left empty.
 */
enum kv_status kv_list(struct kv_client *client, struct kv_bytes prefix, struct kv_bytes after,
		       size_t limit, struct kv_list *list);
void kv_list_free(struct kv_list *list);

/*
 * Calls `visit` for each key that begins with `prefix`, page by page, until it returns false. KV_OK
 * also then. Other statuses as kv_list(): keys before were shown.
 */
enum kv_status kv_list_each(struct kv_client *client, struct kv_bytes prefix,
			    bool (*visit)(void *context, const struct kv_key *key), void *context);

/* A copy of the keys with a prefix that follows the store: see kv_watch_next(). */
struct kv_watch;

/* One change of a key. */
struct kv_watched {
	struct kv_bytes key; /* borrowed from the watch, until the next call on it; a NUL follows */
	uint64_t version;    /* that the change made, or spent; 0 with is_gone: not known */
	bool is_gone;	     /* the key was there, and is no more */
};

/*
 * Begins to watch the keys that begin with `prefix` (empty: all) in *watch, to be closed with
 * kv_watch_close() before the handle. Does not connect yet. The watch has the time limit that the
 * handle has now, and gets KV_BADSESSION for itself. For one thread at a time; no thread of the
 * library's own works for it, and it calls nothing back. It remembers key and version of each key
 * with that prefix, about 100 bytes and the key.
 *
 * KV_TOOBIG: the prefix is longer than a key can be; KV_INVALID; KV_NOMEM.
 */
enum kv_status kv_watch_open(struct kv_client *client, struct kv_bytes prefix,
			     struct kv_watch **watch);

/*
 * Returns the next change in *watched: at first each key that is there, then each that changed, the
 * newest version only. If there is none, waits for one for at most wait_ms, and as long as a server
 * is being looked for besides, the time limit of the handle. It waits at the server, which replies
 * as soon as something changes; over udp, and where the server lets no call wait, it asks again
 * after pauses of 10 to 500 ms. A program that does with each change as below has a right copy:
 *
 *	while ((status = kv_watch_next(watch, 1000, &change)) == KV_OK || status == KV_UNMET) {
 *		if (status == KV_UNMET)
 *			continue;                     // the copy is that of the store
 *		if (!change.is_gone && kv_get(client, change.key, &value) == KV_OK)
 *			copy_set(change.key, &value); // if above the version that the copy has
 *		else if (change.is_gone)
 *			copy_remove(change.key);
 *	}
 *
 * Only the watch knows that a key is gone: a Get that finds it missing says nothing, for the key
 * may be made again meanwhile; the watch returns its end in its turn. The keys of one transaction
 * come one after the other.
 *
 * KV_OK; KV_UNMET: nothing changed in that time, and all changes that there were when the call
 * began have been returned (wait_ms 0 asks for just that); KV_TIMEOUT: no server was reached, so
 * there may be changes: call again; KV_BADSESSION: the server holds another store: empty the copy,
 * and call again, which begins anew; KV_UNAVAILABLE: the server is older than this library;
 * KV_FULL: it has no memory to remember changes; KV_INVALID (also in a forked child); KV_DENIED;
 * KV_PROTOCOL; KV_NOMEM. After any of them it goes on where it was. If the server no longer knows
 * what changed, the watch lists the keys again, and returns those that changed or vanished since.
 */
enum kv_status kv_watch_next(struct kv_watch *watch, unsigned wait_ms, struct kv_watched *watched);

/* Ends the watch. NULL is fine. */
void kv_watch_close(struct kv_watch *watch);

/* What a condition of a transaction asks of its key. */
enum kv_test {
	KV_AT = 0,     /* it is at `version`; 0: it does not exist */
	KV_EXISTS = 1, /* it exists */
	KV_HOLDS = 2,  /* it exists, and holds `value` */
	KV_FREE = 3,   /* it does not exist, or holds `value` */
};

struct kv_condition {
	enum kv_test test;
	struct kv_bytes key;
	uint64_t version;
	struct kv_bytes value;
};

enum kv_change_kind {
	KV_CHANGE_PUT = 0,    /* value and ttl_ms (0: none); whatever the version */
	KV_CHANGE_APPEND = 1, /* value; the ttl stays */
	KV_CHANGE_DELETE = 2, /* the key must exist */
	KV_CHANGE_TOUCH =
	    3, /* the ttl ends ttl_ms from now, if that is later; the key must exist */
};

struct kv_change {
	enum kv_change_kind kind;
	struct kv_bytes key;
	struct kv_bytes value;
	uint64_t ttl_ms;  /* 1 ms to ten years; 0: none */
	uint64_t version; /* out: after the change; of a delete the one that it spent */
};

#define KV_CONDITIONS_MAX 16 /* of a transaction */
#define KV_CHANGES_MAX 64

/*
 * Several changes, 1 to KV_CHANGES_MAX, each of another key, that happen together or not at all: if
 * all conditions hold. A write that names the token of a lock (KV_AT, lock, token) is fenced: it
 * never happens once the lock was lost.
 */
struct kv_txn {
	const struct kv_condition *conditions;
	size_t condition_count;
	struct kv_change *changes;
	size_t change_count;
	unsigned wait_ms; /* how long it may wait for its first condition; 0: not at all */
	size_t which;	  /* out: KV_UNMET: the condition; KV_NOKEY, KV_TOOBIG: the change */
	uint64_t current; /* out, with `which`: the version of its key; 0: it does not exist */
};

/*
 * Runs a transaction. With `wait_ms` it waits on the server while its first condition, no other,
 * does not hold, and then runs at once, first come first served. The time limit of the handle
 * covers the wait; a fourth of it, at most attempt_ms, is kept for the outcome. A wait needs tcp or
 * a local socket (KV_INVALID over udp), and a session of two slots or more: on an only slot the
 * transaction does not wait. KV_UNMET: a condition did not hold, or the first not in time;
 * KV_NOKEY: a delete or touch of a missing key; KV_INVALID: no changes or too many, a key twice, a
 * ttl out of range, or a stateless handle; KV_UNAVAILABLE: the server is older than this library.
 * Other statuses as kv_put(). All but KV_OK and KV_MAYBE: nothing was changed.
 */
enum kv_status kv_txn(struct kv_client *client, struct kv_txn *txn);

/*
 * Moves the end of a key's ttl to ttl_ms from now, if that is later, or gives it one. Its version
 * stays. `expected`: the version that it must be at (KV_ANY: any). KV_VERSION: it is at another;
 * KV_NOKEY; other statuses as kv_txn().
 */
enum kv_status kv_touch(struct kv_client *client, struct kv_bytes key, uint64_t expected,
			uint64_t ttl_ms);

/*
 * Makes sure that no write which came back KV_MAYBE before this call, on the handle or any that
 * shares its session (kv_with_timeout()), takes effect any more: from KV_OK on a Get of its key
 * shows whether it happened. Sends one write that is refused for each slot that such a write left
 * behind, and nothing if there is none. It waits for writes under way on those slots.
 *
 * KV_OK; KV_INVALID: the handle is stateless, has a ticket (run the same write again instead), or
 * is that of a parent process. Other statuses as kv_put(), KV_TIMEOUT and KV_MAYBE above all: not
 * settled yet, call again.
 */
enum kv_status kv_settle(struct kv_client *client);

/*
 * Ends the waiting of kv_txn() and kv_wait() on this handle, not on its views. Any thread may call
 * it, but no signal handler. Within 0.2 s the call that waits asks the server for the last time, to
 * run now or never, and returns what the server replies: KV_UNMET of kv_txn(), KV_TIMEOUT of
 * kv_wait(), or KV_OK if it was quicker. If the server does not reply within attempt_ms, it ends
 * as at its time limit. Calls that do not wait are left alone.
 *
 * If no call waits, it is the next one that does not wait: an interrupt is never lost because it
 * came just before the call. It lasts until no call that waits is under way any more.
 */
void kv_interrupt(struct kv_client *client);

/* Frees what a call put into *value and leaves it empty. NULL is fine, empty is fine. */
void kv_value_free(struct kv_value *value);

/* One empty call to the server and back (RPC's null procedure). KV_OK, KV_TIMEOUT, KV_NOMEM ... */
enum kv_status kv_ping(struct kv_client *client);

/* One of the server's counters. */
struct kv_counter {
	char name[65];
	uint64_t value;
};

/* A server's own description. kv_stats_free() frees it. */
struct kv_stats {
	char server[300];	     /* the address that answered */
	char software[65];	     /* "kvd 0.1.0" */
	unsigned char store[16];     /* the store's id */
	uint64_t epoch;		     /* of this start of the server */
	struct kv_counter *counters; /* owned */
	size_t counter_count;
};

/* Asks the server for its counters. Statuses as kv_get(); on any but KV_OK *stats is left empty. */
enum kv_status kv_stats(struct kv_client *client, struct kv_stats *stats);
void kv_stats_free(struct kv_stats *stats);

/* Rights to keys, as bits. */
#define KV_RIGHT_READ 1U
#define KV_RIGHT_LOCK 2U   /* to take and break locks */
#define KV_RIGHT_APPEND 4U /* without the old value */
#define KV_RIGHT_WRITE 8U
#define KV_RIGHT_ADMIN 16U

/* Rights to all keys that begin with a prefix, unless a longer prefix begins them, too. */
struct kv_grant {
	struct kv_bytes prefix; /* borrowed from the identity; empty: every key */
	unsigned rights;
};

/* A client as its server knows it. Freed with kv_identity_free(); all zero needs no free. */
struct kv_identity {
	char principal[257];	 /* "uid:1000"; "any": it has no name there */
	bool has_rules;		 /* false: the server has no rules, and allows everything */
	bool is_secure;		 /* the connection is encrypted */
	bool more;		 /* grants are left out */
	struct kv_grant *grants; /* owned, with the bytes of the prefixes */
	size_t grant_count;
};

/*
 * Asks the server for the principal and the rights that calls of this handle have there. Statuses
 * as kv_get(); KV_UNAVAILABLE: the server is older than this library. On any but KV_OK *identity is
 * left empty.
 */
enum kv_status kv_whoami(struct kv_client *client, struct kv_identity *identity);
void kv_identity_free(struct kv_identity *identity);

/* A snapshot that was asked for. */
struct kv_snapshot {
	uint64_t position; /* the number of the last operation that it will hold, at least */
	uint64_t epoch;	   /* a server with another epoch was restarted, and has lost the request */
};

/*
 * Asks a server that keeps its store in a directory to write all of it into one file, and answers
 * at once; programs seldom need it, for the server does so by itself. One is written at a time;
 * requests that come meanwhile share the next one. While the counter "snapshot_under_way" (see
 * kv_stats()) is above 0, it is not done; after that it was published if "snapshots" is above 0 and
 * "snapshot_position" at least `position`, else it was given up, and "snapshot_error" is the status
 * that says why: KV_FULL (no room on the disk), or KV_UNAVAILABLE.
 *
 * Statuses as kv_get(); KV_UNAVAILABLE: the server keeps its store in memory only, or is older than
 * this library. On any but KV_OK *snapshot is all zero.
 */
enum kv_status kv_snapshot(struct kv_client *client, struct kv_snapshot *snapshot);

/* A part of a backup. Freed with kv_backup_page_free(); all zero needs no free. */
struct kv_backup_page {
	void *data;
	size_t size;	/* bytes of it; 0 before the end: the disk is being read, ask again soon */
	uint64_t total; /* bytes of the whole backup */
};

/*
 * Reads up to 256 KiB of a backup of everything: of the snapshot at `position`, which the counter
 * "snapshot_position" names once kv_snapshot() is done, from byte `offset` on. All pages, one
 * behind the other, are a file that kvd(8) verifies and restores. The server keeps the snapshot for
 * as long as a page of it is asked for once a minute; any page may be asked for again, after a
 * restart of the server also.
 *
 * KV_DENIED: the server is not asked over its local socket, or not by root or by the user that runs
 * it. KV_COMPACTED: it no longer has that snapshot, ask for another one. KV_FULL: too many others
 * are read. KV_UNAVAILABLE: as kv_snapshot(), or the server's disk failed. Others as kv_get(). On
 * any but KV_OK *page is left empty.
 */
enum kv_status kv_backup(struct kv_client *client, uint64_t position, uint64_t offset,
			 struct kv_backup_page *page);
void kv_backup_page_free(struct kv_backup_page *page);

/*
 * Writes to `text` why the last attempt on this handle that failed did so, as one line for people
 * ("tcp:kv:7000: Connection refused"); empty if none did. If no server could be reached it names
 * each address that was tried, with "; " between them. At most `size` bytes, with the final NUL;
 * 1280 are enough.
 */
void kv_last_error(struct kv_client *client, char *text, size_t size);

/*
 * For locks: notes in the history of the handle, if it keeps one, that from now on the caller
 * counts on holding the lock `name` with that token (above 0), so that kvcheck(1) can tell whether
 * another did at the same time. One that cannot be noted is left out. Returns what
 * kv_history_hold_end() needs; 0: there is no history.
 */
uint64_t kv_history_hold(struct kv_client *client, struct kv_bytes name, uint64_t token);

/* ... and that it did so until late_ms ago. Does nothing if `began` is 0. */
void kv_history_hold_end(struct kv_client *client, struct kv_bytes name, uint64_t token,
			 uint64_t began, uint64_t late_ms);

/*
 * Returns the errno of the first line that could not be written to the history of this handle; 0 if
 * all could. Missing replies do no harm but that kvcheck(1) has less evidence.
 */
int kv_history_error(const struct kv_client *client);

/*
 * What is wrong with the ticket of the handle (kv_options), as one line for people that says how to
 * go on; NULL: nothing was in the last write, so that after KV_MAYBE the same write again resolves
 * it. The handle's, until its next write.
 */
const char *kv_ticket_error(const struct kv_client *client);

#ifdef __cplusplus
}
#endif

#endif
