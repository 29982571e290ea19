#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# bench.sh - the load program against a real kvd and the raw echo: what it reports is what happened.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

load() {
	"$build/bench/load" --server "$server" "$@" >"$dir/out" 2>"$dir/err"
	code=$?
}
reported() { awk -v name="$1" '$1 == name { print $2 }' "$dir/out"; }
counter() { "$kvctl" -s "$server" status | awk -v name="$1" '$1 == name { print $2 }'; }
reports() { [ "$(reported "$1")" = "$2" ] || complain "$1 is $(reported "$1"), not $2"; }

so_many_puts_are_so_many_writes() {
	local before
	before=$(counter writes_applied)
	load --mix put --calls 1234 --connections 7 --in-flight 5 --threads 2
	exits 0; is_silent; reports count 1234
	[ $(($(counter writes_applied) - before)) = 1234 ] || complain "the server ran others"
}

fill_writes_each_key_once_and_gets_find_them() {
	load --mix get --calls 500 --keys 321 --value 33 --fill
	exits 0; reports missing 0
	kv get key-000000000320 --version
	prints_line 1
	kv get key-000000000000
	prints vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv
}

missing_keys_are_counted() {
	load --mix get --calls 100 --keys 1000000000 --seed 5
	exits 0; reports missing 100
}

puts_that_name_versions_meet_no_conflict() {
	load --mix put --keys 400 --calls 3000 --connections 4 --in-flight 16 --fill --versioned
	exits 0; reports count 3000; reports conflicts 0
	load --mix put --keys 400 --calls 3000 --connections 4 --in-flight 16 --fill --versioned \
		--stateless
	exits 0; reports count 3000; reports conflicts 0
}

values_larger_than_its_buffer_come_and_go() {
	load --mix get=1,put=1 --keys 8 --calls 60 --connections 3 --in-flight 2 --value 1000000 --fill
	exits 0; reports count 60; reports missing 0
	kv get key-000000000007
	[ "$(wc -c <"$dir/out")" = 1000000 ] || complain "not that many bytes"
}

lock_turns_are_counted() {
	local system
	for system in "kv $server" "kv-poll $server" "flock $dir/flock"; do
		# shellcheck disable=SC2086 # two words
		"$build/bench/locks" $system 3 200 >"$dir/out" 2>"$dir/err"
		code=$?
		exits 0; is_silent
		[ "$(reported turns)" -gt 0 ] || complain "$system: no turns"
	done
	"$build/bench/locks" none "$server" 3 200 >"$dir/out" 2>"$dir/err"
	code=$?
	exits 1
}

waiters_wait_until_the_key_is_written() {
	"$build/bench/waiters" "$server" 2500 watched </dev/null >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; prints parked
	"$build/bench/waiters" "$server" 2500 watched <<<go >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; is_silent; reports answered 2500
}

bulk() {
	"$build/bench/bulk" "$@" >"$dir/out" 2>"$dir/err"
	code=$?
}

keys_are_listed_changed_and_deleted_in_bulk() {
	local before
	before=$(counter keys)
	load --mix get --calls 1 --keys 2500 --fill
	bulk list kv "$server" 50
	exits 0; is_silent
	[ "$(reported keys_per_second)" != 0.0 ] || complain "no keys were listed"
	bulk txn kv "$server" 20
	exits 0; is_silent
	bulk puts kv "$server" 20
	exits 0; is_silent
	bulk delete kv "$server" 2500
	exits 0; is_silent
	# The two keys of txn and puts are left, and what others wrote.
	[ "$(counter keys)" -le $((before + 2)) ] || complain "$(counter keys) keys are left"
	bulk delete kv "$server" 1
	[ "$code" = 1 ] || complain "a key that is not there was deleted"
	bulk list kv "$server" nothing
	exits 2
}

every_ycsb_mix_runs() {
	local mix
	for mix in a b c d f; do
		load --mix $mix --keys 100 --calls 400 --fill --connections 3
		exits 0; reports count 400
	done
}

has_sessions() { [ "$(counter sessions_opened)" -ge "$1" ]; }

# Of 1000 calls due in 2 s about 500 are due while it stalls, and wait half a second and more.
# Counted from when they were sent, two calls would have waited.
a_server_that_stalls_is_charged_with_all_calls_due() {
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
	# A loader that sends no calls while the server stalls has half of them. How many of the last
	# are due just at the end depends on how late its threads begin.
	[ $(($(reported count) + $(reported behind))) -ge 900 ] || complain "$(reported count) calls, not 1000"
	[ "$(reported mean_us | cut -d . -f 1)" -gt 50000 ] || complain "a mean of $(reported mean_us) us"
}

an_address_that_is_wrong_is_reported() {
	"$build/bench/load" --server local:/nothing/here >"$dir/out" 2>"$dir/err"
	code=$?
	exits 1; says 'No such file'
	load --mix e
	exits 2; says "YCSB's e scans"
	load --stateless --mix put
	exits 2; says 'add --versioned --fill'
}

the_echo_replies_as_kv_does() {
	local echo_pid line
	mkfifo "$dir/echo"
	"$build/bench/echo" >"$dir/echo" &
	echo_pid=$!
	IFS= read -r -t 60 line <"$dir/echo"
	"$build/bench/load" --protocol echo --server "${line#echo: ready }" --mix get=1,put=1 \
		--calls 5000 --in-flight 16 --value 70000 --connections 5 >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; is_silent; reports count 5000
	kill $echo_pid
	wait $echo_pid 2>"$dir/ignored"
}

# Two rounds: the median lies between them.
the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
	local system value
	mkdir -p "$dir/report"
	for system in kv redis; do
		for value in 1 3; do
			[ $system = kv ] || value=2
			printf 'put1\t%s\t%d\tcalls_per_second\t%d\n' $system $((value / 2 + 1)) $value
		done
	done >"$dir/report/figures.tsv"
	printf 'lock\tkv\t1\talone_us\t10\nlock\tkv\t2\talone_us\t20\n' >>"$dir/report/figures.tsv"
	printf 'put1\tredis\t1\tcalls_per_second\t2\n' >>"$dir/report/figures.tsv"
	bash bench/report "$dir/report" 2 400 1000 '' >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; is_silent
	grep -Eq '^\| put, 50 connections, 1 in flight: Redis \| 2 \| 2 \| .*\*\*1\.00\*\*' "$dir/out" ||
		complain "the ratio is not 1: $(grep 'in flight: Redis' "$dir/out" | head -n 1)"
	grep -q '^| lock and unlock, alone: us | 15 |' "$dir/out" || complain "a figure's median is not 15"
	grep -q '^| put1 | kv | 2 |' "$dir/out" || complain "a row's median is not 2"
}

start_server
server=$socket
for name in so_many_puts_are_so_many_writes fill_writes_each_key_once_and_gets_find_them \
	missing_keys_are_counted puts_that_name_versions_meet_no_conflict \
	values_larger_than_its_buffer_come_and_go \
	keys_are_listed_changed_and_deleted_in_bulk every_ycsb_mix_runs \
	a_server_that_stalls_is_charged_with_all_calls_due an_address_that_is_wrong_is_reported \
	the_echo_replies_as_kv_does \
	the_median_of_an_even_count_is_the_mean_of_the_middle_two; do
	check "$name"
done
exit "$failed"
