#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_lock.sh - `kvctl lock` against a real kvd: which process holds the lock, and what becomes of the
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
	# Without folders in PATH that an ordinary user may not search: they are "Permission denied".
	PATH=/usr/bin:/bin kv lock L --wait 5 -- no-such-builtin
	exits 127; says "No such file or directory (if the shell has it: sh -c '...')"
	kv lock L --wait 5 -- "$dir"
	exits 126; says 'Permission denied'
	kv lock L --wait 0 -- true
	exits 0
}

the_command_gets_the_server_and_the_program() {
	# shellcheck disable=SC2016
	kv lock L --wait 5 -P 536890198 -- sh -c 'echo "$KV_SERVER $KV_PROGRAM"'
	exits 0; prints_line "$server 536890198"
}

# Where the kernel tells of timers: 7 is CLOCK_BOOTTIME.
the_timer_of_a_lease_goes_on_while_the_machine_sleeps() {
	hold L --ttl 60
	if [ -r "/proc/$holder/timers" ]; then
		until_true grep -q '^ClockID: 7$' "/proc/$holder/timers" ||
			complain "its timers: $(cat "/proc/$holder/timers")"
	fi
	end_holder
	exits 5
}

quiet_says_nothing_of_a_wait() {
	hold L
	kv -q lock L --wait 0 -- echo never
	exits 124; prints ''; is_silent
	end_holder
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
# through $dir/go, and ends if none does. Returns when it holds; holder is its process. More arguments
# are options of lock.
# The trap of a signal that comes just before `read` blocks runs after it: it never blocks for long.
hold() {
	rm -f "$dir/held" "$dir/go"
	mkfifo "$dir/held" "$dir/go"
	# Both ends are opened, so that no open blocks.
	exec {held}<>"$dir/held" {go}<>"$dir/go"
	# shellcheck disable=SC2016
	env --default-signal=INT,HUP,QUIT,TERM "$kvctl" -s "$server" lock "$@" -- \
		bash -c 'trap "echo TERM >>\"$0/got\"; exit 9" TERM
			trap "echo HUP >>\"$0/got\"; exit 8" HUP
			trap "echo INT >>\"$0/got\"; exit 7" INT
			trap "echo QUIT >>\"$0/got\"; exit 6" QUIT
			echo >"$0/held"
			for n in {1..300}; do read -r -t 0.2 <>"$0/go" && break; done
			exit 5' "$dir" \
		{held}>&- {go}>&- >"$dir/holder.out" 2>"$dir/holder.err" &
	holder=$!
	read -r -t 20 -u "$held" || complain "the holder does not start"
	exec {held}>&-
}

end_holder() {
	# More lines than one: a read that ends at its limit may have taken the first.
	printf '\n\n\n' >&"$go"
	ends "$holder"
	exec {go}>&-
	cp "$dir/holder.out" "$dir/out"
	cp "$dir/holder.err" "$dir/err"
}

a_lock_that_is_held_exits_124() {
	hold L
	kv lock L --wait 0 -- echo never
	exits 124; says 'still held by another process after '
	kv lock L --wait 0.3 -- echo never
	exits 124; says 'still held by another process after '
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
	until_true grep -sq 'held by another process: waiting' "$dir/waiter.err" || complain "no wait"
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

# Signals by their numbers, because a shell knows no name for all of them. KILL and STOP cannot be
# caught, STOP's kin would stop COMMAND, and CHLD is ours.
every_signal_that_can_be_caught_is_passed_on() {
	local number
	cat >"$dir/command.py" <<-'END'
	import os, signal, sys
	signals = [n for n in signal.valid_signals() if n not in (9, 17, 19, 20, 21, 22)]
	signal.pthread_sigmask(signal.SIG_BLOCK, signals)
	open(sys.argv[1] + "/held", "w").write("x\n")
	while True:
	    n = int(signal.sigwaitinfo(signals).si_signo)
	    open(sys.argv[1] + "/got", "w").write("%d\n" % n)
	    if n == 15: sys.exit(9)
	END
	rm -f "$dir/held" "$dir/got"
	mkfifo "$dir/held" "$dir/got"
	exec {held}<>"$dir/held" {got}<>"$dir/got"
	env --default-signal=INT,QUIT "$kvctl" -s "$server" lock L -- \
		python3 "$dir/command.py" "$dir" {held}>&- {got}>&- \
		>"$dir/out" 2>"$dir/err" &
	holder=$!
	read -r -t 20 -u "$held" || complain "the holder does not start"
	for number in $(seq 1 64); do
		case $number in 9 | 17 | 19 | 2[012] | 3[23] | 15) continue ;; esac
		kill -"$number" "$holder"
		read -r -t 10 -u "$got" line || line=nothing
		[ "$line" = "$number" ] || {
			complain "COMMAND got $line, not $number"
			break
		}
	done
	kill -TERM "$holder"
	ends "$holder"
	exits 9; is_silent
	exec {held}>&- {got}>&-
	kv lock L --wait 0 -- true
	exits 0
}

# Presses Ctrl-C on a terminal, PRESSES times, each when the one before has arrived, while kvctl runs
# COMMAND, which leaves kvctl's process group first if $1 is "leave". Prints how many SIGINT COMMAND
# got from the kernel and how many from kvctl. Two that come at once can merge: hence several.
PRESSES=8
interrupts_of_a_terminal() {
	cat >"$dir/count.py" <<-'END'
	import os, signal, sys
	if sys.argv[1] == "leave": os.setpgid(0, 0)
	signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
	print("ready", flush=True)
	got, presses, end = {"kernel": 0, "kvctl": 0}, int(sys.argv[2]), 20
	while True:
	    info = signal.sigtimedwait([signal.SIGINT], end)
	    if info is None: break
	    got["kvctl" if info.si_code == 0 else "kernel"] += 1
	    if sum(got.values()) >= presses: end = 0.5
	    print("ready", flush=True)
	print("kernel=%d" % got["kernel"], "kvctl=%d" % got["kvctl"], flush=True)
	END
	python3 - "$kvctl" "$server" "$dir/count.py" "$1" $PRESSES <<-'END' >"$dir/out" 2>"$dir/err"
	import os, pty, sys
	kvctl, server, count, leave, presses = sys.argv[1:]
	child, terminal = pty.fork()
	if child == 0:
	    os.execv(kvctl, [kvctl, "-s", server, "lock", "once", "--", "python3", count, leave, presses])
	shown, left = b"", int(presses)
	while True:
	    try: part = os.read(terminal, 1000)
	    except OSError: break
	    if not part: break
	    shown += part
	    while left > 0 and b"ready" in shown:
	        shown = shown.replace(b"ready", b"", 1)
	        os.write(terminal, b"\x03")
	        left -= 1
	print(*[word for word in shown.decode().split() if "=" in word])
	os.waitpid(child, 0)
	END
}

# A terminal sends its signals to all of its foreground; a program must see one Ctrl-C as one.
a_signal_of_the_terminal_reaches_the_command_once() {
	interrupts_of_a_terminal stay
	prints_line "kernel=$PRESSES kvctl=0"
}

# The same in a group of its own, where only kvctl gets the terminal's signal.
a_command_that_left_the_group_gets_the_terminals_signal() {
	interrupts_of_a_terminal leave
	prints_line "kernel=0 kvctl=$PRESSES"
}

# When a terminal goes, the kernel signals the leader of its session, and COMMAND only if it is that.
the_leader_of_a_session_passes_a_hang_up_on() {
	local terminal
	rm -f "$dir/held" "$dir/go" "$dir/got"
	mkfifo "$dir/held" "$dir/go"
	exec {held}<>"$dir/held" {go}<>"$dir/go"
	cat >"$dir/command" <<-END
		trap 'echo HUP >"$dir/got"; exit' HUP
		echo >"$dir/held"
		for n in {1..300}; do read -r -t 0.2 <>"$dir/go" && break; done
	END
	script -q -c "exec '$kvctl' -s '$server' lock terminal -- bash '$dir/command'" \
		/dev/null <"$dir/go" >"$dir/ignored" 2>&1 {held}>&- {go}>&- &
	terminal=$!
	read -r -t 20 -u "$held" || complain "the holder does not start"
	kill -KILL "$terminal"
	ends "$terminal" 2>"$dir/ignored" # the shell reports those that were killed
	until_true test -s "$dir/got" || complain "COMMAND got no HUP"
	kv lock terminal --wait 5 -- true
	exits 0
	exec {held}>&- {go}>&-
}

a_notice_that_is_not_read_ends_no_holder() {
	local unread reader
	mkfifo "$dir/unread"
	exec {reader}<>"$dir/unread"
	exec {unread}>"$dir/unread"
	exec {reader}>&-
	# The token is reported before COMMAND runs, the server after it.
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
		until_true grep -sq 'held by another process: waiting' "$dir/waiter.err" ||
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

without_a_lease_a_holder_that_died_keeps_the_lock_until_it_is_broken() {
	hold L --no-ttl
	kill -KILL "$holder"
	ends "$holder" 2>"$dir/ignored" # the shell reports those that were killed
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
	exits 1; says 'the key exists but is not a lock'
	kv lock novalue -- true
	exits 125; says 'the key exists but is not a lock'
	kv get novalue
	prints 'no lock'
}

a_lock_lost_meanwhile_exits_123() {
	hold L --no-ttl
	kv lock L --break
	end_holder
	exits 123; says 'the lock was lost while COMMAND ran (exit code 5)'
}

a_server_that_hangs_exits_6() {
	kill -STOP "$server_pid"
	kv -t 0.3 get first
	exits 6; says 'no kvd reached in 0.3 s: '
	kill -CONT "$server_pid"
}

a_release_that_is_not_confirmed_exits_121() {
	kv -t 0.3 lock L --no-ttl --release-timeout 0.5 -- sh -c "kill -STOP $server_pid; exit 5"
	exits 121; says 'could not release the lock: not confirmed for '
	grep -q 'kvctl lock L --break' "$dir/err" || complain "no cure"
	kill -CONT "$server_pid"
	# The release may still have come through.
	kv lock L --break
	exits 0
	kv lock L --wait 0 -- true
	exits 0
}

# Although one try may take 3 s.
a_release_is_tried_no_longer_than_it_may() {
	kv lock L --no-ttl --release-timeout 1 -- sh -c "kill -STOP $server_pid"
	exits 121; says 'not confirmed for 1.'
	kill -CONT "$server_pid"
	kv lock L --break
	exits 0
}

a_lock_without_a_server_exits_125() {
	server=local:$dir/absent.sock kv -t 0.2 lock L -- echo never
	exits 125; says 'no kvd reached in 0.2 s: '
	server=local:$dir/absent.sock kv -t 0.2 lock L --break
	exits 6
	server=local:$dir/absent.sock kv lock L -- echo never
	exits 125; says 'no kvd reached: '
}

# Nor longer than asked for because one try of 3 s has no reply yet when the time is up.
a_wait_is_for_a_server_too() {
	local began_ms=${EPOCHREALTIME/[^0-9]/}
	server=local:$dir/absent.sock kv lock L --wait 3 -- echo never
	exits 125; says 'no kvd reached in 3 s: '
	local took_ms=$(((${EPOCHREALTIME/[^0-9]/} - began_ms) / 1000))
	[ "$took_ms" -ge 2700 ] && [ "$took_ms" -lt 5500 ] || complain "it took $took_ms ms"
}

# The server is away when COMMAND ends, for longer than -t, and signals come meanwhile.
a_release_is_tried_until_the_server_is_back() {
	local name
	env --default-signal=INT "$kvctl" -s "$server" -t 0.3 lock L -- sh -c "kill -STOP $server_pid; exit 5" \
		>"$dir/out" 2>"$dir/err" &
	holder=$!
	sleep 1.5
	for name in TERM HUP USR1 INT ALRM; do
		kill -"$name" "$holder"
		sleep 0.2
	done
	is_gone "$holder" && complain "the release was given up"
	kill -CONT "$server_pid"
	ends "$holder"
	exits 5
	kv lock L --wait 0 -- true
	exits 0
}

two_interrupts_give_the_release_up() {
	env --default-signal=INT "$kvctl" -s "$server" -t 0.3 lock L -- sh -c "kill -STOP $server_pid; exit 5" \
		>"$dir/out" 2>"$dir/err" &
	holder=$!
	sleep 0.5
	kill -INT "$holder"
	sleep 0.5
	is_gone "$holder" && complain "one ends it"
	until_true interrupt_ends "$holder" || complain "it goes on"
	ends "$holder"
	exits 121
	kill -CONT "$server_pid"
	kv lock L --break
	kv lock L --wait 0 -- true
	exits 0
}

interrupt_ends() {
	is_gone "$1" && return 0
	kill -INT "$1"
	sleep 0.1
	return 1
}

wait_waits_for_a_server_too() {
	local late
	"$kvctl" -s "local:$dir/late.sock" -t 0.3 lock L --wait 30 -- echo reached >"$dir/out" 2>"$dir/err" &
	holder=$!
	sleep 1
	"$kvd" -n -l "local:$dir/late.sock" >"$dir/late" 2>&1 &
	late=$!
	ends "$holder"
	exits 0; prints_line reached; is_silent
	kill "$late"
	wait "$late"
}

# --------------------------------------------------------------------------------------------------

start_server
server=$socket

check lock_runs_a_command_and_exits_as_it_did
check the_command_gets_the_server_and_the_program
check the_timer_of_a_lease_goes_on_while_the_machine_sleeps
check quiet_says_nothing_of_a_wait
check the_token_grows
check a_command_gets_the_descriptors_that_kvctl_got
check a_lock_that_is_held_exits_124
check a_waiter_gets_the_lock_when_it_is_released
check signals_are_passed_on_to_the_command
check every_signal_that_can_be_caught_is_passed_on
check a_signal_of_the_terminal_reaches_the_command_once
check a_command_that_left_the_group_gets_the_terminals_signal
if script -q -c true /dev/null >"$dir/ignored" 2>&1 </dev/null; then
	check the_leader_of_a_session_passes_a_hang_up_on
else
	echo "skip the_leader_of_a_session_passes_a_hang_up_on: script(1) gets no terminal"
fi
check a_notice_that_is_not_read_ends_no_holder
check a_signal_ends_the_wait_and_leaves_no_lock
check a_signal_while_the_lock_is_taken_leaves_no_lock
check one_at_a_time_holds_the_lock
check without_a_lease_a_holder_that_died_keeps_the_lock_until_it_is_broken
check break_needs_a_lock
check a_lock_lost_meanwhile_exits_123
check a_lock_without_a_server_exits_125
check a_wait_is_for_a_server_too
check a_server_that_hangs_exits_6
check a_release_that_is_not_confirmed_exits_121
check a_release_is_tried_no_longer_than_it_may
check a_release_is_tried_until_the_server_is_back
check two_interrupts_give_the_release_up
check wait_waits_for_a_server_too

exit "$failed"
