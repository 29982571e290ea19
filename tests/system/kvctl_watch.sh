#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_watch.sh - what kvctl watch printed makes a right copy, over writes, ends and kills of kvd -d.
set -u
export LC_ALL=C

BUILD=${BUILD:-build}
KVD=${KVD:-$BUILD/kvd}
KVCTL=${KVCTL:-$BUILD/kvctl}
dir=$(mktemp -d "${TMPDIR:-/tmp}/kv-watch.XXXXXX") || exit 1
kvd='' watcher=''
cleanup() {
	for pid in $watcher $kvd; do
		{ kill "$pid" && wait "$pid"; } 2> /dev/null
	done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

export KV_SERVER=local:$dir/kvd.sock
mkdir "$dir/data"
mkfifo "$dir/ready"
start() {
	# shellcheck disable=SC2086 # the wrapper is several words on purpose
	${KVD_WRAPPER-} "$KVD" -n -l "$KV_SERVER" -d "$dir/data" > "$dir/ready" 2>> "$dir/log" &
	kvd=$!
	read -r _ < "$dir/ready" || exit 1
}

# True if the lines printed so far make what the store holds.
is_copy() {
	diff -q <(awk '$1 == "put" { at[$3] = $2 } $1 == "gone" { delete at[$3] }
		END { for (key in at) print at[key], key }' "$dir/watched" | sort) \
		<("$KVCTL" ls k/ -l | awk '{ print $1, $5 }' | sort) > /dev/null
}

RANDOM=${SEED:-1}
start
"$KVCTL" -q txn --put k/1 v --put k/2 v || exit 1
"$KVCTL" watch --prefix k/ > "$dir/watched" &
watcher=$!
for round in 1 2 3 4; do
	for _ in 1 2 3 4 5 6 7 8; do
		key=k/$((RANDOM % 6))
		case $((RANDOM % 4)) in
		0) "$KVCTL" -q put "$key" v ;;
		1) "$KVCTL" -q del "$key" 2> /dev/null ;;
		2) "$KVCTL" -q put "$key" v --ttl 0.1 ;;
		3) "$KVCTL" -q txn --put "$key" v --put "k/more$round" v --put other v ;;
		esac
	done
	if ((round % 2 == 0)); then
		kill -9 "$kvd"
		wait "$kvd" 2> /dev/null
		start
	fi
	until is_copy; do
		sleep 0.1
	done
done
echo "ok a_watch_over_kills_of_the_server_makes_a_right_copy"
