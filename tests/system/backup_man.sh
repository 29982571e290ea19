#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# backup_man.sh - what kvd(8) says of backups, word by word: its commands are taken out of the manual
# page and run, in their order, with other names for /backup and /srv only.

# shellcheck disable=SC2317 # functions are called through check
set -u
# shellcheck source=tests/support/kvctl.sh
. "$(dirname "$0")/../support/kvctl.sh"

manual=$(dirname "$0")/../../docs/man/kvd.8
export KV_SERVER=local:$dir/kvd.sock
server=$KV_SERVER

commands_of_the_manual() {
	sed -n '/^\.Ss Backups/,/^\.Ss Full/s/^\.Dl //p' "$manual"
}

# The programs of the manual; one that serves does so at an address of the test's own.
kvctl() {
	"$kvctl" "$@"
}
kvd() {
	case "$*" in
	*--*) "$kvd" "$@" ;;
	*)
		rm -f "$dir/ready" && mkfifo "$dir/ready" || return
		# shellcheck disable=SC2086 # a wrapper has arguments
		${KVD_WRAPPER:-} "$kvd" "$@" -n -l "$KV_SERVER" >"$dir/ready" 2>"$dir/kvd.log" &
		server_pid=$!
		IFS= read -r -t 60 ready <"$dir/ready" || complain "$(cat "$dir/kvd.log")"
		;;
	esac
}
stop() {
	kill "$server_pid"
	wait "$server_pid" || complain "kvd ended with $?"
	server_pid=
}

# Runs the next command of the manual, which must be $1.
follow() {
	local line
	IFS= read -r line <&4 || complain "the manual has no more commands"
	[ "$line" = "$1" ] || complain "the manual says \"$line\", not \"$1\""
	eval "$(sed "s|/backup/|$dir/backup/|; s|/srv/|$dir/srv/|" <<<"$line")" >"$dir/out" 2>"$dir/err" ||
		complain "\"$line\" ended with $?"
}

id() {
	kvctl status | sed -n 's/^store  *//p'
}

the_procedure_of_the_manual_works() {
	local first second
	mkdir "$dir/backup" "$dir/srv" "$dir/live"
	exec 4< <(commands_of_the_manual)
	kvd -d "$dir/live"
	kvctl -q put greeting "good morning"
	first=$(id)

	follow 'kvctl backup /backup/kv'
	kvctl -q put greeting "good night"
	follow 'kvd --check /backup/kv'
	grep -qx 'keys 1' "$dir/out" || complain "it does not say what is there"
	follow 'kvd -d /srv/kv --restore /backup/kv'
	stop
	follow 'kvd -d /srv/kv'
	second=$(id)
	[ "$second" != "$first" ] || complain "it is the same store"
	kv get greeting; prints 'good morning'
	stop

	cp -a "$dir/srv/kv" "$dir/srv/copy"
	follow 'kvd -d /srv/copy --restored'
	kvd -d "$dir/srv/copy"
	[ "$(id)" != "$second" ] || complain "the copy is the same store"
	kv get greeting; prints 'good morning'
	stop

	rm -rf "$dir/srv/copy"
	cp -a "$dir/srv/kv" "$dir/srv/copy" && rm -rf "$dir/srv/kv"
	# Where no copy can be told there is nothing to be said of it.
	if [ -e "$dir/srv/copy/birth" ]; then
		follow 'kvd -d /srv/copy --moved'
	else
		IFS= read -r line <&4
		echo "# left out: --moved: $dir tells no time of birth" >&3
	fi
	kvd -d "$dir/srv/copy"
	[ "$(id)" = "$second" ] || complain "what was moved is another store"
	kv get greeting; prints 'good morning'
	stop
	! IFS= read -r line <&4 || complain "the manual says more: $line"
}

exec 3>&1
check the_procedure_of_the_manual_works
exit "$failed"
