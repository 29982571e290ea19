#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# bench.sh - the load program against a real kvd and the raw echo: what it tells is what happened.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

load() {
	"$build/bench/load" --server "$server" "$@" >"$dir/out" 2>"$dir/err"
	code=$?
}
told() { awk -v name="$1" '$1 == name { print $2 }' "$dir/out"; }
counter() { "$kvctl" -s "$server" status | awk -v name="$1" '$1 == name { print $2 }'; }
tells() { [ "$(told "$1")" = "$2" ] || complain "$1 is $(told "$1"), not $2"; }

so_many_puts_are_so_many_writes() {
	local before
	before=$(counter calls_run)
	load --mix put --calls 1234 --connections 7 --in-flight 5 --threads 2
	exits 0; is_silent; tells count 1234
	[ $(($(counter calls_run) - before)) = 1234 ] || complain "the server ran others"
}

fill_writes_each_key_once_and_gets_find_them() {
	load --mix get --calls 500 --keys 321 --value 33 --fill
	exits 0; tells missing 0
	kv get key-000000000320 --version
	prints_line 1
	kv get key-000000000000
	prints vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv
}

missing_keys_are_counted() {
	load --mix get --calls 100 --keys 1000000000 --seed 5
	exits 0; tells missing 100
}

puts_that_name_versions_meet_no_conflict() {
	load --mix put --keys 400 --calls 3000 --connections 4 --in-flight 16 --fill --versioned
	exits 0; tells count 3000; tells conflicts 0
	load --mix put --keys 400 --calls 3000 --connections 4 --in-flight 16 --fill --versioned \
		--stateless
	exits 0; tells count 3000; tells conflicts 0
}

values_larger_than_its_buffer_come_and_go() {
	load --mix get=1,put=1 --keys 8 --calls 60 --connections 3 --in-flight 2 --value 1000000 --fill
	exits 0; tells count 60; tells missing 0
	kv get key-000000000007
	[ "$(wc -c <"$dir/out")" = 1000000 ] || complain "not that many bytes"
}

every_ycsb_mix_runs() {
	local mix
	for mix in a b c d f; do
		load --mix $mix --keys 100 --calls 400 --fill --connections 3
		exits 0; tells count 400
	done
}

has_sessions() { [ "$(counter sessions_opened)" -ge "$1" ]; }

# Of 1000 calls due in 2 s about 500 are due while it stands still, and wait half a second and more.
# Counted from when they were sent, two calls would have waited.
a_server_that_stands_still_is_charged_with_all_calls_due() {
	local load sessions
	sessions=$(counter sessions_opened)
	"$build/bench/load" --server "$server" --mix null --rate 500 --warm-up 0 --duration 2000 \
		--connections 2 >"$dir/out" 2>"$dir/err" &
	load=$!
	until_true has_sessions $((sessions + 2)) || complain "the load does not begin"
	kill -STOP "$server_pid"
	sleep 1
	kill -CONT "$server_pid"
	ends $load
	exits 0; is_silent
	[ $(($(told count) + $(told behind))) -ge 999 ] || complain "$(told count) calls, not 1000"
	[ "$(told mean_us | cut -d . -f 1)" -gt 50000 ] || complain "a mean of $(told mean_us) us"
}

an_address_that_is_wrong_is_told() {
	"$build/bench/load" --server local:/nothing/here >"$dir/out" 2>"$dir/err"
	code=$?
	exits 1; says 'No such file'
	load --mix e
	exits 2; says "YCSB's e scans"
	load --stateless --mix put
	exits 2; says 'add --versioned --fill'
}

the_echo_answers_as_kv_does() {
	local echo_pid line
	mkfifo "$dir/echo"
	"$build/bench/echo" >"$dir/echo" &
	echo_pid=$!
	IFS= read -r -t 60 line <"$dir/echo"
	"$build/bench/load" --protocol echo --server "${line#echo: ready }" --mix get=1,put=1 \
		--calls 5000 --in-flight 16 --value 70000 --connections 5 >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; is_silent; tells count 5000
	kill $echo_pid
	wait $echo_pid 2>"$dir/ignored"
}

start_server
server=$socket
for name in so_many_puts_are_so_many_writes fill_writes_each_key_once_and_gets_find_them \
	missing_keys_are_counted puts_that_name_versions_meet_no_conflict \
	values_larger_than_its_buffer_come_and_go every_ycsb_mix_runs \
	a_server_that_stands_still_is_charged_with_all_calls_due an_address_that_is_wrong_is_told \
	the_echo_answers_as_kv_does; do
	check "$name"
done
exit "$failed"
