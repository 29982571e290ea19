#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_batch.sh - files of commands, mget and colours: what a line can be, what a line that is none
# does to the next, and how kvctl ends.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# batch LINE...: runs the lines as standard input has them.
batch() {
	printf '%s\n' "$@" >"$dir/lines"
	kv <"$dir/lines"
}

# One error line holds the text.
reports() {
	[ "$(grep -cF -- "$1" "$dir/err")" -eq 1 ] || complain "no line of standard error says \"$1\""
}

commands_of_a_file_run_in_their_order() {
	printf '# a comment\n\n  put f 1\nappend f "2 3"\r\nget f --version\n\tget f' >"$dir/file"
	kv -f "$dir/file"
	exits 0; is_silent
	prints '1
2
2
12 3'
	kv -q -o json --file - <<<'get f'
	exits 0; prints_line '{"key":"f","value":"12 3","version":2}'
}

words_are_quoted_and_escaped() {
	batch 'put "a key" x\ y' "put 'it''s' '\\n\"'" 'put b "\x41\t\"\\" --create' \
		'put "" x' 'get "a key"' 'get its' 'get b' "put c#d '#'" 'get c\#d'
	exits 2; reports 'standard input:4: put: the key is empty'
	prints "1
1
1
x y\\n\"A	\"\\1
#"
}

# ls prints names as they can be written in a file of commands.
what_ls_prints_of_a_strange_key_is_a_word() {
	local name
	batch 'put "odd\x01\\\n" strange'
	name=$("$kvctl" -s "$server" ls odd)
	batch "get $name"
	exits 0; prints strange
}

a_line_that_is_none_is_reported_and_the_next_one_runs() {
	printf 'put n "open\nputt n x\nput n a\0b\nput n \\q\nput n \\x4\nput n \\x00\nput n \\\nput n good\n' \
		>"$dir/lines"
	kv -f "$dir/lines"
	exits 2; prints_line 1
	reports "$dir/lines:1: a quote is not closed"
	reports "$dir/lines:2: unknown command \"putt\", did you mean \"put\"?"
	reports "$dir/lines:3: the line has a NUL byte"
	reports "$dir/lines:4: an unknown escape"
	reports "$dir/lines:5: \\x needs two hexadecimal digits"
	reports "$dir/lines:6: a word cannot hold a NUL byte"
	reports "$dir/lines:7: a backslash ends the line"
	[ "$(wc -l <"$dir/err")" -eq 7 ] || complain "more is said"
}

a_command_that_fails_gives_its_exit_code_and_e_stops_there() {
	batch 'get absent' 'put go on --create' 'put go on --create'
	exits 3; prints_line 1
	reports 'standard input:1: get absent: the key does not exist'
	reports 'standard input:3: put go: the key exists already'
	printf '%s\n' 'get go --version' 'put go x --expect 9' 'put go never' >"$dir/lines"
	kv -e -f "$dir/lines"
	exits 4; prints_line 1
	kv get go
	prints on
}

no_command_at_all_is_a_mistake() {
	batch '' '# nothing'
	exits 2; says 'a command is missing'
	kv -f "$dir/lines"
	exits 0; is_silent
	kv -f "$dir/absent"
	exits 1; says 'cannot read'
	kv -f "$dir/lines" get f
	exits 2; says '-f and -e'
}

lines_have_a_limit() {
	local mebibyte=1048576 max=$((16777216 + 65536))
	zeros() { head -c "$1" /dev/zero | tr '\0' x; }
	{ printf 'put long '; zeros $mebibyte; printf '\nput long2 '; zeros $((max - 10)); echo; } >"$dir/lines"
	kv -f "$dir/lines"
	exits 8; prints_line 1
	says_long=$(grep -c 'lines:2: put: .*too big\|lines:2: put long2: the value has' "$dir/err")
	[ "$says_long" -eq 1 ] || complain "the longest line is not a command"
	[ "$("$kvctl" -s "$server" get long | wc -c)" -eq $mebibyte ] || complain "1 MiB is cut"
	{ zeros $((max + 1)); printf '\nput short x\n'; } >"$dir/lines"
	kv -f "$dir/lines"
	exits 8; prints_line 1
	reports "lines:1: the line has more than $max bytes"
}

# Ten thousand processes would take half a minute.
ten_thousand_puts_are_one_session() {
	local before
	before=$("$kvctl" -s "$server" status | awk '$1 == "sessions_opened" { print $2 }')
	seq -f 'put many/%g x' 10000 >"$dir/lines"
	kv -q -f "$dir/lines"
	exits 0; is_silent; prints ''
	[ "$("$kvctl" -s "$server" ls many/ | wc -l)" -eq 10000 ] || complain "keys are missing"
	[ "$("$kvctl" -s "$server" status | awk '$1 == "sessions_opened" { print $2 }')" -eq $((before + 1)) ] ||
		complain "more than one session"
}

