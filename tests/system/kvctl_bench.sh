#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_bench.sh - kvctl bench against a real kvd: it does what it says, and counts what it did.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# The value of a member of the JSON object in the output; it is a number.
member() {
	sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$dir/out"
}

# A server's counter.
counter() {
	"$kvctl" -s "$server" status | awk -v name="$1" '$1 == name { print $2 }'
}

a_table_has_a_line_for_each_kind_of_work() {
	kv bench --seconds 0.2 --mix get=1,put=1,append=1,null=1
	exits 0
	for word in get put append null; do
		grep -q "^$word " "$dir/out" || complain "no line for $word"
	done
	grep -q '^modify' "$dir/out" && complain "a line for what was not done"
	grep -q 'stay in the store' "$dir/err" || complain "it does not say that keys stay"
}

every_put_is_one_write_of_the_server() {
	local before after
	before=$(counter calls_run)
	kv -q -o json bench --seconds 0.3 --mix put --threads 3
	after=$(counter calls_run)
	exits 0; is_silent
	[ "$(member calls)" = $((after - before)) ] ||
		complain "$(member calls) calls told, and $((after - before)) made"
}

a_mix_that_reads_writes_each_key_first() {
	local before after
	before=$(counter calls_run)
	kv -q bench --seconds 0.1 --mix get --keys 321 --prefix reads/ --value 7
	after=$(counter calls_run)
	exits 0
	[ $((after - before)) = 321 ] || complain "$((after - before)) writes, not 321"
	kv get reads/000000000320
	exits 0; prints vvvvvvv
}

a_modify_that_came_too_late_is_counted() {
	kv -q -o json bench --seconds 0.3 --mix modify --keys 1 --threads 8
	exits 0
	[ "$(member conflicts)" -gt 0 ] || complain "8 threads on one key, and no conflict"
}

an_insert_makes_a_new_key() {
	local before after
	before=$(counter keys)
	kv -q -o json bench --seconds 0.2 --mix insert --keys 5 --prefix inserts/
	after=$(counter keys)
	exits 0
	[ "$(member calls)" = $((after - before)) ] || complain "$((after - before)) new keys"
}

a_rate_bounds_the_calls() {
	kv -q -o json bench --seconds 0.5 --mix null --rate 200
	exits 0
	# Fewer come on a machine that is stuck; more never.
	[ "$(member calls)" -le 100 ] || complain "$(member calls) calls, not 100"
	[ "$(member calls)" -gt 0 ] || complain "no calls"
}

# (On a busy machine some threads may have no turn in the time.)
separate_handles_are_separate_sessions() {
	local before after opened
	before=$(counter sessions_opened)
	kv -q bench --seconds 1 --mix put --threads 5 --separate
	after=$(counter sessions_opened)
	opened=$((after - before))
	exits 0
	[ $opened -gt 1 ] && [ $opened -le 5 ] || complain "$opened sessions for 5 threads"
	kv -q bench --seconds 1 --mix put --threads 5
	opened=$(($(counter sessions_opened) - after))
	[ $opened = 1 ] || complain "$opened sessions, not 1"
}

mistakes_are_told_in_a_line() {
	kv bench --mix e
	exits 2; says "YCSB's e scans"
	kv bench --mix get=0
	exits 2; says 'a mix is a letter of YCSB'
	kv bench --spread flat
	exits 2; says 'uniform, zipfian or latest'
	kv bench --seconds 0
	exits 2; says 'measures nothing'
	kv bench --threads 0
	exits 2; says '--threads is a whole number from 1'
	kv bench extra
	exits 2; says 'it takes options only'
}

a_server_that_is_away_exits_6() {
	"$kvctl" -s "local:$dir/nothing" -t 0.2 bench --seconds 0.1 >"$dir/out" 2>"$dir/err"
	code=$?
	exits 6; says 'no answer in 0.2 s'
}

start_server
server=$tcp
for name in a_table_has_a_line_for_each_kind_of_work every_put_is_one_write_of_the_server \
	a_mix_that_reads_writes_each_key_first a_modify_that_came_too_late_is_counted \
	an_insert_makes_a_new_key a_rate_bounds_the_calls separate_handles_are_separate_sessions \
	mistakes_are_told_in_a_line a_server_that_is_away_exits_6; do
	check "$name"
done
exit "$failed"
