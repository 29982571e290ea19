/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef KV_CALL_H
#define KV_CALL_H

/*
 * kv_call.h - calls of kv as bytes: whole records, and one call at a time over a blocking socket.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rpc/rpc.h>

/* The bytes of a whole record, with the xid 0; 0: they do not fit. */
size_t kv_call_encode(uint8_t *bytes, size_t size_max, uint32_t program, rpcproc_t procedure,
		      xdrproc_t encode_arguments, void *arguments);

/* False: it failed, and an error line says why. */
bool kv_call_once(int fd, uint32_t program, rpcproc_t procedure, xdrproc_t encode, void *arguments,
		  xdrproc_t decode, void *results);

#endif
