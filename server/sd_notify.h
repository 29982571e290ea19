/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SD_NOTIFY_H
#define SD_NOTIFY_H

/*
 * sd_notify.h - state messages to the service manager, as sd_notify(3) describes: a datagram to the
 * socket that $NOTIFY_SOCKET names. Without it, nothing is sent.
 */

/*
 * Sends "READY=1" or "STOPPING=1". A manager that does not read its socket is waited for 5 s, and
 * that is logged; any other failure is ignored.
 */
void sd_notify_state(const char *state);

#endif
