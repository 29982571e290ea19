/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ROUTE_H
#define ROUTE_H

/* route.h - the two addresses of a route: where clients come in, and where its server is. */

#include "network.h"

enum { ROUTE_ERROR_MAX = 512 };

/*
 * Adds the route of "LISTEN=SERVER" and listens. False, with a line that says what is wrong and how
 * to mend it in `error`: it cannot be read, or one cannot listen there.
 */
bool route_add(struct network *network, const char *text, char error[ROUTE_ERROR_MAX]);

/* From now on the server is there. Connections to the old one end. False as route_add(). */
bool route_lead(struct route *route, const char *server, char error[ROUTE_ERROR_MAX]);

#endif
