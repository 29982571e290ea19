#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvcheck.sh - histories of real clients of a real kvd, and what kvcheck says of them; its options,
# files and exit codes.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"
kvcheck=${KVCHECK:-$build/kvcheck}

# Runs kvcheck; its output is in $dir/out and $dir/err, its exit code in code.
judge() {
	"$kvcheck" "$@" >"$dir/out" 2>"$dir/err" </dev/null
	code=$?
}

# One kvctl after the other, all to one key and one history; their answers do not matter.
client() {
	local i
	for i in 1 2 3 4 5 6; do
		kvctl --history "$dir/many" append shared "$1.$i;" --old
		kvctl --history "$dir/many" get shared
		kvctl --history "$dir/many" put other "$1.$i" --expect "$i"
	done >"$dir/client.$1" 2>&1
}
kvctl() {
	"$kvctl" -s "${server:?}" "$@"
}

# --- Real clients ---------------------------------------------------------------------------------

clients_that_share_a_file_leave_a_linearizable_history() {
	local pids='' name
	for name in a b c d; do
		client $name &
		pids="$pids $!"
	done
	# shellcheck disable=SC2086
	wait $pids
	judge "$dir/many"
	exits 0; prints_line 'linearizable: 72 calls on 2 keys'; is_silent
}

the_lock_appears_in_the_history() {
	kvctl --history "$dir/lock" lock L -- true
	judge "$dir/lock"
	exits 0; prints_line 'linearizable: 7 calls on 2 keys'
	grep -q '"op":"check","part":1,"test":"free","key":"L","value":"__unlocked"' "$dir/lock" ||
		complain "it was not taken as a free one"
	grep -q '"op":"put","part":2,"key":"L","value":"__unlocked"' "$dir/lock" ||
		complain "no release in the history"
	grep -Eq '^\{"client":[0-9]+,"op":"hold","key":"L","expected":1,"status":"KV_OK",("boot":[0-9]+,)?"call":[0-9]+,"return":[0-9]+\}$' "$dir/lock" ||
		complain "it does not say when the lock was held"
}

# One is broken while it is held: its holder does not know, and another gets it.
two_holders_of_a_lock_are_found() {
	local file=$dir/two
	# shellcheck disable=SC2016
	kvctl --history "$file" lock twice --no-ttl -- sh -c '"$0" -s "$1" -q --history "$2" lock twice --break &&
		"$0" -s "$1" --history "$2" lock twice -- true' "$kvctl" "$server" "$file" 2>"$dir/ignored"
	judge "$file"
	exits 1
	grep -Eq '^not linearizable: key "twice": client [0-9]+ held the lock with token [0-9]+ when client [0-9]+ held it with token [0-9]+$' "$dir/out" ||
		complain "it said $(head -n 1 "$dir/out")"
	[ "$(wc -l <"$dir/out")" -eq 4 ] || complain "not both are shown: $(cat "$dir/out")"
}

deletes_ttls_and_transactions_appear_in_the_history() {
	local file=$dir/all
	{
		kvctl --history "$file" put leased a --ttl 0.2
		kvctl --history "$file" txn --missing leader --put leader me --ttl 600 --append log 'x;'
		kvctl --history "$file" touch leader --ttl 900
		kvctl --history "$file" txn --at leader 9 --put log y
		kvctl --history "$file" txn --free leader me --exists log --del log
		kvctl --history "$file" get log
		kvctl --history "$file" append log 'z;' --expect 0
		kvctl --history "$file" del leader
		kvctl --history "$file" del leader
		until ! kvctl --history "$file" get leased; do :; done
		kvctl --history "$file" put leased b --expect 0
	} >"$dir/ignored" 2>&1
	grep -q '"op":"check","part":1,"test":"at","key":"leader","expected":9,"status":"KV_UNMET","version":' "$file" ||
		complain "no condition that was refused"
	grep -q '"op":"delete","part":3,"key":"log",.*"position":' "$file" || complain "no part"
	grep -q '"op":"delete","key":"leader","status":"KV_NOKEY"' "$file" || complain "no delete"
	judge "$file"
	exits 0; is_silent
	# One that makes a key below what was deleted, and one that sees half of a transaction.
	sed 's/\("op":"append","key":"log".*"version":\)[0-9]*/\11/' "$file" >"$dir/wrong"
	judge "$dir/wrong"
	exits 1
}

bytes_that_are_no_text_come_back() {
	printf 'a\377\0' | kvctl --history "$dir/bytes" put bytes - >"$dir/ignored"
	kvctl --history "$dir/bytes" get bytes >"$dir/ignored"
	grep -q '"value_base64":"Yf8A"' "$dir/bytes" || complain "no base64"
	judge "$dir/bytes"
	exits 0
}

