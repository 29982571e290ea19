/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef SCENE_H
#define SCENE_H

/* scene.h - what most tests begin with: a server, a connection to it and a session. */

#include "calls.h"

struct scene {
	struct server server;
	struct peer peer; /* over tcp */
	struct session session;
};

/* `...` are more arguments for the server, the last one NULL. */
void scene_open(struct scene *scene, ...);

/* Stops the server, which must end as it should. */
void scene_end(struct scene *scene);

#endif
