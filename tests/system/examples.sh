#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# examples.sh - the programs in examples/ do what they say, against a real kvd at a local socket.
# shellcheck disable=SC2317 # functions are called through test_that
# shellcheck source=tests/support/script.sh
. "$(dirname "$0")/../support/script.sh"
KVCTL=${KVCTL:-$BUILD/kvctl}
examples=$BUILD/examples

# The wrapper is several words on purpose.
# shellcheck disable=SC2086
start kvd ${KVD_WRAPPER-} "${KVD:-$BUILD/kvd}" -n -l "local:$dir/kvd.sock" || exit 1
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

# --- Programs that die, or are stopped for too long ------------------------------------------------

# until_true COMMAND...: waits for it; the runner ends a test that takes too long.
until_true() {
	until "$@"; do
		sleep 0.05
	done
}
# each PID...: all end with exit status 0.
each() {
	local pid
	for pid in "$@"; do
		wait "$pid" || return
	done
}
# has_written NAME NUMBER: that line of NAME is in the log. leads NAME: the last line is its.
has_written() { "$KVCTL" get leader-log 2> /dev/null | grep -q " $1 $2\$"; }
leads() { [[ "$("$KVCTL" get leader-log | tail -n 1)" == *" $1 "* ]]; }

# a is stopped while it leads, and goes on while b leads; b is killed, then a, then c leads.
leader() {
	local a b
	"$examples/leader" leader leader-log a 100000 &
	a=$!
	until_true has_written a 2
	kill -STOP "$a"
	"$examples/leader" leader leader-log b 100000 &
	b=$!
	until_true has_written b 2
	kill -CONT "$a"
	until_true has_written b 20
	kill -9 "$b"
	until_true leads a
	kill -9 "$a"
	"$examples/leader" leader leader-log c 20 || return
	# Terms only grow, each has one leader, and no line is missing.
	"$KVCTL" get leader-log | awk '
		$1 < term || ($1 == term && $2 != leader) || $3 != ++last[$2] {
			print "line " NR ": " $0 ", after term " term " of " leader
			wrong = 1
		}
		$1 != term { terms++ }
		{ term = $1; leader = $2 }
		END { exit wrong || terms < 4 || last["b"] < 20 || last["c"] != 20 }'
}

writes() { "$KVCTL" status | awk '$1 == "writes_applied" { print $2 }'; }
has_written_since() { [ "$(writes)" -gt "$1" ]; }
# A claim lasts for a second: slow makes a new one every 2.5 s.
slow_claims() { "$KVCTL" dump claim:q/ | grep -q '"slow"'; }

# One worker is killed with a claim; what takes a worker longer than its claim lasts, others finish.
queue() {
	local killed before workers=() n
	mapfile -t items < <(seq -f 'item-%g' 60)
	"$examples/queue" add q "${items[@]}" || return
	before=$(writes)
	"$examples/queue" work q q-result killed 86400000 &
	killed=$!
	until_true has_written_since "$before" || return
	kill -9 "$killed"
	wait "$killed"
	"$examples/queue" work q q-result slow 2500 &
	workers+=($!)
	until_true slow_claims || return
	for n in 1 2 3; do
		"$examples/queue" work q q-result "worker-$n" 10 &
		workers+=($!)
	done
	each "${workers[@]}" || return
	diff <("$KVCTL" get q-result | cut -d ' ' -f 1 | sort) <(printf '%s\n' "${items[@]}" | sort) &&
		[ -z "$("$KVCTL" ls q/)$("$KVCTL" ls claim:)" ]
}

# Never more than two at once; the permit of one that was killed comes back, its command ends.
semaphore() {
	local pids=() n victim command
	for n in 1 2 3 4 5 6; do
		"$examples/semaphore" s 2 60 sh -c "echo 1; sleep 0.05; echo -1" >> "$dir/inside" &
		pids+=($!)
	done
	each "${pids[@]}" || return
	awk '{ now += $1; n++ } now > 2 { wrong = 1 } END { exit wrong || n != 12 }' "$dir/inside" || return

	mkfifo "$dir/in" "$dir/there" "$dir/back"
	# shellcheck disable=SC2016 # for the inner shell
	"$examples/semaphore" s 2 1 sh -c 'echo $$ > "$0"; exec sleep 86400' "$dir/in" &
	victim=$!
	read -r command < "$dir/in"
	kill -9 "$victim"
	wait "$victim"
	until_true eval "! kill -0 $command"
	# These two wait for each other: both must have a permit at the same time.
	pids=()
	# shellcheck disable=SC2016
	"$examples/semaphore" s 2 60 sh -c 'echo > "$0"; read -r _ < "$1"' "$dir/there" "$dir/back" &
	pids+=($!)
	# shellcheck disable=SC2016
	"$examples/semaphore" s 2 60 sh -c 'read -r _ < "$0"; echo > "$1"' "$dir/there" "$dir/back" &
	pids+=($!)
	each "${pids[@]}" && [ -z "$("$KVCTL" ls s/)" ] &&
		! "$examples/semaphore" s 2 60 sh -c 'exit 1'
}

# has_line TEXT: the copy was that once.
has_line() { grep -qxF "$1" "$dir/config"; }

config() {
	"$KVCTL" put conf/a 1 && "$KVCTL" put conf/b 2 || return
	"$examples/config" conf/ 4 > "$dir/config" &
	local follower=$!
	until_true has_line 'conf/a=1 conf/b=2'
	"$KVCTL" txn --put conf/a 3 --put conf/c 4 || return
	until_true has_line 'conf/a=3 conf/b=2 conf/c=4'
	"$KVCTL" del conf/b && "$KVCTL" put other/b 2 || return
	until_true has_line 'conf/a=3 conf/c=4'
	"$KVCTL" put conf/c 5 && wait "$follower" && [ "$(wc -l < "$dir/config")" = 4 ] &&
		has_line 'conf/a=3 conf/c=5'
}

test_that hello_prints_what_it_wrote hello
test_that append_programs_lose_and_repeat_nothing append
test_that counter_programs_count_to_the_sum counter
test_that package_records_come_back_as_they_were packages
test_that a_record_that_differs_is_found difference
test_that a_leader_that_was_stopped_or_killed_writes_no_more leader
test_that each_item_is_finished_once_though_workers_die queue
test_that a_permit_of_a_dead_holder_comes_back semaphore
test_that a_configuration_follows_each_change config
exit $failed
