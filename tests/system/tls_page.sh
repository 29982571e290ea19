#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# tls_page.sh - the commands of docs/TLS.md, word by word, and what they print; only the port is another.
# shellcheck source=tests/support/script.sh
. "$(dirname "$0")/../support/script.sh"

page=$(realpath "$(dirname "$0")/../../docs/TLS.md")
command -v certtool > "$dir/tool" || {
	echo "skip: there is no certtool"
	exit 0
}
# block N: what stands between the Nth pair of fences.
block() { awk -v n="$1" '/^```/ { at++; next } at == 2 * n - 1' "$page"; }
free_port() { python3 -c 'import socket; print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])'; }

commands_make_mutual_tls() {
	local port
	port=$(free_port)
	{
		echo 'set -e; trap "kill %1" EXIT'
		block 1
		block 2
	} | sed "s/7000/$port/g" > "$dir/commands"
	(cd "$dir" && PATH=$BUILD:$PATH LD_LIBRARY_PATH=$BUILD timeout 60 bash "$dir/commands") \
		> "$dir/printed" 2> "$dir/log" || { cat "$dir/log" && return 1; }
	block 3 > "$dir/wanted"
	grep -v '^kvd: ready' "$dir/printed" | diff "$dir/wanted" - || { cat "$dir/log" && return 1; }
}
test_that commands_make_mutual_tls commands_make_mutual_tls

# Ten commands, each of which begins a line and may go on in the next ones.
they_are_ten() {
	[ "$(block 1 | grep -c '^[a-z]')" = 10 ] || block 1 | grep '^[a-z]'
	[ "$(block 1 | grep -c '^[a-z]')" = 10 ]
}
test_that they_are_ten they_are_ten
exit "$failed"
