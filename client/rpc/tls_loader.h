/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TLS_LOADER_H
#define TLS_LOADER_H

/*
 * tls_loader.h - loads libkv-tls.so.0 when a tls: address is first used, so that a program without
 * one neither links nor starts GnuTLS. It stays loaded. Any thread may call it.
 */

#include "tls/tls_plugin.h"

/* The library's table; NULL: it is not there, or of another version, and `error` says so. */
const struct tls_plugin *tls_load(char error[TLS_ERROR_MAX]);

#endif