a_client_that_is_killed_leaves_an_open_call() {
	local pid
	kill -STOP "$server_pid"
	"$kvctl" -s "$server" --history "$dir/killed" append killed x >"$dir/ignored" 2>&1 &
	pid=$!
	until_true grep -q '"op":"append"' "$dir/killed" 2>"$dir/ignored" ||
		complain "nothing was noted"
	kill -KILL "$pid"
	wait "$pid" 2>"$dir/ignored"
	kill -CONT "$server_pid"
	kvctl --history "$dir/killed" get killed >"$dir/ignored" 2>&1
	[ "$(grep -c return "$dir/killed")" -eq 1 ] || complain "not one call with a return"
	judge "$dir/killed"
	exits 0; prints_line 'linearizable: 2 calls on 1 key'
}

an_answer_that_was_forged_is_found() {
	kvctl put forged a >"$dir/ignored"
	kvctl --history "$dir/forged" put forged b >"$dir/ignored"
	kvctl --history "$dir/forged" get forged >"$dir/ignored"
	judge --any-start "$dir/forged"
	exits 0
	sed -i '/"get"/s/"value":"b"/"value":"a"/' "$dir/forged"
	judge --any-start "$dir/forged"
	exits 1
	grep -q '^not linearizable: key "forged": the two calls tell of different values$' \
		"$dir/out" || complain "$(cat "$dir/out")"
}

a_store_that_was_not_empty_is_hinted_at() {
	kvctl put before a >"$dir/ignored"
	kvctl --history "$dir/before" get before >"$dir/ignored"
	judge "$dir/before"
	exits 1
	grep -q 'from a store that was not empty it is linearizable: see --any-start' "$dir/err" ||
		complain "no hint"
	judge -a "$dir/before"
	exits 0; is_silent
}

a_history_that_cannot_be_opened_sends_nothing() {
	kv --history "$dir/absent/file" put unsent x
	exits 1; says "cannot open the history $dir/absent/file: No such file"
	kv --history /dev/full put unsent x
	exits 1; says 'nothing was sent: the history cannot be written: No space left on device'
	kv get unsent
	exits 3
}

# --- Files and options ----------------------------------------------------------------------------

good='{"client":1,"op":"put","key":"k","value":"v","status":"KV_OK","version":1,"call":1,"return":2}'
bad='{"client":2,"op":"get","key":"k","status":"KV_NOKEY","call":3,"return":4}'

files_are_taken_together() {
	mkdir "$dir/several"
	echo "$good" >"$dir/several/a"
	echo "$bad" >"$dir/several/b"
	judge "$dir/several/a" "$dir/several/b"
	exits 1
	judge "$dir/several"
	exits 1
	judge "$dir/several/b"
	exits 0
}

standard_input_is_read_without_a_file() {
	echo "$good" | "$kvcheck" >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; prints_line 'linearizable: 1 call on 1 key'
	echo "$good" | "$kvcheck" - >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0
}

a_wrong_line_exits_2_and_is_named() {
	printf '%s\nrubbish\n' "$good" >"$dir/wrong"
	judge "$dir/wrong"
	exits 2; says "wrong:2: this is not JSON"
	judge "$dir/absent"
	exits 2; says "$dir/absent: No such file or directory"
}

half_a_line_at_the_end_is_mentioned() {
	printf '%s\n{"client":' "$good" >"$dir/half"
	judge "$dir/half"
	exits 0; prints_line 'linearizable: 1 call on 1 key'
	grep -q 'half:2: half a line is left out' "$dir/err" || complain "not mentioned"
}

half_a_line_does_not_spoil_the_next() {
	local half
	half=${good%?????????????}
	printf '%s%s\n' "$half" "${good/\"call\":1/\"call\":2}" >"$dir/glued"
	judge "$dir/glued"
	exits 0; prints_line 'linearizable: 1 call on 1 key'
	grep -q 'glued:1: half a line is left out' "$dir/err" || complain "not mentioned"
	judge -q "$dir/glued"
	exits 0; prints ''; is_silent
}

the_same_lines_again_are_the_same_calls() {
	printf '%s\n%s\n' "$good" "$good" >"$dir/twice"
	judge "$dir/twice" "$dir/twice"
	exits 0; prints_line 'linearizable: 1 call on 1 key'; is_silent
	echo "${good/\"return\":2/\"return\":3}" >>"$dir/twice"
	judge "$dir/twice"
	exits 2; says "twice:3: another line tells otherwise of client 1's call at 1"
}

