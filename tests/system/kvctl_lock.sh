#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_lock.sh - `kvctl lock` against a real kvd: who holds the lock, and what becomes of the
# command.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# --- The lock -------------------------------------------------------------------------------------

lock_runs_a_command_and_exits_as_it_did() {
	# shellcheck disable=SC2016 # for the inner shell
	kv lock L -- sh -c 'echo "$KV_LOCK_NAME $KV_LOCK_TOKEN"; exit 7'
	exits 7; is_silent
	grep -Eq '^L [0-9]+$' "$dir/out" || complain "no name and token"
	kv lock L --wait 0 -- true
	exits 0; prints ''; is_silent
	kv lock L --wait 5 sh -c 'exit 3'
	exits 3
	kv lock -- -L -- true
	exits 0
	# shellcheck disable=SC2016
	kv lock L --wait 5 -- sh -c 'kill -KILL $$'
	exits 137
	kv lock L --wait 5 -- "$dir/absent"
	exits 127; says 'No such file'
	kv lock L --wait 5 -- "$dir"
	exits 126; says 'Permission denied'
	kv lock L --wait 0 -- true
	exits 0
}

the_token_grows() {
	local before after
	# shellcheck disable=SC2016
	kv lock tokens --wait 5 -- sh -c 'echo $KV_LOCK_TOKEN'
	before=$(cat "$dir/out")
	# shellcheck disable=SC2016
	kv lock tokens --wait 5 -- sh -c 'echo $KV_LOCK_TOKEN'
	after=$(cat "$dir/out")
	[ "$after" -gt "$before" ] || complain "$after after $before"
}

a_command_gets_the_descriptors_that_kvctl_got() {
	ls /proc/self/fd >"$dir/before"
	kv lock L --wait 5 -- ls /proc/self/fd
	exits 0
	cmp -s "$dir/before" "$dir/out" || complain "open: $(tr '\n' ' ' <"$dir/out")"
}

# Starts a holder of the lock $1 in the background, whose COMMAND is held up until a line comes
# through $dir/go, and ends by itself if none does. Returns when it holds; holder is its process.
hold() {
	rm -f "$dir/held" "$dir/go"
	mkfifo "$dir/held" "$dir/go"
	# Both ends are opened, so that no open blocks.
	exec {held}<>"$dir/held" {go}<>"$dir/go"
	# shellcheck disable=SC2016
	env --default-signal=INT,HUP,QUIT,TERM "$kvctl" -s "$server" lock "$1" -- \
		bash -c 'trap "echo TERM >>\"$0/got\"; exit 9" TERM
			trap "echo HUP >>\"$0/got\"; exit 8" HUP
			trap "echo INT >>\"$0/got\"; exit 7" INT
			trap "echo QUIT >>\"$0/got\"; exit 6" QUIT
			echo >"$0/held"; read -r -t 60 <>"$0/go"; exit 5' "$dir" \
		{held}>&- {go}>&- >"$dir/holder.out" 2>"$dir/holder.err" &
	holder=$!
	read -r -t 20 -u "$held" || complain "the holder does not start"
	exec {held}>&-
}

end_holder() {
	echo >&"$go"
	ends "$holder"
	exec {go}>&-
	cp "$dir/holder.out" "$dir/out"
	cp "$dir/holder.err" "$dir/err"
}

a_lock_that_is_held_exits_124() {
	hold L
	kv lock L --wait 0 -- echo never
	exits 124; says 'another holds it'
	kv lock L --wait 0.3 -- echo never
	exits 124; says 'another holds it'
	kv lock other --wait 0 -- echo independent
	exits 0; prints_line independent
	end_holder
	exits 5; is_silent
	kv lock L --wait 0 -- true
	exits 0
}

a_waiter_gets_the_lock_when_it_is_released() {
	rm -f "$dir/waiter.err"
	hold L
	"$kvctl" -s "$server" -v lock L -- echo mine >"$dir/waiter.out" 2>"$dir/waiter.err" &
	local waiter=$!
	until_true grep -sq 'another holds it: waiting' "$dir/waiter.err" || complain "no wait"
	end_holder
	ends "$waiter"
	cp "$dir/waiter.out" "$dir/out"
	exits 0; prints_line mine
}

