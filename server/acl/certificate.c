/* SPDX-License-Identifier: BSD-3-Clause */
#include "acl/certificate.h"

#include <stdlib.h>
#include <string.h>

static const char prefix[] = "cert:";

/* Copies the text to `*to`, which moves on. Returns where it lies. */
static const char *put(char **to, const char *text) {
	const size_t size = strlen(text) + 1;
	char *place = *to;

	memcpy(place, text, size);
	*to += size;
	return place;
}

struct certificate *certificate_new(const char *const *names, unsigned count,
				    const uint8_t fingerprint[CERTIFICATE_FINGERPRINT_SIZE]) {
	size_t size = sizeof(struct certificate) + sizeof(prefix);
	struct certificate *certificate;
	char *to;

	for (unsigned i = 0; i < count; i++)
		size += strlen(names[i]) + 1;
	certificate = calloc(1, size);
	if (certificate == NULL)
		return NULL;
	/* The first name lies behind its prefix, so that both together are the principal. */
	to = (char *)(certificate + 1);
	certificate->principal = put(&to, prefix);
	to--;
	for (unsigned i = 0; i < count; i++)
		certificate->names[i] = put(&to, names[i]);
	certificate->name_count = count;
	memcpy(certificate->fingerprint, fingerprint, CERTIFICATE_FINGERPRINT_SIZE);
	return certificate;
}

void certificate_free(struct certificate *certificate) {
	free(certificate);
}
