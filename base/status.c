/* SPDX-License-Identifier: BSD-3-Clause */
#include "status.h"

static const struct {
	const char *name;
	const char *text;
} statuses[] = {
    [KV_OK] = {"KV_OK", "done"},
    [KV_NOKEY] = {"KV_NOKEY", "the key does not exist"},
    [KV_VERSION] = {"KV_VERSION", "the key is at another version"},
    [KV_MAYBE] = {"KV_MAYBE", "the outcome is unknown: it may have happened, or may still"},
    [KV_TIMEOUT] = {"KV_TIMEOUT", "time was up before anything happened"},
    [KV_BADSESSION] = {"KV_BADSESSION", "the session is gone, or the server holds another store"},
    [KV_STALE] = {"KV_STALE", "a later call on this slot came before"},
    [KV_FALSE_RETRY] = {"KV_FALSE_RETRY", "another call already used this sequence number"},
    [KV_TOOBIG] = {"KV_TOOBIG", "key or value is too big"},
    [KV_FULL] = {"KV_FULL", "the server has no room"},
    [KV_DENIED] = {"KV_DENIED", "the server does not accept these credentials"},
    [KV_INVALID] = {"KV_INVALID", "an argument is not valid"},
    [KV_UNAVAILABLE] = {"KV_UNAVAILABLE", "the server does not serve this call"},
    [KV_PROTOCOL] = {"KV_PROTOCOL", "the answer cannot be understood"},
    [KV_NOMEM] = {"KV_NOMEM", "no memory left in this process"},
    [KV_BUSY] = {"KV_BUSY", "another holds the lock or the ticket"},
    [KV_NOTHELD] = {"KV_NOTHELD", "the lock is not held by this handle"},
    [KV_EPOCH] = {"KV_EPOCH", "the server was started anew"},
    [KV_UNMET] = {"KV_UNMET", "a condition does not hold"},
    [KV_COMPACTED] = {"KV_COMPACTED", "the server no longer knows these changes"},
};

static const unsigned count = sizeof(statuses) / sizeof(statuses[0]);

const char *kv_status_name(enum kv_status status) {
	return (unsigned)status < count ? statuses[status].name : "KV_?";
}

const char *kv_status_text(enum kv_status status) {
	return (unsigned)status < count ? statuses[status].text : "a status that does not exist";
}