signals_are_passed_on_to_the_command() {
	local name wanted=9
	for name in TERM HUP INT QUIT; do
		rm -f "$dir/got"
		hold L
		kill -"$name" "$holder"
		ends "$holder"
		exec {go}>&-
		exits "$wanted"
		[ "$(cat "$dir/got")" = "$name" ] || complain "COMMAND got \"$(cat "$dir/got")\""
		kv lock L --wait 0 -- true
		exits 0
		wanted=$((wanted - 1))
	done
}

# When a terminal goes, the kernel tells the leader of its session, and COMMAND only if it is that.
the_leader_of_a_session_passes_a_hang_up_on() {
	local terminal
	rm -f "$dir/held" "$dir/go" "$dir/got"
	mkfifo "$dir/held" "$dir/go"
	exec {held}<>"$dir/held" {go}<>"$dir/go"
	cat >"$dir/command" <<-END
		trap 'echo HUP >"$dir/got"; exit' HUP
		echo >"$dir/held"
		read -r -t 60 <>"$dir/go"
	END
	script -q -c "exec '$kvctl' -s '$server' lock terminal -- bash '$dir/command'" \
		/dev/null <"$dir/go" >"$dir/ignored" 2>&1 {held}>&- {go}>&- &
	terminal=$!
	read -r -t 20 -u "$held" || complain "the holder does not start"
	kill -KILL "$terminal"
	ends "$terminal" 2>"$dir/ignored" # the shell tells of those that were killed
	until_true test -s "$dir/got" || complain "COMMAND got no HUP"
	kv lock terminal --wait 5 -- true
	exits 0
	exec {held}>&- {go}>&-
}

a_notice_that_nobody_reads_ends_no_holder() {
	local unread reader
	mkfifo "$dir/unread"
	exec {reader}<>"$dir/unread"
	exec {unread}>"$dir/unread"
	exec {reader}>&-
	# The token is told before COMMAND runs, the server that answered after it.
	"$kvctl" -s "$server" -v lock unread -- sh -c 'trap - PIPE; kill -PIPE $$' >"$dir/out" 2>&"$unread"
	code=$?
	exec {unread}>&-
	exits 141
	: >"$dir/err"
	kv lock unread --wait 0 -- true
	exits 0
}

a_signal_ends_the_wait_and_leaves_no_lock() {
	local name number waiter
	for name in TERM INT HUP QUIT; do
		rm -f "$dir/waiter.err"
		hold L
		env --default-signal=INT,HUP,QUIT,TERM "$kvctl" -s "$server" -v lock L -- echo never \
			>"$dir/waiter.out" 2>"$dir/waiter.err" &
		waiter=$!
		until_true grep -sq 'another holds it: waiting' "$dir/waiter.err" ||
			complain "no wait"
		kill -"$name" "$waiter"
		ends "$waiter"
		number=$(kill -l "$name")
		exits $((128 + number))
		[ ! -s "$dir/waiter.out" ] || complain "COMMAND ran"
		end_holder
		exits 5
		kv lock L --wait 0 -- true
		exits 0
	done
}

# Whether a process is kvctl, and keeps TERM for later: it does, except while it pauses to wait for
# it. The shell that is about to become kvctl may keep it, too.
keeps_signals() {
	local mask
	grep -q "^Name:[^a-z]*${kvctl##*/}\$" "/proc/$1/status" || return 1
	mask=$(sed -n 's/^SigBlk:[^0-9a-f]*//p' "/proc/$1/status")
	[ -n "$mask" ] && [ $((0x$mask & 0x4000)) -ne 0 ]
}

