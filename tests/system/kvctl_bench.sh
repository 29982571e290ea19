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
	before=$(counter writes_applied)
	kv -q -o json bench --seconds 0.3 --mix put --threads 3
	after=$(counter writes_applied)
	exits 0; is_silent
	[ "$(member calls)" = $((after - before)) ] ||
		complain "$(member calls) calls reported, and $((after - before)) made"
}

a_mix_that_reads_writes_each_key_first() {
	local before after
	before=$(counter writes_applied)
	kv -q bench --seconds 0.1 --mix get --keys 321 --prefix reads/ --value 7
	after=$(counter writes_applied)
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

# Many threads and few keys, the newest first: most calls meet a key that is being inserted.
a_key_that_is_being_inserted_fails_no_call() {
	local mix
	for mix in get=50,insert=50 modify=50,insert=50 append=30,modify=30,insert=40; do
		kv -q bench --seconds 0.4 --mix "$mix" --distribution latest --threads 32 --keys 1 \
			--prefix "being-$mix/"
		exits 0; is_silent
	done
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

mistakes_are_reported_in_a_line() {
	kv bench --mix e
	exits 2; says "YCSB's e scans"
	kv bench --mix get=0
	exits 2; says 'a mix is a letter of YCSB'
	kv bench --distribution flat
	exits 2; says 'uniform, zipfian or latest'
	kv bench --seconds 0
	exits 2; says 'measures nothing'
	kv bench --threads 0
	exits 2; says '--threads: 0 is out of range: it must be from 1 to 1000'
	kv bench extra
	exits 2; says 'unexpected argument "extra"'
}

a_server_that_is_away_exits_6() {
	"$kvctl" -s "local:$dir/nothing" -t 0.2 bench --seconds 0.1 >"$dir/out" 2>"$dir/err"
	code=$?
	exits 6; says 'no kvd reached in 0.2 s: '
}

start_server
server=$tcp
for name in a_table_has_a_line_for_each_kind_of_work every_put_is_one_write_of_the_server \
	a_mix_that_reads_writes_each_key_first a_modify_that_came_too_late_is_counted \
	an_insert_makes_a_new_key a_key_that_is_being_inserted_fails_no_call a_rate_bounds_the_calls separate_handles_are_separate_sessions \
	mistakes_are_reported_in_a_line a_server_that_is_away_exits_6; do
	check "$name"
done
exit "$failed"
