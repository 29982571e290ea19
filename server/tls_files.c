/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls_files.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "tls/credentials.h"
#include "trusted_file.h"

enum { WHAT_MAX = 128 };

/* A path that is not given is read, too, and has no text. */
static bool read_file(const char *path, const char *option, const char *what,
		      enum trusted_file_kind kind, struct credentials_file *file) {
	char whole[WHAT_MAX];
	char *data;

	*file = (struct credentials_file){.option = option, .path = path};
	if (path == NULL)
		return true;
	(void)snprintf(whole, sizeof(whole), "%s%s ", what, option);
	if (!trusted_file_read(path, whole, kind, CREDENTIALS_FILE_MAX, &data, &file->text.size))
		return false;
	file->text.data = data;
	if (file->text.size <= CREDENTIALS_FILE_MAX)
		return true;
	log_error("%s%s: it has more than %d MiB", whole, path, CREDENTIALS_FILE_MAX >> 20);
	return false;
}

static struct credentials *make(const struct credentials_files *files, const char *what) {
	char error[CREDENTIALS_ERROR_MAX];
	struct credentials *credentials = credentials_new(files, error);

	if (credentials == NULL)
		log_error("%s%s", what, error);
	return credentials;
}

static void forget(struct credentials_file *file) {
	if (file->text.data != NULL)
		explicit_bzero((void *)(uintptr_t)file->text.data, file->text.size);
	free((void *)(uintptr_t)file->text.data);
}

struct credentials *tls_files_read(const struct tls_files *files, const char *what) {
	struct credentials_files texts = {.are_needed = files->are_needed};
	struct credentials *credentials = NULL;

	if (read_file(files->certificate, "--tls-cert", what, TRUSTED_FILE_PUBLIC,
		      &texts.certificate) &&
	    read_file(files->key, "--tls-key", what, TRUSTED_FILE_SECRET, &texts.key) &&
	    read_file(files->ca, "--tls-ca", what, TRUSTED_FILE_PUBLIC, &texts.ca) &&
	    read_file(files->crl, "--tls-crl", what, TRUSTED_FILE_PUBLIC, &texts.crl))
		credentials = make(&texts, what);
	forget(&texts.certificate);
	forget(&texts.key);
	forget(&texts.ca);
	forget(&texts.crl);
	return credentials;
}
