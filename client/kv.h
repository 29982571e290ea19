/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_KV_H
#define KV_KV_H

/*
 * kv/kv.h - libkv, the client of a kv server: Get, Put and Append that happen exactly once.
 *
 * A handle (struct kv_client) connects when it is first used, finds the server again when it went
 * away, and repeats what got no answer; the server recognises the repeats. Every call blocks until
 * it is answered or its time is up. A handle may be used by many threads at once.
 *
 * The library installs no signal handler, never raises SIGPIPE, never prints, never exits.
 *
 * What will hurt you:
 *  - KV_MAYBE is not a failure: the write may have happened, or may still. See kv/status.h.
 *  - Without a time limit a call waits for ever for a server that is away.
 *  - Two servers in one list must be addresses of one store.
 *  - A memory-only server that starts anew has another store, where versions begin anew. Each
 *    handle that knew the old one is told once, by KV_BADSESSION (KV_MAYBE, if a write was already
 *    sent), and then goes on in the new one. It knew it if a call on it told of the old store or
 *    may have changed it; a write that expects a version counts as knowing, too. Of threads that
 *    share a handle those are told whose calls are under way, else the first to call: threads that
 *    remember versions open a view each (kv_within()).
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

/* As `expected`: whatever the version is. As `expected`, 0 means "create: the key must not exist".
 */
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
	 * with commas, tried in turn: local:/path, tcp:HOST[:PORT], HOST, udp:HOST[:PORT]; IPv6 in
	 * brackets; no port: rpcbind is asked. NULL: $KV_SERVER if set, else the local sockets
	 * ($XDG_RUNTIME_DIR/kvd.sock, /run/kvd.sock, /run/kvd/kvd.sock), then tcp:localhost by
	 * rpcbind. Copied.
	 */
	const char *server;

	/* Milliseconds for each call, retries included; 0 = for ever. */
	unsigned timeout_ms;

	/*
	 * Milliseconds for one attempt; 0 = 1000. Connecting takes at most this. Each attempt of a
	 * call that got no answer in time doubles it for the next one, up to 32 times, so that a
	 * slow answer is not asked for again and again.
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

	/* RPC program number, if the server was started with another one; 0 = 0x20004b56. */
	unsigned program;

	/*
	 * A file to which each Get, Put and Append on this handle and its views is added, with its
	 * answer and the times between which it happened (CLOCK_MONOTONIC), for kvcheck(1); made
	 * if it does not exist, readable by its owner only. NULL: none. Processes on one machine
	 * may share a file; each note is one write(2). A write is noted before it is sent, too, so
	 * that a process may be killed; if that note cannot be written, the write is not sent and
	 * answered KV_INVALID, and kv_history_error() and kv_reason() tell why.
	 */
	const char *history;
};

/*
 * Makes a handle in *client, to be closed with kv_close(). Does not connect yet. `options` may be
 * NULL. KV_INVALID: the server's address cannot be read (kv_address_error() says why), or the
 * history cannot be opened (errno says why). KV_NOMEM.
 */
enum kv_status kv_open(const struct kv_options *options, struct kv_client **client);

/*
 * What is wrong with a server list, as one line that says how to mend it; NULL if nothing is.
 * A constant string.
 */
const char *kv_address_error(const char *server);

/*
 * Frees the handle. No call may be under way on it. Tries once to end the session, for at most
 * attempt_ms. NULL is fine. In a forked child it only frees.
 */
void kv_close(struct kv_client *client);

/*
 * Makes another handle in *view on the same session and connections, with a time limit of its own
 * (0 = for ever). It knows the store that `client` knows, and is told for itself when that is gone.
 * kv_close() it before the first. KV_NOMEM; KV_INVALID in a forked child.
 */
enum kv_status kv_within(struct kv_client *client, unsigned timeout_ms, struct kv_client **view);

/* The time limit of a handle's calls, in milliseconds, retries included; 0 = for ever. */
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

/* Frees what a call put into *value and leaves it empty. NULL is fine, empty is fine. */
void kv_value_free(struct kv_value *value);

/* One empty call to the server and back (the RPC null procedure). KV_OK, KV_TIMEOUT, KV_NOMEM ...
 */
enum kv_status kv_ping(struct kv_client *client);

/* One of the server's counters. */
struct kv_counter {
	char name[65];
	uint64_t value;
};

/* What a server says of itself. kv_stats_free() frees it. */
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

/* A snapshot that was asked for. */
struct kv_snapshot {
	uint64_t position; /* the number of the last operation that it will hold, at least */
	uint64_t epoch;	   /* a server with another one has been started anew, and forgot it */
};

/*
 * Asks a server that keeps its store in a directory to write all of it into one file, and answers
 * at once; programs seldom need it, for the server does so by itself. One is written at a time;
 * those who ask meanwhile get the next one, together. While the counter "snapshot_under_way" (see
 * kv_stats()) is above 0, it is not done; after that it was published if "snapshots" is above 0 and
 * "snapshot_position" at least `position`, else it was given up, and "snapshot_error" is the status
 * that says why: KV_FULL (no room on the disk), or KV_UNAVAILABLE.
 *
 * Statuses as kv_get(); KV_UNAVAILABLE: the server keeps its store in memory only, or is older than
 * this library. On any but KV_OK *snapshot is all zero.
 */
enum kv_status kv_snapshot(struct kv_client *client, struct kv_snapshot *snapshot);

/*
 * Why the last attempt on this handle that failed did so, as one line for people ("tcp:kv:7000:
 * Connection refused"); empty if none did. At most `size` bytes, with the final NUL.
 */
void kv_reason(struct kv_client *client, char *text, size_t size);

/*
 * Why the history of this handle is not whole, as an errno; 0 if it is. Answers that are missing in
 * it do no harm but that kvcheck(1) has less to go by.
 */
int kv_history_error(const struct kv_client *client);

#ifdef __cplusplus
}
#endif

#endif
