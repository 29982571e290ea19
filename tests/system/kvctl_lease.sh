#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_lease.sh - `kvctl lock` with a lease: what becomes of COMMAND when it ends, and who can see who
# holds the lock. Nothing here hangs on how long something takes: a lease that ends sooner than it might,
# on a machine that is busy, ends the same way.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# Starts a holder of the lock $1 in the background, with the options behind it, whose COMMAND is the
# script $dir/command. Returns when the script has said that it runs; holder is kvctl's process.
hold() {
	rm -f "$dir/running"
	"$kvctl" -s "$server" lock "$@" -- bash "$dir/command" "$dir" \
		>"$dir/holder.out" 2>"$dir/holder.err" &
	holder=$!
	until_true test -s "$dir/running" || complain "the holder does not start"
}

# The holder's end: what it said is what a test looks at.
holder_ends() {
	ends "$holder"
	cp "$dir/holder.out" "$dir/out"
	cp "$dir/holder.err" "$dir/err"
}

# A script that lives until it is killed, or for a minute, whatever TERM does.
command_that_lives() {
	cat >"$dir/command" <<-'END'
	exec 2>/dev/null
	trap 'echo TERM >>"$1/told"; [ -e "$1/stubborn" ] || exit 9' TERM
	echo $$ >"$1/running"
	for _ in $(seq 600); do sleep 0.1; done
	END
	rm -f "$dir/told" "$dir/stubborn"
}

every_process_is_gone() {
	local process
	while read -r process; do
		until_true is_gone "$process" || complain "process $process is alive"
	done <"$1"
}

# --- The lease and COMMAND ------------------------------------------------------------------------

the_lease_is_renewed_while_the_command_runs() {
	kv lock renewed --ttl 6 -- sleep 8
	exits 0; is_silent; prints ''
	kv lock renewed --wait 0 -- true
	exits 0
}

a_lease_that_cannot_be_renewed_ends_the_command() {
	command_that_lives
	hold L --ttl 2
	kill -STOP "$server_pid"
	holder_ends
	kill -CONT "$server_pid"
	exits 123; says 'the lock was lost while COMMAND ran (exit code 9): its lease of 2 s could not be renewed in time'
	[ "$(cat "$dir/told")" = TERM ] || complain "COMMAND was told \"$(cat "$dir/told")\""
	every_process_is_gone "$dir/running"
	kv lock L --wait 60 -- true
	exits 0
}

# COMMAND ignores TERM, and waits for one that does not.
term_reaches_what_the_command_started() {
	cat >"$dir/command" <<-'END'
	exec 2>/dev/null
	(trap 'exit 9' TERM; for _ in $(seq 600); do sleep 0.1; done) &
	trap '' TERM
	echo $$ >"$1/running"
	wait $!
	exit $?
	END
	hold term --ttl 12 --kill-after 6
	kill -STOP "$server_pid"
	holder_ends
	kill -CONT "$server_pid"
	exits 123; says '(exit code 9)'
}

# COMMAND ignores TERM, and so do a daemon with a session and no parent of its own, one that closed
# everything, and one in a group of its own that is stopped.
all_that_the_command_started_is_killed_when_the_lease_is_over() {
	cat >"$dir/command" <<-'END'
	trap '' TERM
	(setsid bash -c 'echo $BASHPID >>"$0/all"; for _ in $(seq 600); do sleep 0.1; done' "$1" &)
	(echo $BASHPID >>"$1/all"; exec <&- >&- 2>&-; for _ in $(seq 600); do sleep 0.1; done) &
	(set -m; bash -c 'echo $BASHPID >>"$0/all"; kill -STOP $$; sleep 60' "$1" &)
	until [ "$(wc -l <"$1/all")" -eq 3 ]; do sleep 0.02; done
	echo $$ >>"$1/all"
	echo $$ >"$1/running"
	for _ in $(seq 600); do sleep 0.1; done
	END
	: >"$dir/all"
	hold tree --ttl 2 --kill-after 0.5
	kill -STOP "$server_pid"
	holder_ends
	kill -CONT "$server_pid"
	exits 123; says '(exit code 137)'
	every_process_is_gone "$dir/all"
}

