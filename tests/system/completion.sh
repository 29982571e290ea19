#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# completion.sh - what bash, zsh and fish complete: the files that tools/completions made of the
# programs' help. bash's function is called as bash calls it, and once by bash itself on a terminal.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

made=$build/completions
PATH=$(cd "$(dirname "$kvctl")" && pwd):$PATH
for program in kvctl kvd kvcheck; do
	# shellcheck source=/dev/null
	. "$made/bash/$program" || exit 1
done

# complete_line WORD...: what the last word can become, one a line, sorted.
complete_line() {
	COMP_WORDS=("$@")
	COMP_CWORD=$(($# - 1))
	"_$1"
	completed=$(printf '%s\n' "${COMPREPLY[@]}" | sort)
}

completes_to() {
	[ "$completed" = "$1" ] || complain "\"${COMP_WORDS[*]}\" completes to \"$completed\", not \"$1\""
}

# The same lists as the help prints: nothing is missing, and nothing is more.
commands_are_those_of_the_help() {
	complete_line kvctl ''
	completes_to "$("$kvctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | sort)"
	complete_line kvctl -t 3 --quiet ba
	completes_to backup
	complete_line kvctl help ba
	completes_to backup
	complete_line kvctl get ''
	completes_to ''
}

options_of() {
	"$@" --help | sed -n 's/^  *\(-[A-Za-z]\), \(--[a-z-]*\).*/\1\n\2/p; s/^  *\(--[a-z-]*\) .*/\1/p'
}

options_are_those_of_the_help() {
	local command program
	for command in $("$kvctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
		complete_line kvctl "$command" -
		completes_to "$( (options_of "$kvctl" "$command"; options_of "$kvctl") | sort -u)"
	done
	for program in kvd kvctl kvcheck; do
		complete_line "$program" -
		completes_to "$(options_of "$(dirname "$kvctl")/$program" | sort -u)"
	done
}

# None that a program would refuse: the help does not promise what is not there.
options_that_are_completed_are_known() {
	local command option
	for command in $("$kvctl" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
		complete_line kvctl "$command" --
		for option in $completed; do
			# An option that is none would be refused before --help is seen.
			"$kvctl" "$command" "$option" 1 1 --help >"$dir/out" 2>"$dir/err"
			! grep -q 'unknown option' "$dir/err" || [[ $option =~ ^--(version|file|stop)$ ]] ||
				complain "kvctl $command knows no $option"
		done
	done
}

arguments_are_completed_by_their_kind() {
	local here=$PWD
	mkdir "$dir/files" "$dir/files/sub" && cd "$dir/files" || return
	: >"a file"
	: >other
	complete_line kvctl backup ''
	completes_to $'a file\nother\nsub'
	complete_line kvctl backup a
	completes_to 'a file'
	complete_line kvctl put --ticket o
	completes_to other
	complete_line kvctl --history s
	completes_to sub
	complete_line kvctl load ''
	completes_to $'a file\nother\nsub'
	complete_line kvctl -o ''
	completes_to $'json\nprometheus\nsimple'
	complete_line kvctl get k -o j
	completes_to json
	complete_line kvctl -t ''
	completes_to ''
	complete_line kvctl bench --mix n
	completes_to null
	complete_line kvctl txn --put a ''
	completes_to ''
	complete_line kvctl txn --put a b --hol
	completes_to --holds
	complete_line kvctl lock name -- bas
	grep -qx bash <<<"$completed" || complain "COMMAND is not completed"
	complete_line kvctl lock name -- cat ot
	completes_to other
	complete_line kvctl lock name --fence-env ''
	completes_to ''
	complete_line kvctl elect name value -- cat ot
	completes_to other
	complete_line kvctl get -- ''
	completes_to ''
	complete_line kvd -d ''
	completes_to sub
	complete_line kvd -d sub --restore ''
	completes_to $'a file\nother\nsub'
	complete_line kvd --restore
	completes_to $'--restore\n--restored'
	complete_line kvcheck -q o
	completes_to other
	cd "$here" || exit 1
}

# bash on a terminal, with a tab.
bash_itself_completes() {
	python3 - "$made/bash/kvctl" >"$dir/out" 2>"$dir/err" <<-'END' || complain "bash did not"
		import os, pty, select, sys, time
		pid, fd = pty.fork()
		if pid == 0:
		    os.environ['TERM'] = 'dumb'
		    os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])
		said = b''
		def until(text, seconds=60):
		    global said
		    end = time.monotonic() + seconds
		    while text not in said:
		        ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
		        if not ready:
		            sys.exit(f'no {text!r} in {said!r}')
		        said += os.read(fd, 4096)
		    said = said[said.index(text) + len(text):]
		os.write(fd, b'PS1=; . ' + sys.argv[1].encode() + b'; echo rea""dy\n')
		until(b'ready\r\n')
		os.write(fd, b'echo kvctl; kvctl snap\t\x01echo \x05\n')
		until(b'kvctl snapshot ')
		os.write(fd, b'exit\n')
		os.close(fd)
		os.waitpid(pid, 0)
	END
}

zsh_and_fish_can_read_theirs() {
	local program
	for program in kvctl kvd kvcheck; do
		[ -s "$made/zsh/_$program" ] && [ -s "$made/fish/$program.fish" ] ||
			complain "nothing for $program"
	done
	if command -v zsh >"$dir/ignored"; then
		for program in kvctl kvd kvcheck; do
			zsh -f -n "$made/zsh/_$program" 2>"$dir/err" || complain "zsh cannot read _$program"
		done
	else
		echo "# left out: zsh is not there" >&3
	fi
	if command -v fish >"$dir/ignored"; then
		HOME=$dir fish --no-config -c "source $made/fish/kvctl.fish
			complete -C 'kvctl ba'; complete -C 'kvctl put --exp'; complete -C 'kvctl -o js'" \
			>"$dir/out" 2>"$dir/err"
		[ "$(cut -f 1 "$dir/out" | tr '\n' ' ')" = 'backup --expect json ' ] ||
			complain "fish completes to $(cat "$dir/out")"
	else
		echo "# left out: fish is not there" >&3
	fi
}

exec 3>&1
for name in commands_are_those_of_the_help options_are_those_of_the_help \
	options_that_are_completed_are_known arguments_are_completed_by_their_kind \
	bash_itself_completes zsh_and_fish_can_read_theirs; do
	check "$name"
done
exit "$failed"