standard_input_is_the_commands_own() {
	batch 'put own -' 'load' 'put own @/dev/null' 'lock own-lock -- cat' 'get own --version'
	exits 2; prints '1
1
'
	reports 'standard input:1: put: standard input has the commands'
	reports 'standard input:2: load: standard input has the commands'
	printf '%s\n' 'put own -' 'get own' >"$dir/lines"
	kv -q -f "$dir/lines" <<<"a value"
	exits 0; prints_line 'a value'
}

a_lock_in_a_file_is_held_and_released() {
	batch 'lock L -- sh -c "exit 7"' 'lock L -- true' 'get L'
	exits 7; prints __unlocked
}

the_rest_is_left_out_when_the_server_is_gone() {
	seq -f 'put gone/%g x' 100 | sed '1i get gone --wait 0' >"$dir/lines"
	server=local:$dir/absent.sock kv -f "$dir/lines"
	exits 6
	[ "$(wc -l <"$dir/err")" -eq 2 ] || complain "each line is tried"
	reports 'the lines behind this one are left out'
	# A wait that found nothing is no such end.
	batch 'get absent --wait 0' 'put present x' 'get present'
	exits 6
	[ "$(tail -n 1 "$dir/out")" = x ] || complain "it ends at a key that is missing"
}

mget_prints_the_keys_that_exist() {
	kv put m/a 'one'
	printf 'two\tlines\n\\' | "$kvctl" -s "$server" -q put m/b -
	kv mget m/b m/absent m/a
	exits 3
	prints 'm/b	two\x09lines\x0a\x5c
m/a	one
'
	reports 'mget m/absent: the key does not exist'
	kv -o json mget m/a m/absent
	exits 3; is_silent
	prints "{\"key\":\"m/a\",\"value\":\"one\",\"version\":$("$kvctl" -s "$server" get m/a --version)}
{\"key\":\"m/absent\",\"value\":null,\"version\":0}
"
	# More than are read at once.
	# shellcheck disable=SC2046 # words
	kv mget $(seq -f 'many/%g' 200)
	exits 0; is_silent
	[ "$(sort -u "$dir/out" | wc -l)" -eq 200 ] || complain "not 200 lines"
	kv mget
	exits 2; says 'expected KEYs'
	kv mget m/a ''
	exits 2; says 'the key is empty'
}

# Runs a shell command on a terminal; what that shows is in $dir/out.
on_terminal() {
	script -qec "$1" /dev/null </dev/null 2>"$dir/err" | tr -d '\r' >"$dir/out"
}

colours_are_for_terminals_without_NO_COLOR() {
	local escape
	escape=$(printf '\033')
	on_terminal "TERM=xterm '$kvctl' -s '$server' get absent; TERM=xterm '$kvctl' -s '$server' mget m/a"
	grep -q "^$escape\[31mkvctl:$escape\[0m get absent: " "$dir/out" || complain "an error has no colour"
	grep -q "^$escape\[36mm/a$escape\[0m" "$dir/out" || complain "a key has no colour"
	on_terminal "NO_COLOR=1 TERM=xterm '$kvctl' -s '$server' get absent; TERM=dumb '$kvctl' -s '$server' mget m/a"
	! grep -q "$escape" "$dir/out" || complain "a colour in spite of NO_COLOR or a dumb terminal"
	TERM=xterm kv get absent
	says 'kvctl: get absent: '
	! grep -q "$escape" "$dir/err" || complain "a colour in a file"
}

start_server
server=$socket
check commands_of_a_file_run_in_their_order
check words_are_quoted_and_escaped
check what_ls_prints_of_a_strange_key_is_a_word
check a_line_that_is_none_is_reported_and_the_next_one_runs
check a_command_that_fails_gives_its_exit_code_and_e_stops_there
check no_command_at_all_is_a_mistake
check lines_have_a_limit
check ten_thousand_puts_are_one_session
check standard_input_is_the_commands_own
check a_lock_in_a_file_is_held_and_released
check the_rest_is_left_out_when_the_server_is_gone
check mget_prints_the_keys_that_exist
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
	check colours_are_for_terminals_without_NO_COLOR
else
	echo "skip colours_are_for_terminals_without_NO_COLOR: no terminal to be had"
fi
exit "$failed"
