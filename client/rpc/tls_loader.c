/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/tls_loader.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

static const char file_name[] = "libkv-tls.so.0";

/*
 * Beside libkv.so itself, which may stand where the loader does not look: a program may have found
 * it by an rpath of its own. A program with privileges of its file looks there as little as the
 * loader of the system would.
 */
static void *open_beside(void) {
	char path[PATH_MAX];
	Dl_info own;
	const char *slash;

	if (getauxval(AT_SECURE) != 0 || dladdr(file_name, &own) == 0 || own.dli_fname == NULL ||
	    own.dli_fname[0] != '/' || strstr(own.dli_fname, "/libkv.so") == NULL)
		return NULL;
	slash = strrchr(own.dli_fname, '/');
	if ((size_t)snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - own.dli_fname),
			     own.dli_fname, file_name) >= sizeof(path))
		return NULL;
	return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

const struct tls_plugin *tls_load(char error[TLS_ERROR_MAX]) {
	const struct tls_plugin *plugin;
	const char *reason = "";
	/* dlopen() counts, and the library cannot be unloaded: opened again it costs a look-up. */
	void *library = dlopen(file_name, RTLD_NOW | RTLD_LOCAL);

	if (library == NULL) {
		reason = dlerror();
		(void)snprintf(error, TLS_ERROR_MAX, "tls: needs the package libkv-tls (%s)",
			       reason != NULL ? reason : file_name);
		library = open_beside();
	}
	if (library == NULL)
		return NULL;
	plugin = dlsym(library, TLS_PLUGIN_SYMBOL);
	if (plugin == NULL || plugin->version != TLS_PLUGIN_VERSION) {
		(void)snprintf(error, TLS_ERROR_MAX,
			       "tls: libkv-tls is of another version than this program's libkv "
			       "(install both of one version)");
		return NULL;
	}
	return plugin;
}
