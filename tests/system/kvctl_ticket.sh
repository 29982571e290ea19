#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_ticket.sh - kvctl's --ticket: a command that is run again, and what it says if it cannot be.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

a_write_with_a_ticket_happens_once() {
	kv append o/log x --ticket "$dir/o1"; exits 0; prints_line 1
	kv append o/log x --ticket "$dir/o1"; exits 0; prints_line 1
	kv append o/log y --old --ticket "$dir/o2"; exits 0; prints x
	kv put o/log z; exits 0
	kv append o/log y --old --ticket "$dir/o2"; exits 0; prints x
	kv put o/key v --ticket "$dir/o3"; exits 0; prints_line 1
	kv put o/key w
	kv -o json put o/key v --ticket "$dir/o3"; exits 0; prints_line '{"key":"o/key","version":1}'
	kv put o/short v --ttl 900 --ticket "$dir/o4"; exits 0; prints_line 1
	kv put o/short v --ttl 900 --ticket "$dir/o4"; exits 0; prints_line 1
	kv del o/key --ticket "$dir/o5"; exits 0; prints_line 2
	kv del o/key --ticket "$dir/o5"; exits 0; prints_line 2
	kv txn --missing o/a --put o/a 1 --append o/b 2 --ticket "$dir/o6"; exits 0
	cp "$dir/out" "$dir/versions"
	kv txn --missing o/a --put o/a 1 --append o/b 2 --ticket "$dir/o6"; exits 0
	cmp -s "$dir/out" "$dir/versions" || complain "other versions the second time"
	kv get o/b; prints 2
	[ "$(stat -c %a "$dir/o1")" = 600 ] || complain "others may read the ticket"
}

an_empty_file_is_a_new_ticket() {
	local file
	file=$(mktemp "$dir/XXXXXX")
	kv append e/log x --ticket "$file"; exits 0; prints_line 1
	kv append e/log x --ticket "$file"; exits 0; prints_line 1
}

a_refused_write_may_be_tried_again() {
	kv put r/key v --expect 5 --ticket "$dir/r"; exits 3
	kv put r/key v --create --ticket "$dir/r"; exits 0
	kv put r/key v --create --ticket "$dir/r"; exits 0; prints_line 1
}

# refused CODE TEXT OPTION...: the write `append b/log x` with the ticket $dir/b.
refused() {
	local wanted=$1 text=$2
	shift 2
	kv append b/log x --ticket "$dir/b" "$@"; exits "$wanted"; says "$text"
}

a_file_that_cannot_be_the_ticket_is_said() {
	kv append b/log x --ticket "$dir/b"; exits 0
	kv append b/log y --ticket "$dir/b"; exits 1
	says 'is of another command or other arguments; nothing was sent (use one file for each write)'
	kv append b/log x --expect 0 --ticket "$dir/b"; exits 1
	kv put b/log x --ticket "$dir/b"; exits 1
	chmod 640 "$dir/b"
	refused 5 'can be read by other users, and holds a secret (chmod 600 it, and run this again)'
	chmod 600 "$dir/b"
	exec 9<"$dir/b"
	flock 9
	refused 5 'is held by another process, which may be making this write now'
	exec 9<&-
	kv append b/log x --ticket "$dir/b"; exits 0; prints_line 1
	truncate -s 40 "$dir/b"
	refused 5 'is damaged, or is none: if it was one, its write may have happened'
	echo 'my shopping list, which is no ticket, and would be missed if it were written over' >"$dir/b"
	refused 5 'is damaged, or is none'
	grep -q shopping "$dir/b" || complain "the file was written over"
	rm "$dir/b"
	ln -s o1 "$dir/b"
	refused 1 'is a symbolic link'
	rm "$dir/b"
	mkdir "$dir/b"
	refused 1 'is a directory; nothing was sent'
	rmdir "$dir/b"
	mkfifo "$dir/b"
	refused 1 'is not a regular file; nothing was sent'
	rm "$dir/b"
	kv append b/log x --ticket "$dir/nowhere/b"; exits 1; says 'cannot be made: No such file or directory'
	kv append b/log x --ticket; exits 2; says 'option --ticket needs an argument'
	kv --history "$dir/history" append b/log x --ticket "$dir/b"; exits 2; says 'exclude each other'
	kv get b/log; prints x
}

a_ticket_of_another_store_is_said() {
	kv append s/log x --ticket "$dir/s"; exits 0
	# As if it had died before the reply came.
	truncate -s 64 "$dir/s"
	kill "$server_pid"
	wait "$server_pid"
	rm "$dir/ready"
	start_server
	server=$socket
	kv append s/log x --ticket "$dir/s"; exits 5
	says "is of another store than the server's, so whether its write happened cannot be told any more"
	kv get s/log; exits 3
}

a_server_that_is_away_leaves_the_outcome_unknown() {
	kv append w/log x --ticket "$dir/w"; exits 0
	truncate -s 64 "$dir/w"
	"$kvctl" -s "local:$dir/nothing" append w/log x --ticket "$dir/w" >"$dir/out" 2>"$dir/err"
	code=$?
	exits 5; says 'the outcome is unknown'
	says 'run the same command again: it goes on, and happens once'
	# Its session was closed when it was done.
	kv append w/log x --ticket "$dir/w"; exits 5
	says 'is too old: its session at the server has ended'
	kv append w/other x --ticket "$dir/new"; exits 0
	"$kvctl" -s "local:$dir/nothing" append w/other x --ticket "$dir/never" >"$dir/out" 2>"$dir/err"
	code=$?
	exits 6
	[ ! -s "$dir/never" ] || complain "a write that was not sent is noted"
}

start_server
server=$socket
check an_empty_file_is_a_new_ticket
check a_refused_write_may_be_tried_again
check a_file_that_cannot_be_the_ticket_is_said
check a_server_that_is_away_leaves_the_outcome_unknown
check a_write_with_a_ticket_happens_once
check a_ticket_of_another_store_is_said
exit "$failed"