a_daemon_that_outlives_the_term_is_killed_before_kvctl_ends() {
	cat >"$dir/command" <<-'END'
	exec 2>/dev/null
	(trap '' TERM; setsid bash -c 'echo $BASHPID >"$0/all"; for _ in $(seq 600); do sleep 0.1; done' "$1" &)
	until [ -s "$1/all" ]; do sleep 0.02; done
	echo $$ >"$1/running"
	sleep 60
	END
	: >"$dir/all"
	hold outlives --ttl 4 --kill-after 2
	kill -STOP "$server_pid"
	holder_ends
	kill -CONT "$server_pid"
	exits 123; says '(exit code 143)'
	is_gone "$(cat "$dir/all")" || complain "the daemon is alive"
}

# A shell that becomes kvctl by exec leaves it its children: one that sleeps, and one that has a child
# later, in another session.
children_that_the_shell_had_before_are_left_alone() {
	local before
	command_that_lives
	cat >"$dir/shell" <<-'END'
	sleep 60 &
	echo $! >"$1/before"
	(until [ -s "$1/running" ]; do sleep 0.02; done; setsid sleep 60 & echo $! >>"$1/before"; sleep 60) &
	echo $! >>"$1/before"
	exec "$2" -s "$3" lock left --ttl 3 -- bash "$1/command" "$1"
	END
	rm -f "$dir/running"
	bash "$dir/shell" "$dir" "$kvctl" "$server" >"$dir/holder.out" 2>"$dir/holder.err" &
	holder=$!
	until_true test -s "$dir/running" || complain "the holder does not start"
	until_true eval '[ "$(wc -l <"$dir/before")" -eq 3 ]' || complain "the late child is missing"
	kill -STOP "$server_pid"
	holder_ends
	kill -CONT "$server_pid"
	exits 123; says '(exit code 9)'
	every_process_is_gone "$dir/running"
	while read -r before; do
		is_gone "$before" && complain "process $before is gone"
		kill "$before"
	done <"$dir/before"
}

a_command_that_ends_leaves_its_daemons_alone() {
	local daemon
	kv lock L --wait 60 -- sh -c "(setsid sleep 60 >$dir/ignored 2>&1 & echo \$! >$dir/daemon)"
	exits 0; is_silent
	daemon=$(cat "$dir/daemon")
	is_gone "$daemon" && complain "the daemon is gone"
	kill "$daemon"
}

a_kvctl_that_was_stopped_beyond_its_lease_ends_the_command_at_once() {
	command_that_lives
	touch "$dir/stubborn"
	hold L --ttl 2
	kill -STOP "$holder"
	kv lock L --wait 60 -- true
	exits 0
	is_gone "$(cat "$dir/running")" && complain "the command is gone already"
	kill -CONT "$holder"
	holder_ends
	exits 123; says '(exit code 137): its lease of 2 s could not be renewed in time: kvctl or its machine was stopped'
	every_process_is_gone "$dir/running"
	[ ! -e "$dir/told" ] || complain "TERM came first"
}

a_kvctl_that_is_killed_takes_the_command_with_it_and_the_lock_is_free_again() {
	command_that_lives
	hold L --ttl 2
	kill -KILL "$holder"
	ends "$holder" 2>"$dir/ignored" # the shell reports those that were killed
	every_process_is_gone "$dir/running"
	kv lock L --wait 60 -- true
	exits 0; is_silent
	hold L --no-ttl
	kill -KILL "$holder"
	ends "$holder" 2>"$dir/ignored"
	every_process_is_gone "$dir/running"
	kv lock L --wait 0 -- true
	exits 124; says 'if that process is dead: kvctl lock L --break'
	kv lock L --break
}

a_lock_that_was_broken_ends_the_command() {
	command_that_lives
	hold taken --ttl 2
	kv lock taken --break
	kv lock taken --wait 60 -- echo mine
	exits 0; prints_line mine
	holder_ends
	exits 123; says 'the lock was lost while COMMAND ran (exit code 137): it was broken'
	every_process_is_gone "$dir/running"
}

