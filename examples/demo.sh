#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
#
# demo.sh - the real thing at work: a kvd registered in rpcbind, clients on sockets, this machine's
# own data. Run by `make demo`, with BUILD naming the place of the programs.
#
# Leaves nothing behind, and exits with 1 and says what was wrong at the first thing that is.
set -u
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C
export PATH LC_ALL

clients=8
lines=1000 # each client appends
counts=500 # each process adds under the lock

BUILD=${BUILD:-build}
dir=$(mktemp -d "${TMPDIR:-/tmp}/kv-demo.XXXXXX") || exit 1
kvd=''
rpcbind=''
step=start

cleanup() {
	for pid in $kvd $rpcbind; do
		kill "$pid" 2> /dev/null && wait "$pid" 2> /dev/null
	done
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 141' PIPE
trap 'exit 143' TERM

title() {
	step=$1
	printf '\n== %s\n' "$1"
}
say() { printf '   %s\n' "$*"; }
indent() { sed 's/^/   /'; }

fail() {
	{
		printf '\ndemo: FAILED at "%s": %s\n' "$step" "$*"
		[ ! -s "$dir/kvd.log" ] || { echo "kvd said:" && tail -n 20 "$dir/kvd.log"; }
	} >&2
	exit 1
}

seconds() { date +%s.%N; }
# since START: the seconds since then; since START COUNT: how many a second that was.
since() {
	seconds | awk -v start="$1" -v count="${2-}" '{
		if (count == "") printf "%.2f s\n", $1 - start
		else printf "%.2f s, %.0f a second\n", $1 - start, count / ($1 - start)
	}'
}

kvctl() { "$BUILD/kvctl" -P "$program" "$@"; }

# in_parallel PROGRAM...: runs it once for each client with the client's number in place of "N".
in_parallel() {
	pids=''
	for n in $(seq $clients); do
		# shellcheck disable=SC2046 # one word for each argument; none has spaces
		"$BUILD/examples/$1" $(shift && echo "$@" | sed "s/\\bN\\b/$n/") &
		pids="$pids $!"
	done
	for pid in $pids; do
		wait "$pid" || fail "a client ended with exit status $?"
	done
}

rpcbind_answers() { timeout 5 rpcinfo -T tcp 127.0.0.1 100000 > /dev/null 2>&1; }

# --- The servers ---------------------------------------------------------------------------------

title "rpcbind"
if rpcbind_answers; then
	say "one answers on this machine already"
	registered=yes
elif [ "$(id -u)" = 0 ]; then
	# A network namespace of its own begins with the loopback device down.
	ip link set lo up 2> /dev/null
	mkdir -p /run/rpcbind
	rpcbind -f > "$dir/rpcbind.log" 2>&1 &
	rpcbind=$!
	tries=50
	until rpcbind_answers; do
		if [ $tries = 0 ] || ! kill -0 $rpcbind 2> /dev/null; then
			fail "rpcbind does not answer: $(tail -n 1 "$dir/rpcbind.log")"
		fi
		tries=$((tries - 1))
		sleep 0.1
	done
	say "none answered; started one (process $rpcbind) until the demo ends"
	registered=yes
else
	say "none answers, and only root may start one: going on without, at a local socket"
	say "LEFT OUT: registration in rpcbind, and what rpcinfo sees of it"
	registered=no
fi

title "kvd"
# A program number of the demo's own, so that it meets no other kvd.
program=$(($(od -An -N4 -tu4 /dev/urandom) % 0x1fff0000 + 0x20008000))
mkfifo "$dir/ready" || fail "cannot make a fifo in $dir"
set -- -P "$program" -l "local:$dir/kvd.sock"
if [ $registered = yes ]; then
	set -- "$@" -l tcp:127.0.0.1 -l udp:127.0.0.1
	KV_SERVER=tcp:127.0.0.1
else
	set -- "$@" -n
	KV_SERVER=local:$dir/kvd.sock
fi
KV_PROGRAM=$program
export KV_SERVER KV_PROGRAM
"$BUILD/kvd" "$@" > "$dir/ready" 2> "$dir/kvd.log" &
kvd=$!
read -r ready < "$dir/ready" || fail "kvd ended before it was ready"
say "$ready"
say "program $program; clients look for it at $KV_SERVER"

# --- What it does --------------------------------------------------------------------------------

title "Every package record of this machine: stored, read back, compared byte for byte"
dpkg-query -s > "$dir/packages" || fail "dpkg-query cannot list the packages"
"$BUILD/examples/packages" load < "$dir/packages" > "$dir/out" || fail "not all were stored"
indent < "$dir/out"
"$BUILD/examples/packages" compare < "$dir/packages" > "$dir/out" ||
	fail "what was read is not what was stored: $(cat "$dir/out")"
indent < "$dir/out"
# One of them by the shell tool as well: the record of dpkg itself.
awk -v RS= -v ORS= '/^Package: dpkg\n/ { print $0 "\n" }' "$dir/packages" > "$dir/want"
key=dpkg:$(awk '/^Architecture: / { print $2 }' "$dir/want")
kvctl get "$key" > "$dir/got" || fail "kvctl get $key: exit status $?"
cmp "$dir/want" "$dir/got" > "$dir/out" || fail "kvctl get $key: $(cat "$dir/out")"
say "kvctl get $key: $(wc -c < "$dir/got") bytes, the same too"

total=$((clients * lines))
title "$clients clients append $lines numbered lines each to one key, all at once"
start=$(seconds)
in_parallel append log client-N $lines
say "$total appends in $(since "$start" $total)"
kvctl get log > "$dir/log" || fail "kvctl get log: exit status $?"
awk -v total=$total '
	$2 != last[$1] + 1 {
		print "line " NR ": " $1 "\047s line " $2 " comes after its line " last[$1] + 0
		wrong = 1
		exit
	}
	{ last[$1] = $2 }
	END {
		if (!wrong && NR != total)
			print NR " lines instead of " total
		exit wrong || NR != total
	}' "$dir/log" > "$dir/out" || fail "$(cat "$dir/out")"
say "each line is there once, and in each client's order: $(wc -l < "$dir/log") lines"

total=$((clients * counts))
title "$clients processes count to $total through a lock: read, add one, write"
start=$(seconds)
in_parallel counter total counter-lock $counts
say "$total times locked and unlocked in $(since "$start" $total)"
counted=$(kvctl get total) || fail "kvctl get total: exit status $?"
[ "$counted" = $total ] || fail "they counted to $counted, not to $total"
say "they counted to $counted"

if [ $registered = yes ]; then
	title "rpcinfo -T tcp 127.0.0.1 $program 1"
	timeout 10 rpcinfo -T tcp 127.0.0.1 "$program" 1 > "$dir/out" 2>&1 ||
		fail "rpcinfo does not see the program: $(cat "$dir/out")"
	indent < "$dir/out"
fi

title "kvctl status"
kvctl status > "$dir/out" || fail "exit status $?"
indent < "$dir/out"

title "The end"
kill "$kvd"
wait "$kvd"
status=$?
kvd=''
[ $status = 0 ] || fail "kvd ended with exit status $status"
say "kvd stopped cleanly"
if [ $registered = yes ]; then
	if timeout 10 rpcinfo -T tcp 127.0.0.1 "$program" 1 > /dev/null 2>&1; then
		fail "rpcbind still lists program $program"
	fi
	say "and rpcbind knows it no more"
fi

printf '\ndemo: everything was as it should be\n'
