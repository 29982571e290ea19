#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl.sh - kvctl against a real kvd: what it prints, where, and what it exits with.
#
# KVD and KVCTL name the programs (build/kvd, build/kvctl). Prints a line for each test,
# "ok NAME", "not ok NAME" or "skip NAME", and exits 1 if one failed.

# shellcheck disable=SC2317 # functions are called through check
set -u

build=${BUILD:-build}
kvd=${KVD:-$build/kvd}
kvctl=${KVCTL:-$build/kvctl}
dir=$(mktemp -d "${TMPDIR:-/tmp}/kvctl.XXXXXX") || exit 1
server_pid=
failed=0

clean_up() {
	if [ -n "$server_pid" ]; then
		kill "$server_pid" && wait "$server_pid"
	fi
	rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# --- What a test is made of -----------------------------------------------------------------------

# Starts kvd on ports and a socket of its own; sets tcp, udp and socket to its addresses.
start_server() {
	local ready word
	mkfifo "$dir/ready" || exit 1
	# shellcheck disable=SC2086 # a wrapper has arguments
	${KVD_WRAPPER:-} "$kvd" -n -l tcp:127.0.0.1 -l udp:127.0.0.1 -l "local:$dir/kvd.sock" \
		--max-value 16M --max-memory 256M >"$dir/ready" 2>"$dir/kvd.log" &
	server_pid=$!
	if ! IFS= read -r -t 60 ready <"$dir/ready"; then
		echo "not ok kvd_starts"
		cat "$dir/kvd.log"
		exit 1
	fi
	for word in $ready; do
		case $word in
		tcp:*) tcp=$word ;;
		udp:*) udp=$word ;;
		local:*) socket=$word ;;
		esac
	done
}

# Runs kvctl on the server; its output is in $dir/out and $dir/err, its exit code in code.
kv() {
	"$kvctl" -s "$server" "$@" >"$dir/out" 2>"$dir/err"
	code=$?
}

broken=
# Notes why the test under way fails.
complain() {
	broken=1
	printf '    %s\n' "$1"
	if [ -s "$dir/err" ]; then
		sed 's/^/    stderr: /' "$dir/err"
	fi
}

exits() {
	[ "$code" -eq "$1" ] || complain "exit code $code, not $1"
}

prints() {
	printf '%s' "$1" >"$dir/wanted"
	cmp -s "$dir/wanted" "$dir/out" || complain "printed \"$(head -c 300 "$dir/out")\", not \"$1\""
}

prints_line() {
	prints "$1
"
}

# One line on standard error that holds the text, and nothing on standard output.
says() {
	[ "$(wc -l <"$dir/err")" -eq 1 ] || complain "not one line on standard error"
	grep -qF -- "$1" "$dir/err" || complain "standard error does not say \"$1\""
	[ ! -s "$dir/out" ] || complain "something on standard output"
}

is_silent() {
	[ ! -s "$dir/err" ] || complain "something on standard error"
}

