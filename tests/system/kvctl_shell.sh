#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# kvctl_shell.sh - kvctl as a user at a terminal has it: lines, completion, history, Ctrl-C, Ctrl-D.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

# types STEP...: runs kvctl on a terminal; a step is "TEXT" to type, or "?TEXT" to wait for. What the
# terminal showed is in $dir/out, the exit code in code.
types() {
	python3 - "$kvctl" "$server" "$@" <<'END' >"$dir/out" 2>"$dir/err"
import os, pty, select, sys, time
kvctl, server, *steps = sys.argv[1:]
child, terminal = pty.fork()
if child == 0:
    os.environ['TERM'] = 'xterm'
    os.environ['NO_COLOR'] = '1'
    os.execv(kvctl, [kvctl, '-s', server])
shown, begin, end = '', 0, time.monotonic() + 60
def read():
    global shown
    if not select.select([terminal], [], [], 0.1)[0]:
        return True
    try:
        more = os.read(terminal, 4096)
    except OSError:
        return False
    shown += more.decode(errors='replace')
    return bool(more)
for step in steps:
    if not step.startswith('?'):
        os.write(terminal, step.encode().decode('unicode_escape').encode())
        continue
    while step[1:] not in shown[begin:] and time.monotonic() < end and read():
        pass
    if step[1:] not in shown[begin:]:
        print(shown, 'NEVER SHOWN:', step[1:])
        sys.exit(99)
    begin = shown.index(step[1:], begin) + len(step) - 1
while read():
    if time.monotonic() >= end:
        print(shown, 'NEVER ENDED')
        sys.exit(98)
print(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
END
	code=$?
}

shows() {
	tr -d '\r' <"$dir/out" | grep -qF -- "$1" || complain "the terminal does not show \"$1\": $(cat "$dir/out")"
}

lines_run_and_mistakes_end_nothing() {
	types '?kv> ' 'put typed "a b"\n' '?1' '?kv> ' 'get "typed\n' '?a quote is not closed' '?kv> ' \
		'gte x\n' '?did you mean "get"' '?kv> ' 'get absent\n' '?does not exist' '?kv> ' 'get typed\n' '?a b' \
		'?kv> ' '\x04'
	exits 0
	types '?kv> ' 'quit\n'
	exits 0
}

commands_and_keys_are_completed() {
	kv put tab/first 1
	kv put tab/second 2
	kv put 'tab/with blank' 3
	types '?kv> ' 'sta\t' '?tus ' '\x15' 'get tab/f\t' '?irst ' '\n' '?1' '?kv> ' \
		'get ta\t' '?b/' '\t' '?tab/second' '?tab/with\ blank' '?kv> ' 'w\t' '?ith\ blank ' '\n' '?3' '?kv> ' 'exit\n'
	exits 0
}

ctrl_c_ends_the_command_only() {
	types '?kv> ' 'get absent --wait 60\n' '?waiting' '\x03' '?kv> ' \
		'put whole line\n' '?1' '?kv> ' 'exit\n'
	exits 0
}

# A line that was seen to be half there; then one with Ctrl-C and the next line right behind it.
ctrl_c_empties_the_line() {
	types '?kv> ' 'put half' '?put half' '\x03' '?kv> ' 'put emptied line\n' '?1' '?kv> ' \
		'put bef\x02\x02\x03put burst line\n' '?1' '?kv> ' 'exit\n'
	exits 0
	kv get emptied
	prints line
	kv get burst
	prints line
}

history_is_kept_where_the_state_is() {
	mkdir "$dir/state"
	XDG_STATE_HOME=$dir/state types '?kv> ' 'put kept one\n' '?1' '?kv> ' 'exit\n'
	exits 0
	[ "$(stat -c %a "$dir/state/kvctl/history")" = 600 ] || complain "the history is not private"
	XDG_STATE_HOME=$dir/state types '?kv> ' '\x10' '?exit' '\x10' '?put kept one' '\n' '?2' '?kv> ' 'exit\n'
	exits 0
	XDG_STATE_HOME='' types '?kv> ' '\x10' 'put forgotten one\n' '?1' '?kv> ' 'exit\n'
	exits 0
	[ -z "$(find "$dir" -name history -newer "$dir/state/kvctl/history")" ] || complain "a history in spite of no state"
}

start_server
server=$socket
if ! python3 -c 'import os, pty; pty.openpty()' 2>"$dir/ignored"; then
	echo "skip a_shell_on_a_terminal: no terminal to be had"
	exit 0
fi
# libedit leaks the names of the functions that it is given.
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
check lines_run_and_mistakes_end_nothing
check commands_and_keys_are_completed
check ctrl_c_ends_the_command_only
check ctrl_c_empties_the_line
check history_is_kept_where_the_state_is
exit "$failed"
