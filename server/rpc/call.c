/* SPDX-License-Identifier: BSD-3-Clause */
#include "rpc/call.h"

bool_t call_getargs(SVCXPRT *xprt, xdrproc_t decode, void *arguments) {
	struct call *call = xprt->xp_p1;

	return decode(&call->arguments, arguments);
}

bool_t call_freeargs(SVCXPRT *xprt, xdrproc_t decode, void *arguments) {
	(void)xprt;
	(void)decode;
	(void)arguments;
	return TRUE;
}
