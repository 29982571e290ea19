/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file and what it is, for messages: "tls_key". */
struct source {
	const char *option;
	const char *path;
	bool is_secret;
};

static enum tls_result unusable(const struct source *source, const char *why,
				char error[TLS_ERROR_MAX]) {
	(void)snprintf(error, TLS_ERROR_MAX, "%s %s: %s", source->option, source->path, why);
	return TLS_UNUSABLE;
}

static enum tls_result no_memory(char error[TLS_ERROR_MAX]) {
	(void)snprintf(error, TLS_ERROR_MAX, "no memory for TLS");
	return TLS_NOMEM;
}

/*
 * A key that others may read is no secret. As libpq has it, the group of a file of root may read
 * it: so a system shares one key among some users.
 */
static const char *exposure(const struct stat *info) {
	const mode_t allowed = info->st_uid == 0 ? S_IRGRP : 0;

	if ((info->st_mode & (S_IRWXG | S_IRWXO) & ~allowed) == 0)
		return NULL;
	return "other users may read or write the key (chmod go= it)";
}

static const char *check(const struct source *source, const struct stat *info) {
	if (!S_ISREG(info->st_mode))
		return "it is no regular file";
	if (info->st_size > TLS_FILE_MAX)
		return "it has more than 4 MiB";
	if (info->st_size == 0)
		return "it is empty";
	return source->is_secret ? exposure(info) : NULL;
}

static enum tls_result read_all(const struct source *source, int fd, size_t size,
				gnutls_datum_t *text, char error[TLS_ERROR_MAX]) {
	char reason[64];
	size_t done = 0;

	text->data = malloc(size);
	if (text->data == NULL)
		return no_memory(error);
	while (done < size) {
		ssize_t came = read(fd, text->data + done, size - done);

		if (came < 0 && errno == EINTR)
			continue;
		if (came < 0)
			return unusable(source, strerror_r(errno, reason, sizeof(reason)), error);
		if (came == 0)
			break;
		done += (size_t)came;
	}
	text->size = (unsigned)done;
	return TLS_OK;
}

/* Fills *text, to be freed with wipe() whatever is returned. */
static enum tls_result load(const struct source *source, gnutls_datum_t *text,
			    char error[TLS_ERROR_MAX]) {
	/* Not to wait for a writer, if it is a pipe. */
	int fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum tls_result result;
	struct stat info;
	char reason[64];
	const char *wrong = NULL;

	*text = (gnutls_datum_t){NULL, 0};
	if (fd < 0 || fstat(fd, &info) < 0)
		wrong = strerror_r(errno, reason, sizeof(reason));
	else
		wrong = check(source, &info);
	result = wrong != NULL ? unusable(source, wrong, error)
			       : read_all(source, fd, (size_t)info.st_size, text, error);
	if (fd >= 0)
		(void)close(fd);
	return result;
}

static void wipe(gnutls_datum_t *text) {
	if (text->data != NULL)
		gnutls_memset(text->data, 0, text->size);
	free(text->data);
}

static enum tls_result load_trust(const char *path, gnutls_certificate_credentials_t credentials,
				  char error[TLS_ERROR_MAX]) {
	const struct source source = {.option = "tls_ca", .path = path};
	enum tls_result result;
	gnutls_datum_t text;
	int count;

	if (path == NULL) {
		if (gnutls_certificate_set_x509_system_trust(credentials) > 0)
			return TLS_OK;
		(void)snprintf(error, TLS_ERROR_MAX, "the system has no CAs (give tls_ca)");
		return TLS_UNUSABLE;
	}
	result = load(&source, &text, error);
	if (result == TLS_OK) {
		count =
		    gnutls_certificate_set_x509_trust_mem(credentials, &text, GNUTLS_X509_FMT_PEM);
		if (count <= 0)
			result = unusable(&source,
					  count < 0 ? gnutls_strerror(count)
						    : "it has no certificate in PEM",
					  error);
	}
	wipe(&text);
	return result;
}

static enum tls_result load_own(const struct tls_config *config,
				gnutls_certificate_credentials_t credentials,
				char error[TLS_ERROR_MAX]) {
	const struct source cert = {.option = "tls_cert", .path = config->cert};
	const struct source key = {.option = "tls_key", .path = config->key, .is_secret = true};
	gnutls_datum_t chain, secret = {NULL, 0};
	enum tls_result result = load(&cert, &chain, error);
	int failure;

	if (result == TLS_OK)
		result = load(&key, &secret, error);
	if (result == TLS_OK) {
		failure = gnutls_certificate_set_x509_key_mem2(credentials, &chain, &secret,
							       GNUTLS_X509_FMT_PEM, NULL, 0);
		if (failure < 0) {
			(void)snprintf(error, TLS_ERROR_MAX, "tls_cert %s, tls_key %s: %s",
				       config->cert, config->key, gnutls_strerror(failure));
			result = TLS_UNUSABLE;
		}
	}
	wipe(&chain);
	wipe(&secret);
	return result;
}

enum tls_result tls_files_load(const struct tls_config *config,
			       gnutls_certificate_credentials_t *credentials,
			       char error[TLS_ERROR_MAX]) {
	enum tls_result result;

	*credentials = NULL;
	if ((config->cert == NULL) != (config->key == NULL)) {
		(void)snprintf(error, TLS_ERROR_MAX,
			       "tls_cert and tls_key need each other: %s is "
			       "missing",
			       config->cert == NULL ? "tls_cert" : "tls_key");
		return TLS_UNUSABLE;
	}
	if (gnutls_certificate_allocate_credentials(credentials) < 0) {
		*credentials = NULL;
		return no_memory(error);
	}
	result = load_trust(config->ca, *credentials, error);
	if (result == TLS_OK && config->cert != NULL)
		result = load_own(config, *credentials, error);
	if (result != TLS_OK) {
		gnutls_certificate_free_credentials(*credentials);
		*credentials = NULL;
	}
	return result;
}
