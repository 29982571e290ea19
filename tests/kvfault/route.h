/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef ROUTE_H
#define ROUTE_H

/* route.h - the two addresses of a route: where clients connect, and where its server is. */

#include "network.h"

enum { ROUTE_ERROR_MAX = 512 };

enum route_answer {
	ROUTE_ADDED,
	ROUTE_MALFORMED, /* no route is written so, or there are ROUTES_MAX */
	ROUTE_FAILED,	 /* a host is not known, or one cannot listen there */
};

/*
 * Adds the route of "LISTEN=SERVER" and listens. Unless it is added, a line in `error` says what is
 * wrong and how to mend it.
 */
enum route_answer route_add(struct network *network, const char *text, char error[ROUTE_ERROR_MAX]);

/*
 * From now on the server is there. Connections to the old one end. False, with a line in `error`:
 * no address is written so, or its host is not known.
 */
bool route_lead(struct route *route, const char *server, char error[ROUTE_ERROR_MAX]);

#endif
