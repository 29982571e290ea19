# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034 # variables are used by the scripts that source it
#
# kvctl.sh - what the tests of kvctl are made of; to be sourced. start_server starts a real kvd, kv
# runs kvctl on it, check runs one test and prints "ok NAME" or "not ok NAME". At the end: exit
# "$failed".
#
# KVD and KVCTL name the programs (build/kvd, build/kvctl).

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
	"$kvctl" -s "${server:?}" "$@" >"$dir/out" 2>"$dir/err"
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
	# A test that is not there passes nothing; its own last status says nothing.
	if declare -F "$1" >"$dir/ignored"; then
		"$1" >"$dir/complaints"
	else
		complain "there is no such test" >"$dir/complaints"
	fi
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
	local left=1000
	until "$@"; do
		left=$((left - 1))
		[ "$left" -gt 0 ] || return 1
		sleep 0.02
	done
}

is_gone() {
	! kill -0 "$1" 2>"$dir/ignored"
}

# Waits for the end of a process that was started in the background; its exit code is in code.
ends() {
	until_true is_gone "$1" || {
		complain "process $1 does not end"
		kill -KILL "$1"
	}
	wait "$1" 2>"$dir/ignored"
	code=$?
}
