/* SPDX-License-Identifier: BSD-3-Clause */
/* wrap: getaddrinfo */
/* What the resolver may return, and what becomes of it. */

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "rpc/last_error.h"
#include "rpc/resolve.h"
#include "test.h"

static int result;
static int family;
static unsigned count;

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **found) {
	struct addrinfo **last = found;

	(void)host;
	if ((hints->ai_flags & AI_NUMERICHOST) != 0)
		return EAI_NONAME;
	errno = ENETDOWN;
	for (unsigned i = 0; i < count && result == 0; i++) {
		(void)__real_getaddrinfo("192.0.2.1", service, hints, last);
		(*last)->ai_family = family;
		last = &(*last)->ai_next;
	}
	return result;
}

static struct endpoint endpoints[ENDPOINT_MAX];

static size_t resolve_host(void) {
	static struct target target;

	target = (struct target){.address = {.kind = ADDRESS_TCP, .port = 7000, .host = "kv"},
				 .name = "tcp:kv:7000"};
	last_error_clear();
	return resolve(&target, 1, clock_ms() + 60000, endpoints);
}

TEST(an_error_of_the_resolver_is_the_error_message) {
	result = EAI_NONAME;
	ck_assert_uint_eq(resolve_host(), 0);
	ck_assert_ptr_nonnull(strstr(last_error_text(), "tcp:kv:7000: "));
	ck_assert_ptr_nonnull(strstr(last_error_text(), gai_strerror(EAI_NONAME)));
	result = EAI_SYSTEM;
	ck_assert_uint_eq(resolve_host(), 0);
	ck_assert_ptr_nonnull(strstr(last_error_text(), strerror(ENETDOWN)));
}

TEST(an_address_of_an_unknown_family_is_left_out) {
	count = 2;
	family = AF_UNIX;
	ck_assert_uint_eq(resolve_host(), 0);
	ck_assert_ptr_nonnull(strstr(last_error_text(), "no IPv4 or IPv6 address"));
}

TEST(addresses_beyond_the_limit_are_left_out) {
	count = ENDPOINT_MAX + 5;
	family = AF_INET;
	ck_assert_uint_eq(resolve_host(), ENDPOINT_MAX);
	ck_assert_uint_eq(endpoint_port(&endpoints[ENDPOINT_MAX - 1]), 7000);
}
