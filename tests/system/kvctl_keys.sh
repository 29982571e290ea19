#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_keys.sh - kvctl's del, ls, touch, txn and put --ttl.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

del_prints_the_version_that_is_gone() {
	kv put d/a one
	kv put d/a two
	kv del d/a; exits 0; prints_line 2
	kv del d/a; exits 3
	kv get d/a; exits 3
	kv put d/a three; prints_line 4
	kv del d/a --expect 3; exits 4; says 'at version 4, not 3'
	kv -o json del d/a --expect 4; exits 0; prints_line '{"key":"d/a","version":4}'
	kv put d/a four; exits 0
	kv -q del d/a; exits 0; prints ''
	kv del; exits 2; says 'expected one KEY, got 0 arguments'
}

ls_prints_keys_in_byte_order() {
	local key
	for key in b a/2 a/10 a 'a/with blank' $'a/\033[31m'; do
		kv put "l/$key" v
	done
	kv ls l/; exits 0
	prints 'l/a
l/a/\x1b[31m
l/a/10
l/a/2
l/a/with blank
l/b
'
	kv ls l/a/ --limit 2; prints 'l/a/\x1b[31m
l/a/10
'
	kv ls l/a/2 -0; exits 0
	printf 'l/a/2\0' | cmp -s - "$dir/out" || complain "not the key and a NUL"
	kv ls nothing/; exits 0; prints ''
	kv ls l/ more; exits 2; says 'expected one PREFIX at most, got 2 arguments'
	kv ls l/ --limit 0; exits 2
}

ls_shows_more_than_one_page() {
	local i
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		# 64 keys a transaction.
		# shellcheck disable=SC2046 # words on purpose
		kv -q txn $(for ((n = 0; n < 64; n++)); do echo "--put p/$i/$n v"; done)
		exits 0
	done
	kv ls p/; exits 0
	[ "$(wc -l <"$dir/out")" = 1280 ] || complain "not 1280 keys"
	LC_ALL=C sort -c "$dir/out" || complain "not in order"
	[ "$(sort -u "$dir/out" | wc -l)" = 1280 ] || complain "a key twice"
}

a_ttl_ends_a_key_and_touch_makes_it_longer() {
	kv put t/short v --ttl 0.2; exits 0
	kv put t/long v --ttl 60 --create; exits 0
	kv put t/long v --ttl 60 --create; exits 4
	kv put t/long v --ttl 60 --expect 77; exits 4
	kv put t/none v --ttl 60 --expect 77; exits 3
	kv ls t/long -l; exits 0
	grep -Eq '^[0-9]+ 1 (60.0|5[0-9]\.[0-9]) 0 t/long$' "$dir/out" || complain "$(cat "$dir/out")"
	kv touch t/long --ttl 500; exits 0; prints ''
	kv -o json ls t/long -l
	grep -Eq '"ttl_left_ms":4[0-9]{5}' "$dir/out" || complain "$(cat "$dir/out")"
	kv touch t/long --ttl 900 --expect 77; exits 4
	kv touch t/nothing --ttl 5; exits 3
	kv touch t/long; exits 2; says '--ttl SECS is required'
	kv touch t/long --ttl 0; exits 2
	for _ in $(seq 600); do
		kv get t/short
		[ "$code" = 0 ] || break
		sleep 0.1
	done
	exits 3
	kv put t/long v; exits 0
	kv ls t/long -l
	grep -q ' - 0 t/long$' "$dir/out" || complain "a put without a ttl keeps the ttl"
}

txn_does_all_or_nothing() {
	kv put x/a 1
	kv put x/gone 1
	kv get x/a --version
	local at
	at=$(cat "$dir/out")
	kv txn --at x/a "$at" --holds x/a 1 --missing x/b --exists x/gone --free x/c free \
		--put x/a 2 --append x/log 'a line' --del x/gone --put x/lease me --ttl 30
	exits 0
	[ "$(wc -l <"$dir/out")" = 4 ] || complain "not four versions"
	kv get x/log; prints 'a line'
	kv get x/gone; exits 3
	kv txn --at x/a "$at" --put x/a 3; exits 4
	says 'condition 1 does not hold: x/a is at version'
	kv txn --put x/a 4 --exists x/none; exits 4
	says 'condition 1 does not hold: x/none does not exist; nothing was changed'
	kv txn --put x/a 5 --touch x/none 10; exits 3; says 'x/none'
	kv get x/a; prints 2
	kv txn; exits 2; says 'no change'
	kv txn --put x/a; exits 2; says '--put takes KEY and VALUE'
	kv txn --put x/a 1 --append x/a 2; exits 2; says '"x/a" is changed twice'
	kv txn --at x/a one --put x/a 2; exits 2; says '--at: "one" is not a number'
	kv txn --ttl 3 --put x/a 1; exits 2; says '--ttl belongs behind a --put'
	kv txn --touch x/a 0; exits 2; says '--touch: 0 seconds'
	kv txn --put x/a 1 x/b; exits 2; says 'unexpected argument "x/b"'
}

a_fenced_put_needs_the_lock() {
	# shellcheck disable=SC2016 # the inner shell's variables
	kv lock f/lock -- sh -c '"$0" -s "$1" put f/data one --fence "f/lock:$KV_LOCK_TOKEN" &&
		echo "$KV_LOCK_TOKEN" > "$2"' "$kvctl" "$server" "$dir/token"
	exits 0
	kv put f/data late --fence "f/lock:$(cat "$dir/token")"; exits 4
	says 'the fence does not hold: lock f/lock is at version'
	kv put f/data late --fence "f/lock:$(cat "$dir/token")" --create; exits 4
	kv get f/data; prints one
	kv put f/data x --fence f/lock; exits 2; says '--fence takes LOCK:TOKEN'
	kv put f/data x --fence f/lock:0; exits 2
	kv put f/data x --fence f/nothing:9; exits 4
}

# until_line KIND KEY: the watch has printed that, with some version.
until_line() {
	until LINE="$1 $2" awk '$1 " " $3 == ENVIRON["LINE"] { found = 1 } END { exit !found }' "$dir/watched"; do
		sleep 0.05
	done
}

watch_prints_each_change_at_once() {
	kv put w/a 1; kv put w/b 1
	"$kvctl" -s "$server" watch --prefix w/ --count 6 >"$dir/watched" 2>"$dir/err" &
	local watcher=$!
	until_line put w/b
	kv del w/a; until_line gone w/a
	kv put $'w/\n' 1; kv put x/a 1; until_line put 'w/\x0a'
	kv txn --put w/c 1 --del w/b
	wait "$watcher" || complain "the watch ended with $?"
	diff - <(awk '{ print $1, $3 }' "$dir/watched") <<'END' || complain 'other lines'
put w/a
put w/b
gone w/a
put w/\x0a
put w/c
gone w/b
END
	kv put w/c 2; at=$(cat "$dir/out")
	kv -o json watch --prefix w/c --count 1
	prints_line "{\"key\":\"w/c\",\"version\":$at,\"gone\":false}"
	kv watch --prefix '' --count 3; exits 0
	kv watch; exits 2; says 'one KEY, or --prefix PREFIX'
	kv watch --prefix w/ more; exits 2
	kv watch --prefix w/ --count 0; exits 2; says '--count'
	kv watch --prefix "$(printf '%1025s' x)"; exits 8
	"$kvctl" -s "$server" watch --prefix w/ --count 1 >/dev/full 2>"$dir/err"; code=$?; exits 1
}

start_server
server=$socket
for name in del_prints_the_version_that_is_gone ls_prints_keys_in_byte_order \
	ls_shows_more_than_one_page a_ttl_ends_a_key_and_touch_makes_it_longer \
	txn_does_all_or_nothing a_fenced_put_needs_the_lock \
	watch_prints_each_change_at_once; do
	check "$name"
done
exit "$failed"
