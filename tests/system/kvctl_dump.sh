#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_dump.sh - kvctl's dump and load.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# load TEXT OPTION...: loads lines from standard input.
load() {
	local text=$1
	shift
	kv load "$@" < <(printf '%s' "$text")
}

# The first line on standard error and the last: what failed, and what was done.
says_both() {
	[ "$(wc -l <"$dir/err")" -eq 2 ] || complain "not two lines on standard error"
	head -n 1 "$dir/err" | grep -qF -- "$1" || complain "the first line does not say \"$1\""
	tail -n 1 "$dir/err" | grep -qF -- "$2" || complain "the second line does not say \"$2\""
	[ ! -s "$dir/out" ] || complain "something on standard output"
}

# A dump without its versions, which no load carries over.
contents() {
	"$kvctl" -t 300 -s "$server" dump "$1" | sed 's/,"version":[0-9]*//'
}

a_dump_is_loaded_as_it_was() {
	local line
	load '{"key":"d/text","value":"one\n\"two\"\\ \u0000\u001f \u00fc\ud83d\ude00"}
{"key_base64":"ZC8A//4=","value_base64":"AP/+gA=="}
{"key":"d/empty","value":""}
{"key":"d/short","value":"x","ttl_ms":9000000}
{"key":"d/version","value":"x","version":99,"more":[1,{}]}'
	exits 0; prints_line '5 written, 0 there already'
	kv dump d/; exits 0; is_silent
	cp "$dir/out" "$dir/dumped"
	grep -qxF '{"key":"d/text","value":"one\n\"two\"\\ \u0000\u001f ü😀","version":1}' "$dir/out" ||
		complain "$(cat "$dir/out")"
	grep -qxF '{"key_base64":"ZC8A//4=","value_base64":"AP/+gA==","version":1}' "$dir/out" ||
		complain "$(cat "$dir/out")"
	grep -Eqx '\{"key":"d/short","value":"x","version":1,"ttl_ms":(9000000|8[0-9]{6})\}' "$dir/out" ||
		complain "$(cat "$dir/out")"
	kv load "$dir/dumped"; exits 0; prints_line '0 written, 5 there already'
	contents d/ | grep -v ttl_ms >"$dir/before"
	for line in d/text d/empty d/short d/version; do
		kv del "$line"; exits 0
	done
	kv load - <"$dir/dumped"; exits 0; prints_line '4 written, 1 there already'
	contents d/ | grep -v ttl_ms | cmp -s - "$dir/before" || complain "it is not as it was"
	kv ls d/short -l
	grep -q ' - 0 d/short' "$dir/out" && complain "the ttl was lost"
	kv -o json load "$dir/dumped"; prints_line '{"written":0,"kept":5}'
	kv -q load "$dir/dumped"; exits 0; prints ''
	kv dump nothing/; exits 0; prints ''
}

many_keys_and_a_large_value_come_back() {
	local i
	for ((i = 0; i < 3300; i++)); do
		printf '{"key":"m/%05d","value":"%d"}\n' "$i" $((i * i))
	done >"$dir/many"
	head -c 16777216 /dev/urandom >"$dir/large"
	kv -t 300 put m/00000-large - <"$dir/large"; exits 0
	kv load "$dir/many"; exits 0; prints_line '3300 written, 0 there already'
	contents m/ >"$dir/dumped"
	grep -v large "$dir/dumped" | cmp -s - "$dir/many" || complain "not what was loaded"
	kv del m/00000-large
	kv -t 300 load "$dir/dumped"; exits 0; prints_line '1 written, 3300 there already'
	kv -t 300 get m/00000-large
	cmp -s "$dir/out" "$dir/large" || complain "the large value came back changed"
	kv del m/00000-large
	kv load "$dir/many" --overwrite; exits 0; prints_line '3300 written, 0 there already'
	"$kvctl" -s "$udp" load "$dir/many" --create >"$dir/out" 2>"$dir/err"
	code=$?
	exits 0; prints_line '0 written, 3300 there already'
	contents m/ | cmp -s - "$dir/many" || complain "not what was loaded"
}

what_exists_is_kept_replaced_or_an_error() {
	kv put e/b other
	load '{"key":"e/a","value":"1"}
{"key":"e/b","value":"2"}
'
	exits 4
	says_both 'load: line 2: the key exists with another value, at version' \
		'stopped: 1 keys were written and 0 were there already; the same load again goes on'
	kv get e/b; prints other
	load '{"key":"e/a","value":"1"}
{"key":"e/b","value":"2"}
' --create
	exits 0; prints_line '0 written, 2 there already'
	kv get e/b; prints other
	load '{"key":"e/a","value":"1"}
{"key":"e/b","value":"2"}
' --overwrite
	exits 0; prints_line '2 written, 0 there already'
	kv get e/b; prints 2
	# The lines of one key are written in their order.
	load '{"key":"e/c","value":"1"}
{"key":"e/c","value":"2"}
{"key":"e/c","value":"3"}
' --overwrite
	exits 0
	kv get e/c; prints 3
	load '{"key":"e/d","value":"1"}
{"key":"e/d","value":"2"}'
	exits 4
	kv load --create --overwrite; exits 2; says 'exclude each other'
	kv load a b; exits 2; says 'expected one FILE at most'
	kv dump a b; exits 2; says 'expected one PREFIX at most'
	kv load "$dir/nothing"; exits 1; says 'No such file'
	kv load "$dir"; exits 1
	grep -q 'Is a directory' "$dir/err" || complain "$(cat "$dir/err")"
}

