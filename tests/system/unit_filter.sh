#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# unit_filter.sh - the system call filter of kvd.service lets every call of kvd through: kvd is traced
# from its start over calls, snapshots, a backup, a check and a restart to its stop, and what it called is
# looked up in the groups that systemd-analyze lists.
#
# Prints "ok NAME", "not ok NAME" or "skip NAME: WHY", and exits 1 if the test failed.
set -u
export LC_ALL=C

build=${BUILD:-build}
kvd=${KVD:-$build/kvd}
kvctl=${KVCTL:-$build/kvctl}
unit=server/kvd.service.in
for tool in strace systemd-analyze; do
	command -v $tool > /dev/null && continue
	echo "skip unit_filter: there is no $tool"
	exit 0
done
if [ -n "${SANITIZE-}${KVD_WRAPPER-}" ]; then
	echo "skip unit_filter: a sanitizer makes system calls of its own"
	exit 0
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/kv-filter.XXXXXX") || exit 1
tracer=''
cleanup() {
	[ -z "$tracer" ] || { kill "$tracer" && wait "$tracer"; } 2> /dev/null
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 143' TERM INT

fail() {
	echo "not ok every_system_call_of_kvd_passes_the_filter_of_its_unit"
	echo "$1"
	exit 1
}

# start ARGUMENT...: starts a traced kvd and waits until it is ready; sets tracer and pid.
start() {
	rm -f "$dir/ready"
	mkfifo "$dir/ready" || exit 1
	runs=$((runs + 1))
	# A niceness, and SIGINT that a background process ignores, are set right by kvd.
	nice -n 5 strace -f -qq -e signal=none -o "$dir/trace.$runs" "$kvd" -P $program -d "$dir/data" "$@" \
		> "$dir/ready" 2> "$dir/log" &
	tracer=$!
	IFS= read -r -t 60 _ < "$dir/ready" || fail "kvd did not start: $(cat "$dir/log")"
	pid=$(awk 'NR == 1 { print $1 }' "$dir/trace.$runs")
}
stop() {
	kill "$1" "$pid" && wait "$tracer" || fail "kvd did not stop cleanly: $(cat "$dir/log")"
	tracer=''
}
kv() { "$kvctl" -P $program -t 60 -s "$server" "$@" > "$dir/out" 2>&1 || fail "kvctl $1: $(cat "$dir/out")"; }

runs=0
program=0x2fedcba9
mkdir "$dir/data" || exit 1
server=local:$dir/socket
# With rpcbind, which is there or is not; and on every kind of address.
start -v -l tcp:127.0.0.1 -l udp:127.0.0.1 -l "$server"
kv put greeting hello
kv get greeting
kv bench -d 1
kv snapshot
kv backup "$dir/backup"
kv get greeting --wait 1
kv watch greeting --from 0 --count 1
kv txn --exists greeting --put other value --ttl 3600 --wait 1
kv ls
kill -HUP "$pid"
kv status
stop -TERM
strace -f -qq -o "$dir/trace.check" "$kvd" --check "$dir/data" > "$dir/out" 2>&1 || fail "$(cat "$dir/out")"
start -n -l "$server" -l tcp:localhost
kv put greeting again
kill -USR1 "$pid"
kv snapshot
stop -INT

# calls GROUP: the system calls of a group of systemd, with those of the groups in it.
calls() {
	local word
	systemd-analyze syscall-filter "$1" | sed -E '1d; s/^ +//; /^#/d; /^$/d' | while IFS= read -r word; do
		case $word in
		@*) calls "$word" ;;
		*) echo "$word" ;;
		esac
	done
}
: > "$dir/allowed"
while IFS= read -r words; do
	case $words in
	'~'*) way=without words=${words#'~'} ;;
	*) way=with ;;
	esac
	for word in $words; do
		case $word in
		@*) calls "$word" ;;
		*) echo "$word" ;;
		esac
	done | sort -u > "$dir/group"
	if [ $way = with ]; then
		sort -u "$dir/allowed" "$dir/group" > "$dir/next"
	else
		comm -23 "$dir/allowed" "$dir/group" > "$dir/next"
	fi
	mv "$dir/next" "$dir/allowed"
done < <(sed -n 's/^SystemCallFilter=//p' $unit)

sed -nE 's/^[0-9]+ +(<\.\.\. )?([a-z][a-z0-9_]*)(\(| resumed).*/\2/p' "$dir"/trace.* | sort -u > "$dir/made"
[ "$(wc -l < "$dir/made")" -gt 40 ] || fail "only these calls were traced: $(paste -sd ' ' "$dir/made")"
refused=$(comm -23 "$dir/made" "$dir/allowed" | paste -sd ' ')
[ -z "$refused" ] || fail "the filter refuses: $refused"
echo "figure: kvd makes $(wc -l < "$dir/made") different system calls, and its unit allows each"
echo "ok every_system_call_of_kvd_passes_the_filter_of_its_unit"