lenient_leaves_out_what_is_no_call() {
	local i
	{ for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo garbage; done; echo "$good"; } >"$dir/broken"
	judge "$dir/broken"
	exits 2; says 'broken:1: this is not JSON'; says 'leaves such a line out'
	judge --lenient "$dir/broken"
	exits 0; prints_line 'linearizable: 1 call on 1 key'
	grep -q 'and 2 more lines left out' "$dir/err" || complain "not counted"
	echo "$bad" >>"$dir/broken"
	judge --lenient "$dir/broken"
	exits 1
	grep -q '12 lines were left out: if one is of a write, that may be why' "$dir/err" ||
		complain "no doubt about it"
}

times_of_two_clocks_are_not_compared() {
	printf '%s\n%s\n' "${good/{/{\"boot\":5,}" "${bad/{/{\"boot\":6,}" >"$dir/booted"
	judge "$dir/booted"
	exits 2; says 'the times are of 2 clocks'
	judge --boot 1 "$dir/booted"
	exits 0; prints_line 'linearizable: 1 call on 1 key'
	judge --boot 2 "$dir/booted"
	exits 0; prints_line 'linearizable: 1 call on 1 key'
	judge --boot 3 "$dir/booted"
	exits 2; says '--boot 3: there are calls of 2 clocks'
}

names_and_texts_of_others_are_harmless_on_a_terminal() {
	printf 'r\033[31mubbish\n' >"$dir/"$'ev\033il'
	judge "$dir/"$'ev\033il'
	exits 2; says 'ev\x1bil:1: this is not JSON'
	! grep -q $'\033' "$dir/err" || complain "an escape came through"
}

a_history_without_calls_is_mentioned() {
	judge /dev/null
	exits 0; prints_line 'linearizable: 0 calls on 0 keys'
	grep -q 'there is no call in it' "$dir/err" || complain "not mentioned"
}

a_page_is_written() {
	printf '%s\n%s\n' "$good" "$bad" >"$dir/stale"
	judge --html "$dir/page.html" "$dir/stale"
	exits 1
	grep -q '<svg ' "$dir/page.html" || complain "no timeline"
	judge --html "$dir/absent/page.html" "$dir/stale"
	exits 2
	grep -q "$dir/absent/page.html: No such file" "$dir/err" || complain "no reason"
}

too_few_steps_are_undecided() {
	local i
	for i in 1 2 3 4 5 6 7 8 9; do
		echo '{"client":'$i',"op":"put","key":"k","value":"'$i'","status":"KV_OK","call":1,"return":9}'
	done >"$dir/hard"
	echo '{"client":0,"op":"get","key":"k","status":"KV_OK","value":"?","call":2,"return":3}' >>"$dir/hard"
	judge --steps 1000 "$dir/hard"
	exits 3; prints_line 'undecided: key "k": more orders to try than the limit of steps allows'
	judge "$dir/hard"
	exits 1
}

quiet_tells_by_the_exit_code_only() {
	judge -q "$dir/stale"
	exits 1; prints ''; is_silent
}

mistakes_in_the_options_exit_2() {
	judge --steps none "$dir/stale"
	exits 2
	grep -q -- '--steps is a number from 1 to' "$dir/err" || complain "no reason"
	judge --nonsense
	exits 2
	judge --help
	exits 0; is_silent
	grep -q '^usage: kvcheck' "$dir/out" || complain "no usage"
	judge --version
	exits 0; is_silent
}

output_that_cannot_be_written_exits_2() {
	"$kvcheck" "$dir/stale" >/dev/full 2>"$dir/err"
	code=$?
	exits 2
}

start_server
server=$socket
check clients_that_share_a_file_leave_a_linearizable_history
check bytes_that_are_no_text_come_back
check a_client_that_is_killed_leaves_an_open_call
check an_answer_that_was_forged_is_found
check a_store_that_was_not_empty_is_hinted_at
check a_history_that_cannot_be_opened_sends_nothing
check files_are_taken_together
check standard_input_is_read_without_a_file
check a_wrong_line_exits_2_and_is_named
check half_a_line_at_the_end_is_mentioned
check half_a_line_does_not_spoil_the_next
check the_same_lines_again_are_the_same_calls
check lenient_leaves_out_what_is_no_call
check times_of_two_clocks_are_not_compared
check names_and_texts_of_others_are_harmless_on_a_terminal
check a_history_without_calls_is_mentioned
check a_page_is_written
check too_few_steps_are_undecided
check quiet_tells_by_the_exit_code_only
check mistakes_in_the_options_exit_2
check output_that_cannot_be_written_exits_2
# From here on keys begin above what was deleted.
check the_lock_appears_in_the_history
check two_holders_of_a_lock_are_found
check deletes_ttls_and_transactions_appear_in_the_history
exit "$failed"