a_signal_while_the_lock_is_taken_leaves_no_lock() {
	local waiter
	kill -STOP "$server_pid"
	"$kvctl" -s "$server" lock L -- echo never >"$dir/out" 2>"$dir/err" &
	waiter=$!
	until_true keeps_signals "$waiter" || complain "it does not keep signals"
	kill -TERM "$waiter"
	kill -CONT "$server_pid"
	ends "$waiter"
	exits 143; prints ''; is_silent
	kv lock L --wait 0 -- true
	exits 0
}

one_at_a_time_holds_the_lock() {
	local worker
	kv put counter 0
	for worker in 1 2 3 4; do
		(
			for _ in 1 2 3 4 5; do
				# shellcheck disable=SC2016
				"$kvctl" -s "$server" lock counting --wait 30 -- sh -c '
					count=$("$0" -s "$1" get counter) &&
					"$0" -q -s "$1" put counter $((count + 1))' "$kvctl" "$server"
			done
		) &
		workers[worker]=$!
	done
	for worker in 1 2 3 4; do
		wait "${workers[worker]}" || complain "a worker failed"
	done
	kv get counter
	prints 20
}

a_holder_that_died_keeps_the_lock_until_it_is_broken() {
	hold L
	kill -KILL "$holder"
	ends "$holder" 2>"$dir/ignored" # the shell tells of those that were killed
	kv lock L --wait 0 -- true
	exits 124; says '--break'
	kv lock L --break
	exits 0; prints ''
	kv -q lock L --break
	exits 0; prints ''; is_silent
	kv lock L --wait 0 -- true
	exits 0
	echo >&"$go"
	exec {go}>&-
}

break_needs_a_lock() {
	kv lock nolock --break
	exits 3; says 'kvctl: lock nolock:'
	kv put novalue 'no lock'
	kv lock novalue --break
	exits 1; says 'no lock writes'
	kv lock novalue -- true
	exits 125; says 'no lock writes'
	kv get novalue
	prints 'no lock'
}

a_lock_lost_meanwhile_is_told() {
	hold L
	kv lock L --break
	end_holder
	exits 5; says 'the lock was lost'
}

a_server_that_hangs_exits_6() {
	kill -STOP "$server_pid"
	kv -t 0.3 get first
	exits 6; says 'no answer in 0.3 s'
	kill -CONT "$server_pid"
}

a_release_that_is_not_confirmed_is_told() {
	kv -t 0.3 lock L -- sh -c "kill -STOP $server_pid; exit 5"
	exits 5; says 'the release is not confirmed'
	kill -CONT "$server_pid"
	# The release may still have come through.
	kv lock L --break
	exits 0
	kv lock L --wait 0 -- true
	exits 0
}

a_lock_without_a_server_exits_125() {
	server=local:$dir/nobody kv -t 0.2 lock L -- echo never
	exits 125; says 'no answer in 0.2 s'
	server=local:$dir/nobody kv -t 0.2 lock L --break
	exits 6
}

# --------------------------------------------------------------------------------------------------

start_server
server=$socket

check lock_runs_a_command_and_exits_as_it_did
check the_token_grows
check a_command_gets_the_descriptors_that_kvctl_got
check a_lock_that_is_held_exits_124
check a_waiter_gets_the_lock_when_it_is_released
check signals_are_passed_on_to_the_command
if script -q -c true /dev/null >"$dir/ignored" 2>&1 </dev/null; then
	check the_leader_of_a_session_passes_a_hang_up_on
else
	echo "skip the_leader_of_a_session_passes_a_hang_up_on: script(1) gets no terminal"
fi
check a_notice_that_nobody_reads_ends_no_holder
check a_signal_ends_the_wait_and_leaves_no_lock
check a_signal_while_the_lock_is_taken_leaves_no_lock
check one_at_a_time_holds_the_lock
check a_holder_that_died_keeps_the_lock_until_it_is_broken
check break_needs_a_lock
check a_lock_lost_meanwhile_is_told
check a_lock_without_a_server_exits_125
check a_server_that_hangs_exits_6
check a_release_that_is_not_confirmed_is_told

exit "$failed"
