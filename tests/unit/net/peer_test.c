/* SPDX-License-Identifier: BSD-3-Clause */
/* Peers: which are the same, which has most, and their names. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "net/identity.h"
#include "net/peer.h"
#include "test.h"

enum { PEERS = 50 };

static struct peer_name ipv4(uint32_t address, uint16_t port) {
	struct peer_name name = {.kind = ADDRESS_TCP};

	name.address.inet.sin_family = AF_INET;
	name.address.inet.sin_port = htons(port);
	name.address.inet.sin_addr.s_addr = htonl(address);
	return name;
}

static struct peer_name ipv6(const char *address, uint32_t scope) {
	struct peer_name name = {.kind = ADDRESS_TCP};

	name.address.inet6.sin6_family = AF_INET6;
	name.address.inet6.sin6_port = htons(53);
	name.address.inet6.sin6_scope_id = scope;
	ck_assert_int_eq(inet_pton(AF_INET6, address, &name.address.inet6.sin6_addr), 1);
	return name;
}

static struct peer_id id_of(struct peer_name name) {
	static const struct overflow_ids none;
	const struct caller caller = identity_of(-1, &name, &none);

	return principal_peer(&caller);
}

TEST(the_peer_that_has_most_is_found_wherever_it_is) {
	static struct peers peers;
	static struct peer_member members[PEERS], more[PEERS];

	for (uint32_t i = 0; i < PEERS; i++) {
		struct peer_id id = id_of(ipv4(i, 1));
		ck_assert(peers_join(&peers, &members[i], &id));
	}
	for (uint32_t i = 0; i < PEERS; i++) {
		struct peer_id id = id_of(ipv4(i, 2));
		ck_assert(peers_join(&peers, &more[i], &id));
		ck_assert_ptr_eq(peers_max_connections(&peers), members[i].peer);
		ck_assert_uint_eq(peers_find(&peers, &id)->connections, 2);
		peers_leave(&peers, &more[i]);
		members[i].peer->held = i + 1;
		ck_assert_ptr_eq(peers_max_held(&peers), members[i].peer);
	}
	for (uint32_t i = 0; i < PEERS; i++)
		peers_leave(&peers, &members[i]);
	ck_assert_ptr_null(peers_max_held(&peers));
}

TEST(all_addresses_of_an_ipv6_network_are_one_peer_and_all_ports_of_an_address) {
	static struct peers peers;
	struct peer_name names[] = {
	    ipv6("2001:db8:0:1::1", 0),
	    ipv6("2001:db8:0:1:ffff::2", 0),
	    ipv6("2001:db8:0:2::1", 0),
	    ipv4(1, 1),
	    ipv4(1, 2),
	    ipv4(2, 1),
	};
	struct peer_member members[6];
	struct peer_id ids[6];

	for (unsigned i = 0; i < 6; i++) {
		ids[i] = id_of(names[i]);
		ck_assert(peers_join(&peers, &members[i], &ids[i]));
	}
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(peers_find(&peers, &ids[i])->connections, i % 3 < 2 ? 2 : 1);
	for (unsigned i = 0; i < 6; i++)
		peers_leave(&peers, &members[i]);
}

TEST(the_connections_of_a_peer_are_looked_at_in_turn) {
	static struct peers peers;
	struct peer_member members[3];
	struct peer_id id = id_of(ipv4(1, 1));

	for (unsigned i = 0; i < 3; i++)
		ck_assert(peers_join(&peers, &members[i], &id));
	for (unsigned i = 0; i < 6; i++) {
		ck_assert_ptr_eq(members[0].peer->first, &members[i % 3]);
		peer_rotate(&members[i % 3]);
	}
	peers_leave(&peers, &members[1]);
	ck_assert_ptr_eq(members[0].next, &members[2]);
	ck_assert_ptr_eq(members[2].previous, &members[0]);
	peers_leave(&peers, &members[0]);
	peers_leave(&peers, &members[2]);
}

static void check_text(struct peer_name name, const char *expected) {
	char text[PEER_TEXT_MAX];

	ck_assert_str_eq(peer_name_format(&name, text), expected);
}

TEST(a_peer_is_named_by_its_address_or_its_user) {
	check_text(ipv4(0x0a000007, 51234), "10.0.0.7:51234");
	check_text(ipv6("2001:db8::1", 0), "[2001:db8::1]:53");
	check_text(ipv6("fe80::1", 2), "[fe80::1%2]:53");
	check_text((struct peer_name){.kind = ADDRESS_LOCAL, .uid = 1000, .pid = 4711},
		   "uid 1000 pid 4711");
	ck_assert_str_eq(peer_transport(&(struct peer_name){.kind = ADDRESS_UDP}), "udp");
}
