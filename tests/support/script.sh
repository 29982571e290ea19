# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034 # those that source this use failed and ready
#
# script.sh - what tests that are scripts share; to be sourced. A directory, `dir`, that goes at the
# end together with the processes in `kvd` and `kvfault`; test_that runs one test and prints "ok NAME"
# or "not ok NAME" with what it said; start runs a server. At the end: exit $failed.

set -u
export LC_ALL=C

BUILD=$(realpath "${BUILD:-build}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/kv-test.XXXXXX") || exit 1
kvd=''
kvfault=''
failed=0

clean_up() {
	local pid
	for pid in $kvfault $kvd; do
		kill "$pid" && wait "$pid"
	done 2> /dev/null
	rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 143' TERM INT

# test_that NAME COMMAND...: what the command prints is shown if it fails.
test_that() {
	local name=$1
	shift
	if "$@" > "$dir/out" 2>&1; then
		echo "ok $name"
	else
		echo "not ok $name"
		sed 's/^/  /' "$dir/out"
		failed=1
	fi
}

# start NAME COMMAND...: starts a server, waits for its ready line and sets NAME to the process and
# `ready` to the line. A pipe for each, because a program that closes its end late would end the
# next read. Says so and returns 1 if the server ends instead.
start() {
	local name=$1
	shift
	rm -f "$dir/ready"
	mkfifo "$dir/ready" || return 1
	"$@" > "$dir/ready" 2>> "$dir/$name.log" &
	printf -v "$name" %s $!
	IFS= read -r ready < "$dir/ready" && return
	echo "not ok ${name}_starts"
	sed 's/^/  /' "$dir/$name.log"
	return 1
}
