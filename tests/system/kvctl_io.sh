#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_io.sh - kvctl's standard input and outputs, and what else it inherits: terminals, closed
# pipes, descriptors set O_NONBLOCK, signals, umask.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

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

a_write_whose_result_cannot_be_printed_is_reported_as_done() {
	local key
	kv put full 'old'
	"$kvctl" -s "$server" append full ' new' >/dev/full 2>"$dir/err"
	code=$?
	: >"$dir/out"
	exits 5; says 'full: written (version 2), but printing the result failed: '
	says 'No space left on device'
	"$kvctl" -s "$server" append full ' newer' --old >/dev/full 2>"$dir/err"
	code=$?
	exits 5; says 'written (version 3), but printing the old value failed'
	"$kvctl" -s "$server" -o json put full 'json' >/dev/full 2>"$dir/err"
	code=$?
	exits 5; says 'written (version 4)'
	"$kvctl" -s "$server" put full 'closed' >&- 2>"$dir/err"
	code=$?
	exits 5; says 'written (version 5)'
	kv get full --version
	exits 0; prints_line 5
	# Nothing is to be printed, so nothing is missed.
	for key in full fuller; do
		"$kvctl" -s "$server" -q put "$key" 'quiet' >/dev/full 2>"$dir/err"
		code=$?
		exits 0; is_silent
	done
	# A refusal stays one.
	"$kvctl" -s "$server" put full 'x' --create >/dev/full 2>"$dir/err"
	code=$?
	: >"$dir/out"
	exits 4; says 'the key exists already'
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

# Runs a shell command on a terminal; what that shows is in $dir/out.
on_terminal() {
	script -qec "$1" /dev/null </dev/null 2>"$dir/err" | tr -d '\r' >"$dir/out"
}

bytes_of_others_are_escaped_on_a_terminal() {
	printf 'a\033]0;x\007\tb\\\nc\xc2\x9bd' >"$dir/value"
	kv put hostile - <"$dir/value"
	on_terminal "LC_ALL=C.UTF-8 '$kvctl' -s '$server' get hostile"
	prints_line 'a\x1b]0;x\x07	b\
c\xc2\x9bd'
	on_terminal "'$kvctl' -s '$server' append hostile '' --old"
	grep -q "$(printf '\033')" "$dir/out" && complain "append --old is not escaped"
	on_terminal "LC_ALL=C.UTF-8 '$kvctl' -s '$server' -o json get hostile"
	grep -q "$(printf '\302\233')" "$dir/out" && complain "JSON is not escaped"
	on_terminal "'$kvctl' -s '$server' get hostile --raw"
	grep -q "$(printf '\033')" "$dir/out" || complain "--raw escapes"
	kv get hostile
	cmp -s "$dir/value" "$dir/out" || complain "a pipe gets other bytes"
}

a_wait_is_shown_on_a_terminal_after_half_a_second() {
	on_terminal "'$kvctl' -s 'local:$dir/absent.sock' -t 0.2 get first"
	grep -q 'waiting for' "$dir/out" && complain "a short wait is shown"
	on_terminal "'$kvctl' -s 'local:$dir/absent.sock' -t 1.5 get first"
	grep -q "waiting for local:$dir/absent.sock" "$dir/out" || complain "a long wait is not shown"
	on_terminal "'$kvctl' -q -s 'local:$dir/absent.sock' -t 1.5 get first"
	grep -q 'waiting for' "$dir/out" && complain "-q shows a wait"
}

a_closed_pipe_after_a_write_exits_5() {
	local unread reader
	mkfifo "$dir/closed"
	exec {reader}<>"$dir/closed"
	exec {unread}>"$dir/closed"
	exec {reader}>&-
	env --default-signal=PIPE "$kvctl" -s "$server" put pipe x 1>&"$unread" 2>"$dir/err"
	code=$?
	: >"$dir/out"
	exits 5; says 'written (version 1), but printing the result failed: Broken pipe'
	env --default-signal=PIPE "$kvctl" -s "$server" get pipe 1>&"$unread" 2>"$dir/err"
	code=$?
	exits 141
	(trap '' PIPE; exec "$kvctl" -s "$server" get pipe 1>&"$unread" 2>"$dir/err")
	code=$?
	exits 1; says 'Broken pipe'
	# Its error line is lost, too; the exit code is not.
	env --default-signal=PIPE "$kvctl" -s "$server" put pipe y >&"$unread" 2>&1
	code=$?
	: >"$dir/err"
	exits 5
	exec {unread}>&-
	rm -f "$dir/closed"
}

output_past_the_limit_of_a_file_exits_5() {
	(ulimit -f 0; exec "$kvctl" -s "$server" put limited x >"$dir/out" 2>&3) 3>&1 | cat >"$dir/err"
	code=${PIPESTATUS[0]}
	exits 5; says 'File too large'
}

# Python sets O_NONBLOCK on what is handed on, as ssh and node do.
input_and_output_may_be_set_non_blocking() {
	python3 - "$kvctl" -s "$server" <<-'END' >"$dir/err" 2>&1 || complain "it fails"
	import fcntl, os, subprocess, sys, threading, time
	def pipe():
	    ends = os.pipe()
	    for end in ends:
	        fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_NONBLOCK)
	    return ends
	value = b"v" * 1000000
	read_end, write_end = pipe()
	put = subprocess.Popen(sys.argv[1:] + ["-q", "put", "nonblocking", "-"], stdin=read_end)
	os.close(read_end)
	time.sleep(0.2)
	os.set_blocking(write_end, True)
	os.write(write_end, value[:1]); os.set_blocking(write_end, False); time.sleep(0.1)
	os.set_blocking(write_end, True)
	sent = 1
	while sent < len(value): sent += os.write(write_end, value[sent:])
	os.close(write_end)
	assert put.wait() == 0
	read_end, write_end = pipe()
	get = subprocess.Popen(sys.argv[1:] + ["get", "nonblocking"], stdout=write_end)
	os.close(write_end)
	time.sleep(0.2)
	os.set_blocking(read_end, True)
	got = b""
	while True:
	    part = os.read(read_end, 65536)
	    if not part: break
	    got += part
	assert get.wait() == 0 and got == value
	END
}

everything_inherited_may_be_twisted() {
	(
		umask 0777
		trap '' CHLD PIPE ALRM USR1
		exec python3 -c '
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
os.execv(sys.argv[1], sys.argv[1:])' "$kvctl" -s "$server" put twisted x >"$dir/out" 2>"$dir/err" <&-
	)
	code=$?
	exits 0; prints_line 1; is_silent
	"$kvctl" -s "$server" put twisted - >"$dir/out" 2>"$dir/err" <&-
	code=$?
	exits 1; says 'cannot read standard input'
	"$kvctl" -s "$server" put twisted y 0<&- >&- 2>&-
	code=$?
	exits 5
	kv get twisted
	prints y
}

start_server
server=$socket
kv put first two

if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
	check a_newline_is_added_on_a_terminal
	check bytes_of_others_are_escaped_on_a_terminal
	check a_wait_is_shown_on_a_terminal_after_half_a_second
else
	echo "skip a_newline_is_added_on_a_terminal: script(1) can make no terminal here"
fi
check output_that_cannot_be_written_exits_1
check a_write_whose_result_cannot_be_printed_is_reported_as_done
check a_closed_pipe_after_a_write_exits_5
check output_past_the_limit_of_a_file_exits_5
check input_and_output_may_be_set_non_blocking
check everything_inherited_may_be_twisted

exit "$failed"
