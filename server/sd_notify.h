/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NOTIFY_H
#define NOTIFY_H

/*
 * sd_notify_state.h - tells the service manager how kvd is, as sd_notify(3) describes: a datagram to the
 * socket that $NOTIFY_SOCKET names. Without it, nothing happens.
 */

/* "READY=1", "STOPPING=1" or "STATUS=..."; what cannot be told is left untold. */
void sd_notify_state(const char *state);

#endif