a_key_that_a_stranger_writes_over_ends_the_command() {
	command_that_lives
	hold stranger --ttl 2
	kv -q put stranger 'not a lock'
	holder_ends
	exits 123; says 'it was broken'
	kv get stranger
	prints 'not a lock'
}

# As the end of a lease, and not to be held up by a COMMAND that takes its time.
signals_still_reach_the_command() {
	command_that_lives
	hold L --ttl 60
	kill -TERM "$holder"
	holder_ends
	exits 9; is_silent
	kv lock L --wait 0 -- true
	exits 0
}

a_release_that_is_not_confirmed_says_when_the_lease_ends() {
	kv -t 0.3 lock unsure --release-timeout 0.5 -- sh -c "kill -STOP $server_pid; exit 5"
	exits 121; says 'Its lease ends by itself, 15 s after the server is back'
	kill -CONT "$server_pid"
}

# --- Waiting --------------------------------------------------------------------------------------

waits_for() {
	[ "$("$kvctl" -s "$server" -o json lock --list "$1" | sed 's/.*"waiting":\([0-9]*\).*/\1/')" = "$2" ]
}

who_waits_first_is_served_first() {
	local name waiters=()
	command_that_lives
	hold turn --ttl 60
	for name in 1 2 3; do
		"$kvctl" -s "$server" lock turn -- sh -c "echo $name >>$dir/order" &
		waiters+=($!)
		until_true waits_for turn "$name" || complain "$name does not wait"
	done
	kill -TERM "$holder"
	for name in "${waiters[@]}"; do
		ends "$name"
		exits 0
	done
	[ "$(tr '\n' ' ' <"$dir/order")" = '1 2 3 ' ] || complain "served $(tr '\n' ' ' <"$dir/order")"
	holder_ends
}

# In its turn, and with a call at the server that may still take the lock: it can for its lease only.
a_server_that_hangs_is_not_waited_for_in_turn() {
	local waiter
	command_that_lives
	hold hangs --ttl 60
	"$kvctl" -s "$server" -t 1 lock hangs --ttl 1 -- echo never >"$dir/waiter" 2>"$dir/waiter.err" &
	waiter=$!
	until_true waits_for hangs 1 || complain "the waiter does not wait"
	kill -STOP "$server_pid"
	ends "$waiter"
	kill -CONT "$server_pid"
	exits 125
	grep -q 'no kvd reached in 1 s' "$dir/waiter.err" || complain "it said $(cat "$dir/waiter.err")"
	[ ! -s "$dir/waiter" ] || complain "COMMAND ran"
	kill -TERM "$holder"
	holder_ends
	kv lock hangs --wait 60 -- true
	exits 0
}

a_lock_that_is_broken_goes_to_who_waits() {
	local waiter
	command_that_lives
	hold broken --no-ttl
	"$kvctl" -s "$server" lock broken -- echo mine >"$dir/waiter" &
	waiter=$!
	until_true waits_for broken 1 || complain "the waiter does not wait"
	kv lock broken --break
	exits 0
	ends "$waiter"
	exits 0
	[ "$(cat "$dir/waiter")" = mine ] || complain "the waiter did not run"
	kill -TERM "$holder"
	holder_ends
	exits 123
}

# --- Shares ---------------------------------------------------------------------------------------

# Whether the key of the lock itself has an id: a writer has it, or waits for shares with it.
is_taken() {
	"$kvctl" -s "$server" lock --list "$1" | grep -q "^$1	"
}

readers_share_and_a_writer_waits_for_the_last() {
	local writer reader
	command_that_lives
	hold shared --shared --ttl 60
	reader=$holder
	kv lock shared --shared --wait 0 -- echo both
	exits 0; prints_line both
	kv lock shared --wait 0 -- echo never
	exits 124; prints ''; says 'still held by another process after 0 s; gave up. (others share it: kvctl lock --list shared)'
	"$kvctl" -s "$server" lock shared -- echo mine >"$dir/writer" 2>&1 &
	writer=$!
	until_true is_taken shared || complain "the writer does not wait"
	# It does not starve.
	kv lock shared --shared --wait 0 -- echo never
	exits 124; prints ''
	[ ! -s "$dir/writer" ] || complain "the writer ran: $(cat "$dir/writer")"
	kill -TERM "$reader"
	holder_ends
	exits 9; is_silent
	ends "$writer"
	exits 0
	[ "$(cat "$dir/writer")" = mine ] || complain "the writer printed $(cat "$dir/writer")"
	kv lock shared --shared --wait 0 -- true
	exits 0
	kv ls shared/
	prints ''
}

