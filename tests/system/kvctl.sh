#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl.sh - kvctl against a real kvd: what it prints, where, and what it exits with.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

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
	exits 2; says 'put -- before an argument'
	printf @home >"$dir/value"
	kv put -- -odd - <"$dir/value"
	exits 0
	kv get -- -odd
	prints @home
}

a_value_may_have_16_mib_and_no_byte_more() {
	head -c 16777216 /dev/zero | tr '\0' x >"$dir/big"
	kv -t 300 put big "@$dir/big"
	exits 0
	kv -t 300 get big
	cmp -s "$dir/big" "$dir/out" || complain "16 MiB came back otherwise"
	printf x >>"$dir/big"
	kv put big "@$dir/big"
	exits 8; says '16777216'
	# A device without an end: it must not be read to it.
	kv put big @/dev/zero
	exits 8; says '16777216'
	kv -t 300 append big x
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

# --- The command line -----------------------------------------------------------------------------

mistakes_in_use_exit_2() {
	local number
	for number in -1 '' 1x ' 1' +1 18446744073709551615 18446744073709551616; do
		kv put n x --expect "$number"
		exits 2; says 'put: --expect: '
	done
	for number in -1 '' x 1e3 0x1 inf nan 1.2.3 . 4294968 99999999999999999999; do
		kv -t "$number" get first
		exits 2; says 'kvctl: -t: '
	done
	for number in 0 0x -5 0x100000000 4294967296 12q; do
		kv -P "$number" get first
		exits 2; says 'kvctl: -P: '
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
	exits 2; says 'expected one KEY, got 2 arguments'
	kv put a
	exits 2; says 'expected KEY and VALUE, got 1 argument (see kvctl put --help)'
	kv put a b c
	exits 2; says 'expected KEY and VALUE, got 3 arguments (quote a value that has spaces)'
	kv put a b --expect
	exits 2; says 'option --expect needs an argument'
	kv get first --nonsense
	exits 2; says 'unknown option --nonsense'
	kv get first --version=3
	exits 2; says 'takes no argument'
	kv get first -z
	exits 2; says 'unknown option -z'
	kv status now
	exits 2; says 'unexpected argument "now" (see kvctl status --help)'
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

options_may_stand_anywhere_before_the_dashes() {
	kv put moved x
	"$kvctl" get moved -s "$server" >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; prints x
	"$kvctl" put -o json moved -s "$server" y -t 5 >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; prints_line '{"key":"moved","version":2}'
	kv put moved --expect 1 z -q
	exits 4
	kv put moved -- -q
	exits 0
	kv get -q -- moved
	exits 0; prints -q
	kv lock moving -q --wait 0 -- true -s nowhere
	exits 0
	KV_SERVER=local: "$kvctl" get moved -s "$server" >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0
}

an_unknown_command_gets_the_list_and_the_nearest_name() {
	kv gte first
	exits 2; says 'unknown command "gte", did you mean "get"?; commands: get, mget, put, append, del'
	kv frobnicate
	exits 2; says 'unknown command "frobnicate"; commands: get'
	kv $'\e[2J'
	exits 2; says 'unknown command "\x1b[2J"'
}

# On a server of its own, with small limits.
a_limit_says_which_is_meant() {
	local small udp_small ready
	mkfifo "$dir/small" || return
	"$kvd" -n -l "local:$dir/small.sock" -l udp:127.0.0.1 --max-value 100K --max-memory 1M \
		>"$dir/small" 2>"$dir/small.log" &
	small=$!
	IFS= read -r -t 60 ready <"$dir/small"
	udp_small=$(grep -o 'udp:[^ ]*' <<<"$ready")
	head -c 200000 /dev/zero | tr '\0' v >"$dir/large"
	head -c 80000 /dev/zero | tr '\0' v >"$dir/middle"
	local server=local:$dir/small.sock
	kv put limit "@$dir/large"
	exits 8; says 'the value has 200000 bytes, and the server takes at most 102400'
	kv put limit "@$dir/middle"
	exits 0
	kv append limit "@$dir/middle"
	exits 8; says 'the result would be larger than the 102400 bytes'
	kv txn --append limit "$(cat "$dir/middle")"
	exits 8; says 'txn limit: the result would be larger than the 102400 bytes'
	kv txn --put limit "$(head -c 110000 "$dir/large")"
	exits 8; says 'the value has 110000 bytes, and the server takes at most 102400'
	server=$udp_small kv get limit
	exits 8; says 'the answer does not fit a datagram'
	code=0
	for number in $(seq 40); do
		[ "$code" = 0 ] && kv put "limit$number" "@$dir/middle"
	done
	exits 8; says "the server's memory is full: "; says 'of 1048576 bytes are used'
	kill "$small"
	wait "$small"
}

a_bad_address_exits_2() {
	server=tcp:localhost:99999 kv get first
	exits 2; says '-s "tcp:localhost:99999"'
	KV_SERVER=local: "$kvctl" get first >"$dir/out" 2>"$dir/err"
	code=$?
	exits 2; says "\$KV_SERVER \"local:\""
}

the_environment_names_the_server_and_the_program() {
	KV_SERVER=$server "$kvctl" get first >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; prints two
	KV_PROGRAM=0x20004b57 kv -t 0.2 get first
	exits 6
	KV_PROGRAM=0x20004b57 kv -P 0x20004b56 get first
	exits 0; prints two
	KV_PROGRAM=none kv get first
	exits 2; says '$KV_PROGRAM: "none" is not a number'
}

help_and_version_exit_0() {
	local command
	kv --version
	exits 0; is_silent
	grep -Eq '^kvctl [0-9.]+$' "$dir/out" || complain "not a version"
	kv --help
	exits 0; is_silent
	kv version
	exits 0; is_silent
	grep -Eq '^kvctl [0-9.]+$' "$dir/out" || complain "not a version"
	[ "$(cut -d ' ' -f 2 "$dir/out")" = "$("$kvd" --version | cut -d ' ' -f 2)" ] ||
		complain "kvd has another version than libkv"
	kv help
	exits 0
	kv help get
	exits 0
	grep -q '^usage: kvctl .*get' "$dir/out" || complain "help does not explain get"
	kv help frobnicate
	exits 2; says 'unknown command'
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
	local began=$SECONDS
	server=local:$dir/absent.sock kv -t 0.2 get first
	exits 6; says 'kvctl: get first: no kvd reached in 0.2 s: '
	grep -qF '$KV_SERVER' "$dir/err" || complain "no advice"
	server=local:$dir/absent.sock kv -t 0.2 put first x
	exits 6
	server=local:$dir/absent.sock kv -t 0.2 status
	exits 6
	server=local:$dir/absent.sock kv -t 0.2 ping
	exits 6
	# Less than a millisecond is not "forever".
	timeout 30 "$kvctl" -s "local:$dir/absent.sock" -t 0.00001 get first >"$dir/out" 2>"$dir/err"
	code=$?
	exits 6
	kv -P 0x20004b57 -t 0.2 get first
	exits 6
	# A place that refuses is not waited for, unless -t asks for that; each place is named.
	server=local:$dir/absent.sock,tcp:127.0.0.1:1 kv get first
	exits 6; says "kvctl: get first: no kvd reached: "
	says "local:$dir/absent.sock: "; says 'tcp:127.0.0.1:1: '
	[ "$SECONDS" -lt "$((began + 9))" ] || complain "it waited"
}

every_transport_serves() {
	local address
	for address in "$tcp" "$udp" "$socket" "local:$dir/absent.sock,$tcp"; do
		server=$address kv get first
		exits 0; prints two
	done
}

verbose_names_the_server() {
	server=$tcp kv -v get first
	exits 0; prints two
	grep -qF "server $tcp (kvd " "$dir/err" || complain "the server is not named"
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
check mistakes_in_use_exit_2
check options_may_stand_anywhere_before_the_dashes
check an_unknown_command_gets_the_list_and_the_nearest_name
check a_limit_says_which_is_meant
check a_bad_address_exits_2
check the_environment_names_the_server_and_the_program
check help_and_version_exit_0
check a_server_that_is_away_exits_6
check every_transport_serves
check verbose_names_the_server
check status_prints_the_counters
check ping_prints_round_trips

exit "$failed"
