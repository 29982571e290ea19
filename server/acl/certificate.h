/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CERTIFICATE_H
#define CERTIFICATE_H

/*
 * certificate.h - the certificate that a client showed over TLS, as far as it says who the client
 * is: its names and its fingerprint. Whether it is trusted was decided before.
 */

#include <stdint.h>

enum {
	CERTIFICATE_NAME_MAX = 250, /* bytes; with "cert:" a principal */
	CERTIFICATE_NAMES_MAX = 8,  /* that rules look at */
	CERTIFICATE_FINGERPRINT_SIZE = 32,
};

struct certificate {
	uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]; /* SHA-256 of the whole certificate */
	unsigned name_count;
	const char *names[CERTIFICATE_NAMES_MAX]; /* the first one is the principal's */
	const char *principal;			  /* "cert:" and the first name */
};

/*
 * Copies them: 1 to CERTIFICATE_NAMES_MAX names of 1 to CERTIFICATE_NAME_MAX bytes. NULL: no
 * memory. Freed with certificate_free().
 */
struct certificate *certificate_new(const char *const *names, unsigned count,
				    const uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]);
void certificate_free(struct certificate *certificate);

#endif
