#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_older.sh - `kvctl` against a server that is older than it: one without transactions, lists and
# calls that wait. It is a real kvd behind kvfault, which hides what came later.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

STATUS=7 # the last procedure that it knows

relay=
stop_relay() {
	[ -z "$relay" ] || { kill "$relay" && wait "$relay"; }
	clean_up
}
trap stop_relay EXIT

older_server() {
	local line
	start_server
	mkfifo "$dir/relay" || exit 1
	"$build/tests/kvfault" --older "$STATUS" "local:$dir/older.sock=$socket" >"$dir/relay" 2>"$dir/relay.log" &
	relay=$!
	read -r -t 60 line <"$dir/relay" && [ "${line%% *}" = kvfault: ] || {
		cat "$dir/relay.log"
		exit 1
	}
	server=local:$dir/older.sock
}

what_it_lacks_is_told() {
	kv ls
	exits 1; says 'kvd is older than kvctl: upgrade it'
	kv del key
	exits 1
	kv put key value
	exits 0
	kv get key
	exits 0; prints value
}

the_lock_has_no_lease_and_says_so() {
	kv lock L -- echo held
	exits 0; prints_line held
	grep -q 'the server is older than kvctl: the lock has no lease, and if kvctl dies it stays taken until it is broken' "$dir/err" ||
		complain "it does not say so"
	kv lock L --no-ttl -- echo held
	exits 0; prints_line held; is_silent
	kv get L
	prints __unlocked
}

a_lease_that_was_asked_for_is_refused() {
	kv lock L --ttl 5 -- echo never
	exits 125; prints ''
	kv lock L --shared -- echo never
	exits 125; prints ''
	kv elect chief me -- echo never
	exits 125; prints ''
	kv lock --list
	exits 1
	kv lock L --wait 0 --no-ttl -- true
	exits 0
}

# It polls: there is nothing that could hand over.
a_lock_that_is_held_is_looked_at_again_and_again() {
	local waiter
	mkfifo "$dir/go"
	exec {go}<>"$dir/go"
	# shellcheck disable=SC2016
	"$kvctl" -s "$server" lock L --no-ttl -- sh -c 'echo >"$0/held"; read -r _ <"$0/go"' "$dir" &
	holder=$!
	until_true test -s "$dir/held" || complain "the holder does not start"
	kv lock L --no-ttl --wait 0.3 -- echo never
	exits 124; prints ''
	"$kvctl" -s "$server" lock L --no-ttl -- echo mine >"$dir/waiter" 2>&1 &
	waiter=$!
	kv -q put between 1
	exits 0
	echo >&"$go"
	ends "$holder"
	exits 0
	ends "$waiter"
	exits 0
	[ "$(cat "$dir/waiter")" = mine ] || complain "the waiter printed $(cat "$dir/waiter")"
	exec {go}>&-
}

# A newer handle that waits on the server and one that polls exclude each other.
it_shares_the_lock_with_clients_that_see_more() {
	kv -q lock both --no-ttl -- "$kvctl" -s "$socket" lock both --wait 0 -- echo never
	exits 124; prints ''
	local older=$server
	server=$socket
	kv lock both -- "$kvctl" -s "$older" -q lock both --no-ttl --wait 0 -- echo never
	exits 124; prints ''
	server=$older
	kv lock both --break
	exits 0
}

older_server
check what_it_lacks_is_told
check the_lock_has_no_lease_and_says_so
check a_lease_that_was_asked_for_is_refused
check a_lock_that_is_held_is_looked_at_again_and_again
check it_shares_the_lock_with_clients_that_see_more

exit "$failed"
