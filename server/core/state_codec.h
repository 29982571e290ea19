/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef STATE_CODEC_H
#define STATE_CODEC_H

/*
 * state_codec.h - the encoding of entries and sessions as a stream of bytes, which snapshots hold.
 *
 * An old value that a slot remembers is a shorter view of a buffer that an entry may still use, so
 * each buffer stands in the stream once, and slots name it by number: those that entries hold come
 * first, then those that only slots hold ("kept values"), as far as a slot sees them. Numbers begin
 * with 1, in the order of the stream. Little-endian:
 *
 *	time in milliseconds (8), floor of versions (8), count of entries (8), and for each, in
 *	the order of the keys
 *		version (8), size of the value (4), size of the key (2), flags (2): 1, the value
 *		takes the next number; 2, it has a ttl
 *		with flag 2: when the ttl ends, in milliseconds (8)
 *		key; value
 *	count of kept values (8), and for each
 *		size (4); bytes
 *	count of sessions (8), those that never wrote first, then by when they were last active, and
 *	for each
 *		client id (8), last active (8), nonce (16; zeros once it used a slot),
 *		slots given (1), slots used (1), bytes of its owner (1); owner (none: any)
 *		and for each slot used, in order
 *			slot (1), status (1), 1 if there was an old value (1),
 *			which condition or change a TXN was refused for (1),
 *			number of the buffer of the old value, or of a TXN's versions; 0 if
 *			there is none (4), its size (4),
 *			seq (8), hash (8), version (8)
 *
 * Format 2 has no owners; format 1 has no floor, no flag 2, and entries in no order. A change is a
 * new format version of the snapshot.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sessions;
struct store;

enum { STATE_FORMAT = 3 };

enum state_result {
	STATE_DONE,
	STATE_INVALID,	 /* `put` or `get` returned false, or the bytes are no state */
	STATE_NO_MEMORY, /* nothing is known of the bytes */
};

/* Takes the next `size` bytes, which are borrowed. False: give up. */
typedef bool state_put(void *context, const void *data, size_t size);

/* Fills in the next `size` bytes. False: there are not so many, or they cannot be read. */
typedef bool state_get(void *context, void *data, size_t size);

/*
 * Hands everything to `put`, in small pieces. Only reads what it saves, and the memory it takes is
 * not counted: so a forked child can do it.
 */
enum state_result state_save(const struct store *store, const struct sessions *sessions,
			     uint64_t now_ms, state_put *put, void *context);

/*
 * Fills an empty store and empty sessions. `size` is how many bytes there are at most: what they
 * claim is believed only as far as that. Takes no more than it understands: whether anything is
 * left is for the caller to see. After another result than STATE_DONE both hold a part of it.
 */
enum state_result state_load(struct store *store, struct sessions *sessions, uint64_t *now_ms,
			     unsigned format, uint64_t size, state_get *get, void *context);

#endif
