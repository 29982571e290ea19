#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# examples.sh - the programs in examples/ do what they say, against a real kvd at a local socket.
# shellcheck disable=SC2317 # functions are called through test_that
set -u
export LC_ALL=C

BUILD=${BUILD:-build}
KVD=${KVD:-$BUILD/kvd}
KVCTL=${KVCTL:-$BUILD/kvctl}
examples=$BUILD/examples

dir=$(mktemp -d "${TMPDIR:-/tmp}/kv-examples.XXXXXX") || exit 1
kvd=''
cleanup() {
	[ -z "$kvd" ] || { kill "$kvd" && wait "$kvd"; } 2> /dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

failed=0
# test_that NAME COMMAND...
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

mkfifo "$dir/ready"
# The wrapper is several words on purpose.
# shellcheck disable=SC2086
${KVD_WRAPPER-} "$KVD" -n -l "local:$dir/kvd.sock" > "$dir/ready" 2> "$dir/log" &
kvd=$!
if ! read -r _ < "$dir/ready"; then
	echo "not ok kvd starts"
	cat "$dir/log"
	exit 1
fi
export KV_SERVER=local:$dir/kvd.sock

hello() {
	diff <("$examples/hello") - <<< 'hello, world (version 2)'
}

# Four at a time; each line once, and in its writer's order.
append() {
	local pids=() n
	for n in 1 2 3 4; do
		"$examples/append" log "writer-$n" 100 &
		pids+=($!)
	done
	for n in "${pids[@]}"; do
		wait "$n" || return
	done
	"$KVCTL" get log | sort -s -k 1,1 | diff - <(
		for n in 1 2 3 4; do
			seq -f "writer-$n %g" 100
		done
	)
}

counter() {
	local pids=() n
	for n in 1 2 3 4; do
		"$examples/counter" total total-lock 25 &
		pids+=($!)
	done
	for n in "${pids[@]}"; do
		wait "$n" || return
	done
	[ "$("$KVCTL" get total)" = 100 ] && [ "$("$KVCTL" get total-lock)" = __unlocked ]
}

records() {
	printf 'Package: %s\nStatus: install ok installed\nArchitecture: %s\nDescription: %s\n\n' \
	    one all first two amd64 second two i386 third
}
packages() {
	records | "$examples/packages" load && records | "$examples/packages" compare &&
		diff <("$KVCTL" get two:i386) <(records | tail -n 5 | head -n 4)
}
difference() {
	"$KVCTL" put one:all "something else" && ! records | "$examples/packages" compare
}

test_that hello_prints_what_it_wrote hello
test_that append_programs_lose_and_repeat_nothing append
test_that counter_programs_count_to_the_sum counter
test_that package_records_come_back_as_they_were packages
test_that a_record_that_differs_is_found difference
exit $failed
