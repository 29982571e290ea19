/* SPDX-License-Identifier: BSD-3-Clause */
#include "scene.h"

#include <stdarg.h>

void scene_open(struct scene *scene, ...) {
	va_list extra;

	va_start(extra, scene);
	server_start_with(&scene->server, extra);
	va_end(extra);
	peer_open(&scene->peer, &scene->server, VIA_TCP);
	scene->session = session_open(&scene->peer);
}

void scene_end(struct scene *scene) {
	peer_close(&scene->peer);
	server_stop(&scene->server);
}
