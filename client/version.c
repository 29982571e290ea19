/* SPDX-License-Identifier: BSD-3-Clause */
/* version.c - The version of the library, which is that of all of kv: VERSION of the Makefile. */
#include <kv/kv.h>

const char *kv_version(void) {
	return KV_RELEASE;
}