# rejected TEXT LINE: a load whose second line is that.
rejected() {
	load "$(printf '{"key":"r/a","value":"1"}\n%s\n' "$2")"
	exits 1; says_both "load: line 2: $1" 'stopped: '
}

a_line_that_is_none_is_named() {
	rejected 'no JSON at byte' '{"key":"r/b" "value":"1"}'
	rejected 'the JSON is cut short' '{"key":"r/b","val'
	rejected 'not a JSON object' '["r/b"]'
	rejected 'there is no "key" and no "key_base64"' '{"value":"1"}'
	rejected 'there is no "value" and no "value_base64"' '{"key":"r/b","val":"1"}'
	rejected '"key" and "key_base64" exclude each other' '{"key":"r/b","key_base64":"YQ==","value":""}'
	rejected '"value" is not a string' '{"key":"r/b","value":1}'
	rejected '"value_base64" is not base64' '{"key":"r/b","value_base64":"Y*=="}'
	rejected '"value_base64" is not base64' '{"key":"r/b","value_base64":"YQ"}'
	rejected 'the key has 0 bytes' '{"key":"","value":"1"}'
	rejected 'the key has 1025 bytes' "{\"key\":\"$(printf '%01025d' 0)\",\"value\":\"1\"}"
	rejected '"ttl_ms" is not a number from 1 to' '{"key":"r/b","value":"","ttl_ms":0}'
	rejected '"ttl_ms" is not a number from 1 to' '{"key":"r/b","value":"","ttl_ms":1e3}'
	rejected '"ttl_ms" is not a number from 1 to' '{"key":"r/b","value":"","ttl_ms":315360000001}'
	rejected 'no JSON at byte' '{"key":"r/b","key":"r/c","value":""}'
	rejected 'no JSON at byte' '{"key":"r/b","value":"'$'\377''"}'
	rejected 'no JSON at byte' '{"key":"r/b","value":"1"} {}'
	kv get r/a; exits 0
	kv get r/b; exits 3
	load "$(printf '\n\n  \t \n{"key":"r/c","value":"1"}\n\t')"
	exits 0; prints_line '1 written, 0 there already'
	load ''
	exits 0; prints_line '0 written, 0 there already'
	kv load < <(head -c 105000000 /dev/zero); exits 8
	says_both 'load: line 1: more than' 'stopped: 0 keys'
}

a_full_or_closed_output_ends_a_dump() {
	kv put f/a 1
	"$kvctl" -s "$server" dump f/ >/dev/full 2>"$dir/err"
	code=$?
	: >"$dir/out"
	exits 1; says 'cannot write to standard output: No space left'
	"$kvctl" -s "$server" dump m/ 2>"$dir/err" | head -n 1 >"$dir/out"
	is_silent
}

has_keys() {
	"$kvctl" -s "$server" ls "$1" | grep -q .
}

an_interrupted_load_says_what_it_did_and_goes_on() {
	local signal pid
	for signal in INT TERM; do
		rm -f "$dir/pipe"
		mkfifo "$dir/pipe"
		# A shell's background job ignores INT otherwise.
		env --default-signal=INT "$kvctl" -s "$server" load "$dir/pipe" >"$dir/out" 2>"$dir/err" &
		pid=$!
		exec 8>"$dir/pipe"
		for ((i = 0; i < 200; i++)); do
			printf '{"key":"i/%s/%d","value":"%d"}\n' "$signal" "$i" "$i"
		done >&8
		until_true has_keys "i/$signal/"
		kill -s "$signal" "$pid"
		wait "$pid"
		code=$?
		exec 8>&-
		exits $((128 + $(kill -l "$signal")))
		says 'interrupted: '
		says 'the same load again goes on'
		for ((i = 0; i < 200; i++)); do
			printf '{"key":"i/%s/%d","value":"%d"}\n' "$signal" "$i" "$i"
		done >"$dir/again"
		kv load "$dir/again"; exits 0
		[ "$("$kvctl" -s "$server" ls "i/$signal/" | wc -l)" = 200 ] || complain "not all keys"
	done
}

without_a_server_nothing_is_written() {
	"$kvctl" -s "local:$dir/none" dump >"$dir/out" 2>"$dir/err"
	code=$?
	exits 6; says 'no kvd reached'
	printf '{"key":"a","value":"1"}\n' | "$kvctl" -s "local:$dir/none" load >"$dir/out" 2>"$dir/err"
	code=$?
	exits 6; says_both 'load: line 1 a: no kvd reached' 'stopped: 0 keys were written'
}

start_server
server=$socket
check a_dump_is_loaded_as_it_was
check many_keys_and_a_large_value_come_back
check what_exists_is_kept_replaced_or_an_error
check a_line_that_is_none_is_named
check a_full_or_closed_output_ends_a_dump
check an_interrupted_load_says_what_it_did_and_goes_on
check without_a_server_nothing_is_written
exit "$failed"