a_reader_that_is_killed_holds_a_writer_up_for_its_lease() {
	command_that_lives
	hold dead --shared --ttl 2
	kill -KILL "$holder"
	ends "$holder" 2>"$dir/ignored"
	kv lock dead --wait 60 -- echo mine
	exits 0; prints_line mine
}

a_reader_that_loses_its_lease_is_ended() {
	command_that_lives
	hold lost --shared --ttl 2
	kill -STOP "$server_pid"
	holder_ends
	kill -CONT "$server_pid"
	exits 123; says 'its lease of 2 s could not be renewed in time'
	every_process_is_gone "$dir/running"
}

# By its own key.
a_share_is_checked_and_fenced_as_a_lock_is() {
	# shellcheck disable=SC2016
	kv lock fenced/s --shared --fence-env FENCE -- sh -c '"$0" lock --check "$KV_LOCK_NAME" "$KV_LOCK_TOKEN" &&
		"$0" -q put shared/guarded yes --fence "$FENCE" && echo "$FENCE"' "$kvctl"
	exits 0; is_silent
	grep -Eq '^fenced/s/__share/[0-9a-f]{32}:[0-9]+$' "$dir/out" || complain "printed $(cat "$dir/out")"
	kv put shared/guarded late --fence "$(cat "$dir/out")"
	exits 4
}

shares_work_over_udp_too() {
	local writer
	command_that_lives
	hold datagram/s --shared --ttl 60
	server=$udp kv lock datagram/s --shared --wait 0 -- echo both
	exits 0; prints_line both
	"$kvctl" -s "$udp" lock datagram/s -- echo mine >"$dir/writer" 2>&1 &
	writer=$!
	until_true is_taken datagram/s || complain "the writer does not wait"
	kill -TERM "$holder"
	holder_ends
	ends "$writer"
	exits 0
}

# --- Who holds it ---------------------------------------------------------------------------------

list_shows_who_holds_what() {
	local host user
	host=$(uname -n) user=$(id -un)
	command_that_lives
	kv -q put list/x 'no lock'
	kv -q put list/y 0123456789abcdef0123456789ABCDEF
	kv lock list/free -- true
	hold $'list/a\tb' --no-ttl --note $'two\nlines'
	local first=$holder
	hold list/c --ttl 100
	kv lock --list list/
	exits 0; is_silent
	[ "$(wc -l <"$dir/out")" -eq 2 ] || complain "not two lines: $(cat "$dir/out")"
	grep -Eq $'^list/a\\\\x09b\t[0-9]+\t-\t0\t[0-9a-f]{32}\ttwo\\\\x0alines\t20[0-9T:-]+Z$' "$dir/out" ||
		complain "no list/a: $(cat "$dir/out")"
	grep -Eq $'^list/c\t[0-9]+\t[0-9.]+\t0\t[0-9a-f]{32}\t'"$host pid $holder user $user program bash start 20[0-9T:-]+Z"$'\t20[0-9T:-]+Z$' "$dir/out" ||
		complain "no list/c: $(cat "$dir/out")"
	kv -o json lock --list list/c
	grep -Eq '^\{"name":"list/c","token":[0-9]+,"ttl_left_ms":[0-9]+,"waiting":0,"holder":"[0-9a-f]{32}","since_ms":1[0-9]{12},"note":".*"\}$' "$dir/out" ||
		complain "printed $(cat "$dir/out")"
	kill -TERM "$first" "$holder"
	ends "$first"
	holder_ends
	kv lock --list list/
	exits 0; prints ''
}

