/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_STATUS_H
#define KV_STATUS_H

/*
 * kv/status.h - the statuses of calls, from the server or from the library itself.
 *
 * A write has three outcomes: it happened (KV_OK), it did not (every other status but one), its
 * outcome is unknown (KV_MAYBE). The numbers are those of the wire (kv.x) where a status is there.
 */
enum kv_status {
	/* Done. */
	KV_OK = 0,

	/* The key does not exist, and the call needs it to. Create it with `expected` 0. */
	KV_NOKEY = 1,

	/* The key is not at the expected version; the reply carries the current one. Read again.
	 */
	KV_VERSION = 2,

	/*
	 * The write was sent and its outcome is unknown: it may have happened, may take effect
	 * later still, or never. Read, and write conditionally on what was read.
	 */
	KV_MAYBE = 3,

	/* Time was up; nothing happened, or the call changes nothing. Try again, or wait longer. */
	KV_TIMEOUT = 4,

	/*
	 * The session, or the store that it belonged to, is gone; the write did not happen. What
	 * was known of versions may no longer hold: read again. The next call opens another
	 * session.
	 */
	KV_BADSESSION = 5,

	/* Wire only: a later call on this slot came before. libkv returns KV_MAYBE instead. */
	KV_STALE = 6,

	/*
	 * The ticket (kv_options) is of another write; nothing was sent. On the wire: another call
	 * already used this seq; for that libkv returns KV_MAYBE instead.
	 */
	KV_FALSE_RETRY = 7,

	/* Key, value, or the value that an append would make, is above the limit. Send less. */
	KV_TOOBIG = 8,

	/* The server has no room: memory, disk, or sessions. Make room, or raise its limits. */
	KV_FULL = 9,

	/* The server does not accept these credentials. */
	KV_DENIED = 10,

	/* An argument is outside what the call allows, or the handle belongs to a parent process.
	 */
	KV_INVALID = 11,

	/* The server does not serve this call: it is older than the library. Upgrade it. */
	KV_UNAVAILABLE = 12,

	/* The reply cannot be understood; the peer is probably not a kv server. */
	KV_PROTOCOL = 13,

	/* This process has no memory for the call; nothing was sent. */
	KV_NOMEM = 14,

	/* Lock: another handle holds it. Ticket: another process or thread has it. */
	KV_BUSY = 15,

	/* Lock: this handle does not hold it. */
	KV_NOTHELD = 16,

	/* Wire only: the server was restarted. libkv calls HELLO again; it never returns this. */
	KV_EPOCH = 17,

	/*
	 * A condition of the TXN did not hold (or not in time): `which` says which one. Nothing was
	 * changed. Read the keys again and decide again.
	 */
	KV_UNMET = 18,

	/* The server no longer knows the changes since that position: list the keys again. */
	KV_COMPACTED = 19
};

/* "the key does not exist": one line without a full stop; never NULL, for any number. */
const char *kv_status_text(enum kv_status status);

/* "KV_NOKEY"; "KV_?" for a number that is none. Never NULL. */
const char *kv_status_name(enum kv_status status);

#endif
