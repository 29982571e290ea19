/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RPC_TRANSPORT_H
#define RPC_TRANSPORT_H

/*
 * rpc_transport.h - the real transport of the clerk: sockets, rpcbind, the generated stubs, the
 * monotonic clock and the kernel's random bits.
 */

#include "transport.h"

/*
 * Fills *transport from options->server and options->program; does not connect. KV_INVALID: the
 * server list cannot be read (kv_address_error() says why); KV_NOMEM; then there is nothing to
 * free.
 */
enum kv_status rpc_transport_new(const struct kv_options *options, struct transport *transport);

/*
 * Frees what rpc_transport_new() made. All its connections must be released first. Takes no lock
 * and sends nothing, so a child of fork may call it.
 */
void rpc_transport_free(struct transport *transport);

#endif