two_with_one_note_are_two() {
	local second id
	command_that_lives
	hold twice --ttl 60 --note same
	# shellcheck disable=SC2016 # for the inner shell
	"$kvctl" -s "$server" lock twice --note same -- sh -c 'echo $KV_LOCK_TOKEN; read -r _' \
		>"$dir/token" < <(until_true test -e "$dir/seen") &
	second=$!
	until_true waits_for twice 1 || complain "the waiter does not wait"
	kv lock --list twice
	id=$(cut -f 5 "$dir/out")
	[ "$(cut -f 4,6 "$dir/out")" = $'1\tsame' ] || complain "shown $(cat "$dir/out")"
	kill -TERM "$holder"
	holder_ends
	until_true test -s "$dir/token" || complain "the second does not run"
	kv lock --list twice
	[ "$(cut -f 2,4,6 "$dir/out")" = "$(cat "$dir/token")"$'\t0\tsame' ] || complain "shown $(cat "$dir/out")"
	[ "$(cut -f 5 "$dir/out")" != "$id" ] || complain "the same id"
	touch "$dir/seen"
	ends "$second"
}

check_tells_whether_a_token_is_still_good() {
	# shellcheck disable=SC2016
	kv lock checked -- sh -c '"$0" lock --check "$KV_LOCK_NAME" "$KV_LOCK_TOKEN" && echo $KV_LOCK_TOKEN' "$kvctl"
	exits 0; is_silent
	local token
	token=$(cat "$dir/out")
	kv lock --check checked "$token"
	exits 4; says "kvctl: lock checked: not held with token $token: it is free"
	command_that_lives
	hold checked
	kv lock checked --check "$token"
	exits 4; says "not held with token $token, but with "
	kill -TERM "$holder"
	holder_ends
	kv lock --check never 1
	exits 4; says 'it is free'
	kv -q put no/lock value
	kv lock --check no/lock 1
	exits 1; says 'the key exists but is not a lock'
	server=local:$dir/absent.sock kv lock --check checked 1
	exits 6
}

fence_env_is_what_put_takes() {
	# shellcheck disable=SC2016
	kv lock fenced:it --fence-env FENCE -- sh -c '"$0" -q put guarded yes --fence "$FENCE" && echo "$FENCE"' "$kvctl"
	exits 0
	local fence
	fence=$(cat "$dir/out")
	kv put guarded late --fence "$fence"
	exits 4
	kv get guarded
	prints yes
}

a_lock_over_udp_has_a_lease_too() {
	server=$udp kv lock datagram --ttl 60 -- echo held
	exits 0; prints_line held
}

mistakes_are_told() {
	kv lock L --ttl 0 -- true
	exits 2; says '--ttl is at least 1 s, not 0 (--no-ttl for none)'
	kv lock L --ttl 0.5 -- true
	exits 2
	kv lock L --ttl week -- true
	exits 2; says '--ttl'
	kv lock L --no-ttl --ttl 5 -- true
	exits 0
	kv lock L --ttl 5 --no-ttl -- true
	exits 2; says 'exclude each other'
	kv lock L --ttl 5 --kill-after 2.6 -- true
	exits 2; says '--kill-after is at most half of --ttl (5 s)'
	kv lock --list --shared
	exits 2; says '--list takes'
	kv lock "$(printf '%01024d' 0)" --shared -- true
	exits 125
	kv lock L --no-ttl --kill-after 1 -- true
	exits 2; says 'not with --no-ttl'
	kv lock L --fence-env 1x -- true
	exits 2; says '--fence-env is the name of a variable, not "1x"'
	kv lock L --note "$(printf '%0513d' 0)" -- true
	exits 2; says '--note has 513 bytes: at most 512'
	kv lock --list a b
	exits 2; says '--list takes'
	kv lock --list --ttl 5
	exits 2; says '--list takes'
	kv lock --check L
	exits 2; says 'needs the TOKEN'
	kv lock --check L 0
	exits 2; says 'TOKEN'
	kv lock L --break --ttl 5
	exits 2; says '--break takes'
	kv lock L --wait 4294968 -- true
	exits 2
	kv lock L --wait 604800 -- true
	exits 0
	kv lock "$(printf '%01024d' 0)" -- echo long
	exits 0; prints_line long
	kv lock "$(printf '%01024d' 0)" --note n -- echo long
	exits 125
}

