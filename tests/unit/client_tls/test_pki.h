/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TEST_PKI_H
#define TEST_PKI_H

/*
 * test_pki.h - CAs and certificates of a test, made in a directory of its own. What should work and
 * does not fails the test.
 */

#include <stdbool.h>
#include <stddef.h>

/* What a certificate is to hold; all zero: for nothing, for a day, issued by "ca". */
struct wish {
	const char *issuer; /* NULL: "ca" */
	const char *common_name;
	const char *dns;
	size_t dns_size; /* 0: up to its NUL */
	const char *ip;
	const char *purpose; /* the OID of its extended key usage */
	int from_days;	     /* from today; 0, and to_days 0: from yesterday to tomorrow */
	int to_days;
	bool is_weak; /* RSA with 1024 bits */
};

/* Makes the directory, with the CA "ca". pki_remove() removes all. */
void pki_make(void);
void pki_remove(void);

/* Makes NAME.pem and NAME.key there. */
void pki_add_ca(const char *name);
void pki_add(const char *name, const struct wish *wish);

/* The path of "NAME.pem" or another file of the directory: of the last 64 that were asked for.
 */
const char *pki_path(const char *file);

/* Writes a file of `size` bytes with these access rights. */
void pki_write(const char *file, const void *data, size_t size, unsigned mode);

#endif
