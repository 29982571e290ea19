#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# python.sh - examples/python/kv.py, a client written from docs/PROTOCOL.md, beside a real kvd.
# shellcheck disable=SC2317 # functions are called through test_that
command -v python3 > /dev/null || {
	echo "skip python: there is no python3"
	exit 0
}
# shellcheck source=tests/support/script.sh
. "$(dirname "$0")/../support/script.sh"
KVCTL=${KVCTL:-$BUILD/kvctl}

mkdir "$dir/data"
# start_kvd: at $dir/s, or again there.
start_kvd() {
	# The wrapper is several words on purpose.
	# shellcheck disable=SC2086
	start kvd ${KVD_WRAPPER-} "${KVD:-$BUILD/kvd}" -n -d "$dir/data" -l "local:$dir/s"
}
kv() { PYTHONDONTWRITEBYTECODE=1 python3 examples/python/kv.py "$@"; }
ctl() { "$KVCTL" -s "local:$dir/s" "$@"; }

start_kvd || exit 1
start kvfault "$BUILD/tests/kvfault" -b -s "${SEED:-7}" "local:$dir/bad=local:$dir/s" || exit 1

reads_and_writes() {
	[ "$(kv -s "local:$dir/s" put k one)" = 1 ] &&
		[ "$(kv -s "local:$dir/s" append k two)" = 2 ] &&
		[ "$(kv -s "local:$dir/s" get k)" = onetwo ] && [ "$(ctl get k)" = onetwo ]
}
refusals_have_exit_codes() {
	kv -s "local:$dir/s" get missing
	[ $? = 3 ] || return 1
	kv -s "local:$dir/s" put k x 7
	[ $? = 4 ] || return 1
	kv -t 1 -s "local:$dir/nothing" get k
	[ $? = 6 ]
}
# Numbers without a ttl, or with one, from the version to the key.
lists() { kv -s "local:$dir/s" list "$@" | awk '{ print $1, $2, ($3 > 0 ? "ttl" : "-"), $4 }'; }
deletes_lists_and_leases_survive_a_restart() {
	local n
	for n in 3 1 2; do
		kv -s "local:$dir/s" put "d/$n" "value" || return 1
	done
	[ "$(kv -s "local:$dir/s" delete d/2)" = 2 ] || return 1
	kv -s "local:$dir/s" delete d/2 && return 1
	[ "$(kv -s "local:$dir/s" lease d/lease me 60)" = 3 ] || return 1
	kv -s "local:$dir/s" lease d/lease you 60
	[ $? = 4 ] || return 1
	kv -s "local:$dir/s" lease d/short me 3 || return 1
	lists d/ | grep -v d/short > "$dir/before"
	kill -9 "$kvd" && wait "$kvd"
	start_kvd || return 1
	lists d/ | grep -v d/short | diff "$dir/before" - || return 1
	printf '%s\n' '1 5 - d/1' '1 5 - d/3' '3 2 ttl d/lease' | diff - "$dir/before" || return 1
	for n in $(seq 600); do
		lists d/short | grep -q . || break
		sleep 0.1
	done
	kv -s "local:$dir/s" get d/short
	[ $? = 3 ] && [ "$(kv -s "local:$dir/s" put d/2 again)" = 5 ]
}
# Four clients, a hundred lines each, through a bad network, while kvd is killed and started again.
each_append_happens_once() {
	local n i lines pids=()
	for n in 1 2 3 4; do
		lines=()
		for ((i = 0; i < 100; i++)); do
			lines+=("client-$n-line-$i"$'\n')
		done
		kv --attempt 0.1 -s "local:$dir/bad" append log "${lines[@]}" &
		pids+=($!)
	done
	for i in 1 2; do
		sleep 1
		kill -9 "$kvd" && wait "$kvd"
		start_kvd || return 1
	done
	for n in "${pids[@]}"; do
		wait "$n" || return 1
	done
	[ "$(ctl get log | sort -u | wc -l)" = 400 ] && [ "$(ctl get log | wc -l)" = 400 ] &&
		[ "$(ctl get log --version)" = 400 ]
}

# Two of each kind count to 20 under one lock.
a_lock_is_shared_with_kvctl() {
	local n pids=()
	# shellcheck disable=SC2016 # for the inner shell
	local add='count=$("$0" get counted) && "$0" -q put counted $((count + 1))'
	ctl -q put counted 0
	for n in 1 2; do
		for _ in 1 2 3 4 5; do
			ctl lock shared -- env KV_SERVER="local:$dir/s" sh -c "$add" "$KVCTL" || echo "$?"
		done > "$dir/failed.$n" &
		pids+=($!)
		for _ in 1 2 3 4 5; do
			KV_SERVER="local:$dir/s" kv -s "local:$dir/s" lock shared 15 sh -c "$add" "$KVCTL" || echo "$?"
		done >> "$dir/failed.$n.py" &
		pids+=($!)
	done
	for n in "${pids[@]}"; do
		wait "$n"
	done
	[ ! -s "$dir/failed.1" ] && [ ! -s "$dir/failed.2" ] && [ "$(ctl get counted)" = 20 ] &&
		[ "$(ctl get shared)" = __unlocked ]
}
# The program dies before another can hold the lock, and the exit code says so.
a_lost_lock_ends_the_program() {
	# shellcheck disable=SC2016 # for the inner shell
	kv -s "local:$dir/s" lock lost 2 sh -c 'echo $$ > "$0/pid"; exec sleep 60' "$dir" &
	local holder=$! n
	for n in $(seq 600); do
		[ ! -s "$dir/pid" ] || break
		sleep 0.1
	done
	ctl lock lost --break && ctl lock lost --wait 60 -- true || return 1
	wait "$holder"
	[ $? = 123 ] && ! kill -0 "$(cat "$dir/pid")"
}

test_that "a client in Python reads what it wrote" reads_and_writes
test_that "a client in Python tells refusals by its exit code" refusals_have_exit_codes
test_that "each append of four clients in Python happens once" each_append_happens_once
test_that "deletes, lists and leases survive a restart" deletes_lists_and_leases_survive_a_restart
test_that "a client in Python takes a lock together with kvctl" a_lock_is_shared_with_kvctl
test_that "a program in Python ends with the lock that it lost" a_lost_lock_ends_the_program
exit $failed