# --- elect ----------------------------------------------------------------------------------------

leaders() {
	[ "$(grep -v '^$' "$dir/leaders" | tr '\n' ' ')" = "$1" ]
}

elect_publishes_who_leads() {
	local observer
	"$kvctl" -s "$server" elect --observe chief >"$dir/leaders" 2>"$dir/observer" &
	observer=$!
	until_true test -s "$dir/leaders" || complain "the first line is missing"
	# shellcheck disable=SC2016
	kv elect chief alpha -- sh -c 'until grep -q alpha "$0/leaders"; do sleep 0.02; done; exit 3' "$dir"
	exits 3; is_silent
	# shellcheck disable=SC2016
	kv elect chief $'be\nta' --wait 60 -- \
		sh -c 'until grep -q ta "$0/leaders"; do sleep 0.02; done; echo "$KV_LOCK_NAME"' "$dir"
	exits 0; prints_line chief
	until_true leaders 'alpha be\x0ata ' || complain "leaders: $(cat "$dir/leaders")"
	# A lock without a value is no leader.
	kv lock chief --note '' -- "$kvctl" -o json elect --observe chief --count 1
	exits 0; prints_line '{"name":"chief"}'
	kv elect chief gamma -- "$kvctl" -o json elect --observe chief --count 1
	grep -Eq '^\{"name":"chief","leader":"gamma","token":[0-9]+\}$' "$dir/out" ||
		complain "printed $(cat "$dir/out")"
	until_true leaders 'alpha be\x0ata gamma ' || complain "leaders: $(cat "$dir/leaders")"
	kill "$observer"
	ends "$observer"
}

elect_tells_mistakes() {
	kv elect
	exits 2; says 'expected the NAME of an election'
	kv elect chief
	exits 2; says 'expected the VALUE'
	kv elect chief me
	exits 2; says 'expected a COMMAND'
	kv elect chief '' -- true
	exits 2; says 'VALUE is empty'
	kv elect chief me --count 1 -- true
	exits 2; says '--count is for --observe'
	kv elect chief me --no-ttl -- true
	exits 2
	kv elect --observe chief me
	exits 2; says '--observe takes'
	kv -q put no/lock value
	kv elect --observe no/lock
	exits 1; says 'kvctl: elect no/lock: the key exists but is not a lock'
	server=$udp kv elect --observe chief
	exits 1; says 'needs tcp or a local socket'
	server=local:$dir/absent.sock kv elect --observe chief
	exits 6
}

# --------------------------------------------------------------------------------------------------

start_server
server=$socket
export KV_SERVER=$socket

check the_lease_is_renewed_while_the_command_runs
check a_lease_that_cannot_be_renewed_ends_the_command
check term_reaches_what_the_command_started
check all_that_the_command_started_is_killed_when_the_lease_is_over
check a_daemon_that_outlives_the_term_is_killed_before_kvctl_ends
check children_that_the_shell_had_before_are_left_alone
check a_command_that_ends_leaves_its_daemons_alone
check a_kvctl_that_was_stopped_beyond_its_lease_ends_the_command_at_once
check a_kvctl_that_is_killed_takes_the_command_with_it_and_the_lock_is_free_again
check a_lock_that_was_broken_ends_the_command
check a_key_that_a_stranger_writes_over_ends_the_command
check signals_still_reach_the_command
check a_release_that_is_not_confirmed_says_when_the_lease_ends
check who_waits_first_is_served_first
check a_server_that_hangs_is_not_waited_for_in_turn
check a_lock_that_is_broken_goes_to_who_waits
check readers_share_and_a_writer_waits_for_the_last
check a_reader_that_is_killed_holds_a_writer_up_for_its_lease
check a_reader_that_loses_its_lease_is_ended
check a_share_is_checked_and_fenced_as_a_lock_is
check shares_work_over_udp_too
check list_shows_who_holds_what
check two_with_one_note_are_two
check check_tells_whether_a_token_is_still_good
check fence_env_is_what_put_takes
check a_lock_over_udp_has_a_lease_too
check mistakes_are_told
check elect_publishes_who_leads
check elect_tells_mistakes

exit "$failed"