# Runs the function NAME as a test of that name.
check() {
	broken=
	"$1" >"$dir/complaints"
	if [ -z "$broken" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		cat "$dir/complaints"
		failed=1
	fi
}

# Waits until the command given succeeds; the limit is for a machine that is stuck.
until_true() {
	local left=600
	until "$@"; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		sleep 0.1
	done
}

# --- Values ---------------------------------------------------------------------------------------

put_prints_the_new_version() {
	kv put first one
	exits 0; prints_line 1; is_silent
	kv put first two
	exits 0; prints_line 2
}

get_prints_the_bytes_and_nothing_more() {
	printf 'a\0b\xff\n\n' >"$dir/bytes"
	kv put bytes "@$dir/bytes"
	exits 0
	kv get bytes
	exits 0; is_silent
	cmp -s "$dir/bytes" "$dir/out" || complain "other bytes"
}

get_can_print_the_version() {
	kv get first --version
	exits 0; prints_line 2
}

a_key_that_is_missing_exits_3() {
	kv get nothing
	exits 3; says 'kvctl: get nothing: the key does not exist'
	kv put nothing x --expect 4
	exits 3; says 'kvctl: put nothing: the key does not exist'
}

create_writes_only_a_new_key() {
	kv put created x --create
	exits 0; prints_line 1
	kv put created y --create
	exits 4; says 'the key exists already, at version 1'
	kv get created
	prints x
}

expect_writes_only_over_that_version() {
	kv put expected a
	kv put expected b --expect 1
	exits 0; prints_line 2
	kv put expected c --expect 1
	exits 4; says 'the key is at version 2, not 1'
	kv append expected d --expect 1
	exits 4; says 'the key is at version 2, not 1'
	kv get expected
	prints b
}

append_adds_and_prints_the_version() {
	kv append log one
	exits 0; prints_line 1
	kv append log ,two
	exits 0; prints_line 2
	kv get log
	prints one,two
}

append_can_print_the_old_value() {
	kv append older 'one '
	kv append older two --old
	exits 0; prints 'one '
	kv append brandnew x --old
	exits 0; prints ''
}

values_come_from_standard_input_and_files() {
	printf 'from stdin' >"$dir/value"
	kv put in - <"$dir/value"
	exits 0
	kv get in
	prints 'from stdin'
	kv append in "@$dir/value" --old
	prints 'from stdin'
	kv put in "@$dir/absent"
	exits 1; says 'No such file'
	kv put in "@$dir"
	exits 1; says 'Is a directory'
	kv put in @
	exits 2; says 'name of a file'
}

odd_values_can_be_written() {
	kv put odd ''
	exits 0
	kv get odd
	exits 0; prints ''
	kv put odd -- -12
	exits 0
	kv get odd
	prints -12
	kv put odd -12
	exits 2; says 'comes after --'
	printf @home >"$dir/value"
	kv put -- -odd - <"$dir/value"
	exits 0
	kv get -- -odd
	prints @home
}

a_value_may_have_16_mib_and_no_byte_more() {
	head -c 16777216 /dev/zero | tr '\0' x >"$dir/big"
	kv put big "@$dir/big"
	exits 0
	kv get big
	cmp -s "$dir/big" "$dir/out" || complain "16 MiB came back otherwise"
	printf x >>"$dir/big"
	kv put big "@$dir/big"
	exits 8; says '16777216'
	# A device without an end: it must not be read to it.
	kv put big @/dev/zero
	exits 8; says '16777216'
	kv append big x
	exits 8; says 'kvctl: append big:'
	kv put big small
	rm -f "$dir/big"
}

a_key_has_1_to_1024_bytes() {
	local key
	key=$(head -c 1024 /dev/zero | tr '\0' k)
	kv put "$key" longest
	exits 0
	kv get "$key"
	prints longest
	kv put "${key}k" x
	exits 8; says 1024
	kv get ''
	exits 2; says 1024
}

quiet_prints_no_version() {
	kv -q put quiet x
	exits 0; prints ''; is_silent
	kv -q append quiet y
	exits 0; prints ''
	kv -q append quiet z --old
	prints xy
	kv -q get absent
	exits 3; says 'does not exist'
}

json_is_one_object_a_line() {
	kv -o json put j $'é"\\'
	exits 0; prints_line '{"key":"j","version":1}'
	kv -o json get j
	prints_line '{"key":"j","value":"é\"\\","version":1}'
	kv -o json get j --version
	prints_line '{"key":"j","version":1}'
	kv -o json append j x --old
	prints_line '{"key":"j","version":2,"old":"é\"\\","old_version":1}'
	kv -o json get absent
	exits 3; says 'does not exist'
}

json_gives_as_base64_what_is_not_utf_8() {
	printf '\xff\xfe' >"$dir/value"
	kv -o json put $'k\xff' "@$dir/value"
	prints_line '{"key_base64":"a/8=","version":1}'
	kv -o json get $'k\xff'
	prints_line '{"key_base64":"a/8=","value_base64":"//4=","version":1}'
}

keys_are_printed_safely() {
	kv get $'bad\e[31m\nkey\\'
	exits 3; says 'get bad\x1b[31m\x0akey\x5c: the key does not exist'
}

output_that_cannot_be_written_exits_1() {
	"$kvctl" -s "$server" get first >/dev/full 2>"$dir/err"
	code=$?
	: >"$dir/out"
	exits 1; says 'No space left on device'
	"$kvctl" -s "$server" get first >&- 2>"$dir/err"
	code=$?
	exits 1; says 'Bad file descriptor'
	"$kvctl" --help >/dev/full 2>"$dir/err"
	code=$?
	exits 1; says 'No space left on device'
}

a_newline_is_added_on_a_terminal() {
	kv put tty shown
	script -qec "'$kvctl' -s '$server' get tty" /dev/null </dev/null >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0
	tr -d '\r' <"$dir/out" >"$dir/plain"
	mv "$dir/plain" "$dir/out"
	prints_line shown
}

# --- The command line -----------------------------------------------------------------------------

mistakes_in_use_exit_2() {
	local number
	for number in -1 '' 1x 0x1 ' 1' +1 18446744073709551615 18446744073709551616; do
		kv put n x --expect "$number"
		exits 2; says 'a version is a whole number'
	done
	for number in -1 '' x 1e3 0x1 inf nan 1.2.3 . 4294968 99999999999999999999; do
		kv -t "$number" get first
		exits 2; says '-t is seconds'
	done
	for number in 0 0x -5 0x100000000 4294967296 12q; do
		kv -P "$number" get first
		exits 2; says 'a program number'
	done
	kv put n x --expect 0 --create
	exits 2; says '--create'
	kv -o xml get first
	exits 2; says 'simple or json'
	kv frobnicate
	exits 2; says 'kvctl --help'
	kv
	exits 2; says 'kvctl --help'
	kv get
	exits 2; says 'kvctl get --help'
	kv get a b
	exits 2; says 'kvctl get --help'
	kv put a
	exits 2; says 'kvctl put --help'
	kv put a b c
	exits 2; says 'kvctl put --help'
	kv put a b --expect
	exits 2; says '--expect wants an argument'
	kv get first --nonsense
	exits 2; says 'there is no option --nonsense'
	kv get first --version=3
	exits 2; says 'takes no argument'
	kv get first -z
	exits 2; says 'there is no option -z'
	kv status now
	exits 2; says 'kvctl status --help'
	kv ping --count 0
	exits 2; says '--count'
	kv lock
	exits 2; says NAME
	kv lock name
	exits 2; says COMMAND
	kv lock name --wait soon -- true
	exits 2; says '--wait'
	kv lock name --break -- true
	exits 2; says '--break'
}

a_bad_address_exits_2() {
	server=tcp:localhost:99999 kv get first
	exits 2; says '-s "tcp:localhost:99999"'
	KV_SERVER=local: "$kvctl" get first >"$dir/out" 2>"$dir/err"
	code=$?
	exits 2; says "\$KV_SERVER \"local:\""
}

the_environment_names_the_server() {
	KV_SERVER=$server "$kvctl" get first >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; prints two
}

help_and_version_exit_0() {
	local command
	kv --version
	exits 0; is_silent
	grep -Eq '^kvctl [0-9.]+$' "$dir/out" || complain "not a version"
	kv --help
	exits 0; is_silent
	for command in get put append lock status ping; do
		"$kvctl" --help | grep -q "^  $command " || complain "--help leaves $command out"
		kv "$command" --help
		exits 0; is_silent
		grep -q "^usage: kvctl .*$command" "$dir/out" || complain "no usage for $command"
		grep -qi 'exit codes' "$dir/out" || complain "no exit codes for $command"
		grep -q '^Example' "$dir/out" || complain "no example for $command"
	done
}

a_server_that_is_away_exits_6() {
	server=local:$dir/nobody kv -t 0.2 get first
	exits 6; says 'kvctl: get first: no answer in 0.2 s'
	grep -q 'is kvd running' "$dir/err" || complain "no advice"
	server=local:$dir/nobody kv -t 0.2 put first x
	exits 6
	server=local:$dir/nobody kv -t 0.2 status
	exits 6
	server=local:$dir/nobody kv -t 0.2 ping
	exits 6
	# Less than a millisecond is not "for ever".
	server=local:$dir/nobody kv -t 0.00001 get first
	exits 6
	kv -P 0x20004b57 -t 0.2 get first
	exits 6
}

every_transport_serves() {
	local address
	for address in "$tcp" "$udp" "$socket" "local:$dir/nobody,$tcp"; do
		server=$address kv get first
		exits 0; prints two
	done
}

verbose_names_the_server() {
	server=$tcp kv -v get first
	exits 0; prints two
	grep -qF "answered by $tcp (kvd " "$dir/err" || complain "the server is not named"
}

status_prints_the_counters() {
	kv status
	exits 0; is_silent
	grep -Eq '^server +[a-z]+:' "$dir/out" || complain "no server"
	grep -Eq '^software +kvd [0-9.]+$' "$dir/out" || complain "no software"
	grep -Eq '^store +[0-9a-f]{32}$' "$dir/out" || complain "no store"
	grep -Eq '^epoch +[0-9a-f]{16}$' "$dir/out" || complain "no epoch"
	grep -Eq '^keys +[0-9]+$' "$dir/out" || complain "no counter of keys"
	kv -o json status
	exits 0
	[ "$(wc -l <"$dir/out")" -eq 1 ] || complain "not one line"
	grep -Eq '^\{"server":"[^"]+","software":"kvd [0-9.]+","store":"[0-9a-f]{32}",' "$dir/out" ||
		complain "no identity"
	grep -Eq '"counters":\{.*"keys":[0-9]+.*\}\}$' "$dir/out" || complain "no counters"
}

ping_prints_round_trips() {
	kv ping --count 2 --interval 0
	exits 0; is_silent
	[ "$(grep -Ec '^seq=[12] time=[0-9]+\.[0-9]{3} ms$' "$dir/out")" -eq 2 ] ||
		complain "not two round trips"
	[ "$(tail -n 1 "$dir/out" | grep -Ec '^2 answered, min/avg/max = ')" -eq 1 ] ||
		complain "no summary"
	kv -q ping -c 1
	exits 0
	[ "$(wc -l <"$dir/out")" -eq 1 ] || complain "more than the summary"
	kv -o json ping -c 1
	grep -Eq '^\{"seq":1,"time_ms":[0-9.e-]+\}$' "$dir/out" || complain "no JSON"
	grep -Eq '^\{"count":1,"min_ms":' "$dir/out" || complain "no JSON summary"
}

# --- The lock -------------------------------------------------------------------------------------

lock_runs_a_command_and_exits_as_it_did() {
	# shellcheck disable=SC2016 # for the inner shell
	kv lock L -- sh -c 'echo "$KV_LOCK_NAME $KV_LOCK_TOKEN"; exit 7'
	exits 7; is_silent
	grep -Eq '^L [0-9]+$' "$dir/out" || complain "no name and token"
	kv lock L --wait 0 -- true
	exits 0; prints ''; is_silent
	kv lock L sh -c 'exit 3'
	exits 3
	kv lock -- -L -- true
	exits 0
	# shellcheck disable=SC2016
	kv lock L -- sh -c 'kill -KILL $$'
	exits 137
	kv lock L -- "$dir/absent"
	exits 127; says 'No such file'
	kv lock L -- "$dir"
	exits 126; says 'Permission denied'
	kv lock L --wait 0 -- true
	exits 0
}

the_token_grows() {
	local before after
	# shellcheck disable=SC2016
	kv lock tokens -- sh -c 'echo $KV_LOCK_TOKEN'
	before=$(cat "$dir/out")
	# shellcheck disable=SC2016
	kv lock tokens -- sh -c 'echo $KV_LOCK_TOKEN'
	after=$(cat "$dir/out")
	[ "$after" -gt "$before" ] || complain "$after after $before"
}

a_command_gets_the_descriptors_that_kvctl_got() {
	ls /proc/self/fd >"$dir/before"
	kv lock L -- ls /proc/self/fd
	exits 0
	cmp -s "$dir/before" "$dir/out" || complain "open: $(tr '\n' ' ' <"$dir/out")"
}

# Starts a holder of the lock $1 in the background, whose COMMAND is held up until something comes
# through $dir/go. Returns when it holds; holder is its process.
hold() {
	rm -f "$dir/held" "$dir/go"
	mkfifo "$dir/held" "$dir/go"
	# shellcheck disable=SC2016
	env --default-signal=INT,HUP,TERM "$kvctl" -s "$server" lock "$1" -- \
		sh -c 'echo >"$1/held"; trap "echo TERM >>\"$1/got\"; exit 9" TERM
			trap "echo HUP >>\"$1/got\"; exit 8" HUP
			trap "echo INT >>\"$1/got\"; exit 7" INT
			read -r answer <"$1/go"; exit 5' sh "$dir" >"$dir/holder.out" 2>"$dir/holder.err" &
	holder=$!
	read -r -t 60 <"$dir/held" || complain "the holder did not start"
}

end_holder() {
	echo go >"$dir/go"
	wait "$holder"
	code=$?
	cp "$dir/holder.out" "$dir/out"
	cp "$dir/holder.err" "$dir/err"
}

a_lock_that_is_held_exits_124() {
	hold L
	kv lock L --wait 0 -- echo never
	exits 124; says 'another holds it'
	kv lock L --wait 0.3 -- echo never
	exits 124; says 'another holds it'
	kv lock other --wait 0 -- echo independent
	exits 0; prints_line independent
	end_holder
	exits 5; is_silent
	kv lock L --wait 0 -- true
	exits 0
}

a_waiter_gets_the_lock_when_it_is_released() {
	rm -f "$dir/waiter.err"
	hold L
	"$kvctl" -s "$server" -v lock L -- echo mine >"$dir/waiter.out" 2>"$dir/waiter.err" &
	local waiter=$!
	until_true grep -sq 'another holds it: waiting' "$dir/waiter.err" || complain "no wait"
	end_holder
	wait "$waiter"
	code=$?
	cp "$dir/waiter.out" "$dir/out"
	exits 0; prints_line mine
}

signals_are_passed_on_to_the_command() {
	local name wanted=9
	for name in TERM HUP INT; do
		rm -f "$dir/got"
		hold L
		# COMMAND sets its traps just after it says that it holds the lock.
		until_true has_traps "$holder" || complain "no traps"
		kill -"$name" "$holder"
		wait "$holder"
		code=$?
		exits "$wanted"
		[ "$(cat "$dir/got")" = "$name" ] || complain "COMMAND got \"$(cat "$dir/got")\""
		kv lock L --wait 0 -- true
		exits 0
		wanted=$((wanted - 1))
	done
}

# Whether the child of a process catches HUP, INT and TERM.
has_traps() {
	local child mask
	child=$(cat "/proc/$1/task/$1/children") || return 1
	mask=$(sed -n 's/^SigCgt:[^0-9a-f]*//p' "/proc/${child%% *}/status")
	[ -n "$mask" ] && [ $((0x$mask & 0x4003)) -eq $((0x4003)) ]
}

a_signal_ends_the_wait_and_leaves_no_lock() {
	local name number waiter
	for name in TERM INT HUP; do
		rm -f "$dir/waiter.err"
		hold L
		env --default-signal=INT,HUP,TERM "$kvctl" -s "$server" -v lock L -- echo never \
			>"$dir/waiter.out" 2>"$dir/waiter.err" &
		waiter=$!
		until_true grep -sq 'another holds it: waiting' "$dir/waiter.err" ||
			complain "no wait"
		kill -"$name" "$waiter"
		wait "$waiter"
		code=$?
		number=$(kill -l "$name")
		exits $((128 + number))
		[ ! -s "$dir/waiter.out" ] || complain "COMMAND ran"
		end_holder
		exits 5
		kv lock L --wait 0 -- true
		exits 0
	done
}

one_at_a_time_holds_the_lock() {
	local worker
	kv put counter 0
	for worker in 1 2 3 4; do
		(
			for _ in 1 2 3 4 5; do
				# shellcheck disable=SC2016
				"$kvctl" -s "$server" lock counting -- sh -c '
					count=$("$0" -s "$1" get counter) &&
					"$0" -q -s "$1" put counter $((count + 1))' "$kvctl" "$server"
			done
		) &
		workers[worker]=$!
	done
	for worker in 1 2 3 4; do
		wait "${workers[worker]}" || complain "a worker failed"
	done
	kv get counter
	prints 20
}

a_holder_that_died_keeps_the_lock_until_it_is_broken() {
	hold L
	kill -KILL "$holder"
	wait "$holder" 2>"$dir/ignored"
	kv lock L --wait 0 -- true
	exits 124; says '--break'
	kv lock L --break
	exits 0; prints ''
	kv -q lock L --break
	exits 0; prints ''; is_silent
	kv lock L --wait 0 -- true
	exits 0
	echo go >"$dir/go"
}

break_needs_a_lock() {
	kv lock nolock --break
	exits 3; says 'kvctl: lock nolock:'
	kv put novalue 'no lock'
	kv lock novalue --break
	exits 1; says 'no lock writes'
	kv lock novalue -- true
	exits 125; says 'no lock writes'
	kv get novalue
	prints 'no lock'
}

a_lock_lost_meanwhile_is_told() {
	hold L
	kv lock L --break
	end_holder
	exits 5; says 'the lock was lost'
}

a_server_that_hangs_exits_6() {
	kill -STOP "$server_pid"
	kv -t 0.3 get first
	exits 6; says 'no answer in 0.3 s'
	kill -CONT "$server_pid"
}

a_release_that_is_not_confirmed_is_told() {
	kv -t 0.3 lock L -- sh -c "kill -STOP $server_pid; exit 5"
	exits 5; says 'the release is not confirmed'
	kill -CONT "$server_pid"
	# The release may still have come through.
	kv lock L --break
	exits 0
	kv lock L --wait 0 -- true
	exits 0
}

a_lock_without_a_server_exits_125() {
	server=local:$dir/nobody kv -t 0.2 lock L -- echo never
	exits 125; says 'no answer in 0.2 s'
	server=local:$dir/nobody kv -t 0.2 lock L --break
	exits 6
}

# --------------------------------------------------------------------------------------------------

start_server
server=$socket

check put_prints_the_new_version
check get_prints_the_bytes_and_nothing_more
check get_can_print_the_version
check a_key_that_is_missing_exits_3
check create_writes_only_a_new_key
check expect_writes_only_over_that_version
check append_adds_and_prints_the_version
check append_can_print_the_old_value
check values_come_from_standard_input_and_files
check odd_values_can_be_written
check a_value_may_have_16_mib_and_no_byte_more
check a_key_has_1_to_1024_bytes
check quiet_prints_no_version
check json_is_one_object_a_line
check json_gives_as_base64_what_is_not_utf_8
check keys_are_printed_safely
check output_that_cannot_be_written_exits_1
if command -v script >"$dir/ignored"; then
	check a_newline_is_added_on_a_terminal
else
	echo "skip a_newline_is_added_on_a_terminal: there is no script(1)"
fi
check mistakes_in_use_exit_2
check a_bad_address_exits_2
check the_environment_names_the_server
check help_and_version_exit_0
check a_server_that_is_away_exits_6
check every_transport_serves
check verbose_names_the_server
check status_prints_the_counters
check ping_prints_round_trips
check lock_runs_a_command_and_exits_as_it_did
check the_token_grows
check a_command_gets_the_descriptors_that_kvctl_got
check a_lock_that_is_held_exits_124
check a_waiter_gets_the_lock_when_it_is_released
check signals_are_passed_on_to_the_command
check a_signal_ends_the_wait_and_leaves_no_lock
check one_at_a_time_holds_the_lock
check a_holder_that_died_keeps_the_lock_until_it_is_broken
check break_needs_a_lock
check a_lock_lost_meanwhile_is_told
check a_lock_without_a_server_exits_125
check a_server_that_hangs_exits_6
check a_release_that_is_not_confirmed_is_told

exit "$failed"
