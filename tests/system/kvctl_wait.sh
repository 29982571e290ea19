#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_wait.sh - kvctl's watch, get --wait and txn --wait.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# Waits until so many calls wait on the server.
await_waiting() {
	local i
	for ((i = 0; i < 600; i++)); do
		[ "$("$kvctl" -s "$server" status | sed -n 's/^calls_waiting  *//p')" = "$1" ] && return
		sleep 0.1
	done
	complain "no $1 calls wait"
}

get_waits_until_the_key_exists() {
	"$kvctl" -s "$server" get g/new --wait 60 >"$dir/got" 2>&1 &
	await_waiting 1
	kv put g/new value; exits 0
	wait $! || complain "exit code $?"
	[ "$(cat "$dir/got")" = value ] || complain "got \"$(cat "$dir/got")\""
	kv get g/new --wait 60; exits 0; prints value
	kv get g/missing --wait 0.2; exits 6; says 'the key does not exist after 0.2 s'
	kv get g/missing --wait; exits 2
}

watch_prints_each_state_that_it_sees() {
	kv put w one
	"$kvctl" -s "$server" watch w --count 3 >"$dir/watched" 2>&1 &
	await_waiting 1
	kv put w two; await_waiting 1
	kv del w; await_waiting 1
	kv put w three
	wait $! || complain "exit code $?"
	[ "$(tr '\n' ' ' <"$dir/watched")" = '2 0 4 ' ] || complain "watched $(cat "$dir/watched")"
	kv -o json watch w --from 0 --count 1; exits 0
	prints_line '{"key":"w","value":"three","version":4}'
	kv watch w --count 0; exits 2
	kv watch; exits 2; says 'expected one KEY'
}

txn_waits_for_its_first_condition() {
	"$kvctl" -s "$server" txn --exists t/gate --put t/done yes --wait 60 >"$dir/got" 2>&1 &
	await_waiting 1
	kv put t/gate open
	wait $! || complain "exit code $?"
	kv get t/done; prints yes
	kv txn --missing t/gate --put t/done no --wait 0.2; exits 6
	says 'condition 1 on t/gate did not hold within 0.2 s; nothing was changed'
	kv txn --exists t/gate --missing t/gate --put t/done no --wait 60; exits 4
	kv get t/done; prints yes
}

waiting_over_udp_is_refused() {
	local server=$udp
	kv get g/missing --wait 1; exits 1
	kv txn --missing t/gate --put t/done no --wait 1; exits 1
}

a_limit_of_waiting_is_named() {
	local few ready waiting server=local:$dir/few.sock
	mkfifo "$dir/few" || return
	"$kvd" -n -l "$server" --max-waiting 1 >"$dir/few" 2>"$dir/few.log" &
	few=$!
	IFS= read -r -t 60 ready <"$dir/few"
	head -c 70000 /dev/zero | tr '\0' v >"$dir/large"
	kv txn --exists gate --put large "$(cat "$dir/large")" --wait 60
	exits 8; says 'keys and values of a call that waits'
	"$kvctl" -s "$server" get gate --wait 600 >"$dir/got" 2>&1 &
	waiting=$!
	await_waiting 1
	kv get other --wait 60
	exits 8; says '--max-waiting'; says '1 of 1 do'
	kv txn --exists gate --put 'done' yes --wait 60
	exits 8; says '1 of 1 do'
	kv watch other
	exits 8; says '1 of 1 do'
	kv put gate open
	exits 0
	wait "$waiting" || complain "exit code $?"
	kill "$few"
	wait "$few"
}

start_server
server=$socket
check get_waits_until_the_key_exists
check watch_prints_each_state_that_it_sees
check txn_waits_for_its_first_condition
check waiting_over_udp_is_refused
check a_limit_of_waiting_is_named
exit "$failed"
